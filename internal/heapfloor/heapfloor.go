// Package heapfloor has the garbage collector leave a small heap alone. By itself it begins a cycle whenever the heap has doubled: with 10 MiB
// in use and much traffic that is many times a second, each of which costs a share of the processor and some milliseconds of latency.
package heapfloor

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// Octets is the heap up to which no cycle begins, unless a limit (GOMEMLIMIT) demands it. A heap that has more than half of it in use is
// collected when it has doubled, as ever.
const Octets = 128 << 20

// standard is what the collector does by itself: a cycle when the heap has grown by so many percent.
const standard = 100

// floor keeps the percentage right: at the end of each cycle it is set for what was found to be in use.
type floor struct {
	octets uint64
	now    atomic.Int64 // the percentage that holds
	ended  atomic.Bool
	sample []metrics.Sample
}

// Keep begins to keep a floor of so many octets, and returns what ends it and has the collector do again what it did before. There is one floor
// at a time. With touch the memory up to the floor is the process's at once, rather than when the first load comes.
func Keep(octets uint64, touch bool) (end func()) {
	before := debug.SetGCPercent(standard)
	inHugePages(octets, touch)
	f := &floor{octets: octets, sample: []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}}
	f.now.Store(standard)
	runtime.GC() // what was asked for to have its place is no longer in use, and does not count as if it were
	f.set()
	f.watch()
	return func() {
		if !f.ended.Swap(true) {
			debug.SetGCPercent(before)
		}
	}
}

// cycle is garbage from the beginning: that it is freed tells that a cycle has ended. It has a pointer, or it would share its place with others
// that live on.
type cycle struct{ of *floor }

func (f *floor) watch() {
	runtime.SetFinalizer(&cycle{f}, func(c *cycle) {
		if c.of.ended.Load() {
			return
		}
		c.of.set()
		c.of.watch()
	})
}

// set sets the percentage, if another one is right: each change stops the process for some microseconds, so small differences are left.
func (f *floor) set() {
	metrics.Read(f.sample)
	want := percent(f.octets, f.sample[0].Value.Uint64(), f.sample[1].Value.Uint64()+f.sample[2].Value.Uint64())
	if now := f.now.Load(); want > now+now/8 || want < now-now/8 || want == standard && now != standard {
		f.now.Store(want)
		debug.SetGCPercent(int(want))
	}
}

// least is the heap up to which the collector does nothing at 100 percent; at others it is in proportion.
const least = 4 << 20

// percent is by how much a heap with so many octets in use may grow until it has floor octets. The collector counts what it scans besides, the
// roots, to what is in use.
func percent(floor, live, roots uint64) int64 {
	if live >= floor {
		return standard
	}
	return max(standard, min(int64((floor-live)*100/max(live+roots, 1)), int64(floor*100/least)))
}
