package xmpp

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// item is one operation's octets on their way: queued, then sent, then settled.
type item struct {
	octets  []byte
	stanzas int
	// kind, id, from and to (bare) are what an error that answers it must carry (THREATS.md X13). Without an id none does. sender and recipient are
	// the same two as addresses, of an item that has those: few are ever asked for their JIDs.
	kind              stanza.Kind
	id                string
	from, to          jid.JID
	sender, recipient cpim.Address
	// done receives the outcome, once; nil for replies of our own, whose outcome nobody waits for.
	done   chan adapters.Status
	waiter *waiter         // whose done that is; nil until somebody waits
	caller <-chan struct{} // ends when they give up; nil once they were told of it
	// watch names whose presence it tells, if it does. If it is replaceable a newer one takes its place.
	watch       adapters.WatchID
	replaceable bool
	// notice is set on an error that tells somebody that what they sent is lost. It is written again once if the stream dies before
	// it was acknowledged: to be told twice is better than not to be told.
	notice bool
	again  bool

	acked     int // how many of its stanzas were acknowledged, while not all are
	sent      bool
	settled   bool
	abandoned bool // nobody waits for it any more
}

// between tells whether it went from and to these bare JIDs.
func (it *item) between(from, to jid.JID) bool {
	if it.sender.IsZero() {
		return it.from == from && it.to == to
	}
	f, err := jid.FromAddress(it.sender, "")
	if err != nil || f != from {
		return false
	}
	t, err := jid.FromAddress(it.recipient, "")
	return err == nil && t == to
}

// count is how many stanzas it is.
func (it *item) count() int { return max(1, it.stanzas) }

// awaited tells whether somebody waits for its outcome, or did when it was queued. A reply is not.
func (it *item) awaited() bool { return it.done != nil }

// flight is what was written in one batch: before one ping, or, where the stream counts (XEP-0198), without.
type flight struct {
	ping  string // "" where the stream counts
	at    time.Time
	items []*item
	left  bool // it is written, or the stream counts
}

// outbox holds what a link has to write, and what it wrote and was not acknowledged. It is for any goroutine; it outlives the
// link's streams.
type outbox struct {
	maxBytes, maxItems, window int

	mu    sync.Mutex
	queue []*item // what somebody waits for the outcome of
	// replies are what nobody does: errors and answers. They leave first, and for their acknowledgement nothing waits: the server that must
	// acknowledge what is on its way may be one that reads nothing before it is answered.
	replies []*item
	many    atomic.Bool // so many replies wait that the next ones may be dropped
	bytes   int
	flights []flight
	flying  int    // items that somebody waits for
	kept    int    // octets of items on their way that may be written once more
	most    int    // octets that one stanza may have; 0: any number
	heard   bool   // a ping was answered
	closed  string // why operations are refused, "" while they are not
	dropped bool   // nothing leaves any more
	all     *budget
	// poke tells the writer that there may be something to write. It is called with the lock held, and waits for nothing.
	poke func()
}

// reckon sets many. The caller holds the lock.
func (b *outbox) reckon() {
	if many := 2*len(b.replies) >= b.maxItems || len(b.replies) > 0 && 4*b.bytes >= 3*b.maxBytes; many != b.many.Load() {
		b.many.Store(many)
	}
}

// newOutbox makes one whose writer is told by poke.
func newOutbox(l Limits, poke func()) *outbox {
	b := &outbox{poke: poke}
	b.limit(l)
	return b
}

// limit takes on the bounds of a configuration. What is there stays.
func (b *outbox) limit(l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.maxBytes, b.maxItems, b.window = l.QueueBytes, l.QueueStanzas, l.Window
}

