package moderation

import (
	"testing"
	"testing/synctest"
	"time"
)

// socket is what a Reader reads in these tests: pieces, each of which is the time when it came.
type socket struct {
	come  chan time.Time
	batch int // how many one reading takes at most
}

// result is what became of what came.
type result struct {
	delays  []time.Duration // from when it came until it was read
	batches []int
	rests   []time.Duration
}

// run reads what comes until the channel is closed, in the bubble's time: nothing takes any but a rest.
func (s *socket) run(procs int) *result {
	out := &result{}
	r := &Reader{procs: func() int { return procs }}
	r.rest = func(d time.Duration) {
		out.rests = append(out.rests, d)
		time.Sleep(d)
	}
	for at := range s.come {
		n := 1
		out.delays = append(out.delays, time.Since(at))
		for ; n < s.batch; n++ {
			select {
			case at, ok := <-s.come:
				if !ok {
					return out
				}
				out.delays = append(out.delays, time.Since(at))
				continue
			default:
			}
			break
		}
		out.batches = append(out.batches, n)
		if n == s.batch {
			r.ReadMore(time.Now(), n)
		} else {
			r.Read(time.Now(), n)
		}
	}
	return out
}

// load is pieces at a rate for a time.
type load struct {
	rate int
	time time.Duration
}

func offer(t *testing.T, procs, batch int, loads ...load) (out *result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // whatever time it is
		s := &socket{come: make(chan time.Time, 100_000), batch: batch}
		done := make(chan *result)
		go func() { done <- s.run(procs) }()
		for _, l := range loads {
			if l.rate == 0 {
				time.Sleep(l.time)
				continue
			}
			for range int(l.time.Seconds() * float64(l.rate)) {
				s.come <- time.Now()
				time.Sleep(time.Second / time.Duration(l.rate))
			}
		}
		close(s.come)
		out = <-done
	})
	return out
}

func longest(all []time.Duration) (d time.Duration) {
	for _, one := range all {
		d = max(d, one)
	}
	return d
}

func TestNothingIsDelayedAtLowRates(t *testing.T) {
	for name, loads := range map[string][]load{
		"one":                         {{1, time.Second}},
		"ten a second":                {{10, 10 * time.Second}},
		"under where it begins":       {{1900, 2 * time.Second}},
		"after a load, and a silence": {{20_000, time.Second}, {0, time.Second}, {1, 5 * time.Second}},
		"after a load, fewer come":    {{20_000, time.Second}, {1000, time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			out := offer(t, 1, 64, loads...)
			slow := out.delays[len(out.delays)-1:]
			if loads[0].rate < begins {
				slow = out.delays
			} else if last := loads[len(loads)-1]; last.rate >= 1000 {
				slow = out.delays[len(out.delays)-900:] // of 1,000; in the first 10 ms it is not known yet
			}
			if d := longest(slow); d != 0 {
				t.Errorf("something was read %v after it came", d)
			}
		})
	}
}

func TestABurstAfterASilenceIsNotDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		r := &Reader{procs: func() int { return 1 }, rest: func(time.Duration) { t.Error("a rest") }}
		for range 20 {
			for range 30 {
				r.Read(time.Now(), 1)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestUnderLoadItComesTogetherAndIsDelayedByACycleAtMost(t *testing.T) {
	for name, c := range map[string]struct {
		rate  int
		least float64 // pieces together, in the middle
	}{
		"where it begins": {4100, 1.7},
		"5,000 a second":  {5000, 2},
		"14,344 a second": {14_344, 6},
		"25,920 a second": {25_920, 10},
	} {
		t.Run(name, func(t *testing.T) {
			out := offer(t, 1, 64, load{c.rate, time.Second})
			if len(out.delays) < c.rate-64 {
				t.Fatalf("%d were read", len(out.delays))
			}
			if d := longest(out.delays); d > Cycle || d == 0 {
				t.Errorf("something was read %v after it came", d)
			}
			if d := longest(out.rests); d > Cycle {
				t.Errorf("a rest of %v", d)
			}
			if together := float64(len(out.delays)) / float64(len(out.batches)); together < c.least {
				t.Errorf("%.1f come together", together)
			}
		})
	}
}

// A full batch tells that more waits, so there is no rest until all is read.
func TestNoRestWhileMoreWaits(t *testing.T) {
	out := offer(t, 1, 1, load{10_000, time.Second})
	if len(out.rests) != 0 || longest(out.delays) != 0 {
		t.Errorf("%d rests", len(out.rests))
	}
}

// Batches that come by themselves are not waited for.
func TestNoRestAfterALargeBatch(t *testing.T) {
	now := time.Now()
	for n, want := range map[int]time.Duration{1: Cycle, enough - 1: Cycle, enough: 0, 63: 0} {
		p := pace{begun: now}
		if got := p.left(now, n); got != want {
			t.Errorf("after %d: a rest of %v", n, got)
		}
	}
}

func TestNoRestAtHighRates(t *testing.T) {
	for _, l := range [][]load{{{40_000, time.Second}}, {{5000, time.Second}, {100_000, time.Second}}} {
		out := offer(t, 1, 64, l...)
		last := out.delays[len(out.delays)-30_000:] // in the first 10 ms it is not known yet
		if d := longest(last); d != 0 {
			t.Errorf("something was read %v after it came", d)
		}
	}
}

func TestNoRestWithMoreProcessors(t *testing.T) {
	out := offer(t, 2, 64, load{10_000, time.Second})
	if len(out.rests) != 0 || longest(out.delays) != 0 {
		t.Errorf("%d rests", len(out.rests))
	}
}

// What the reader does between two readings is part of the cycle: who is busy does not rest.
func TestWorkIsPartOfTheCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		var rests []time.Duration
		r := &Reader{procs: func() int { return 1 }, rest: func(d time.Duration) {
			rests = append(rests, d)
			time.Sleep(d)
		}}
		work := func(d time.Duration, times int) {
			rests = nil
			for range times {
				time.Sleep(d)
				r.Read(time.Now(), 3)
			}
		}
		work(200*time.Microsecond, 1000)
		if len(rests) < 900 || longest(rests[1:]) != Cycle-200*time.Microsecond {
			t.Errorf("%d rests, the longest of %v", len(rests), longest(rests[1:]))
		}
		if work(Cycle, 100); len(rests) != 0 {
			t.Errorf("%d rests of one who works all the time", len(rests))
		}
	})
}

func BenchmarkReadAtALowRate(b *testing.B) {
	r := NewReader()
	defer r.Close()
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		r.Read(now, 1)
	}
}
