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
	err = n.scan(ctx, engine, n.at.progress, parts, false, func(subject string, _ nats.Header, data []byte) error {
		_, _, id := n.at.split(subject)
		p, err := progressOf(data)
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
	return n.scan(ctx, engine, n.at.entry, parts, false, func(subject string, h nats.Header, data []byte) error {
		e, err := n.at.entryOf(subject, h, data)
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

// errEnough ends a scan.
var errEnough = errors.New("store: enough")

// scan calls f for each message of some parts that the journal holds now under a prefix, and that is not gone.
func (n *node) scan(ctx context.Context, e *engine, prefix string, parts []int, headersOnly bool, f func(string, nats.Header, []byte) error) error {
	subjects := filters(prefix, parts)
	until, err := n.store.barrier(ctx, e, prefix+n.at.barrier)
	if err != nil {
		return err
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
		if m.Header.Get(headerGone) != "" {
			return nil
		}
		return f(m.Subject, m.Header, m.Data)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
