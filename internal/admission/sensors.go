package admission

import (
	"math"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/cgroup"
)

// runtimeSensors ask the Go runtime. They belong to one goroutine at a time.
type runtimeSensors struct {
	samples []metrics.Sample
	before  []uint64
	quota   float64       // processors that the control group allows; 0: as many as there are
	used    time.Duration // processor time of the process
	at      time.Time

	cap        *atomic.Int64 // of the memory
	cycle      uint64        // of the collector, when Memory was asked last
	since      time.Time     // when that was first seen
	brimful    bool          // the memory was full, and there is no room again
	collecting atomic.Bool
	took       atomic.Int64 // how long the collection took that was begun here last, in nanoseconds
}

// What samples holds.
const (
	sampleLatencies = iota
	sampleTotal
	sampleReleased
	sampleObjects
	sampleFree
	sampleUnused
	sampleLive
	sampleCycles
)

func newRuntimeSensors(limit *atomic.Int64) *runtimeSensors {
	quota, _ := cgroup.Processors(cgroup.System())
	return &runtimeSensors{cap: limit, quota: quota, samples: []metrics.Sample{
		sampleLatencies: {Name: "/sched/latencies:seconds"},
		sampleTotal:     {Name: "/memory/classes/total:bytes"},
		sampleReleased:  {Name: "/memory/classes/heap/released:bytes"},
		sampleObjects:   {Name: "/memory/classes/heap/objects:bytes"},
		sampleFree:      {Name: "/memory/classes/heap/free:bytes"},
		sampleUnused:    {Name: "/memory/classes/heap/unused:bytes"},
		sampleLive:      {Name: "/gc/heap/live:bytes"},
		sampleCycles:    {Name: "/gc/cycles/total:gc-cycles"},
	}}
}

// Delay implements Sensors.
func (s *runtimeSensors) Delay() time.Duration {
	metrics.Read(s.samples)
	if s.samples[sampleLatencies].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := s.samples[sampleLatencies].Value.Float64Histogram()
	if len(s.before) != len(h.Counts) {
		s.before = make([]uint64, len(h.Counts))
		copy(s.before, h.Counts)
		return 0
	}
	var all uint64
	for i, n := range h.Counts {
		all += n - s.before[i]
	}
	delay, seen := 0.0, uint64(0)
	for i, n := range h.Counts {
		if n == s.before[i] {
			continue
		}
		if seen += n - s.before[i]; 2*seen >= all {
			if delay = h.Buckets[i]; math.IsInf(delay, 0) {
				delay = 0
			}
			break
		}
	}
	copy(s.before, h.Counts)
	return time.Duration(delay * float64(time.Second))
}

// Busy implements Sensors.
func (s *runtimeSensors) Busy() float64 {
	used, ok := processorTime()
	if !ok {
		return 1
	}
	now := time.Now()
	spent, elapsed := used-s.used, float64(now.Sub(s.at))*s.processors(runtime.GOMAXPROCS(0))
	first := s.at.IsZero()
	s.used, s.at = used, now
	if first || elapsed <= 0 {
		return 1
	}
	return min(float64(spent)/elapsed, 1)
}

// processors is how many the process may use, where the runtime uses so many at once: with a quota it uses two at least, also where the quota is a part of one.
func (s *runtimeSensors) processors(threads int) float64 {
	if s.quota > 0 {
		return min(float64(threads), s.quota)
	}
	return float64(threads)
}

const (
	// stale is after how long a full memory is measured anew: garbage is collected for that.
	stale = time.Second
	// rare is for how many times as long as that took it is not done again.
	rare = 10
)

// Memory implements Sensors: what was found to be in use when garbage was collected last, an eighth of that as room for garbage, and what the runtime has
// beside the heap. It is not what the runtime has of the system: with little in use that is near the cap as well, because garbage is left until it comes
// there. What comes into use between two collections is not seen, but the next one begins before the cap is passed. When the memory is full it may be long
// until one begins, as nothing new is taken; then, and only then, one is begun here. It is of the last call of Delay.
func (s *runtimeSensors) Memory() int64 {
	for i := sampleTotal; i <= sampleCycles; i++ {
		if s.samples[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
	}
	value := func(i int) uint64 { return s.samples[i].Value.Uint64() }
	live, total, heap := value(sampleLive), value(sampleTotal), value(sampleReleased)+value(sampleObjects)+value(sampleFree)+value(sampleUnused)
	used := int64(live + live/8 + total - min(heap, total))
	if now := time.Now(); value(sampleCycles) != s.cycle || s.since.IsZero() {
		s.cycle, s.since = value(sampleCycles), now
	} else if s.wasteful(now, used) && s.collecting.CompareAndSwap(false, true) {
		go func() {
			begun := time.Now()
			runtime.GC()
			s.took.Store(int64(time.Since(begun)))
			s.collecting.Store(false)
		}()
	}
	return used
}

// wasteful tells whether nothing new is taken for want of memory that may be garbage by now. A collection costs the processor time of much work, so it is for this alone, and takes a tenth of
// the time at most.
func (s *runtimeSensors) wasteful(now time.Time, used int64) bool {
	limit := float64(s.cap.Load())
	s.brimful = limit > 0 && (float64(used) >= full*limit || s.brimful && float64(used) >= roomy*limit)
	return s.brimful && now.Sub(s.since) >= max(stale, rare*time.Duration(s.took.Load()))
}
