package gateway

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// duplicates knows messages that come again, so that each is delivered once and its copies are answered as it was (THREATS.md G12). A
// message is known by sender, recipient, content and an identifier that its sender gave to it and to its copies: its OriginID, or else
// its Copy. One that has neither has no copies, since clients use plain ids again.
//
// A copy of one that is under way waits for its answer and gets the same: it is never acknowledged before the first was handed over or
// stored. What failed is forgotten, because it was not delivered and a copy of it is right to try again; an outcome that is not known
// is remembered, because it may have been.
//
// A Copy is remembered for what was stored alone: while the process runs, the adapter knows copies by itself.
//
// It is bounded by two generations, as origins is. Safe for use from many goroutines.
type duplicates struct {
	seeds  [2]maphash.Seed
	bounds generationBounds
	copies atomic.Bool // a Copy was remembered: until then, none is looked for
	found  atomic.Uint64
	shards [originShards]duplicateShard
}

// duplicateShard keeps what is under way apart from the many that have their answer: those hold no pointers, so that they cost the garbage
// collector nothing.
type duplicateShard struct {
	mu         sync.Mutex
	flights    map[originKey]*delivery
	young, old map[originKey]known
	born       time.Time
}

// known is how a message that came before was answered.
type known struct {
	outcome adapters.Outcome
	reason  adapters.Reason
}

// maxWaiting bounds how many copies wait for the answer of one message. The next is refused: overloaded.
const maxWaiting = 16

func newDuplicates(limit int, life time.Duration) *duplicates {
	u := &duplicates{}
	u.bounds.set(limit, life)
	u.seeds[0], u.seeds[1] = maphash.MakeSeed(), maphash.MakeSeed()
	return u
}

// identified tells whether copies of op can be known.
func identified(op *adapters.MessageOp) bool {
	return (op.OriginID != "" || op.Copy != "") && op.Activity == adapters.ActivityNone
}

// key names op, which came from side. It is the same for what the journal has of it.
func (u *duplicates) key(from *side, op *adapters.MessageOp) originKey {
	id, kind := op.OriginID, byte(1)
	if id == "" {
		id, kind = op.Copy, 2
	}
	return hashMessage(&u.seeds, kind, from.name, op.Content.Type, id, op)
}

// hashMessage is a keyed hash of who sends what to whom, as what.
func hashMessage(seeds *[2]maphash.Seed, kind byte, side, media, id string, op *adapters.MessageOp) (k originKey) {
	const whole = 256 // longer contents are hashed by themselves, rather than copied
	var room [1024]byte
	b := append(room[:0], kind)
	for _, s := range [...]string{side, op.From.Address.Local(), op.From.Address.Domain(), op.To.Address.Local(), op.To.Address.Domain(), id, media} {
		b = append(append(b, s...), 0)
	}
	for i := range op.Subjects {
		b = append(append(b, op.Subjects[i].Text...), 0)
	}
	if text := op.Content.Octets; len(text) <= whole {
		b = append(b, text...)
	} else {
		b = binary.LittleEndian.AppendUint64(b, maphash.Bytes(seeds[0], text))
		b = binary.LittleEndian.AppendUint64(b, maphash.Bytes(seeds[1], text))
	}
	return originKey{maphash.Bytes(seeds[0], b), maphash.Bytes(seeds[1], b)}
}

// verdict is what begin says of a message.
type verdict uint8

const (
	firstOne verdict = iota // deliver it, and call settle
	answered                // answer it as begin says
	waiting                 // whoever settles the first one answers it
)

// begin looks whether d is the copy of another. It is called once, before d is given to its lane.
func (u *duplicates) begin(now time.Time, d *delivery) (adapters.Status, verdict) {
	byOrigin := d.op.OriginID != ""
	if !byOrigin && !u.copies.Load() {
		return adapters.Status{}, firstOne
	}
	k := u.key(d.from, d.op)
	d.copyKey = k
	s := &u.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	half, life := u.bounds.get()
	s.turn(now, half, life)
	if flight := s.flights[k]; flight != nil {
		u.found.Add(1)
		if len(flight.copies) >= maxWaiting {
			return adapters.Failed(adapters.ReasonOverloaded, "Too many copies of one message"), answered
		}
		flight.copies = append(flight.copies, d)
		return adapters.Status{}, waiting
	}
	have, again := s.young[k]
	if !again {
		have, again = s.old[k]
	}
	if again {
		u.found.Add(1)
		return adapters.Status{Outcome: have.outcome, Reason: have.reason}, answered
	}
	if byOrigin {
		if s.flights == nil {
			s.flights = make(map[originKey]*delivery)
		}
		s.flights[k] = d
	}
	return adapters.Status{}, firstOne
}

// settle notes how d ended, and returns the copies that waited for it. stored tells that it is in the journal.
func (u *duplicates) settle(now time.Time, d *delivery, status adapters.Status) []*delivery {
	if d.op.OriginID == "" && !d.stored {
		return nil
	}
	k := d.copyKey
	if k == (originKey{}) { // of a Copy, which was not looked for
		k = u.key(d.from, d.op)
	}
	s := &u.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	half, life := u.bounds.get()
	s.turn(now, half, life)
	if s.flights[k] == d {
		delete(s.flights, k)
	}
	delete(s.old, k)
	if status.Outcome == adapters.Failure && status.Reason != adapters.ReasonOutcomeUnknown {
		delete(s.young, k)
	} else {
		u.copies.Store(u.copies.Load() || d.op.OriginID == "")
		s.put(k, known{outcome: status.Outcome, reason: status.Reason})
	}
	copies := d.copies
	d.copies = nil
	return copies
}

// recalled counts a copy that was known from before a restart.
func (u *duplicates) recalled() { u.found.Add(1) }

// restore remembers a message that a process before this one stored.
func (u *duplicates) restore(from *side, op *adapters.MessageOp) {
	if from == nil || !identified(op) {
		return
	}
	k := u.key(from, op)
	s := &u.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	half, life := u.bounds.get()
	s.turn(time.Now(), half, life)
	u.copies.Store(u.copies.Load() || op.OriginID == "")
	s.put(k, known{outcome: adapters.Indeterminate})
}

// forget is called for a message that was answered well and failed afterwards: its sender is told, and may send it again.
func (u *duplicates) forget(from *side, op *adapters.MessageOp) {
	if from != nil && identified(op) {
		u.forgetKey(u.key(from, op))
	}
}

// forgetKey is forget by the key; the zero key is none.
func (u *duplicates) forgetKey(k originKey) {
	if k == (originKey{}) {
		return
	}
	s := &u.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, k)
	delete(s.old, k)
}

func (s *duplicateShard) put(k originKey, v known) {
	if s.young == nil {
		s.young = make(map[originKey]known)
	}
	s.young[k] = v
}

func (s *duplicateShard) turn(now time.Time, half int, life time.Duration) {
	switch age := now.Sub(s.born); {
	case s.born.IsZero():
		s.born = now
	case age >= life:
		s.old, s.young, s.born = nil, nil, now
	case age >= life/2 || len(s.young) >= half:
		clear(s.old)
		s.old, s.young, s.born = s.young, s.old, now
	}
}

// count returns the messages that are remembered, and the copies that were found, for metrics.
func (u *duplicates) count() (held int, found uint64) {
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		held += len(s.flights) + len(s.young) + len(s.old)
		s.mu.Unlock()
	}
	return held, u.found.Load()
}
