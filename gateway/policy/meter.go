package policy

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// Meter counts what the rules and tenants of one Policy bound. It is safe for use from many goroutines. All of it is in memory and
// bounded: a sender that is forgotten has its full allowance again, and so has everybody after a restart.
type Meter struct {
	policy  *Policy
	senders *buckets
	// refill is how long a bucket of any rule needs to fill: the rules share a table, and what is forgotten of it earlier would be full too soon.
	refill  time.Duration
	contact *buckets
	// known are the contacts of senders under NewContacts, heard those of others, which such a sender may answer: however many those are, they
	// take no room from the first.
	known, heard *contacts
	tenants      []tenantMeter
}

// hashed names somebody in a table: 128 bits of a keyed hash. An address may be a part of a whole message, which a table that had it as its key would
// keep in memory.
type hashed [2]uint64

// hasher makes them.
type hasher [2]maphash.Seed

func newHasher() hasher { return hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

// of hashes texts, none of which holds a NUL.
func (h *hasher) of(texts ...string) hashed {
	var room [512]byte
	b := room[:0]
	for _, s := range texts {
		b = append(append(b, s...), 0)
	}
	return hashed{maphash.Bytes(h[0], b), maphash.Bytes(h[1], b)}
}

type tenantMeter struct {
	name     string
	underWay *atomic.Int64
	mu       *sync.Mutex
	tokens   *bucket
}

// remembered bounds each table of a Meter, in entries.
const remembered = 200_000

// NewMeter returns a meter for p. What old, which may be nil, has counted for rules and tenants of the same name goes on.
func NewMeter(p *Policy, old *Meter) *Meter {
	m := &Meter{policy: p, refill: time.Hour}
	for _, r := range p.Rules() {
		if r.SenderRate > 0 {
			m.refill = max(m.refill, time.Duration(float64(r.SenderBurst)/float64(r.SenderRate)*float64(time.Minute)))
		}
	}
	if old != nil {
		m.senders, m.contact, m.known, m.heard = old.senders, old.contact, old.known, old.heard
	} else {
		m.senders, m.contact, m.known, m.heard = newBuckets(remembered), newBuckets(remembered), newContacts(remembered), newContacts(remembered)
	}
	before := make(map[string]tenantMeter)
	if old != nil {
		for _, t := range old.tenants {
			before[t.name] = t
		}
	}
	for _, t := range p.Tenants() {
		x, ok := before[t.Name]
		if !ok {
			x = tenantMeter{name: t.Name, underWay: new(atomic.Int64), mu: new(sync.Mutex), tokens: &bucket{tokens: float64(t.MessagesPerSecond)}}
		}
		m.tenants = append(m.tenants, x)
	}
	return m
}

// Message takes what one message of an allowed Ask costs: octets are those of its content. It returns the cause and a sentence for the
// sender if a bound is reached; then nothing was taken of the bounds that come after the one that was reached. After nil the caller
// calls release, once, when the message is no longer under way.
func (m *Meter) Message(now time.Time, a Ask, v Verdict, octets int) (release func(), cause Cause, why string) {
	b := m.policy.Bounds(v)
	if b.MaxContent > 0 && octets > b.MaxContent {
		return nil, CauseSize, "The content is larger than the policy of this gateway allows"
	}
	if b.SenderRate > 0 && !m.senders.take(v.By, a.From, now, float64(b.SenderRate)/60, float64(b.SenderBurst), m.refill) {
		return nil, CauseSenderRate, "The sender sends too many messages"
	}
	if m.policy != nil && m.policy.contacts {
		// Whoever is written to may answer, and is no new contact then.
		// Looked up first and noted afterwards, so that of two that come at once to somebody new none is let in by the other.
		if b.NewContacts > 0 {
			if !m.known.have(a.From, a.To) && !m.heard.have(a.From, a.To) && !m.contact.take(v.By, a.From, now, float64(b.NewContacts)/3600, float64(b.NewContacts), time.Hour) {
				return nil, CauseNewContacts, "The sender writes to too many new recipients"
			}
			m.known.meet(now, a.From, a.To)
		} else {
			m.heard.meet(now, a.From, a.To)
		}
	}
	return m.tenantsTake(now, v)
}

func nothing() {}

func (m *Meter) tenantsTake(now time.Time, v Verdict) (func(), Cause, string) {
	one, two := v.tenant, v.tenantOfTo
	if one == two {
		two = -1
	}
	var taken [2]*tenantMeter
	n := 0
	for _, i := range [2]int{one, two} {
		if i < 0 {
			continue
		}
		t, limits := &m.tenants[i], &m.policy.tenants[i]
		if rate := float64(limits.MessagesPerSecond); rate > 0 {
			t.mu.Lock()
			ok := t.tokens.take(now, rate, rate)
			t.mu.Unlock()
			if !ok {
				giveBack(taken[:n])
				return nil, CauseTenantRate, "Too many messages for this domain"
			}
		}
		if limits.MessagesUnderWay > 0 {
			if t.underWay.Add(1) > int64(limits.MessagesUnderWay) {
				t.underWay.Add(-1)
				giveBack(taken[:n])
				return nil, CauseTenantRoom, "Too many messages of this domain are under way"
			}
			taken[n] = t
			n++
		}
	}
	switch n {
	case 0:
		return nothing, "", ""
	case 1:
		t := taken[0].underWay
		return func() { t.Add(-1) }, "", ""
	}
	both := taken // the other one is in nobody's memory but the caller's stack
	return func() { giveBack(both[:]) }, "", ""
}

func giveBack(taken []*tenantMeter) {
	for _, t := range taken {
		t.underWay.Add(-1)
	}
}

// UnderWay returns how many messages of a tenant, by its name, are under way.
func (m *Meter) UnderWay(tenant string) int64 {
	for _, t := range m.tenants {
		if t.name == tenant {
			return t.underWay.Load()
		}
	}
	return 0
}

// bucket is a bucket of tokens.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	if !b.at.IsZero() {
		b.tokens = min(burst, b.tokens+rate*max(0, now.Sub(b.at).Seconds()))
	} else {
		b.tokens = burst
	}
	if now.After(b.at) { // no time counts twice, also where one that began earlier comes later
		b.at = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

const meterShards = 16

// buckets is a table of buckets by rule and sender, of two generations: when the young one is full or as old as any bucket needs to fill, the old
// one is forgotten.
type buckets struct {
	most   int
	hasher hasher
	shards [meterShards]struct {
		mu         sync.Mutex
		young, old map[hashed]bucket
		born       time.Time
	}
}

func newBuckets(most int) *buckets {
	return &buckets{most: most / 2 / meterShards, hasher: newHasher()}
}

func (t *buckets) take(rule string, sender cpim.Address, now time.Time, rate, burst float64, refill time.Duration) bool {
	k := t.hasher.of(rule, sender.Local(), sender.Domain())
	s := &t.shards[k[0]%meterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= t.most || now.Sub(s.born) >= refill {
		s.old, s.young, s.born = s.young, make(map[hashed]bucket), now
	}
	b, ok := s.young[k]
	if !ok {
		b = s.old[k]
	}
	taken := b.take(now, rate, burst)
	s.young[k] = b
	return taken
}

// contacts remembers who wrote to whom, in both directions, for at least a week unless it is full.
type contacts struct {
	most   int
	hasher hasher
	shards [meterShards]struct {
		mu         sync.Mutex
		young, old map[hashed]struct{}
		born       time.Time
	}
}

// key is of two addresses in their order, so that a conversation is one entry.
func (c *contacts) key(from, to cpim.Address) hashed {
	if from.Domain() > to.Domain() || from.Domain() == to.Domain() && from.Local() > to.Local() {
		from, to = to, from
	}
	return c.hasher.of(from.Local(), from.Domain(), to.Local(), to.Domain())
}

func newContacts(most int) *contacts {
	return &contacts{most: most / 2 / meterShards, hasher: newHasher()}
}

// have tells whether two parties are in contact.
func (c *contacts) have(from, to cpim.Address) bool {
	k := c.key(from, to)
	s := &c.shards[k[0]%meterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.young[k]; ok {
		return true
	}
	_, ok := s.old[k]
	return ok
}

// meet remembers that two parties are in contact.
func (c *contacts) meet(now time.Time, from, to cpim.Address) {
	k := c.key(from, to)
	s := &c.shards[k[0]%meterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.young[k]; ok {
		return
	}
	if len(s.young) >= c.most || now.Sub(s.born) >= 7*24*time.Hour {
		s.old, s.young, s.born = s.young, make(map[hashed]struct{}), now
	}
	s.young[k] = struct{}{}
}
