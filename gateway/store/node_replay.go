package store

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// replay is Replay.
func (n *node) replay(ctx context.Context, parts []int, f func(Entry, Progress) error, corrupt func(ID, error)) error {
	if parts != nil && len(parts) == 0 {
		return nil
	}
	engine, err := n.store.engine()
	if err != nil {
		return err
	}
	known := map[ID]Progress{}
	err = n.newest(ctx, engine, n.at.progress, parts).each(func(m kept, _ bool) error {
		_, _, id := n.at.split(m.subject)
		p, err := progressOf(m.data)
		if err != nil {
			corrupt(id, err)
			return nil
		}
		known[id] = p
		return nil
	})
	if err != nil {
		return err
	}
	n.held.release(parts)
	return n.newest(ctx, engine, n.at.entry, parts).each(func(m kept, again bool) error {
		if again {
			return nil // an entry never changes: it was written anew
		}
		e, err := n.at.entryOf(m.subject, m.header, m.data)
		n.held.also(&e)
		n.store.ids.behind(e.ID)
		if err != nil {
			corrupt(e.ID, err)
			return nil
		}
		p, ok := known[e.ID]
		if !ok {
			p = Progress{Next: e.Accepted}
		}
		return f(e, p)
	})
}

// newest reads the last messages of the subjects of some parts under a prefix.
func (n *node) newest(ctx context.Context, e *engine, prefix string, parts []int) newest {
	scan := func(headersOnly bool) func(func(kept) error) (uint64, error) {
		return func(f func(kept) error) (uint64, error) { return n.scan(ctx, e, prefix, parts, headersOnly, f) }
	}
	return newest{index: scan(true), read: scan(false), last: func(subject string) (kept, error) {
		m, err := n.store.last(ctx, e, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return kept{subject: subject, gone: true}, nil
		}
		if err != nil {
			return kept{}, unread(err)
		}
		return kept{subject: m.Subject, seq: m.Sequence, gone: m.Header.Get(headerGone) != "", header: m.Header, data: m.Data}, nil
	}}
}

// errEnough ends a scan.
var errEnough = errors.New("store: enough")

// scan calls f for each message of some parts that the journal holds now under a prefix, and returns the sequence of its end: everything that was acknowledged
// before the call is before it. The copy that it reads may be behind: it may have what was replaced long ago, and then also what has replaced it.
func (n *node) scan(ctx context.Context, e *engine, prefix string, parts []int, headersOnly bool, f func(kept) error) (until uint64, err error) {
	subjects := filters(prefix, parts)
	until, err = n.store.barrier(ctx, e, prefix+n.at.barrier)
	if err != nil {
		return 0, err
	}
	if parts != nil {
		subjects = append(subjects, prefix+n.at.barrier+"*")
	}
	r := reader{
		stream: e.journal, config: jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: subjects, HeadersOnly: headersOnly},
	}
	// Somebody may have cleared the barrier away before it was read: any message behind it will do.
	r.idle = func(ctx context.Context) error {
		_, err := n.store.barrier(ctx, e, prefix+n.at.barrier)
		return err
	}
	err = r.run(ctx, e, func(m *nats.Msg, seq uint64) error {
		if seq >= until {
			return errEnough
		}
		return f(kept{subject: m.Subject, seq: seq, gone: m.Header.Get(headerGone) != "", header: m.Header, data: m.Data})
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return until, err
}
