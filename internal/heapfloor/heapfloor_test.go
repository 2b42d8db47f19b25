package heapfloor

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestPercent(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		floor, live, roots uint64
		want               int64
	}{
		"nothing in use yet":    {128 * mib, 0, 0, 3200},
		"little in use":         {128 * mib, 8 * mib, 0, 1500},
		"roots count too":       {128 * mib, 8 * mib, 2 * mib, 1200},
		"half of it":            {128 * mib, 64 * mib, 0, 100},
		"more than half":        {128 * mib, 100 * mib, 0, 100},
		"all of it":             {128 * mib, 128 * mib, 0, 100},
		"more than the floor":   {128 * mib, 900 * mib, mib, 100},
		"hardly less than half": {128 * mib, 63 * mib, 0, 103},
		"less than 1 MiB":       {128 * mib, 1, 1, 3200},
	} {
		t.Run(name, func(t *testing.T) {
			if got := percent(c.floor, c.live, c.roots); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

// keep is what stays in use in the test.
var keep [][]byte

func TestKeepFollowsWhatIsInUse(t *testing.T) {
	before := debug.SetGCPercent(100)
	debug.SetGCPercent(before)
	const floor = 256 << 20
	end := Keep(floor, false)
	now := func() int {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return int(s[0].Value.Uint64())
	}
	// The finalizer runs soon after a cycle, on a goroutine of the runtime's. The first cycle may have met what Keep itself had for a moment.
	settled := false
	for range 10_000 {
		if settled = now() > 200; settled {
			break
		}
		runtime.GC()
		runtime.Gosched()
	}
	if !settled {
		t.Errorf("with little in use the heap may grow by %d %%", now())
	}
	for range 200 { // far more in use than the floor
		keep = append(keep, make([]byte, 2<<20))
	}
	for range 10_000 {
		if settled = now() == 100; settled {
			break
		}
		runtime.GC()
		runtime.Gosched()
	}
	if !settled {
		t.Errorf("with 400 MiB in use and a floor of 256 the heap may grow by %d %%", now())
	}
	keep = nil
	for range 10_000 {
		if settled = now() > 200; settled {
			break
		}
		runtime.GC()
		runtime.Gosched()
	}
	if !settled {
		t.Errorf("with little in use again the heap may grow by %d %%", now())
	}
	end()
	end()
	if p := now(); p != before {
		t.Errorf("after the end it is %d %%, before it was %d", p, before)
	}
}
