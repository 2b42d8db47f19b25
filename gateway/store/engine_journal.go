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
)

// ids makes IDs that sort by time, and never go back behind what the journal holds, whatever the clock does.
type ids struct {
	mu   sync.Mutex
	last int64
	node string // on a cluster, what makes the IDs of a node its own
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
	return ID(fmt.Sprintf("%016x%s", s.last, s.node))
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

// write has messages written, all or none, and notes whether the engine takes them.
func (s *Store) write(ctx context.Context, messages ...*nats.Msg) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	if s.broken.Load() {
		return errBroken
	}
	err = e.commits.write(ctx, nil, messages...)
	s.suspect(err)
	return err
}

// suspect notes an error of the engine.
func (s *Store) suspect(err error) {
	// On a cluster it may have been another node's disk.
	if errors.Is(err, errWrite) && s.node == nil && !s.broken.Swap(true) {
		s.cfg.Logger.Error().Str("fault", clip(err.Error())).Msg("the disk refused a write: the store takes nothing until it has been opened anew")
	}
	if errors.Is(err, ErrUnavailable) {
		s.trouble.Store(true)
	}
}

// errBroken is for those who come while the store is broken: nothing of theirs was written.
var errBroken = fmt.Errorf("%w: the disk refused a write", ErrUnavailable)

// message is an entry as the engine holds it.
func (s *Store) message(e *Entry) (*nats.Msg, error) {
	if err := checkID(e.ID); err != nil {
		return nil, err
	}
	if e.Part < 0 || e.Part >= Parts {
		return nil, fmt.Errorf("store: there is no part %d", e.Part)
	}
	if strings.ContainsAny(e.Order, "\r\n") || len(e.Order) > 8<<10 {
		return nil, errors.New("store: an Order is one line of at most 8 KiB")
	}
	if len(e.Octets)+len(e.Order)+256 > s.cfg.MaxEntry {
		return nil, fmt.Errorf("%w: an entry of %d octets", ErrFull, len(e.Octets))
	}
	m := nats.NewMsg(subject(s.at.entry, e.Part, e.ID))
	m.Data = e.Octets
	m.Header.Set(headerKind, strconv.Itoa(int(e.Kind)))
	m.Header.Set(headerOrder, e.Order)
	m.Header.Set(headerAccepted, e.Accepted.UTC().Format(time.RFC3339Nano))
	m.Header.Set(headerExpires, e.Expires.UTC().Format(time.RFC3339Nano))
	return m, nil
}

// gone is the mark that an entry is no more. It stays until nothing before it is left (see janitor): what it ends is there as long.
func gone(part int, id ID) *nats.Msg {
	m := nats.NewMsg(subject(entrySubject, part, id))
	m.Header.Set(headerGone, "1")
	return m
}

