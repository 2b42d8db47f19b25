package gateway

import (
	"hash/maphash"
	"math/bits"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// stock counts the stored messages of each sender, for each recipient and on their way to each domain, so that one of them cannot fill the
// journal for all others, nor one sender a recipient's share of it. It is guarded by journal.mu. What is counted is the hash of an address: two that meet share a bound.
type stock struct {
	seed       maphash.Seed
	senders    map[uint64]int
	recipients map[uint64]int
	pairs      map[uint64]int // of one sender for one recipient
	places     map[place]int
}

func newStock() stock {
	return stock{maphash.MakeSeed(), map[uint64]int{}, map[uint64]int{}, map[uint64]int{}, map[place]int{}}
}

// held is what an entry counts as: a notice, or a dead letter, as nothing.
type held struct {
	sender, recipient uint64
	place             place
	counted           bool
}

// pair is the key of a sender and a recipient, in this order.
func (h *held) pair() uint64 { return bits.RotateLeft64(h.sender, 32) ^ h.recipient }

func (s *stock) of(from, to cpim.Address, at place) held {
	return held{sender: maphash.Comparable(s.seed, from), recipient: maphash.Comparable(s.seed, to), place: at}
}

// limit is what kept a message from being stored; a fixed set, for metrics.
type limit uint8

const (
	limitNone limit = iota
	limitSender
	limitRecipient
	limitPair
	limitDomain
	limitStore // the store's own, or its disk
)

var limitNames = [...]string{limitSender: "sender", limitRecipient: "recipient", limitPair: "pair", limitDomain: "domain", limitStore: "store"}

// refusal is the answer to a message that came to it.
func (b limit) refusal() adapters.Status {
	switch b {
	case limitSender:
		return adapters.Failed(adapters.ReasonOverloaded, "Too many messages of this sender wait to be delivered")
	case limitRecipient:
		return adapters.Failed(adapters.ReasonOverloaded, "Too many messages wait for this recipient")
	case limitPair:
		return adapters.Failed(adapters.ReasonOverloaded, "Too many messages of this sender wait for this recipient")
	case limitDomain:
		return adapters.Failed(adapters.ReasonOverloaded, "Too many messages wait for this domain")
	default:
		return adapters.Failed(adapters.ReasonOverloaded, "The gateway cannot store messages now")
	}
}

// take counts a new one, if there is room for it.
//
// Of what waits for one recipient a sender has no more than a third of what is free beside it. That is a quarter where nobody else writes; and
// whoever comes later, and however many came before, there is something left for who has nothing yet.
func (s *stock) take(h *held, l *Limits) limit {
	free := l.StoredPerRecipient - s.recipients[h.recipient]
	switch {
	case s.senders[h.sender] >= l.StoredPerSender:
		return limitSender
	case free <= 0:
		return limitRecipient
	case 3*s.pairs[h.pair()] >= free:
		return limitPair
	case s.places[h.place] >= l.StoredPerDomain:
		return limitDomain
	}
	s.add(h)
	return limitNone
}

// add counts one without asking: it is there.
func (s *stock) add(h *held) {
	if h.counted {
		return
	}
	h.counted = true
	s.senders[h.sender]++
	s.recipients[h.recipient]++
	s.pairs[h.pair()]++
	s.places[h.place]++
}

// give counts it no more.
func (s *stock) give(h *held) {
	if !h.counted {
		return
	}
	h.counted = false
	less(s.senders, h.sender)
	less(s.recipients, h.recipient)
	less(s.pairs, h.pair())
	less(s.places, h.place)
}

func less[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}