// add queues it. The second result is false if it was refused, and the first then says why.
func (b *outbox) add(it *item) (adapters.Status, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped || b.closed != "" && it.done != nil {
		// As for what was queued and did not leave: nobody has it, and it may be sent again, or stored, until the link or the domain is back.
		return adapters.Failed(adapters.ReasonDomainTimeout, b.closed), false
	}
	maxItems, maxBytes := b.maxItems, b.maxBytes
	if it.notice { // room that messages cannot take, so that who is refused is told
		maxItems, maxBytes = maxItems+maxItems/8+1, maxBytes+maxBytes/8
	}
	if it.replaceable {
		for i := len(b.queue) - 1; i >= 0; i-- {
			old := b.queue[i]
			if old.watch != it.watch {
				continue
			}
			if !old.replaceable {
				break // a change that came between: what is newer than it must not overtake it
			}
			grown := len(it.octets) - len(old.octets)
			if b.bytes+grown > maxBytes || !b.all.room(grown, it) {
				break
			}
			b.queue[i] = it
			b.grow(grown)
			b.settle(old, adapters.Accepted())
			return adapters.Status{}, true
		}
	}
	waiting := &b.queue
	if !it.awaited() {
		waiting = &b.replies
	}
	if len(*waiting) >= maxItems || b.bytes+len(it.octets) > maxBytes || !b.all.room(len(it.octets), it) {
		return adapters.Failed(adapters.ReasonOverloaded, ""), false
	}
	*waiting = append(*waiting, it)
	b.grow(len(it.octets))
	b.reckon()
	b.poke()
	return adapters.Status{}, true
}

// settle gives the outcome to whoever waits. The caller holds the lock.
func (b *outbox) settle(it *item, s adapters.Status) {
	if it.settled {
		return
	}
	it.settled = true
	if it.done != nil {
		it.done <- s // has room for one
	}
}

// cancel takes it out of the queue if it has not left. Else it stays, and nobody waits for it any more.
func (b *outbox) cancel(it *item) (unsent bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.queue {
		if q == it {
			b.queue = slices.Delete(b.queue, i, i+1)
			b.grow(-len(it.octets))
			it.settled = true
			return true
		}
	}
	it.abandoned = true
	return false
}

// maxFlights is how many pings may be unanswered at once: then the next batch waits, and grows. So many full batches of short
// messages are about what Limits.Window lets leave.
const maxFlights = 32

// again tells the writer that there is more. The caller holds the lock.
func (b *outbox) again() {
	if len(b.queue)+len(b.replies) > 0 {
		b.poke()
	}
}

// take moves what may be written now into one flight, appends its octets to buf, and returns the flight's ping, "" if there is
// nothing to write. A flight is opened without items too if force is set, to keep the link alive.
func (b *outbox) take(buf []byte, maxBatch int, force bool, now time.Time) (out []byte, taken []*item, ping string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.flights) < maxFlights {
		buf, taken, _ = b.choose(buf, maxBatch, -1)
	} else {
		b.prune()
	}
	if len(taken) == 0 && !force {
		return buf, nil, ""
	}
	ping = randomID()
	b.flights = append(b.flights, flight{ping: ping, at: now, items: taken})
	b.again()
	return buf, taken, ping
}

// takeCounted is take for a stream that counts stanzas, on which no ping is needed: what leaves is kept, up to the octets that may be
// queued, so that a stream that resumes this one can send it once more. n is how many stanzas were taken.
func (b *outbox) takeCounted(buf []byte, maxBatch int, now time.Time) (out []byte, taken []*item, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	buf, taken, size := b.choose(buf, maxBatch, b.maxBytes)
	if len(taken) == 0 {
		return buf, nil, 0
	}
	b.kept += size
	for _, it := range taken {
		n += it.count()
	}
	b.flights = append(b.flights, flight{at: now, items: taken})
	b.again()
	return buf, taken, n
}

// landed notes that it is no longer on its way. The caller holds the lock.
func (b *outbox) landed(it *item) {
	if it.awaited() {
		b.flying--
	}
}

// back puts items that did not arrive at the heads of what waits. The caller holds the lock.
func (b *outbox) back(items []*item) {
	var queue, replies []*item
	for _, it := range items {
		b.grow(len(it.octets))
		if it.awaited() {
			queue = append(queue, it)
		} else {
			replies = append(replies, it)
		}
	}
	b.queue = append(queue, b.queue...)
	b.replies = append(replies, b.replies...)
}

