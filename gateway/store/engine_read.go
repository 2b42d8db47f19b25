package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// record reads a record from where it is; ErrNotFound if it is nowhere.
func (s *Store) record(ctx context.Context, at loc) (record, error) {
	if at.seq == 0 {
		return record{}, ErrNotFound
	}
	engine, err := s.engine()
	if err != nil {
		return record{}, err
	}
	m, err := engine.journal.GetMsg(ctx, at.seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record{}, ErrNotFound
	}
	if err != nil {
		return record{}, unread(err)
	}
	if at.slot == 0 {
		return record{m.Subject, m.Header, m.Data}, nil
	}
	return unpackOne(m.Data, at.slot-1)
}

// place is where an entry is. While the engine is opened anew nobody knows: that an entry is nowhere may be said only if the same engine is
// there before and after.
func (s *Store) place(id ID) (place, error) {
	for {
		e, err := s.engine()
		if err != nil {
			return place{}, err
		}
		if p, ok := s.room.at(id); ok {
			return p, nil
		}
		if s.now.Load() == e {
			return place{}, ErrNotFound
		}
	}
}

// Read implements Journal.
func (s *Store) Read(ctx context.Context, id ID) (Entry, Progress, error) {
	if s.node != nil {
		return s.node.read(ctx, id)
	}
	if err := checkID(id); err != nil {
		return Entry{}, Progress{}, err
	}
	at, err := s.place(id)
	if err != nil {
		return Entry{}, Progress{}, err
	}
	r, err := s.record(ctx, at.entry)
	if err != nil {
		return Entry{}, Progress{}, err
	}
	e, err := entryOf(r.subject, r.header, r.data)
	if err != nil {
		return e, Progress{}, err
	}
	p := Progress{Next: e.Accepted}
	switch r, err := s.record(ctx, at.progress); {
	case err == nil:
		if p, err = progressOf(r.data); err != nil {
			return e, p, err
		}
	case !errors.Is(err, ErrNotFound):
		return e, p, err
	}
	return e, p, nil
}

// found is an entry in the log: where it is and where its progress is, as far as the log has been read.
type found struct {
	place
	id ID
}

// survey reads the log and returns what of some parts is in it; nil: of all.
func survey(ctx context.Context, journal jetstream.Stream, parts []int) (map[string]found, error) {
	all := map[string]found{} // by subject, without the prefix
	err := scan(ctx, journal, parts, func(at loc, r record) error {
		prefix, key := r.subject[:len(entrySubject)], r.subject[len(entrySubject):]
		f, ok := all[key]
		switch {
		case r.header.Get(headerGone) != "":
			if prefix == entrySubject {
				delete(all, key)
			}
			return nil
		case prefix == progressPrefix:
			if f.progress = at; !ok {
				return nil // of an entry that is gone
			}
		default:
			if !ok { // else written anew
				f.from = at.seq
			}
			f.part, f.id = ofSubject(r.subject)
			f.size, f.entry = int64(len(r.data)), at
		}
		all[key] = f
		return nil
	}, func(error) {})
	return all, err
}

// Replay implements Journal. The order is that in which the log holds entries, among which the janitor moves old ones.
func (s *Store) Replay(ctx context.Context, parts []int, f func(Entry, Progress) error, corrupt func(ID, error)) error {
	if s.node != nil {
		return s.node.replay(ctx, parts, f, corrupt)
	}
	if parts != nil && len(parts) == 0 {
		return nil
	}
	engine, err := s.engine()
	if err != nil {
		return err
	}
	// Where everything is, is known since the journal was opened. What is written after this is nobody's to replay.
	all, progressed := s.room.all(parts)
	progress := make(map[ID]Progress, progressed)
	unreadable := func(err error) { corrupt("", err) }
	if progressed > 0 {
		err = scan(ctx, engine.journal, parts, func(at loc, r record) error {
			if !strings.HasPrefix(r.subject, progressPrefix) {
				return nil
			}
			if _, id := ofSubject(r.subject); all[id].progress == at {
				p, err := progressOf(r.data)
				if err != nil {
					corrupt(id, err)
					return nil
				}
				progress[id] = p
			}
			return nil
		}, func(error) {})
		if err != nil {
			return err
		}
	}
	return scan(ctx, engine.journal, parts, func(at loc, r record) error {
		if !strings.HasPrefix(r.subject, entrySubject) {
			return nil
		}
		if _, id := ofSubject(r.subject); all[id].entry != at {
			return nil
		}
		e, err := entryOf(r.subject, r.header, r.data)
		if err != nil {
			corrupt(e.ID, err)
			return nil
		}
		p, ok := progress[e.ID]
		if !ok {
			p = Progress{Next: e.Accepted}
		}
		return f(e, p)
	}, unreadable)
}

