package resolver_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

// "a cached resolution in at most 500 ns and 1 allocation"
func BenchmarkResolveCached(b *testing.B) {
	const zone = "_im._sip SRV 10 20 5061 a\n_im._sip SRV 10 80 5061 b\na A 192.0.2.1\nb A 192.0.2.2\n_xmpp-server._tcp SRV 0 0 5269 a\n"
	for _, uri := range []string{"xmpp:example.net", "im:romeo@example.net", "sip:192.0.2.9"} {
		b.Run(strings.ReplaceAll(uri, ":", "-"), func(b *testing.B) {
			r, _ := lab(b, zone, nil)
			q := query(b, uri)
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Resolve(ctx, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		r, _ := lab(b, zone, nil)
		q := query(b, "im:romeo@example.net")
		ctx := b.Context()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := r.Resolve(ctx, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("with a failed target", func(b *testing.B) {
		r, _ := lab(b, zone, nil)
		q := query(b, "im:romeo@example.net")
		ctx := b.Context()
		ts, err := r.Resolve(ctx, q)
		if err != nil {
			b.Fatal(err)
		}
		r.Failed(ts[0])
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Resolve(ctx, q); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A cached resolution stays within its budget of allocations.
func TestCachedAllocations(t *testing.T) {
	r, _ := lab(t, "_im._xmpp SRV 0 1 5269 x\n_im._xmpp SRV 0 9 5269 y\nx A 192.0.2.1\ny A 192.0.2.2\n", nil)
	q := query(t, "im:a@example.net")
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := r.Resolve(ctx, q); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkTenThousandCold: 10,000 domains cold at 5 ms DNS latency with bounded concurrency, and the memory of each that is cached.
// An iteration is all of them.
func BenchmarkTenThousandCold(b *testing.B) {
	const domains, callers, inFlight = 10_000, 512, 256
	var zone strings.Builder
	for i := range domains {
		fmt.Fprintf(&zone, "_xmpp-server._tcp.d%d SRV 0 0 5269 h.d%d\nh.d%d A 192.0.2.%d\n", i, i, i, 1+i%250)
	}
	for b.Loop() {
		r, s := lab(b, zone.String(), func(c *resolver.Config, o *resolvertest.Options) {
			c.MaxInFlight, o.Latency = inFlight, 5*time.Millisecond
		})
		heap := func() uint64 {
			runtime.GC()
			runtime.GC()
			s.ClearLog()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before, start := heap(), time.Now()
		var next, failed atomic.Int64
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for i := next.Add(1); i <= domains; i = next.Add(1) {
					q := resolver.Query{Service: resolver.XMPPServer, Domain: fmt.Sprintf("d%d.example.net", i-1)}
					if ts, err := r.Resolve(b.Context(), q); err != nil || len(ts) != 1 {
						failed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(start)
		if failed.Load() > 0 {
			b.Errorf("%d of %d domains failed", failed.Load(), domains)
		}
		b.ReportMetric(domains/took.Seconds(), "domains/s")
		b.ReportMetric(float64(s.Queries()), "questions")
		b.ReportMetric(float64(heap()-before)/domains, "B/domain")
	}
}

// The bound holds: names chosen by a stranger push each other out.
func TestCacheIsBounded(t *testing.T) {
	r, _ := lab(t, "", func(c *resolver.Config, _ *resolvertest.Options) { c.CacheBytes = 256 << 10 })
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= 3000; i = next.Add(1) {
				r.Resolve(t.Context(), resolver.Query{Service: resolver.XMPPServer, Domain: fmt.Sprintf("d%d.%s.example.net", i, strings.Repeat("a", 60))})
			}
		})
	}
	wg.Wait()
	if st := r.Stats(); st.CachedAnswers > 800 || st.CachedPlans > 800 {
		t.Errorf("with 256 KiB, %d answers and %d results are kept", st.CachedAnswers, st.CachedPlans)
	}
}
