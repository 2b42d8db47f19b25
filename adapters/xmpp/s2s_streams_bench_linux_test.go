package xmpp

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// BenchmarkServerStreams is what a message costs when messages go over so many streams in turn: each of its own domain, with TLS and XEP-0198. The
// processor's time is that of both ends, which are in one process. 256 callers, so that on many streams hardly two messages go together.
func BenchmarkServerStreams(b *testing.B) {
	for _, streams := range []int{1, 10, 100, 500, 2000} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) { benchStreams(b, streams) })
	}
}

func benchStreams(b *testing.B, streams int) {
	ca := certstest.NewCA(b)
	target := benchSink(b, benchStore(b, ca, "*.example.com"), "d0.example.com")
	a, err := New(Config{Logger: zerolog.Nop(), Servers: &Servers{
		Domains: []string{"example.net"}, Certificates: benchStore(b, ca, "example.net"),
		Resolve: func(_ context.Context, domain string) ([]resolver.Target, error) {
			return []resolver.Target{target.WithServerName(domain)}, nil
		},
		Limits: ServerLimits{Streams: 2*streams + 100, StreamsPerAddress: 2*streams + 100},
	}})
	if err != nil {
		b.Fatal(err)
	}
	if err := a.Start(context.Background(), nowhere{}); err != nil {
		b.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		a.Shutdown(ctx)
	}()
	ops, hops := make([]*adapters.MessageOp, streams), make([][]resolver.Target, streams)
	for i := range ops {
		domain := fmt.Sprintf("d%d.example.com", i)
		ops[i] = benchOp()
		ops[i].To.Address = cpim.MustParseAddress("im:juliet@" + domain)
		hops[i] = []resolver.Target{target.WithServerName(domain)}
		if st := a.Message(context.Background(), hops[i], ops[i]); st.Outcome != adapters.Indeterminate {
			b.Fatal(domain, st)
		}
	}
	var next atomic.Uint64
	b.SetParallelism(128)
	b.ReportAllocs()
	b.ResetTimer()
	before, began := used(), time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(1) % uint64(streams)
			if st := a.Message(context.Background(), hops[i], ops[i]); st.Outcome != adapters.Indeterminate {
				b.Error(st)
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "messages/s")
	b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "CPU-µs/message")
}

// used is the processor's time that this process has used.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it has no fault with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
