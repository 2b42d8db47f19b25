package resolver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// TTLs bounds how long answers are kept. A zero field takes its default.
type TTLs struct {
	Floor    time.Duration // shortest life of an answer; default 5 s. It also bounds how often one name is asked.
	Ceiling  time.Duration // longest life of an answer with records; default 24 h (RFC 8767 §4 allows 7 days)
	Negative time.Duration // longest life of an answer without records; default 1 h (RFC 2308 §5: "one to three hours")
	// FailureMin and FailureMax bound how long a failed lookup is not repeated: it doubles from 1 s to 15 s by default. FailureMin
	// cannot be less than 1 s, which is the promise of one query per name per second at most.
	FailureMin, FailureMax time.Duration
	Stale                  time.Duration // how long after its end an answer may stand in for a failed lookup; default 24 h; negative: never
	StaleWait              time.Duration // how long to wait before answering with a stale one; default 1.8 s (RFC 8767 §5)
}

func (t TTLs) withDefaults() TTLs {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Floor, 5*time.Second)
	def(&t.Ceiling, 24*time.Hour)
	def(&t.Negative, time.Hour)
	def(&t.FailureMin, time.Second)
	def(&t.FailureMax, 15*time.Second)
	def(&t.Stale, 24*time.Hour)
	def(&t.StaleWait, 1800*time.Millisecond)
	t.FailureMin = max(t.FailureMin, time.Second)
	t.FailureMax = max(t.FailureMax, t.FailureMin)
	t.Ceiling = max(t.Ceiling, t.Floor)
	t.Negative = max(t.Negative, t.Floor)
	return t
}

// staleTTL is the life that a stale answer gets where it is used (RFC 8767 §4: "a RECOMMENDED value of 30 seconds").
const staleTTL = 30 * time.Second

// entry is one question's place in the cache: the last answer about the name, if there was one, and the failure since.
type entry struct {
	good     *answer // nil if no lookup has succeeded yet
	fetched  time.Time
	expires  time.Time // of good
	failed   *answer   // nil unless the last lookup failed
	retryAt  time.Time // until then a failure is not repeated
	failures int
	weight   uint32
}

// source says where the answer to a lookup came from. Its text is the String.
type source uint8

const (
	fromNetwork source = iota + 1
	fromCache
	fromStale
	fromPolicy
)

var sourceNames = [...]string{"none", "server", "cache", "stale cache", "policy"}

func (s source) String() string { return sourceNames[s] }

// recordCache answers questions from memory, or asks, once for all who want to know. It is bounded by weight in octets, so that
// names chosen by strangers push each other out.
type recordCache struct {
	up      *upstream
	ttls    TTLs
	entries *otter.Cache[question, *entry]
	flight  singleflight.Group
	waiting atomic.Int64
	maxWait int64
	timeout time.Duration // of one lookup with all its attempts
	asked   atomic.Uint64 // lookups that went to the servers
	served  atomic.Uint64 // stale answers given
	done    context.Context
	stop    context.CancelFunc

	mu     sync.Mutex // guards closed, and that nothing begins after it
	closed bool
	work   sync.WaitGroup // lookups and resolutions that run for others than their caller
}

// begin counts one piece of work that Close waits for; false after Close. Every true is followed by one work.Done.
func (c *recordCache) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Add(1)
	return true
}

func newRecordCache(up *upstream, ttls TTLs, bytes uint64, maxWait int, timeout time.Duration) *recordCache {
	c := &recordCache{up: up, ttls: ttls, maxWait: int64(maxWait), timeout: timeout}
	c.done, c.stop = context.WithCancel(context.Background())
	up.done = c.done
	c.entries = otter.Must(&otter.Options[question, *entry]{
		MaximumWeight: bytes,
		Weigher:       func(_ question, e *entry) uint32 { return e.weight },
		// Maintenance on the caller's goroutine: bounded work, and no goroutine outlives the cache.
		Executor: func(fn func()) { fn() },
	})
	return c
}

