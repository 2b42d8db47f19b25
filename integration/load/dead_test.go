package load

import (
	"strings"
	"testing"
	"time"
)

// T-OV-08, of which only what holds on any machine: what waits for a dead destination arrives when it is back, each once, in order for each pair, and no faster
// than the ramp allows by a wide margin; others are served meanwhile.
func TestT_OV_08_DeadDestination(t *testing.T) {
	const queued, rate, wait = 700, 25, time.Second
	report, err := Dead(t.Context(), DeadConfig{
		Config: Config{Binary: build(t), Directory: t.TempDir(), Procs: 1, Time: 3 * time.Second, Log: t.Output()},
		Rate:   50, Queued: queued, Pairs: 20, DirectWait: wait, ReturnRate: rate, Settle: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	report.Print(&text)
	t.Log(text.String())
	if report.Queued < queued/2 || report.Lost != 0 || report.Twice != 0 || report.Disorder != 0 {
		t.Errorf("%d waited, %d were refused, %d lost, %d came twice, %d out of order", report.Queued, report.Refused, report.Lost, report.Twice, report.Disorder)
	}
	// 250 are allowed; a machine that is held up may show what came in some seconds more as one.
	if report.FirstTen == 0 || report.FirstTen > 2*10*rate {
		t.Errorf("%d arrived in the first ten seconds", report.FirstTen)
	}
	if len(report.Others) != 2*len(deadTimes) {
		t.Fatalf("%+v", report.Others)
	}
	for _, o := range report.Others {
		// On a machine that is held up nearly as long as a sender waits, some of them are told so.
		if o.Offered == 0 || o.Refused != 0 && o.P99 < wait/2 {
			t.Errorf("%+v", o)
		}
	}
}

// The destination knows what came twice, and an order that is broken.
func TestGraveCounts(t *testing.T) {
	g := &grave{last: map[string]uint32{}, seen: map[uint32]bool{}}
	for _, m := range []struct {
		pair   string
		number uint32
	}{{"a b", 1<<32 - 2}, {"a b", 1<<32 - 2}, {"a b", 3}, {"a c", 5}, {"a b", 1}, {"a c", 9}} {
		g.take(m.pair, m.number, time.Now())
	}
	if n := g.count(); n != 5 || g.twice != 1 || g.disorder != 1 {
		t.Errorf("%d, %d twice, %d out of order", n, g.twice, g.disorder)
	}
}