// acknowledgeCounted settles the first n stanzas on their way, in order.
func (b *outbox) acknowledgeCounted(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended := false
	for i := 0; n > 0 && i < len(b.flights); i++ {
		f := &b.flights[i]
		if f.ping != "" { // written before the stream counted: its ping is answered, or it is not
			continue
		}
		for n > 0 && len(f.items) > 0 {
			it := f.items[0]
			left := it.count() - it.acked
			if left > n {
				it.acked += n
				n = 0
				break
			}
			n -= left
			b.kept -= len(it.octets)
			b.settle(it, adapters.Accepted())
			f.items = f.items[1:]
			b.landed(it)
		}
		ended = ended || len(f.items) == 0
	}
	if ended { // all at once: there may be thousands, of one stanza each
		b.flights = slices.DeleteFunc(b.flights, func(f flight) bool { return f.ping == "" && len(f.items) == 0 })
	}
	b.again()
}

// resend puts everything on its way back at the head of the queue: the peer has said that it handled none of it. Of an item of several
// stanzas, which tell of presence, those that were handled are written once more: presence is a state, and so the same said twice is
// one.
func (b *outbox) resend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var back []*item
	for _, f := range b.flights {
		for _, it := range f.items {
			if it.settled {
				continue
			}
			if it.abandoned { // its caller has been told that nobody knows
				b.settle(it, adapters.Failed(adapters.ReasonOutcomeUnknown, ""))
				continue
			}
			it.sent, it.acked = false, 0
			back = append(back, it)
		}
	}
	b.back(back)
	b.flights, b.flying, b.kept = nil, 0, 0
	b.again()
}

// refuse settles all that is queued, and was never sent, with s. It returns how many replies nobody will get.
func (b *outbox) refuse(s adapters.Status) (replies int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.empty(s)
}

// settleBefore settles what was written before at and has no other proof that it was taken than that the other side's kernel has it.
func (b *outbox) settleBefore(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.flights) && b.flights[n].left && b.flights[n].ping != "" && b.flights[n].at.Before(at) {
		for _, it := range b.flights[n].items {
			b.settle(it, adapters.Accepted())
			b.landed(it)
		}
		n++
	}
	b.flights = slices.Delete(b.flights, 0, n)
	b.again()
}

// answered tells whether a ping was ever answered.
func (b *outbox) answered() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.heard
}

// bound sets how many octets one stanza may have on the stream that is there now; 0: the peer has not said.
func (b *outbox) bound(most int) {
	b.mu.Lock()
	b.most = most
	b.mu.Unlock()
}

// prune settles what is too large for the stream. The caller holds the lock.
func (b *outbox) prune() {
	if b.most <= 0 {
		return
	}
	large := func(it *item) bool {
		if len(it.octets) <= b.most*it.count() {
			return false
		}
		b.grow(-len(it.octets))
		b.settle(it, adapters.Failed(adapters.ReasonTooLarge, ""))
		return true
	}
	b.queue, b.replies = slices.DeleteFunc(b.queue, large), slices.DeleteFunc(b.replies, large)
}

// unsend puts the last flight back at the head of the queue: none of its octets left.
func (b *outbox) unsend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := b.flights[len(b.flights)-1]
	b.flights = b.flights[:len(b.flights)-1]
	var back []*item
	for _, it := range last.items {
		b.landed(it)
		if last.ping == "" {
			b.kept -= len(it.octets)
		}
		if it.settled {
			continue
		}
		if it.abandoned {
			b.settle(it, adapters.Failed(adapters.ReasonDomainTimeout, ""))
			continue
		}
		it.sent = false
		back = append(back, it)
	}
	b.back(back)
}

