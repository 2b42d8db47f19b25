package xmpp_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/xmpptest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// BenchmarkLink is Adapter.Message through a real socket to the test server and back with its acknowledgement, from 64 callers: the
// cost of a message with its share of a ping.
func BenchmarkLink(b *testing.B) {
	cfg := serverConfig()
	srv, err := xmpptest.Start(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Close()
	c := quick()
	c.Components = []xmpp.Component{component(srv.ComponentAddr())}
	a, err := xmpp.New(c)
	if err != nil {
		b.Fatal(err)
	}
	if err := a.Start(context.Background(), newRecorder()); err != nil {
		b.Fatal(err)
	}
	defer a.Shutdown(context.Background())
	op := &adapters.MessageOp{
		From:    adapters.Party{Address: cpim.MustParseAddress("im:romeo@" + sipDomain)},
		To:      adapters.Party{Address: cpim.MustParseAddress("im:juliet@" + xmppDomain)},
		TransID: "m", Content: adapters.Content{Type: "text/plain", Octets: []byte("Neither, fair saint, if either thee dislike.")},
	}
	b.ReportAllocs()
	work := make(chan struct{})
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for range work {
				a.Message(context.Background(), []resolver.Target{}, op) // nobody is logged in: an error comes back, then the ping
			}
		})
	}
	began := time.Now()
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	callers.Wait()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "messages/s")
}
