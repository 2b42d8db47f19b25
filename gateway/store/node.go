package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// node is the journal of a node of a cluster.
type node struct {
	store *Store
	at    *layout
	held  held

	// swept is when the janitor of the cluster has looked, sweptAt when it has read the log and sweptTo how far, janitorSince when this node
	// made itself the janitor, troubled since when it cannot write. They are the janitor's.
	swept, sweptAt, janitorSince, troubled time.Time
	sweptTo                                uint64
}

func newNode(s *Store) *node { return &node{store: s, at: &s.at, held: held{entries: map[ID]share{}}} }

// write has messages written, and notes whether the engine takes them.
func (n *node) write(ctx context.Context, atomic bool, messages ...*nats.Msg) error {
	e, err := n.store.engine()
	if err != nil {
		return err
	}
	if err := n.store.ready(); err != nil {
		return err
	}
	err = e.copies.write(ctx, atomic, messages...)
	n.store.suspect(err)
	return err
}

// gone are the marks that an entry and its progress are no more. They stay until nothing before them is left (see sweep): the engine
// replaces the last message of a subject without a trace of it on the disk, so that what a mark has replaced would be there again
// after a crash that comes later than the mark's end.
func (l *layout) gone(part int, id ID) (all []*nats.Msg) {
	for _, prefix := range [...]string{l.entry, l.progress} {
		m := nats.NewMsg(subject(prefix, part, id))
		m.Header.Set(headerGone, "1")
		all = append(all, m)
	}
	return all
}

// append is Append.
func (n *node) append(ctx context.Context, entries []Entry) error {
	s := n.store
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
	if !n.held.take(entries, &s.cfg) {
		return ErrFull
	}
	err := n.write(ctx, true, all...)
	switch {
	case errors.Is(err, ErrUnknown):
		// Its caller tells somebody that it was not taken. If it was, it must not be there after a restart.
		s.disown(ofEntries(entries))
	case err != nil:
		n.held.give(ofEntries(entries)...)
	}
	return err
}

// exchange is Exchange. The new entry takes the room of the old one: an end can be told when the journal is full. What another node has moved,
// exchanged or removed since it was read is not there again because of it: the old entry is exchanged as it was read, or not at all.
func (n *node) exchange(ctx context.Context, old ID, e Entry) error {
	for range exchangeTries {
		err := n.exchangeOnce(ctx, old, e)
		var refused *jetstream.APIError
		if !errors.As(err, &refused) {
			return err
		}
		if refused.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence && refused.ErrorCode != codeWrongSequence {
			return err
		}
		// Something has become of it. It may be the janitor, who writes old ones anew.
	}
	return ErrUnavailable
}

// exchangeTries is how often an exchange is tried that something else comes before.
const exchangeTries = 3

func (n *node) exchangeOnce(ctx context.Context, old ID, e Entry) error {
	s := n.store
	m, err := s.message(&e)
	if err != nil {
		return err
	}
	part, err := n.partOf(ctx, old)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	engine, eerr := s.engine()
	if eerr != nil {
		return eerr
	}
	gone := n.at.gone(part, old)
	if err == nil {
		var there *jetstream.RawStreamMsg
		there, err = s.last(ctx, engine, subject(n.at.entry, part, old))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && there.Header.Get(headerGone) != "":
			err = ErrNotFound
		case err != nil:
			return unread(err)
		default:
			gone[0].Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(there.Sequence, 10))
		}
	}
	all := []*nats.Msg{m}
	if moved := old == e.ID; moved {
		if err != nil || part == e.Part {
			return fmt.Errorf("store: entry %s cannot be exchanged for itself", old)
		}
		switch p, err := s.last(ctx, engine, subject(n.at.progress, part, old)); {
		case err == nil:
			m := nats.NewMsg(subject(n.at.progress, e.Part, old))
			m.Data = p.Data
			all = append(all, m)
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			return unread(err)
		}
		// It is counted once, in its new part from when it is there. Its last message is one of those that are not gone (see partOf).
		if err := n.write(ctx, true, append(gone, all...)...); err != nil {
			return err
		}
		n.held.also(&e)
		return nil
	}
	if err != nil {
		return err // another node has ended it, and told what there was to tell
	}
	all = append(all, gone...)
	n.held.also(&e)
	err = n.write(ctx, true, all...)
	switch {
	case errors.Is(err, ErrUnknown):
		// Either the old entry is there, or the new one, or both for a moment: whoever reads them finds out.
	case err != nil:
		n.held.give(e.ID)
	default:
		n.held.give(old)
	}
	return err
}

// partOf is the part that an entry is in. One that this node has neither appended nor replayed is looked for.
func (n *node) partOf(ctx context.Context, id ID) (int, error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	if part, ok := n.held.part(id); ok {
		return part, nil
	}
	engine, err := n.store.engine()
	if err != nil {
		return 0, err
	}
	var last *jetstream.RawStreamMsg
	for _, wild := range [...]string{subject(n.at.entry, 0, id), n.at.entry + "*." + string(id)} {
		m, err := n.store.last(ctx, engine, wild)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return 0, unread(err)
		case last == nil || m.Sequence > last.Sequence:
			last = m
		}
	}
	if last == nil || last.Header.Get(headerGone) != "" {
		return 0, ErrNotFound
	}
	_, part, _ := n.at.split(last.Subject)
	return part, nil
}

// mark is Mark.
func (n *node) mark(ctx context.Context, id ID, p Progress) error {
	data, err := json.Marshal(storedProgress(p))
	if err != nil {
		return err
	}
	part, err := n.partOf(ctx, id)
	if err != nil {
		return err
	}
	m := nats.NewMsg(subject(n.at.progress, part, id))
	m.Data = data
	return n.write(ctx, false, m)
}

// remove is Remove.
func (n *node) remove(ctx context.Context, list []ID) error {
	var all []*nats.Msg
	for _, id := range list {
		switch part, err := n.partOf(ctx, id); {
		case errors.Is(err, ErrNotFound): // nothing to forget
		case err != nil:
			return err
		default:
			all = append(all, n.at.gone(part, id)...)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if err := n.write(ctx, false, all...); err != nil {
		return err
	}
	n.held.give(list...)
	return nil
}

// read is Read.
func (n *node) read(ctx context.Context, id ID) (Entry, Progress, error) {
	part, err := n.partOf(ctx, id)
	if err != nil {
		return Entry{}, Progress{}, err
	}
	engine, err := n.store.engine()
	if err != nil {
		return Entry{}, Progress{}, err
	}
	m, err := n.store.last(ctx, engine, subject(n.at.entry, part, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Header.Get(headerGone) != "" {
		return Entry{}, Progress{}, ErrNotFound
	}
	if err != nil {
		return Entry{}, Progress{}, unread(err)
	}
	e, err := n.at.entryOf(m.Subject, m.Header, m.Data)
	if err != nil {
		return e, Progress{}, err
	}
	p := Progress{Next: e.Accepted}
	switch m, err := n.store.last(ctx, engine, subject(n.at.progress, part, id)); {
	case err == nil && m.Header.Get(headerGone) == "":
		if p, err = progressOf(m.Data); err != nil {
			return e, p, err
		}
	case err != nil && !errors.Is(err, jetstream.ErrMsgNotFound):
		return e, p, unread(err)
	}
	return e, p, nil
}

// entryOf reads an entry from what the engine holds.
func (l *layout) entryOf(subject string, h nats.Header, data []byte) (Entry, error) {
	e := Entry{Order: h.Get(headerOrder), Octets: data}
	_, e.Part, e.ID = l.split(subject)
	return e, e.fill(h)
}
