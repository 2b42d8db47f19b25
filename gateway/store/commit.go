package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// committer writes what comes together in one go, so that it is synced together: a sync costs as much for a hundred messages as for one
// (THREATS.md 0.4). It adds no delay: what comes while one commit is under way waits for it, and goes with the next.
type committer struct {
	conn *nats.Conn
	js   jetstream.JetStream
	in   chan *commit
	end  chan struct{}
	once sync.Once
	// ctx ends with it, and with it what waits for the engine.
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	// stored is told the engine's last sequence after each write.
	stored func(seq uint64)
}

// commit is one call's messages.
type commit struct {
	messages []*nats.Msg
	atomic   bool // all or none of them are written
	size     int
	ctx      context.Context // its caller waits no longer than this
	result   chan error      // has room for one
}

// The bounds of one batch; the engine takes at most a thousand messages in one.
const (
	maxBatch      = 256
	maxBatchBytes = 8 << 20
	// commitWait is how long the engine may take for one batch.
	commitWait = 10 * time.Second
)

func newCommitter(conn *nats.Conn, js jetstream.JetStream, stored func(uint64)) *committer {
	c := &committer{conn: conn, js: js, stored: stored, in: make(chan *commit, maxBatch), end: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.done.Go(c.run)
	return c
}

// close ends it. Calls that wait get ErrUnknown.
func (c *committer) close() {
	c.once.Do(func() {
		close(c.end)
		c.cancel()
	})
	c.done.Wait()
}

// write writes messages and returns when they are synced. ErrUnknown: they may be, or come to be.
func (c *committer) write(ctx context.Context, atomic bool, messages ...*nats.Msg) error {
	w := &commit{messages: messages, atomic: atomic && len(messages) > 1, ctx: ctx, result: make(chan error, 1)}
	for _, m := range messages {
		w.size += len(m.Data) + 256
	}
	select {
	case c.in <- w:
	case <-c.end:
		return ErrUnavailable
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	select {
	case err := <-w.result:
		return err
	case <-c.end:
		return ErrUnknown
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

func (c *committer) run() {
	var held *commit // did not fit into the last batch
	for {
		var batch []*commit
		n, size := 0, 0
		if held != nil {
			batch, n, size, held = append(batch, held), len(held.messages), held.size, nil
		} else {
			select {
			case w := <-c.in:
				batch, n, size = append(batch, w), len(w.messages), w.size
			case <-c.end:
				return
			}
		}
	fill:
		for n < maxBatch && size < maxBatchBytes {
			select {
			case w := <-c.in:
				if n+len(w.messages) > maxBatch || size+w.size > maxBatchBytes {
					held = w
					break fill
				}
				batch, n, size = append(batch, w), n+len(w.messages), size+w.size
			default:
				break fill
			}
		}
		// Nobody waits for these any more: they have been told that it is not known, and nothing of them is written.
		batch = slices.DeleteFunc(batch, func(w *commit) bool { return w.ctx.Err() != nil })
		if len(batch) == 0 {
			continue
		}
		err := c.commit(batch)
		if err != nil && len(batch) > 1 {
			// One that is refused must not take the others with it: a journal that has room for some takes those.
			for _, w := range batch {
				if one := w.ctx.Err(); one != nil {
					w.result <- fmt.Errorf("%w: %w", ErrUnknown, one)
					continue
				}
				w.result <- c.commit([]*commit{w})
			}
			continue
		}
		for _, w := range batch {
			w.result <- err
		}
	}
}

// commit publishes a batch and waits until it is stored.
func (c *committer) commit(batch []*commit) error {
	var all []*nats.Msg
	atomic := false
	for _, w := range batch {
		all = append(all, w.messages...)
		atomic = atomic || w.atomic
	}
	ctx, cancel := context.WithTimeout(c.ctx, commitWait)
	defer cancel()
	if len(all) < worthwhile && !atomic {
		return c.single(ctx, all)
	}
	id := nuid.Next()
	for i, given := range all {
		m := *given // the headers of one attempt are not those of the next
		m.Header = clone(given.Header)
		m.Header.Set("Nats-Batch-Id", id)
		m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i < len(all)-1 {
			if err := c.conn.PublishMsg(&m); err != nil {
				return fault(err)
			}
			continue
		}
		m.Header.Set("Nats-Batch-Commit", "1")
		answer, err := c.conn.RequestMsgWithContext(ctx, &m)
		if err != nil {
			return fault(err)
		}
		var ack struct {
			Error    *jetstream.APIError `json:"error"`
			Count    int                 `json:"count"`
			Sequence uint64              `json:"seq"`
		}
		switch err := json.Unmarshal(answer.Data, &ack); {
		case err != nil:
			return fmt.Errorf("%w: an answer that cannot be read", ErrUnknown)
		case ack.Error != nil:
			return fault(ack.Error)
		case ack.Count != len(all):
			return fmt.Errorf("%w: %d of %d were stored", ErrUnknown, ack.Count, len(all))
		}
		c.stored(ack.Sequence)
	}
	return nil
}

// worthwhile is from how many messages on a batch, which has a price of its own, is cheaper than a sync for each.
const worthwhile = 12

// single publishes each message by itself.
func (c *committer) single(ctx context.Context, all []*nats.Msg) error {
	if len(all) == 1 {
		ack, err := c.js.PublishMsg(ctx, all[0])
		if err == nil {
			c.stored(ack.Sequence)
		}
		return fault(err)
	}
	acks := make([]jetstream.PubAckFuture, 0, len(all))
	for _, m := range all {
		a, err := c.js.PublishMsgAsync(m)
		if err != nil {
			return fault(err)
		}
		acks = append(acks, a)
	}
	var failed error
	for _, a := range acks {
		select {
		case ack := <-a.Ok():
			c.stored(ack.Sequence)
		case err := <-a.Err():
			failed = errors.Join(failed, fault(err))
		case <-ctx.Done():
			return fault(ctx.Err())
		}
	}
	return failed
}

func clone(h nats.Header) nats.Header {
	c := nats.Header{}
	for k, v := range h {
		c[k] = append([]string(nil), v...)
	}
	return c
}

// The engine's codes for a stream that has no room.
const (
	codeResources  = 10023 // JSInsufficientResourcesErr
	codeStoreFull  = 10047 // JSStorageResourcesExceededErr
	codeStreamFull = 10077 // JSStreamStoreFailedF: "maximum messages exceeded", "maximum bytes exceeded"
)

// fault is the engine's error as one of ours.
func fault(err error) error {
	if err == nil {
		return nil
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeResources, codeStoreFull, codeStreamFull:
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	// No answer of the engine: what it did is not known.
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// unread is the engine's error where nothing was to be written: there is nothing unknown about it.
func unread(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
