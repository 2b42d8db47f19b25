package store

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// reader reads a stream in order, from whichever of the engine's nodes has a copy, and goes on with another one when that goes away. Who
// needs to have read everything that was acknowledged reads up to a barrier: a copy may be behind.
type reader struct {
	stream jetstream.Stream
	config jetstream.ConsumerConfig // policy and filters
	// idle is called when nothing has come for a while.
	idle func(context.Context) error
	// anew tells that who reads has to begin anew when the reading has ended: what came and went between would not be known, because the engine
	// keeps the mark of what is gone for a moment only.
	anew bool
}

const (
	// readerBeat is how often the engine says that there is nothing, readerSilent how long it may say nothing.
	readerBeat   = 500 * time.Millisecond
	readerSilent = 5 * readerBeat
	// readerIdle is after how long without a message idle is called.
	readerIdle = 2 * readerBeat
	// readerAttempts bounds how often it is begun anew without a message between; readerPause is between two.
	readerAttempts = 30
	readerPause    = 300 * time.Millisecond
)

// run calls f for each message with its sequence, until f fails, ctx ends or the engine does.
func (r *reader) run(ctx context.Context, e *engine, f func(m *nats.Msg, seq uint64) error) error {
	var failed error
	last := uint64(0)
	for attempt := 0; attempt < readerAttempts; attempt++ {
		before := last
		err, ours := r.once(ctx, e, &last, f)
		switch {
		case ours:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case r.anew && last > 0:
			return unread(err)
		}
		select {
		case <-e.ended:
			return ErrUnavailable
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readerPause):
		}
		if failed = err; last != before {
			attempt = 0
		}
	}
	return unread(failed)
}

var errSilent = errors.New("store: the engine says nothing")

// once reads until something fails; ours tells that it is f or idle, else another attempt may help.
func (r *reader) once(ctx context.Context, e *engine, last *uint64, f func(m *nats.Msg, seq uint64) error) (_ error, ours bool) {
	inbox := e.conn.NewInbox()
	sub, err := e.conn.SubscribeSync(inbox)
	if err != nil {
		return err, false
	}
	defer sub.Unsubscribe() //nolint:errcheck // it was only read from
	defer context.AfterFunc(ctx, func() { sub.Unsubscribe() })()
	c := r.config
	c.DeliverSubject, c.AckPolicy, c.MaxDeliver, c.MemoryStorage, c.Replicas = inbox, jetstream.AckNonePolicy, 1, true, 1
	c.FlowControl, c.IdleHeartbeat, c.InactiveThreshold = true, readerBeat, 10*time.Second
	if *last > 0 {
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, *last+1
	}
	making, cancel := context.WithTimeout(ctx, joinOnce)
	_, err = r.stream.CreatePushConsumer(making, c)
	cancel()
	if err != nil {
		return err, false
	}
	heard, came := time.Now(), time.Now()
	for next := uint64(1); ; {
		m, err := sub.NextMsg(readerBeat)
		switch {
		case errors.Is(err, nats.ErrTimeout):
			if time.Since(heard) > readerSilent {
				return errSilent, false
			}
		case err != nil:
			return err, false
		case m.Header.Get("Status") != "":
			heard = time.Now()
			if m.Header.Get("Status") != "100" {
				return errors.New("store: the engine has ended it: " + clip(m.Header.Get("Description"))), false
			}
			answer := m.Reply
			if answer == "" {
				answer = m.Header.Get("Nats-Consumer-Stalled")
			}
			if answer != "" {
				if err := e.conn.Publish(answer, nil); err != nil {
					return err, false
				}
			}
		default:
			at, err := m.Metadata()
			if err != nil {
				return err, false
			}
			if at.Sequence.Consumer != next {
				return errors.New("store: something was left out"), false
			}
			next++
			heard, came = time.Now(), time.Now()
			*last = at.Sequence.Stream
			if err := f(m, at.Sequence.Stream); err != nil {
				return err, true
			}
			continue
		}
		if time.Since(came) > readerIdle {
			came = time.Now()
			if err := r.idle(ctx); err != nil {
				return err, true
			}
		}
	}
}
