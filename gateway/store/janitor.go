package store

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The journal is a log: what is removed gets a mark at its end, and the log is cut off at its beginning, up to the first entry that is still
// there. An old entry that would keep too much of the log is written anew at its end.

const (
	tidyEvery = time.Second
	// tidyFrom is from how many messages on, written since the last cut, it is worth another one.
	tidyFrom = 2000
	// tidyAlways is after how long it is done anyhow.
	tidyAlways = 30 * time.Second
	// moveFrom is how many packs the log may have, and moveOctets how large it may be, beyond moveTimes what the entries take that are there,
	// before old ones are moved.
	moveFrom, moveOctets, moveTimes = 100_000, 512 << 20, 8
	// moveMost is how many are moved at once: nothing else is written meanwhile.
	moveMost = 64
)

// tidy is the janitor. It ends with Close.
func (s *Store) tidy() {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	journal, facts := tidyAt{at: time.Now()}, tidyAt{at: time.Now()}
	for {
		select {
		case <-s.ending.Done():
			return
		case <-tick.C:
		}
		if s.node != nil {
			s.node.tidy()
			continue
		}
		if s.trouble.Load() {
			s.mend()
			continue
		}
		s.takeBallast()
		e, err := s.engine()
		if err != nil {
			continue
		}
		e.known.expire(time.Now())
		ctx, cancel := context.WithTimeout(s.ending, commitWait)
		if _, last := s.room.first(); journal.due(last) {
			err = s.clear(ctx, moveFrom)
		}
		if err == nil && facts.due(e.known.known()) {
			err = s.tidyFacts(ctx, factsFrom)
		}
		cancel()
		if err != nil && s.ending.Err() == nil {
			s.cfg.Logger.Warn().Str("fault", clip(err.Error())).Msg("the store cannot be tidied now")
		}
	}
}

// clear cuts the log off before its first entry, and moves old entries when the log is from messages too long.
func (s *Store) clear(ctx context.Context, from uint64) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	info, err := e.journal.Info(ctx)
	if err != nil {
		return unread(err)
	}
	first, last := s.room.first()
	entries, octets := s.room.used()
	if long := last + 1 - first; long > from+moveTimes*uint64(entries) || info.State.Bytes > moveOctets+moveTimes*uint64(octets) {
		for _, id := range s.room.before(first+long/2, moveMost) {
			if err := s.move(ctx, id); err != nil {
				return err
			}
		}
		first, _ = s.room.first()
	}
	if info.State.FirstSeq >= first || info.State.Msgs == 0 {
		return nil
	}
	return fault(e.journal.Purge(ctx, jetstream.WithPurgeSequence(first)))
}

// move writes an entry and its progress anew.
func (s *Store) move(ctx context.Context, id ID) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	at, ok := s.room.at(id)
	if !ok {
		return nil
	}
	var all []*nats.Msg
	for _, from := range [...]loc{at.entry, at.progress} {
		r, err := s.record(ctx, from)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		m := nats.NewMsg(r.subject)
		m.Data = r.data
		for _, h := range [...]string{headerKind, headerOrder, headerAccepted, headerExpires} {
			if v := r.header.Get(h); v != "" {
				m.Header.Set(h, v)
			}
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil // it is on its way to the engine
	}
	_, last := s.room.first()
	if err := s.write(ctx, all...); err != nil {
		return err
	}
	s.room.moved(id, last)
	return nil
}
