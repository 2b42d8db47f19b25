package gateway_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// away is an adapter to which nothing answers.
type away struct{ *adaptertest.Fake }

func (away) Message(context.Context, []resolver.Target, *adapters.MessageOp) adapters.Status {
	return adapters.Failed(adapters.ReasonDomainTimeout, "")
}

// benchGateway is a gateway between two adapters, with a store in dir, or without one.
func benchGateway(b *testing.B, dir string, xmpp adapters.Adapter) adapters.Handler {
	b.Helper()
	sip := adaptertest.NewFake("sip", adapters.Capabilities{PositiveAnswer: true, OnePerRecipient: true})
	hop := func(s string) []resolver.Static { return []resolver.Static{resolver.MustParseStatic(s)} }
	c := gateway.Config{
		Adapters: []adapters.Adapter{sip, xmpp},
		Routes: []gateway.Route{
			{Domain: "example.net", Adapter: "sip", NextHops: hop("sip:127.0.0.1:5060;transport=udp")},
			{Domain: "example.com", Adapter: "xmpp", NextHops: hop("component:127.0.0.1:5347")},
		},
		Logger:     zerolog.New(io.Discard).Level(zerolog.InfoLevel),
		Registerer: prometheus.NewRegistry(),
		Limits:     gateway.Limits{StoredPerSender: 1 << 30, StoredPerRecipient: 1 << 30, StoredPerDomain: 1 << 30},
	}
	if dir != "" {
		disk, err := store.Open(b.Context(), store.Config{Directory: dir, Logger: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(disk.Close)
		c.OpenStore = func(context.Context) (store.Durable, error) { return disk, nil }
	}
	g, err := gateway.New(c)
	if err != nil {
		b.Fatal(err)
	}
	if err := g.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = g.Shutdown(context.Background()) })
	return sip.Handler()
}

// BenchmarkStoredMessage is the whole way of a message that is stored, from the adapter's call to its answer, with the next hop down: so
// many senders wait for their answers at a time, each in a conversation of its own.
func BenchmarkStoredMessage(b *testing.B) {
	for _, senders := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			h := benchGateway(b, b.TempDir(), away{adaptertest.NewFake("xmpp", adapters.Capabilities{AsksExplicitly: true})})
			body := make([]byte, 200)
			for i := range body {
				body[i] = 'x'
			}
			var next, refused atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wait sync.WaitGroup
			for i := range senders {
				wait.Go(func() {
					to := adapters.Party{Address: cpim.MustParseAddress(fmt.Sprintf("im:user%d@example.com", i))}
					answer := make(chan adapters.Status, 1)
					for {
						n := next.Add(1)
						if n > int64(b.N) {
							return
						}
						h.Message(b.Context(), &adapters.MessageOp{
							From: romeo, To: to, Hops: adapters.DefaultHops, TransID: "z9hG4bK776sgdkse", Thread: "9E97FB43-85F4-4A00-8751-1124FD4C7B2E",
							Content: adapters.Content{Type: "text/plain", Octets: fmt.Appendf(nil, "%d %s", n, body)},
						}, func(s adapters.Status) { answer <- s })
						if s := <-answer; s.Outcome == adapters.Failure {
							refused.Add(1)
						}
					}
				})
			}
			wait.Wait()
			if n := refused.Load(); n > 0 {
				b.Errorf("%d were refused", n)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkDirectMessage is a message that is handed over while its sender waits, with a store and without one: they cost the same, since
// nothing is written.
func BenchmarkDirectMessage(b *testing.B) {
	for _, stored := range []bool{false, true} {
		b.Run(fmt.Sprintf("store=%v", stored), func(b *testing.B) {
			dir := ""
			if stored {
				dir = b.TempDir()
			}
			h := benchGateway(b, dir, silent{adaptertest.NewFake("xmpp", adapters.Capabilities{PositiveAnswer: true, AsksExplicitly: true})})
			parties := make([]adapters.Party, 100)
			for i := range parties {
				parties[i].Address = cpim.MustParseAddress(fmt.Sprintf("im:user%d@example.com", i))
			}
			var done sync.WaitGroup
			respond := func(adapters.Status) { done.Done() }
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				done.Add(1)
				h.Message(b.Context(), &adapters.MessageOp{
					From: romeo, To: parties[n%len(parties)], Hops: adapters.DefaultHops, TransID: "z9hG4bK776sgdkse",
					Thread: "9E97FB43-85F4-4A00-8751-1124FD4C7B2E", Content: adapters.Content{Type: "text/plain"},
				}, respond)
				if n++; n%64 == 0 {
					done.Wait()
				}
			}
			done.Wait()
		})
	}
}