// acknowledge settles everything up to the flight with this ping, in order. It returns false for a ping that is not ours.
func (b *outbox) acknowledge(ping string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.flights {
		if ping == "" || b.flights[i].ping != ping {
			continue
		}
		b.heard = true
		kept := b.flights[:0]
		for j, f := range b.flights {
			if j > i || f.ping == "" { // what a stream counts is acknowledged by its count alone
				kept = append(kept, f)
				continue
			}
			for _, it := range f.items {
				b.settle(it, adapters.Accepted())
				b.landed(it)
			}
		}
		clear(b.flights[len(kept):])
		b.flights = kept
		b.poke()
		return true
	}
	return false
}

// reject settles the item on its way that an error answers: the same kind and id, from whom it was for, to whom it was from. It
// returns false if there is none, or nobody waits for it.
func (b *outbox) reject(kind stanza.Kind, id string, from, to jid.JID, s adapters.Status) bool {
	if id == "" {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.flights {
		for _, it := range f.items {
			if it.kind == kind && it.done != nil && !it.settled && !it.abandoned && it.id == id && it.between(to.Bare(), from.Bare()) {
				b.settle(it, s)
				return true
			}
		}
	}
	return false
}

// oldest returns when the oldest unanswered ping was sent, zero if there is none.
func (b *outbox) oldest() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.flights) == 0 {
		return time.Time{}
	}
	return b.flights[0].at
}

// late tells whether what somebody waits for was written before so long and is not acknowledged. Without counted, what waits for the count of a stream
// is not asked about.
func (b *outbox) late(now time.Time, patience time.Duration, counted bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.flying > 0 && now.Sub(b.flights[0].at) >= patience && (counted || b.flights[0].ping != "")
}

// lost settles what was on its way when a stream died: it may have arrived. It returns how many replies nobody will get.
func (b *outbox) lost() (replies int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var back []*item
	for _, f := range b.flights {
		for _, it := range f.items {
			if it.notice && !it.again { // once only, or one that a server ends its stream for would end every stream
				it.again, it.sent = true, false
				back = append(back, it)
				continue
			}
			if it.done == nil {
				replies++
			}
			b.settle(it, adapters.Failed(adapters.ReasonOutcomeUnknown, ""))
		}
	}
	b.back(back)
	b.flights, b.flying, b.kept = nil, 0, 0
	return replies
}

// close refuses operations from now on, for the reason why. What is queued stays, to be flushed or dropped, and replies are still
// taken.
func (b *outbox) close(why string) {
	b.mu.Lock()
	if b.closed == "" {
		b.closed = why
	}
	b.mu.Unlock()
	b.poke()
}

// reopen takes back what close did for the reason why. Another close stays.
func (b *outbox) reopen(why string) {
	b.mu.Lock()
	if b.closed == why && !b.dropped {
		b.closed = ""
	}
	b.mu.Unlock()
}

// refusing tells why operations are refused, "" if they are not.
func (b *outbox) refusing() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// drop refuses what is still queued, and all that comes. It returns how many replies nobody will get.
func (b *outbox) drop() (replies int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped = true
	if b.closed == "" {
		b.closed = "The gateway is shutting down"
	}
	return b.empty(adapters.Failed(adapters.ReasonDomainTimeout, b.closed))
}

// empty settles all that waits with s, and returns how many replies nobody will get. The caller holds the lock.
func (b *outbox) empty(s adapters.Status) (replies int) {
	for _, it := range b.queue {
		b.settle(it, s)
	}
	replies = len(b.replies)
	b.queue, b.replies = nil, nil
	b.grow(-b.bytes)
	b.reckon()
	return replies
}

// idle tells whether nothing is queued or on its way.
func (b *outbox) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue)+len(b.replies) > 0 {
		return false
	}
	return !slices.ContainsFunc(b.flights, func(f flight) bool { return len(f.items) > 0 })
}

func (b *outbox) depth() (items, octets int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) + len(b.replies), b.bytes
}

// randomID returns 128 random bits in hexadecimal (THREATS.md X13).
func randomID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// written lets go of the octets of what has left, which is everything that was taken.
func (b *outbox) written(taken []*item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.flights {
		b.flights[i].left = true
	}
	for _, it := range taken {
		if !it.notice {
			it.octets = nil
		}
	}
}
