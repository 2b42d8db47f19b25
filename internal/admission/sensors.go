package admission

import (
	"math"
	"runtime"
	"runtime/metrics"
	"time"
)

// runtimeSensors ask the Go runtime. They belong to one goroutine at a time.
type runtimeSensors struct {
	samples []metrics.Sample
	before  []uint64
	used    time.Duration // processor time of the process
	at      time.Time
}

func newRuntimeSensors() *runtimeSensors {
	return &runtimeSensors{samples: []metrics.Sample{
		{Name: "/sched/latencies:seconds"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
	}}
}

// Delay implements Sensors.
func (s *runtimeSensors) Delay() time.Duration {
	metrics.Read(s.samples)
	if s.samples[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := s.samples[0].Value.Float64Histogram()
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
	spent, elapsed := used-s.used, now.Sub(s.at)*time.Duration(runtime.GOMAXPROCS(0))
	first := s.at.IsZero()
	s.used, s.at = used, now
	if first || elapsed <= 0 {
		return 1
	}
	return min(float64(spent)/float64(elapsed), 1)
}

// Memory implements Sensors. It is of the last call of Delay.
func (s *runtimeSensors) Memory() int64 {
	if s.samples[1].Value.Kind() != metrics.KindUint64 || s.samples[2].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(s.samples[1].Value.Uint64() - s.samples[2].Value.Uint64())
}