// lookup returns the answer to q, how long it may be used, and where it came from. It never returns nil. If ctx ends first the
// answer is a failure that is not kept; the question goes on for others.
func (c *recordCache) lookup(ctx context.Context, q question) (*answer, time.Duration, source) {
	now := time.Now()
	e, _ := c.entries.GetIfPresent(q)
	if e != nil {
		if left := e.expires.Sub(now); e.good != nil && left > 0 {
			return e.good, left, fromCache
		}
		if e.failed != nil && now.Before(e.retryAt) {
			if c.usableStale(e, now) {
				c.served.Add(1)
				return e.good, min(staleTTL, e.retryAt.Sub(now)), fromStale
			}
			return e.failed, e.retryAt.Sub(now), fromCache
		}
	}
	if c.waiting.Add(1) > c.maxWait {
		c.waiting.Add(-1)
		return failure("too many lookups waiting"), c.ttls.FailureMin, fromPolicy
	}
	defer c.waiting.Add(-1)

	ch := c.flight.DoChan(q.String(), func() (any, error) { return c.fetch(q), nil })
	var staleWait <-chan time.Time
	if e != nil && c.usableStale(e, now) {
		t := time.NewTimer(c.ttls.StaleWait)
		defer t.Stop()
		staleWait = t.C
	}
	select {
	case r := <-ch:
		e = r.Val.(*entry)
		now = time.Now()
		if e.failed == nil {
			return e.good, e.expires.Sub(now), fromNetwork
		}
		if c.usableStale(e, now) {
			c.served.Add(1)
			return e.good, min(staleTTL, e.retryAt.Sub(now)), fromStale
		}
		return e.failed, e.retryAt.Sub(now), fromNetwork
	case <-staleWait:
		c.served.Add(1)
		return e.good, c.ttls.FailureMin, fromStale
	case <-ctx.Done():
		return failure("the caller stopped waiting"), c.ttls.FailureMin, fromPolicy
	}
}

// usableStale is RFC 8767 §5, the maximum stale timer. Denials are served stale like records: both were answers.
func (c *recordCache) usableStale(e *entry, now time.Time) bool {
	return e.good != nil && now.Before(e.expires.Add(c.ttls.Stale))
}

// fetch asks the servers and stores what they say. It runs once per question at a time, whoever waits.
func (c *recordCache) fetch(q question) *entry {
	if !c.begin() {
		return &entry{failed: failure("the resolver is closed"), retryAt: time.Now().Add(c.ttls.FailureMin)}
	}
	defer c.work.Done()
	ctx, cancel := context.WithTimeout(c.done, c.timeout)
	defer cancel()
	old, _ := c.entries.GetIfPresent(q)
	if now := time.Now(); old != nil && (now.Before(old.expires) || now.Before(old.retryAt)) {
		return old // somebody else's question came back between the caller's look and this one
	}
	c.asked.Add(1)
	a := c.up.resolve(ctx, q)
	now := time.Now()
	e := &entry{}
	if a.outcome == Failed {
		// RFC 8767 §4: any other response code "SHOULD be considered a failure to refresh the data and therefore leave any previous
		// state intact".
		if old != nil {
			e.good, e.fetched, e.expires, e.failures = old.good, old.fetched, old.expires, old.failures
		}
		wait := c.ttls.FailureMin << min(e.failures, 16)
		if !a.local {
			e.failures++
		}
		e.failed, e.retryAt = a, now.Add(min(wait, c.ttls.FailureMax))
	} else {
		a.ttl = c.life(a)
		e.good, e.fetched, e.expires = a, now, now.Add(a.ttl)
	}
	e.weight = uint32(weigh(q, e))
	if c.done.Err() == nil {
		c.entries.Set(q, e)
	}
	return e
}

// life clamps the TTL. A denial without an SOA must not be cached (RFC 2308 §5: "SHOULD NOT"); it is kept as long as a failure, so
// that it cannot be used to make us ask without end.
func (c *recordCache) life(a *answer) time.Duration {
	ttl := time.Duration(a.ttlWire) * time.Second
	if a.outcome == Found {
		return min(max(ttl, c.ttls.Floor), c.ttls.Ceiling)
	}
	if a.ttlWire == 0 {
		return c.ttls.FailureMin
	}
	return min(max(ttl, c.ttls.Floor), c.ttls.Negative)
}

// weigh is about how many octets an entry costs, with the cache's own node.
func weigh(q question, e *entry) int {
	n := 320 + len(q.name)
	for _, a := range [2]*answer{e.good, e.failed} {
		if a == nil {
			continue
		}
		n += 224 + len(a.final) + len(a.reason) + 24*len(a.addrs) + 16*len(a.aliases)
		for _, s := range a.aliases {
			n += len(s)
		}
		for i := range a.srvs {
			n += 32 + len(a.srvs[i].target)
		}
		for i := range a.naptrs {
			n += 64 + len(a.naptrs[i].replacement) + len(a.naptrs[i].flags) + len(a.naptrs[i].service)
		}
		for i := range a.tlsas {
			n += 24 + len(a.tlsas[i].Data)
		}
	}
	return n
}

func (c *recordCache) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.up.ex.close()
	c.work.Wait()
	c.up.wg.Wait()
	c.entries.StopAllGoroutines()
}
