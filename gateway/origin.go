package gateway

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// origins remembers where answered messages came from, so that a late outcome (an XMPP error stanza or receipt, a SIP
// IMDN) finds the sender, and finds it once.
//
// It is bounded by two generations: the young one takes new entries, and becomes the old one when it holds half of the
// limit or has lived half of the life; the former old one is forgotten whole. An entry therefore lives at least half
// and at most the whole of its life, unless the limit cuts it short. What it holds of a message is packed into octets without pointers: a
// hundred thousand entries cost the garbage collector nothing.
//
// Safe for use from many goroutines.
type origins struct {
	sides  []*side
	seeds  [2]maphash.Seed
	shards [originShards]originShard
	bounds generationBounds
}

const originShards = 16

type originShard struct {
	mu         sync.Mutex
	young, old originGeneration
	born       time.Time
	forgotten  uint64 // entries lost to the limit before their life ended
}

// generationBounds are how many entries a generation of one shard may have, and how long an entry lives at most. A change counts from the
// next entry on.
type generationBounds struct{ half, life atomic.Int64 }

func (b *generationBounds) set(limit int, life time.Duration) {
	b.half.Store(int64(max(1, limit/2/originShards)))
	b.life.Store(int64(life))
}

func (b *generationBounds) get() (half int, life time.Duration) {
	return int(b.half.Load()), time.Duration(b.life.Load())
}

// originKey is 128 bits of keyed hash, so that the table holds no copy of the attacker's strings twice.
type originKey [2]uint64

// origin is what a late outcome needs.
type origin struct {
	side              *side
	sender, recipient adapters.Party
	transID, thread   string
	wants             adapters.Dispositions
	sent              time.Time   // when it was written, or came
	copyKey           originKey   // its key among duplicates, zero for none
	record            recollected // likewise among what was handed over, with a store
	epoch             uint64      // since when its part is this node's
}

// newOrigins makes a table for messages that come from these sides, each at its index.
func newOrigins(sides []*side, limit int, life time.Duration) *origins {
	o := &origins{sides: sides}
	o.bounds.set(limit, life)
	o.seeds[0], o.seeds[1] = maphash.MakeSeed(), maphash.MakeSeed()
	return o
}

// key names the message that went to the adapter to, with the identifier that it has there.
func (o *origins) key(to *side, transID string, sender, recipient adapters.Party) originKey {
	var room [512]byte
	b := room[:0]
	for _, s := range [...]string{
		to.name, transID, sender.Address.Local(), sender.Address.Domain(), recipient.Address.Local(), recipient.Address.Domain(),
	} {
		b = append(append(b, s...), 0) // none of the parts can hold a NUL
	}
	return originKey{maphash.Bytes(o.seeds[0], b), maphash.Bytes(o.seeds[1], b)}
}

// remember keeps the origin of op, which came from side from and was handed to side to as op.TransID; transID is what
// its sender calls it, copyKey its key among duplicates.
func (o *origins) remember(now time.Time, from, to *side, op *adapters.MessageOp, transID string, copyKey originKey, record recollected, epoch uint64) {
	k := o.key(to, op.TransID, op.From, op.To)
	sent := op.Sent
	if sent.IsZero() {
		sent = now
	}
	s := &o.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	half, life := o.bounds.get()
	s.turn(now, half, life)
	s.young.put(k, originFixed{
		side: from.index, wants: op.Wants, sent: sent, copyKey: copyKey, record: record, epoch: epoch,
	}, op.From.Instance, transID, op.Thread)
}

func (s *originShard) turn(now time.Time, half int, life time.Duration) {
	if s.born.IsZero() {
		s.born = now
	}
	full, aged := s.young.entries >= half || len(s.young.octets) >= originOctets, now.Sub(s.born) >= life/2
	if !full && !aged {
		return
	}
	if !aged {
		s.forgotten += uint64(len(s.old.at))
	}
	s.old, s.young, s.born = s.young, s.old, now
	s.young.clear()
}

// find returns the packed entry of a key, nil if there is none.
func (s *originShard) find(k originKey) packedOrigin {
	if e := s.young.get(k); e != nil {
		return e
	}
	return s.old.get(k)
}

// settle finds the origin of a late outcome of kind k, and notes it: a message gets one terminal notice at most. It
// returns nil when there is none, when it had its terminal notice, or when its sender did not ask for this kind; known tells that there
// is one. What is remembered from another epoch is not known: another node may have settled it meanwhile.
func (o *origins) settle(now time.Time, reporter *side, r *adapters.Report, epoch uint64) (_ *origin, known bool) {
	k := o.key(reporter, r.TransID, r.Sender, r.Recipient)
	s := &o.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	half, life := o.bounds.get()
	s.turn(now, half, life)
	packed := s.find(k)
	if packed == nil {
		return nil, false
	}
	entry := packed.open()
	if entry.epoch != epoch {
		return nil, false
	}
	switch r.Kind {
	case adapters.ReportDelivered:
		if packed.has(originEnded) || entry.wants&adapters.WantDelivered == 0 {
			return nil, true
		}
		packed.note(originEnded)
	case adapters.ReportFailed:
		if packed.has(originEnded) || packed.has(originDoubted) {
			return nil, true
		}
		packed.note(originEnded)
	case adapters.ReportDisplayed:
		if packed.has(originDisplayed) || entry.wants&adapters.WantDisplayed == 0 {
			return nil, true
		}
		packed.note(originDisplayed)
	default:
		if packed.has(originEnded) {
			return nil, true
		}
	}
	entry.side = o.sides[packed[originAtSide]]
	// The key is of these addresses and no others.
	entry.sender.Address, entry.recipient.Address = r.Sender.Address, r.Recipient.Address
	return entry, true
}

// forget drops what remember kept, for a message that failed while its sender still waited.
func (o *origins) forget(to *side, op *adapters.MessageOp) {
	k := o.key(to, op.TransID, op.From, op.To)
	s := &o.shards[k[0]%originShards]
	s.mu.Lock()
	delete(s.young.at, k)
	delete(s.old.at, k)
	s.mu.Unlock()
}

// doubt notes that the sender of a message was told that its outcome is not known. It may yet hear that it was delivered, but no second
// time that something failed.
func (o *origins) doubt(to *side, op *adapters.MessageOp) { o.note(to, op, originDoubted) }

// end notes that the sender of a message was told that it failed: nothing more is told of it.
func (o *origins) end(to *side, op *adapters.MessageOp) { o.note(to, op, originEnded|originDisplayed) }

func (o *origins) note(to *side, op *adapters.MessageOp, what byte) {
	k := o.key(to, op.TransID, op.From, op.To)
	s := &o.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range [...]*originGeneration{&s.young, &s.old} {
		if e := g.get(k); e != nil {
			e.note(what)
		}
	}
}

// count returns the entries held and those that the limit cut short, for metrics.
func (o *origins) count() (held int, forgotten uint64) {
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		held += len(s.young.at) + len(s.old.at)
		forgotten += s.forgotten
		s.mu.Unlock()
	}
	return held, forgotten
}
