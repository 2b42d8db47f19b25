package resolver

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// failureMemory remembers which targets failed lately. Bounded; what is used least goes.
type failureMemory struct {
	min, max time.Duration
	latest   atomic.Int64 // nanoseconds since Resolver.start until which at least one target is set aside
	entries  *otter.Cache[hopKey, failedTarget]
}

type failedTarget struct {
	until time.Time
	count int
}

func newFailureMemory(lo, hi time.Duration, size int) *failureMemory {
	return &failureMemory{min: lo, max: hi, entries: otter.Must(&otter.Options[hopKey, failedTarget]{
		MaximumSize: size, Executor: func(fn func()) { fn() },
	})}
}

// any reports whether a target may be set aside now, without looking at each.
func (m *failureMemory) any(now time.Duration) bool { return int64(now) < m.latest.Load() }

func (m *failureMemory) held(t *Target, now time.Time) bool {
	f, ok := m.entries.GetIfPresent(hopKey{t.addr, t.protocol, t.transport})
	return ok && now.Before(f.until)
}

func (m *failureMemory) close() { m.entries.StopAllGoroutines() }

// Failed says that t could not be reached or answered 503 (RFC 3263 §4.3). For a bounded time, which doubles with every failure
// after it, t then stands behind all targets that did not fail; it is never left out, so that it is tried again when nothing else
// is left. The failure belongs to the address, port and transport, whatever domain led there.
func (r *Resolver) Failed(t Target) {
	m, key, now := r.failed, hopKey{t.addr, t.protocol, t.transport}, time.Now()
	f, _ := m.entries.GetIfPresent(key)
	if now.Before(f.until) {
		return // the same failure, seen by another caller
	}
	f.until = now.Add(min(m.min<<min(f.count, 16), m.max))
	f.count++
	m.entries.Set(key, f)
	for nano := int64(f.until.Sub(r.start)); ; {
		old := m.latest.Load()
		if old >= nano || m.latest.CompareAndSwap(old, nano) {
			return
		}
	}
}

// Succeeded says that t was reached, and forgets its failures.
func (r *Resolver) Succeeded(t Target) {
	if r.failed.latest.Load() != 0 {
		r.failed.entries.Invalidate(hopKey{t.addr, t.protocol, t.transport})
	}
}