// scan calls f for each record that the log holds now of some parts, nil: of all, in order. Those of other parts may be among them.
// corrupt is told of what cannot be read.
func scan(ctx context.Context, stream jetstream.Stream, parts []int, f func(loc, record) error, corrupt func(error)) error {
	filter := append(append(filters(entrySubject, parts), filters(progressPrefix, parts)...), packPrefix+"*")
	wanted := func(subject string) bool {
		if parts == nil {
			return true
		}
		part, _ := ofSubject(subject)
		for _, p := range parts {
			if p == part {
				return true
			}
		}
		return false
	}
	return messages(ctx, stream, filter, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		return records(m, meta.Sequence.Stream, wanted, f, corrupt)
	})
}

// messages calls f for each message that a stream holds now of some subjects, nil: of all, in order.
func messages(ctx context.Context, stream jetstream.Stream, subjects []string, f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	// Where nothing comes the engine's library says after a second that there is nothing, also when the machine is only slow; what the
	// engine sent meanwhile is lost then, and counts as delivered. So the end is what the last message says of itself, or what a reader
	// that begins behind it finds.
	next := uint64(0)
	for idle := 0; idle < scanAttempts; idle++ {
		from := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: subjects}
		if next > 0 {
			from.DeliverPolicy, from.OptStartSeq = jetstream.DeliverByStartSequencePolicy, next
		}
		consumer, err := stream.OrderedConsumer(ctx, from)
		if err != nil {
			return unread(err)
		}
		info, err := consumer.Info(ctx)
		if err != nil {
			return unread(err)
		}
		for left, got := info.NumPending, 1; got > 0; {
			if left == 0 {
				return nil
			}
			batch, err := consumer.FetchNoWait(int(min(left, 1000)))
			if err != nil {
				return unread(err)
			}
			got = 0
			for m := range batch.Messages() {
				meta, err := m.Metadata()
				if err != nil {
					return unread(err)
				}
				if err := f(m, meta); err != nil {
					return err
				}
				got, idle = got+1, 0
				next, left = meta.Sequence.Stream+1, meta.NumPending
			}
			if err := batch.Error(); err != nil {
				return unread(err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%w: the engine says that there is more of the log, and sends nothing", ErrUnavailable)
}

// scanAttempts bounds how often a log is asked for what it does not send.
const scanAttempts = 30

// records calls f for the records of one of the engine's messages.
func records(m jetstream.Msg, seq uint64, wanted func(string) bool, f func(loc, record) error, corrupt func(error)) error {
	if !strings.HasPrefix(m.Subject(), packPrefix) {
		return f(loc{seq: seq}, record{m.Subject(), m.Headers(), m.Data()})
	}
	err := unpack(m.Data(), func(slot int, r record) error {
		if !isRecord(r.subject) {
			corrupt(fmt.Errorf("%w: subject %q", errRecord, clip(r.subject)))
			return nil
		}
		if !wanted(r.subject) {
			return nil
		}
		return f(loc{seq, slot + 1}, r)
	})
	if errors.Is(err, errRecord) {
		corrupt(fmt.Errorf("%w: message %d of the log", err, seq))
		return nil
	}
	return err
}

// isRecord tells whether a subject is that of an entry or of a progress.
func isRecord(subject string) bool {
	return strings.HasPrefix(subject, entrySubject) || strings.HasPrefix(subject, progressPrefix)
}

// learn reads what the journal holds.
func (s *Store) learn(ctx context.Context, e *engine) error {
	info, err := e.journal.Info(ctx)
	if err != nil {
		return unread(err)
	}
	s.compare(e, info.State)
	s.room.begin(info.State.LastSeq)
	all, err := survey(ctx, e.journal, nil)
	if err != nil {
		return err
	}
	for _, f := range all {
		s.room.add(f.id, f.place)
		s.ids.behind(f.id)
	}
	return nil
}
