package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// replicator writes what comes together in one go, so that it is synced together: a sync costs as much for a hundred messages as for one
// (THREATS.md 0.4). It adds no delay: what comes while one commit is under way waits for it, and goes with the next.
type replicator struct {
	conn *nats.Conn
	js   jetstream.JetStream
	in   chan *copying
	end  chan struct{}
	once sync.Once
	// ctx ends with it, and with it what waits for the engine.
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	// ready tells whether the engine takes writes; wait is how long it may take for one batch.
	ready func() error
	wait  time.Duration
}

// copying is one call's messages.
type copying struct {
	messages []*nats.Msg
	atomic   bool // all or none of them are written
	size     int
	ctx      context.Context // its caller waits no longer than this
	result   chan error      // has room for one
	// state tells who has it: the caller gives up, or the committer takes it.
	state atomic.Uint32
}

// The states of a commit.
const (
	commitWaits = iota
	commitTaken
	commitLeft
)

func newReplicator(conn *nats.Conn, js jetstream.JetStream, ready func() error, wait time.Duration) *replicator {
	c := &replicator{conn: conn, js: js, ready: ready, wait: wait, in: make(chan *copying, maxBatch), end: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.done.Go(c.run)
	return c
}

// close ends it. Calls that wait get ErrUnknown.
func (c *replicator) close() {
	c.once.Do(func() {
		close(c.end)
		c.cancel()
	})
	c.done.Wait()
}

// write writes messages and returns when they are synced. ErrUnknown: they may be, or come to be.
func (c *replicator) write(ctx context.Context, atomic bool, messages ...*nats.Msg) error {
	w := &copying{messages: messages, atomic: atomic && len(messages) > 1, ctx: ctx, result: make(chan error, 1)}
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
		if w.state.CompareAndSwap(commitWaits, commitLeft) {
			return ErrUnavailable // it waited, and nothing of it was or will be written
		}
		return ErrUnknown
	case <-ctx.Done():
		if w.state.CompareAndSwap(commitWaits, commitLeft) {
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

func (c *replicator) run() {
	var held *copying // did not fit into the last batch
	for {
		var batch []*copying
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
		// Nobody waits for some of these any more: nothing of them is written.
		batch = slices.DeleteFunc(batch, func(w *copying) bool { return !w.state.CompareAndSwap(commitWaits, commitTaken) })
		if len(batch) == 0 {
			continue
		}
		// What has waited behind another batch may have been overtaken by the loss of a quorum: it is refused, not left to hang.
		err := c.ready()
		if err == nil {
			err = c.commit(batch)
		}
		var refused *jetstream.APIError
		if len(batch) > 1 && errors.As(err, &refused) {
			// One that is refused must not take the others with it: a journal that has room for some takes those.
			for _, w := range batch {
				if one := w.ctx.Err(); one != nil {
					w.result <- fmt.Errorf("%w: %w", ErrUnknown, one)
					continue
				}
				w.result <- c.commit([]*copying{w})
			}
			continue
		}
		for _, w := range batch {
			w.result <- err
		}
	}
}

// commit publishes a batch and waits until it is stored.
func (c *replicator) commit(batch []*copying) error {
	var all []*nats.Msg
	atomic := false
	for _, w := range batch {
		all = append(all, w.messages...)
		atomic = atomic || w.atomic
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.wait)
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
			Error *jetstream.APIError `json:"error"`
			Count int                 `json:"count"`
		}
		switch err := json.Unmarshal(answer.Data, &ack); {
		case err != nil:
			return fmt.Errorf("%w: an answer that cannot be read", ErrUnknown)
		case ack.Error != nil:
			return fault(ack.Error)
		case ack.Count != len(all):
			return fmt.Errorf("%w: %d of %d were stored", ErrUnknown, ack.Count, len(all))
		}
	}
	return nil
}

// worthwhile is from how many messages on a batch, which has a price of its own, is cheaper than a sync for each.
const worthwhile = 12

// single publishes each message by itself.
func (c *replicator) single(ctx context.Context, all []*nats.Msg) error {
	if len(all) == 1 {
		_, err := c.js.PublishMsg(ctx, all[0])
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
	stored := false
	for _, a := range acks {
		select {
		case <-a.Ok():
			stored = true
		case err := <-a.Err():
			failed = errors.Join(failed, fault(err))
		case <-ctx.Done():
			return fault(ctx.Err())
		}
	}
	if failed != nil && stored {
		return fmt.Errorf("%w: %w", ErrUnknown, failed) // some of it is there
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