// Append implements Journal.
func (s *Store) Append(ctx context.Context, entries ...Entry) error {
	if s.node != nil {
		return s.node.append(ctx, entries)
	}
	if s.short() {
		return fmt.Errorf("%w: the disk has no room", ErrFull)
	}
	var all []*nats.Msg
	for i := range entries {
		m, err := s.message(&entries[i])
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	if !s.room.take(entries, &s.cfg) {
		return ErrFull
	}
	err := s.write(ctx, all...)
	switch {
	case errors.Is(err, ErrUnknown):
		// Its caller tells somebody that it was not taken. If it was, it must not be there after a restart.
		s.disown(ofEntries(entries))
	case err != nil:
		s.room.give(ofEntries(entries)...)
	}
	return err
}

// disown has entries forgotten of which it is not known whether they were written. What is written comes in the order in which it was
// given: behind them.
func (s *Store) disown(list []ID) {
	s.background.Go(func() {
		ctx, cancel := context.WithTimeout(s.ending, disownWait)
		defer cancel()
		for ctx.Err() == nil && s.Remove(ctx, list...) != nil {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	})
}

// disownWait bounds how long that is tried. Entries that a disk has kept for so long are found after a restart.
const disownWait = 10 * time.Minute

// Exchange implements Journal. The new entry takes the room of the old one: an end can be told when the journal is full.
func (s *Store) Exchange(ctx context.Context, old ID, e Entry) error {
	if s.node != nil {
		return s.node.exchange(ctx, old, e)
	}
	m, err := s.message(&e)
	if err != nil {
		return err
	}
	s.moving.RLock()
	defer s.moving.RUnlock()
	part, err := s.partOf(ctx, old)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	all := []*nats.Msg{m}
	if moved := old == e.ID; moved {
		if err != nil || part == e.Part {
			return fmt.Errorf("store: entry %s cannot be exchanged for itself", old)
		}
		at, _ := s.room.at(old)
		switch r, err := s.record(ctx, at.progress); {
		case err == nil:
			m := nats.NewMsg(subject(progressPrefix, e.Part, old))
			m.Data = r.data
			all = append(all, m)
		case !errors.Is(err, ErrNotFound):
			return err
		}
		// It is counted once, in its new part from when it is there.
		if err := s.write(ctx, append(all, gone(part, old))...); err != nil {
			return err
		}
		s.room.also(&e)
		return nil
	}
	if err == nil {
		all = append(all, gone(part, old))
	}
	s.room.also(&e)
	err = s.write(ctx, all...)
	switch {
	case errors.Is(err, ErrUnknown):
		// Either the old entry is there, or the new one, or both for a moment: whoever reads them finds out.
	case err != nil:
		s.room.give(e.ID)
	default:
		s.room.give(old)
	}
	return err
}

// partOf is the part that an entry is in. One that this node has neither appended nor replayed is looked for.
func (s *Store) partOf(ctx context.Context, id ID) (int, error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	p, err := s.place(id)
	return p.part, err
}

// storedProgress is a Progress on the engine.
type storedProgress struct {
	Attempts int       `json:"n,omitempty"`
	Next     time.Time `json:"next,omitzero"`
	Delayed  bool      `json:"delayed,omitempty"`
	Crashes  int       `json:"crashes,omitempty"`
	Trying   Trying    `json:"trying,omitempty"`
	Dead     string    `json:"dead,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
}

// Mark implements Journal.
func (s *Store) Mark(ctx context.Context, id ID, p Progress) error {
	if s.node != nil {
		return s.node.mark(ctx, id, p)
	}
	data, err := json.Marshal(storedProgress(p))
	if err != nil {
		return err
	}
	s.moving.RLock()
	defer s.moving.RUnlock()
	part, err := s.partOf(ctx, id)
	if err != nil {
		return err
	}
	m := nats.NewMsg(subject(progressPrefix, part, id))
	m.Data = data
	return s.write(ctx, m)
}

// Remove implements Journal.
func (s *Store) Remove(ctx context.Context, list ...ID) error {
	if s.node != nil {
		return s.node.remove(ctx, list)
	}
	s.moving.RLock()
	defer s.moving.RUnlock()
	var all []*nats.Msg
	for _, id := range list {
		switch part, err := s.partOf(ctx, id); {
		case errors.Is(err, ErrNotFound): // nothing to forget
		case err != nil:
			return err
		default:
			all = append(all, gone(part, id))
		}
	}
	if len(all) == 0 {
		return nil
	}
	if err := s.write(ctx, all...); err != nil {
		return err
	}
	s.room.give(list...)
	return nil
}

// entryOf reads an entry from what the engine holds.
func entryOf(subject string, h nats.Header, data []byte) (Entry, error) {
	e := Entry{Order: h.Get(headerOrder), Octets: data}
	e.Part, e.ID = ofSubject(subject)
	return e, e.fill(h)
}

// fill reads what the headers of an entry say.
func (e *Entry) fill(h nats.Header) error {
	kind, err := strconv.ParseUint(h.Get(headerKind), 10, 8)
	if err != nil {
		return fmt.Errorf("store: entry %s: kind: %w", e.ID, err)
	}
	e.Kind = Kind(kind)
	if e.Accepted, err = time.Parse(time.RFC3339Nano, h.Get(headerAccepted)); err != nil {
		return fmt.Errorf("store: entry %s: %w", e.ID, err)
	}
	if e.Expires, err = time.Parse(time.RFC3339Nano, h.Get(headerExpires)); err != nil {
		return fmt.Errorf("store: entry %s: %w", e.ID, err)
	}
	return nil
}

func progressOf(data []byte) (Progress, error) {
	var p storedProgress
	if err := json.Unmarshal(data, &p); err != nil {
		return Progress{}, fmt.Errorf("store: progress: %w", err)
	}
	return Progress(p), nil
}

// Release implements Journal. Without a cluster every part stays this node's.
func (s *Store) Release(parts ...int) {
	if s.node != nil {
		s.node.held.release(parts)
	}
}

// Usage implements Journal.
func (s *Store) Usage() Usage {
	u := Usage{MaxEntries: s.cfg.MaxEntries, MaxOctets: s.cfg.MaxOctets}
	if s.node != nil {
		u.Entries, u.Octets = s.node.held.used()
		return u
	}
	u.Entries, u.Octets = s.room.used()
	return u
}
