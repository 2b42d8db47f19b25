package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ids makes IDs that sort by time, and never go back behind what the journal holds, whatever the clock does.
type ids struct {
	mu   sync.Mutex
	last int64
}

// behind makes the next ID come behind this one.
func (s *ids) behind(id ID) {
	if n, err := strconv.ParseInt(string(id[:min(len(id), 16)]), 16, 64); err == nil {
		s.mu.Lock()
		s.last = max(s.last, n)
		s.mu.Unlock()
	}
}

func (s *ids) next() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, time.Now().UnixNano())
	return ID(fmt.Sprintf("%016x", s.last))
}

// NewID implements Journal.
func (s *Store) NewID() ID { return s.ids.next() }

// The headers of an entry on the engine.
const (
	headerKind     = "Kind"
	headerOrder    = "Order"
	headerAccepted = "Accepted"
	headerExpires  = "Expires"
	headerGone     = "Gone" // the entry was removed; nothing else is in the message
)

// goneLife is how long a mark that something is gone stays: the least that the engine knows.
const goneLife = "1s"

// checkID tells whether an ID can be a subject's token.
func checkID(id ID) error {
	if id == "" || len(id) > 64 {
		return errors.New("store: an ID of 1 to 64 octets is needed")
	}
	for i := range len(id) {
		if c := id[i]; c-'0' >= 10 && (c|0x20)-'a' >= 26 && c != '-' && c != '_' {
			return errors.New("store: an ID is letters, digits, - and _")
		}
	}
	return nil
}

// Append implements Journal.
func (s *Store) Append(ctx context.Context, entries ...Entry) error {
	var all []*nats.Msg
	for i := range entries {
		e := &entries[i]
		if err := checkID(e.ID); err != nil {
			return err
		}
		if strings.ContainsAny(e.Order, "\r\n") || len(e.Order) > 8<<10 {
			return errors.New("store: an Order is one line of at most 8 KiB")
		}
		if len(e.Octets)+len(e.Order)+256 > s.cfg.MaxEntry {
			return fmt.Errorf("%w: an entry of %d octets", ErrFull, len(e.Octets))
		}
		m := nats.NewMsg(entrySubject + string(e.ID))
		m.Data = e.Octets
		m.Header.Set(headerKind, strconv.Itoa(int(e.Kind)))
		m.Header.Set(headerOrder, e.Order)
		m.Header.Set(headerAccepted, e.Accepted.UTC().Format(time.RFC3339Nano))
		m.Header.Set(headerExpires, e.Expires.UTC().Format(time.RFC3339Nano))
		all = append(all, m)
	}
	if !s.room.take(entries, &s.cfg) {
		return ErrFull
	}
	err := s.commits.write(ctx, true, all...)
	if err != nil && ctx.Err() == nil {
		s.room.give(ofEntries(entries)...) // with ctx ended it is not known, and may be there
	}
	return err
}

