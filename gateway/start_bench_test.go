package gateway_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// BenchmarkStartWithBacklog is a start with so many messages queued (I8), the opening of the store and the reading of its journal, until the adapters
// are started: what is per entry is in its own unit.
func BenchmarkStartWithBacklog(b *testing.B) {
	const entries, senders = 20_000, 200
	dir := b.TempDir()
	start := func(xmpp adapters.Adapter) (adapters.Handler, func()) {
		disk, err := store.Open(b.Context(), store.Config{Directory: dir, Logger: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		sip := adaptertest.NewFake("sip", adapters.Capabilities{PositiveAnswer: true, OnePerRecipient: true})
		hop := func(s string) []resolver.Static { return []resolver.Static{resolver.MustParseStatic(s)} }
		g, err := gateway.New(gateway.Config{
			Adapters: []adapters.Adapter{sip, xmpp},
			Routes: []gateway.Route{
				{Domain: "example.net", Adapter: "sip", NextHops: hop("sip:127.0.0.1:5060;transport=udp")},
				{Domain: "example.com", Adapter: "xmpp", NextHops: hop("component:127.0.0.1:5347")},
			},
			Logger:    zerolog.New(io.Discard).Level(zerolog.InfoLevel),
			Limits:    gateway.Limits{StoredPerSender: 1 << 30, StoredPerRecipient: 1 << 30, StoredPerDomain: 1 << 30},
			OpenStore: func(context.Context) (store.Durable, error) { return disk, nil },
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		return sip.Handler(), func() {
			_ = g.Shutdown(context.Background())
			disk.Close()
		}
	}
	down := away{adaptertest.NewFake("xmpp", adapters.Capabilities{AsksExplicitly: true})}
	h, stop := start(down)
	answers := make(chan adapters.Status, senders)
	for i := range entries {
		h.Message(b.Context(), &adapters.MessageOp{
			From: romeo, To: adapters.Party{Address: cpim.MustParseAddress(fmt.Sprintf("im:user%d@example.com", i%senders))}, Hops: adapters.DefaultHops,
			TransID: fmt.Sprintf("z9hG4bK%d", i), OriginID: fmt.Sprintf("origin%d", i), Thread: "9E97FB43-85F4-4A00-8751-1124FD4C7B2E",
			Content: adapters.Content{Type: "text/plain", Octets: fmt.Appendf(nil, "%0200d", i)},
		}, func(s adapters.Status) { answers <- s })
		if i%senders == senders-1 {
			for range senders {
				if s := <-answers; s.Outcome == adapters.Failure {
					b.Fatalf("%+v", s)
				}
			}
		}
	}
	stop()
	b.ReportAllocs()
	n := 0
	var took time.Duration
	for b.Loop() {
		began := time.Now()
		_, stop := start(down)
		took += time.Since(began)
		n++
		stop()
	}
	b.ReportMetric(float64(took.Microseconds())/float64(n*entries), "µs/entry")
}
