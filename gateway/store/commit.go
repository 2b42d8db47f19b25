package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// committer writes what comes together in one go, so that it is synced together: a sync costs as much for a hundred messages as for one
// (THREATS.md 0.4). What comes while one commit is under way waits for it, and goes with the next. There is no other delay, but where the process has one
// processor: see rest.
type committer struct {
	js   jetstream.JetStream
	pack string // prefix of the packs' subjects
	in   chan *commit
	end  chan struct{}
	once sync.Once
	// ctx ends with it, and with it what waits for the engine.
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	// stored is told what has been written, and where.
	stored func(seq uint64, written []*nats.Msg)
	// failed is closed when the disk has refused a write.
	failed <-chan struct{}
}

// commit is one call's messages.
type commit struct {
	messages []*nats.Msg // all or none of them are written
	size     int
	ctx      context.Context // its caller waits no longer than this
	result   chan error      // has room for one
	after    func()          // see write
}

// end answers.
func (w *commit) end(err error) {
	if w.after != nil {
		w.after()
	}
	w.result <- err
}

// The bounds of one batch; the engine takes at most a thousand messages in one.
const (
	maxBatch      = 256
	maxBatchBytes = 8 << 20
	// commitWait is how long the engine may take for one batch.
	commitWait = 10 * time.Second
	// resting is for how many times as long as a commit took there is none after it, and longest is for how long at most: see rest.
	resting, longest = 5, 8 * time.Millisecond
)