// storedProgress is a Progress on the engine.
type storedProgress struct {
	Attempts int       `json:"n,omitempty"`
	Next     time.Time `json:"next,omitzero"`
	Delayed  bool      `json:"delayed,omitempty"`
	Crashes  int       `json:"crashes,omitempty"`
	Dead     string    `json:"dead,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
}

// Mark implements Journal.
func (s *Store) Mark(ctx context.Context, id ID, p Progress) error {
	if err := checkID(id); err != nil {
		return err
	}
	data, err := json.Marshal(storedProgress(p))
	if err != nil {
		return err
	}
	m := nats.NewMsg(progressPrefix + string(id))
	m.Data = data
	return s.commits.write(ctx, false, m)
}

// Remove implements Journal.
func (s *Store) Remove(ctx context.Context, list ...ID) error {
	var all []*nats.Msg
	for _, id := range list {
		if err := checkID(id); err != nil {
			return err
		}
		if !s.room.has(id) {
			continue // nothing to forget
		}
		for _, subject := range [...]string{entrySubject, progressPrefix} {
			m := nats.NewMsg(subject + string(id))
			m.Header.Set(headerGone, "1")
			m.Header.Set("Nats-TTL", goneLife)
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if err := s.commits.write(ctx, false, all...); err != nil {
		return err
	}
	s.room.give(list...)
	return nil
}

// entryOf reads an entry from what the engine holds.
func entryOf(subject string, h nats.Header, data []byte) (Entry, error) {
	e := Entry{ID: ID(strings.TrimPrefix(subject, entrySubject)), Order: h.Get(headerOrder), Octets: data}
	kind, err := strconv.ParseUint(h.Get(headerKind), 10, 8)
	if err != nil {
		return e, fmt.Errorf("store: entry %s: kind: %w", e.ID, err)
	}
	e.Kind = Kind(kind)
	if e.Accepted, err = time.Parse(time.RFC3339Nano, h.Get(headerAccepted)); err != nil {
		return e, fmt.Errorf("store: entry %s: %w", e.ID, err)
	}
	if e.Expires, err = time.Parse(time.RFC3339Nano, h.Get(headerExpires)); err != nil {
		return e, fmt.Errorf("store: entry %s: %w", e.ID, err)
	}
	return e, nil
}

// Read implements Journal.
func (s *Store) Read(ctx context.Context, id ID) (Entry, Progress, error) {
	if err := checkID(id); err != nil {
		return Entry{}, Progress{}, err
	}
	m, err := s.journal.GetLastMsgForSubject(ctx, entrySubject+string(id))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Header.Get(headerGone) != "" {
		return Entry{}, Progress{}, ErrNotFound
	}
	if err != nil {
		return Entry{}, Progress{}, fault(err)
	}
	e, err := entryOf(m.Subject, m.Header, m.Data)
	if err != nil {
		return e, Progress{}, err
	}
	p := Progress{Next: e.Accepted}
	switch m, err := s.journal.GetLastMsgForSubject(ctx, progressPrefix+string(id)); {
	case err == nil && m.Header.Get(headerGone) == "":
		if p, err = progressOf(m.Data); err != nil {
			return e, p, err
		}
	case err != nil && !errors.Is(err, jetstream.ErrMsgNotFound):
		return e, p, fault(err)
	}
	return e, p, nil
}

func progressOf(data []byte) (Progress, error) {
	var p storedProgress
	if err := json.Unmarshal(data, &p); err != nil {
		return Progress{}, fmt.Errorf("store: progress: %w", err)
	}
	return Progress(p), nil
}

// Replay implements Journal. The order is that in which entries were appended.
func (s *Store) Replay(ctx context.Context, f func(Entry, Progress) error, corrupt func(ID, error)) error {
	known := map[ID]Progress{}
	err := scan(ctx, s.journal, progressPrefix, false, func(m jetstream.Msg) error {
		id := ID(strings.TrimPrefix(m.Subject(), progressPrefix))
		p, err := progressOf(m.Data())
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
	return scan(ctx, s.journal, entrySubject, false, func(m jetstream.Msg) error {
		e, err := entryOf(m.Subject(), m.Headers(), m.Data())
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

// scan calls f for each message that the journal holds now under a prefix, and that is not gone.
func scan(ctx context.Context, stream jetstream.Stream, prefix string, headersOnly bool, f func(jetstream.Msg) error) error {
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: []string{prefix + "*"}, HeadersOnly: headersOnly,
	})
	if err != nil {
		return fault(err)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return fault(err)
	}
	for left := info.NumPending; left > 0; {
		batch, err := consumer.FetchNoWait(int(min(left, 1000)))
		if err != nil {
			return fault(err)
		}
		got := 0
		for m := range batch.Messages() {
			got++
			left--
			if m.Headers().Get(headerGone) != "" {
				continue
			}
			if err := f(m); err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil {
			return fault(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if got > 0 {
			continue
		}
		// What was on its way may have been replaced meanwhile: marks of what is gone end by themselves.
		info, err := consumer.Info(ctx)
		if err != nil {
			return fault(err)
		}
		left = info.NumPending
	}
	return nil
}

// survey learns what the journal holds.
func (s *Store) survey(ctx context.Context) error {
	s.room.sizes = map[ID]int64{}
	return scan(ctx, s.journal, entrySubject, true, func(m jetstream.Msg) error {
		id := ID(strings.TrimPrefix(m.Subject(), entrySubject))
		size, err := strconv.ParseInt(m.Headers().Get("Nats-Msg-Size"), 10, 64)
		if err != nil {
			return fmt.Errorf("store: entry %s: %w", id, err)
		}
		s.room.add(id, size)
		s.ids.behind(id)
		return nil
	})
}

// Usage implements Journal.
func (s *Store) Usage() Usage {
	u := Usage{MaxEntries: s.cfg.MaxEntries, MaxOctets: s.cfg.MaxOctets}
	u.Entries, u.Octets = s.room.used()
	return u
}
