package xmpp_test

import (
	"context"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/xmpptest"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// shared starts an adapter that is one of several.
func shared(t *testing.T, addr string) *xmpp.Adapter {
	t.Helper()
	cfg := quick()
	cfg.Components = []xmpp.Component{component(addr)}
	a, err := xmpp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.Share()
	if err := a.Start(t.Context(), newRecorder()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return a
}

// T-FI-26: of two gateways with one component, the owner of its place has the link, and hands it on.
func TestT_FI_26_LinkHasOneOwner(t *testing.T) {
	s, err := xmpptest.Start(serverConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	a, b := shared(t, s.ComponentAddr()), shared(t, s.ComponentAddr())
	place := a.Places()[0]
	if p := a.Place(cpim.MustParseAddress("im:romeo@"+sipDomain), cpim.MustParseAddress("im:juliet@"+xmppDomain)); p != place {
		t.Fatalf("place %q, want %q", p, place)
	}
	if p := a.Place(cpim.MustParseAddress("im:juliet@"+xmppDomain), cpim.MustParseAddress("im:romeo@"+sipDomain)); p != place {
		t.Errorf("the other direction has place %q", p)
	}
	if p := a.Place(cpim.MustParseAddress("im:romeo@"+sipDomain), cpim.MustParseAddress("im:x@elsewhere.example")); p != "" {
		t.Errorf("what no link carries has place %q", p)
	}
	const nobody = "service-unavailable" // what the server says of a user who is not there
	send := func(x *xmpp.Adapter, id string) adapters.Status {
		op := textOp(id, "hello")
		op.Deadline = time.Now().Add(patience)
		return x.Message(t.Context(), nil, op)
	}
	if st := send(a, "none"); st.Reason != adapters.ReasonDomainTimeout {
		t.Errorf("over a link that nobody has: %+v", st)
	}
	for range 3 { // it goes to and fro
		a.Open(place)
		await(t, "the link of a", up(a))
		if st := send(a, "first"); st.Remote != nobody {
			t.Errorf("over its own link: %+v", st)
		}
		began := time.Now()
		if st := send(b, "second"); st.Reason != adapters.ReasonDomainTimeout || time.Since(began) > patience/2 {
			t.Errorf("over another's link: %+v after %v", st, time.Since(began))
		}
		if phase := b.Links()[0].Phase; phase != xmpp.LinkElsewhere {
			t.Errorf("phase %v", phase)
		}
		a.Close(t.Context(), place)
		a.Close(t.Context(), place) // again is nothing
		b.Open(place)
		b.Open(place)
		await(t, "the link of b", up(b))
		if st := send(b, "third"); st.Remote != nobody {
			t.Errorf("after it was handed on: %+v", st)
		}
		b.Close(t.Context(), place)
		a, b = b, a
	}
}
