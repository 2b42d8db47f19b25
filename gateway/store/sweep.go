package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// On a cluster no node knows all entries. The janitor, one node at a time, reads the log from its beginning therefore, up to the first entry
// that is still there, and cuts it off before it: what is there of a place in the log never changes but to vanish, so that this is right
// however late what it reads is, and whoever else does the same. Old entries that keep the log long are written anew at its end where nothing
// has become of them meanwhile.

const (
	// sweepEvery is how often the janitor looks, sweepLife how long the others leave it to it.
	sweepEvery = 5 * time.Second
	sweepLife  = time.Minute
	// sweepMost is how many messages it reads at once.
	sweepMost = 50_000
)

// sweep is the janitor of a cluster; it is called each tidyEvery.
func (n *node) sweep() {
	if time.Since(n.swept) < sweepEvery || n.store.ready() != nil {
		return
	}
	n.swept = time.Now()
	ctx, cancel := context.WithTimeout(n.store.ending, 2*commitWait)
	defer cancel()
	mine, err := n.janitor(ctx)
	if err == nil && mine {
		err = n.cut(ctx, moveFrom)
	}
	if err != nil && n.store.ending.Err() == nil && n.store.ready() == nil {
		n.store.cfg.Logger.Warn().Str("fault", clip(err.Error())).Msg("the journal cannot be tidied now")
	}
}

// janitor tells whether this node is the janitor now, and makes it the one if there is none.
func (n *node) janitor(ctx context.Context) (bool, error) {
	const bucket, key = "store", "janitor"
	node := []byte(n.store.cfg.Cluster.Node)
	who, revision, err := n.store.Get(ctx, bucket, key)
	switch {
	case errors.Is(err, ErrNotFound):
		err = n.store.Create(ctx, bucket, key, node, sweepLife)
	case err != nil:
	case string(who) != string(node):
		return false, nil
	case time.Since(n.janitorSince) > sweepLife/2:
		err = n.store.Replace(ctx, bucket, key, node, revision, sweepLife)
	default:
		return true, nil
	}
	if errors.Is(err, ErrExists) {
		return false, nil
	}
	if err == nil {
		n.janitorSince = time.Now()
	}
	return err == nil, err
}

// cut cuts the log off before its first entry, and moves old entries when the log is from messages too long.
func (n *node) cut(ctx context.Context, from uint64) error {
	e, err := n.store.engine()
	if err != nil {
		return err
	}
	info, err := e.journal.Info(ctx)
	if err != nil {
		return unread(err)
	}
	state := info.State
	if state.Msgs == 0 || state.LastSeq == n.sweptTo || from == moveFrom && state.LastSeq-n.sweptTo < tidyFrom && time.Since(n.sweptAt) < tidyAlways {
		return nil
	}
	entries := n.held.everywhere()
	long := state.LastSeq + 1 - state.FirstSeq
	moving := long > from+moveTimes*uint64(entries)
	first, read := uint64(0), 0
	var old []ID
	parts := map[ID]int{}
	until, err := n.store.barrier(ctx, e, n.at.entry+n.at.barrier)
	if err != nil {
		return err
	}
	r := reader{
		stream: e.journal, config: jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy, HeadersOnly: true},
		idle: func(ctx context.Context) error {
			_, err := n.store.barrier(ctx, e, n.at.entry+n.at.barrier)
			return err
		},
	}
	err = r.run(ctx, e, func(m *nats.Msg, seq uint64) error {
		if read++; read > sweepMost || seq >= until {
			if first == 0 {
				first = seq
			}
			return errEnough
		}
		if m.Header.Get(headerGone) != "" {
			return nil
		}
		prefix, part, id := n.at.split(m.Subject)
		if prefix == n.at.progress {
			// Progress of what is gone keeps nothing.
			last, err := e.journal.GetLastMsgForSubject(ctx, subject(n.at.entry, part, id))
			if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Header.Get(headerGone) != "" {
				return nil
			}
			if err != nil {
				return unread(err)
			}
		}
		if first == 0 {
			first = seq
		}
		if !moving || seq > state.FirstSeq+long/2 || len(old) >= moveMost {
			return errEnough
		}
		if _, ok := parts[id]; !ok {
			old, parts[id] = append(old, id), part
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for _, id := range old {
		if err := n.renew(ctx, e, parts[id], id); err != nil {
			return err
		}
	}
	n.sweptTo, n.sweptAt = until, time.Now()
	if first > state.FirstSeq {
		return unread(e.journal.Purge(ctx, jetstream.WithPurgeSequence(first)))
	}
	return nil
}

// renew writes an entry and its progress anew, if nothing becomes of them meanwhile.
func (n *node) renew(ctx context.Context, e *engine, part int, id ID) error {
	var all []*nats.Msg
	for _, prefix := range [...]string{n.at.entry, n.at.progress} {
		old, err := e.journal.GetLastMsgForSubject(ctx, subject(prefix, part, id))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			continue
		case err != nil:
			return unread(err)
		case old.Header.Get(headerGone) != "":
			return nil
		}
		m := nats.NewMsg(subject(prefix, part, id))
		m.Data = old.Data
		for _, h := range [...]string{headerKind, headerOrder, headerAccepted, headerExpires} {
			if v := old.Header.Get(h); v != "" {
				m.Header.Set(h, v)
			}
		}
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(old.Sequence, 10))
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil
	}
	err := e.copies.write(ctx, true, all...)
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		return nil // something has become of it: the next sweep sees
	}
	return err
}
