package gateway_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// anywhere is a resolver that knows a next hop for every domain and keeps nothing.
type anywhere struct{ hop resolver.Static }

func (a anywhere) Resolve(_ context.Context, q resolver.Query) ([]resolver.Target, error) {
	t, _ := a.hop.Target(q.Domain)
	return []resolver.Target{t}, nil
}

func (a anywhere) Static(_ context.Context, st resolver.Static, domain string) ([]resolver.Target, error) {
	t, _ := st.Target(domain)
	return []resolver.Target{t}, nil
}

// T-SK-02, T-SK-03, THREATS O4: users and domains that are never seen again leave nothing behind but what tables with a bound hold: no
// metric has a series for them, no lane is left, and no goroutine but those that were at work at once.
func TestT_SK_03_DomainsLeaveNothing(t *testing.T) {
	const domains, warm = 100_000, 20_000
	s := newStrait(t, func(c *gateway.Config) {
		hop, err := resolver.ParseStatic("sip:127.0.0.1:5060;transport=udp")
		if err != nil {
			t.Fatal(err)
		}
		c.Resolver = anywhere{hop}
		c.Routes[0] = gateway.Route{Domain: gateway.AnyDomain, Adapter: "sip"}
		c.Limits = gateway.Limits{Origins: 1000, Duplicates: 1000, Repeats: 3, PairRate: 100, PairBurst: 100}
		c.Logger = c.Logger.Level(5)
	})
	defer s.shutdown()
	s.sip.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return adapters.Succeeded() }
	series := func() int {
		n := 0
		families, err := s.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	heap := func() int {
		s.sip.Forget()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	h := s.xmpp.Handler()
	done := make(chan struct{}, 64)
	var before, heapBefore, routines int
	for i := range domains {
		if i == warm {
			before, heapBefore, routines = series(), heap(), runtime.NumGoroutine()
		}
		if i%10_000 == 0 {
			s.sip.Forget()
		}
		done <- struct{}{}
		op := message(juliet, adapters.Party{Address: cpim.MustParseAddress(fmt.Sprintf("im:u%d@d%d.example", i, i))}, "x")
		op.TransID = fmt.Sprint(i)
		h.Message(t.Context(), op, func(adapters.Status) { <-done })
	}
	for range cap(done) {
		done <- struct{}{}
	}
	// Goroutines of lanes are kept for the next ones, as many as were at work at once; what is more ends within 20 s.
	routines += 2 * cap(done)
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > routines && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if n := series(); n != before {
		t.Errorf("%d series of metrics after %d domains, %d after %d", n, domains, before, warm)
	}
	if n := runtime.NumGoroutine(); n > routines {
		t.Errorf("%d goroutines, %d before", n, routines)
	}
	if grown := heap() - heapBefore; grown > 16<<20 {
		t.Errorf("the heap grew by %d octets over %d domains", grown, domains-warm)
	}
}
