package gateway_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// silent is an adapter that takes everything and keeps nothing.
type silent struct{ *adaptertest.Fake }

func (silent) Message(context.Context, []resolver.Target, *adapters.MessageOp) adapters.Status {
	return adapters.Accepted()
}

// BenchmarkMessage is the core's part of a crossing: admission, lane, origin, metrics and the log line, with the default log
// level.
func BenchmarkMessage(b *testing.B) {
	for _, conversations := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("conversations=%d", conversations), func(b *testing.B) {
			sip := adaptertest.NewFake("sip", adapters.Capabilities{PositiveAnswer: true, OnePerRecipient: true})
			xmpp := silent{adaptertest.NewFake("xmpp", adapters.Capabilities{AsksExplicitly: true, OneByOne: true})}
			hop := func(s string) []resolver.Static { return []resolver.Static{resolver.MustParseStatic(s)} }
			g, err := gateway.New(gateway.Config{
				Adapters: []adapters.Adapter{sip, xmpp},
				Routes: []gateway.Route{
					{Domain: "example.net", Adapter: "sip", NextHops: hop("sip:127.0.0.1:5060;transport=udp")},
					{Domain: "example.com", Adapter: "xmpp", NextHops: hop("component:127.0.0.1:5347")},
				},
				Logger:     zerolog.New(io.Discard).Level(zerolog.InfoLevel),
				Registerer: prometheus.NewRegistry(),
			})
			if err != nil {
				b.Fatal(err)
			}
			if err := g.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer func() { _ = g.Shutdown(context.Background()) }()
			parties := make([]adapters.Party, conversations)
			for i := range parties {
				parties[i].Address = cpim.MustParseAddress(fmt.Sprintf("im:user%d@example.com", i))
			}
			h := sip.Handler()
			var done sync.WaitGroup
			respond := func(adapters.Status) { done.Done() }
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				done.Add(1)
				h.Message(b.Context(), &adapters.MessageOp{
					From: romeo, To: parties[n%conversations], Hops: adapters.DefaultHops, TransID: "z9hG4bK776sgdkse",
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
