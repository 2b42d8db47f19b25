package gateway

import (
	"hash/maphash"
	"strings"
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
// and at most the whole of its life, unless the limit cuts it short.
//
// Safe for use from many goroutines.
type origins struct {
	seeds  [2]maphash.Seed
	shards [originShards]originShard
	bounds generationBounds
}

const originShards = 16

type originShard struct {
	mu         sync.Mutex
	young, old map[originKey]*origin
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
	ended             bool        // a terminal notice was passed on
	displayed         bool        // a notice of display was passed on
	doubted           bool        // its sender was told that the outcome is not known
	copyKey           originKey   // its key among duplicates, zero for none
	record            recollected // likewise among what was handed over, with a store
	epoch             uint64      // since when its part is this node's
}

func newOrigins(limit int, life time.Duration) *origins {
	o := &origins{}
	o.bounds.set(limit, life)
	o.seeds[0], o.seeds[1] = maphash.MakeSeed(), maphash.MakeSeed()
	return o
}

// key names the message that went to the adapter to, with the identifier that it has there.
func (o *origins) key(to *side, transID string, sender, recipient adapters.Party) originKey {
	var k originKey
	for i := range k {
		var h maphash.Hash
		h.SetSeed(o.seeds[i])
		for _, s := range [...]string{
			to.name, transID, sender.Address.Local(), sender.Address.Domain(), recipient.Address.Local(), recipient.Address.Domain(),
		} {
			h.WriteString(s)
			h.WriteByte(0) // none of the parts can hold a NUL
		}
		k[i] = h.Sum64()
	}
	return k
}

// remember keeps the origin of op, which came from side from and was handed to side to as op.TransID; transID is what
// its sender calls it, copyKey its key among duplicates.
func (o *origins) remember(now time.Time, from, to *side, op *adapters.MessageOp, transID string, copyKey originKey, record recollected, epoch uint64) {
	entry := &origin{
		side:      from,
		sender:    op.From,
		recipient: op.To,
		// The strings may be parts of the received octets, which must not be kept alive for an hour by their parts.
		transID: strings.Clone(transID),
		thread:  strings.Clone(op.Thread),
		wants:   op.Wants,
		sent:    op.Sent,
		copyKey: copyKey,
		epoch:   epoch,
		record:  record,
	}
	if entry.sent.IsZero() {
		entry.sent = now
	}
	entry.sender.Address, entry.recipient.Address = op.From.Address.Clone(), op.To.Address.Clone()
	entry.sender.Instance = strings.Clone(op.From.Instance)
	entry.recipient.Instance = strings.Clone(op.To.Instance)
	k := o.key(to, op.TransID, op.From, op.To)
	s := &o.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	half, life := o.bounds.get()
	s.turn(now, half, life)
	if s.young == nil {
		s.young = make(map[originKey]*origin)
	}
	s.young[k] = entry
}

func (s *originShard) turn(now time.Time, half int, life time.Duration) {
	if s.born.IsZero() {
		s.born = now
	}
	full, aged := len(s.young) >= half, now.Sub(s.born) >= life/2
	if !full && !aged {
		return
	}
	if !aged {
		s.forgotten += uint64(len(s.old))
	}
	s.old, s.young, s.born = s.young, nil, now
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
	entry := s.young[k]
	if entry == nil {
		entry = s.old[k]
	}
	if entry == nil || entry.epoch != epoch {
		return nil, false
	}
	switch r.Kind {
	case adapters.ReportDelivered:
		if entry.ended || entry.wants&adapters.WantDelivered == 0 {
			return nil, true
		}
		entry.ended = true
	case adapters.ReportFailed:
		if entry.ended || entry.doubted {
			return nil, true
		}
		entry.ended = true
	case adapters.ReportDisplayed:
		if entry.displayed || entry.wants&adapters.WantDisplayed == 0 {
			return nil, true
		}
		entry.displayed = true
	default:
		if entry.ended {
			return nil, true
		}
	}
	return entry, true
}

// forget drops what remember kept, for a message that failed while its sender still waited.
func (o *origins) forget(to *side, op *adapters.MessageOp) {
	k := o.key(to, op.TransID, op.From, op.To)
	s := &o.shards[k[0]%originShards]
	s.mu.Lock()
	delete(s.young, k)
	delete(s.old, k)
	s.mu.Unlock()
}

// doubt notes that the sender of a message was told that its outcome is not known. It may yet hear that it was delivered, but no second
// time that something failed.
func (o *origins) doubt(to *side, op *adapters.MessageOp) {
	k := o.key(to, op.TransID, op.From, op.To)
	s := &o.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, generation := range []map[originKey]*origin{s.young, s.old} {
		if entry := generation[k]; entry != nil {
			entry.doubted = true
		}
	}
}

// end notes that the sender of a message was told that it failed: nothing more is told of it.
func (o *origins) end(to *side, op *adapters.MessageOp) {
	k := o.key(to, op.TransID, op.From, op.To)
	s := &o.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range [...]map[originKey]*origin{s.young, s.old} {
		if entry := m[k]; entry != nil {
			entry.ended, entry.displayed = true, true
		}
	}
}

// count returns the entries held and those that the limit cut short, for metrics.
func (o *origins) count() (held int, forgotten uint64) {
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		held += len(s.young) + len(s.old)
		forgotten += s.forgotten
		s.mu.Unlock()
	}
	return held, forgotten
}
