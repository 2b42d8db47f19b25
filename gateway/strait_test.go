package gateway_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// strait is a gateway between a fake SIP side (example.net) and a fake XMPP side (example.com).
type strait struct {
	t         *testing.T
	gateway   *gateway.Gateway
	sip, xmpp *adaptertest.Fake
	log       *lockedBuffer
	metrics   *prometheus.Registry
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newStrait(t *testing.T, change func(*gateway.Config)) *strait {
	t.Helper()
	s := &strait{
		t: t, log: &lockedBuffer{}, metrics: prometheus.NewRegistry(),
		sip: adaptertest.NewFake("sip", adapters.Capabilities{
			Protocol: resolver.SIP, CarriesHops: true, PositiveAnswer: true, OnePerRecipient: true,
		}),
		xmpp: adaptertest.NewFake("xmpp", adapters.Capabilities{Protocol: resolver.XMPP, AsksExplicitly: true, OneByOne: true}),
	}
	s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return adapters.Accepted() }
	cfg := gateway.Config{
		Adapters: []adapters.Adapter{s.sip, s.xmpp},
		Routes: []gateway.Route{
			{Domain: "example.net", Adapter: "sip", NextHops: hops(t, "sip:127.0.0.1:5060;transport=udp")},
			{Domain: "example.com", Adapter: "xmpp", NextHops: hops(t, "component:127.0.0.1:5347")},
		},
		Logger:     zerolog.New(s.log),
		Registerer: s.metrics,
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.gateway, err = gateway.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := s.gateway.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *strait) shutdown() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.gateway.Shutdown(ctx); err != nil {
		s.t.Errorf("shutdown: %v", err)
	}
}

func message(from, to adapters.Party, text string) *adapters.MessageOp {
	return &adapters.MessageOp{
		From: from, To: to, Hops: adapters.DefaultHops, TransID: "t-" + text, Thread: "thread",
		Content: adapters.Content{Type: "text/plain;charset=UTF-8", Octets: []byte(text)},
	}
}

// send offers op on side from and returns a channel with its one answer.
func (s *strait) send(from *adaptertest.Fake, op *adapters.MessageOp) <-chan adapters.Status {
	answers := make(chan adapters.Status, 2)
	from.Handler().Message(s.t.Context(), op, func(st adapters.Status) { answers <- st })
	return answers
}

func report(kind adapters.ReportKind, trans string) *adapters.Report {
	return &adapters.Report{
		Kind: kind, Sender: romeo, Recipient: juliet, TransID: trans,
		Status: adapters.Failed(adapters.ReasonServiceUnavailable, ""),
	}
}

func (s *strait) metric(name string) float64 {
	s.t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}