func newCommitter(js jetstream.JetStream, pack string, failed <-chan struct{}, stored func(uint64, []*nats.Msg)) *committer {
	c := &committer{js: js, pack: pack, failed: failed, stored: stored, in: make(chan *commit, maxBatch), end: make(chan struct{})}
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

// write writes messages and returns when they are synced. ErrUnknown: they may be, or come to be. after, if it is there, is called when it is
// decided what becomes of them, however soon the caller gives up; it is not when the committer ends before.
func (c *committer) write(ctx context.Context, after func(), messages ...*nats.Msg) error {
	w := &commit{messages: messages, ctx: ctx, result: make(chan error, 1), after: after}
	for _, m := range messages {
		w.size += len(m.Data) + 256
	}
	select {
	case c.in <- w:
	case <-c.end:
		return ErrUnavailable
	case <-ctx.Done():
		if after != nil {
			after()
		}
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
	var rested time.Time
	for {
		var batch []*commit
		if batch, held = c.gather(held, rested); len(batch) == 0 {
			return
		}
		// Nobody waits for these any more: they have been told that it is not known, and nothing of them is written.
		batch = slices.DeleteFunc(batch, func(w *commit) bool {
			if w.ctx.Err() == nil {
				return false
			}
			w.end(ErrUnavailable)
			return true
		})
		if len(batch) == 0 {
			continue
		}
		began := time.Now()
		c.commit(batch)
		ended := time.Now()
		rested = ended.Add(rest(ended.Sub(began), runtime.GOMAXPROCS(0)))
	}
}

// gather waits for one call, unless one was held, and takes those that wait with it; until the rest is over also those that come, up to a whole pack. It returns the
// one that did not fit, and nothing when the committer ends: who waits is told that by write.
func (c *committer) gather(held *commit, rested time.Time) (batch []*commit, next *commit) {
	first := held
	if first == nil {
		select {
		case first = <-c.in:
		case <-c.end:
			return nil, nil
		}
	}
	batch = append(batch, first)
	n, size := len(first.messages), first.size
	var over <-chan time.Time // nil: there is no rest, or it is over
	if left := time.Until(rested); left > 0 {
		over = time.After(left)
	}
	for n < maxBatch && size < maxBatchBytes {
		var w *commit
		select {
		case w = <-c.in:
		default:
			if over == nil || n >= packRecords {
				return batch, nil
			}
			select {
			case w = <-c.in:
			case <-over:
				over = nil
				continue
			case <-c.end:
				return nil, nil
			}
		}
		if n+len(w.messages) > maxBatch || size+w.size > maxBatchBytes {
			return batch, w
		}
		batch, n, size = append(batch, w), n+len(w.messages), size+w.size
	}
	return batch, nil
}

// rest is how long a batch is waited for after one that took so long. With one processor a sync is time in which nothing else is done: the engine's
// call holds it. Where calls come one after another, more of them go together then, and no more than a sixth of the time goes to the store while the messages that are
// not stored wait for it. Who calls again and again by himself is slower for it.
func rest(took time.Duration, processors int) time.Duration {
	if processors > 1 {
		return 0
	}
	return min(resting*took, longest)
}

// commit writes a batch, waits until it is stored, and answers.
func (c *committer) commit(batch []*commit) {
	ctx, cancel := context.WithTimeout(c.ctx, commitWait)
	defer cancel()
	type pack struct {
		commits  []*commit
		messages []*nats.Msg
		ack      jetstream.PubAckFuture
		err      error
	}
	var packs []*pack
	size := 0
	for _, w := range batch {
		// The messages of one commit stay together: all or none of them are written.
		if n := len(packs); n == 0 || len(packs[n-1].messages)+len(w.messages) > packRecords || size+w.size > packOctets {
			packs, size = append(packs, &pack{}), 0
		}
		p := packs[len(packs)-1]
		p.commits, p.messages = append(p.commits, w), append(p.messages, w.messages...)
		size += w.size
	}
	for _, p := range packs {
		p.ack, p.err = c.publish(p.messages)
	}
	for _, p := range packs {
		if p.err == nil {
			p.err = c.wait(ctx, p.ack, p.messages)
		}
		if p.err != nil && len(p.commits) > 1 && !errors.Is(p.err, ErrUnavailable) {
			// One that is refused must not take the others with it: a journal that has room for some takes those.
			for _, w := range p.commits {
				ack, err := c.publish(w.messages)
				if err == nil {
					err = c.wait(ctx, ack, w.messages)
				}
				w.end(err)
			}
			continue
		}
		for _, w := range p.commits {
			w.end(p.err)
		}
	}
}

// publish hands a pack to the engine.
func (c *committer) publish(messages []*nats.Msg) (jetstream.PubAckFuture, error) {
	size := 0
	for _, m := range messages {
		size += len(m.Data) + 256
	}
	m := &nats.Msg{Subject: c.pack + nuid.Next(), Data: make([]byte, 0, size)}
	for _, given := range messages {
		m.Data = appendRecord(m.Data, given)
	}
	ack, err := c.js.PublishMsgAsync(m)
	return ack, fault(err)
}

// wait waits until a pack is synced.
func (c *committer) wait(ctx context.Context, a jetstream.PubAckFuture, messages []*nats.Msg) error {
	select {
	case ack := <-a.Ok():
		c.stored(ack.Sequence, messages)
		return nil
	case err := <-a.Err():
		return fault(err)
	case <-c.failed:
		return errWrite
	case <-ctx.Done():
		if c.ctx.Err() == nil {
			return fmt.Errorf("%w: no answer within %v", errWrite, commitWait)
		}
		return fault(ctx.Err())
	}
}

// The engine's codes for a stream that has no room.
const (
	codeResources = 10023 // JSInsufficientResourcesErr
	codeStoreFull = 10047 // JSStorageResourcesExceededErr
	codeWrite     = 10077 // JSStreamStoreFailedF: a write or a sync that failed; the streams have no bounds of their own
)

// errWrite says that the disk refused a write or a sync. What of it is on the disk is not known, nor is what the kernel still holds: nothing
// more is written through the same file (T-FI-04).
var errWrite = fmt.Errorf("%w: a write failed", ErrUnknown)

// fault is the engine's error as one of ours.
func fault(err error) error {
	if err == nil {
		return nil
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeResources, codeStoreFull:
			return fmt.Errorf("%w: %w", ErrFull, err)
		case codeWrite:
			return fmt.Errorf("%w: %w", errWrite, err)
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrReconnectBufExceeded) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // there is no leader, or no connection: nobody has taken it
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
