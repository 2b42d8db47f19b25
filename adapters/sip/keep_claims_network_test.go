package sip

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// A refresh after months goes where the domain's next hops are now.
func TestRefreshAsksForNextHops(t *testing.T) {
	g := lonelyAgent(t)
	d := romeosDialog(g, time.Hour)
	d.RemoteTarget = "sip:romeo@phone.example.net"
	a, _, _ := startKept(t, []adapters.Record{recordOf(t, &d)}, func(cfg *Config) {
		cfg.NextHops = func(context.Context, cpim.Address) ([]resolver.Target, error) { return []resolver.Target{g.hop()}, nil }
	})
	// Its time has come, however long the start took.
	sub := a.subscribers.all()[0]
	sub.mu.Lock()
	sub.refreshAt, sub.resumeAt = time.Now(), time.Time{}
	sub.schedule()
	sub.mu.Unlock()
	m := g.readRequest(map[string]bool{})
	fields(t, m, map[string]string{"CSeq": strconv.Itoa(1501) + " SUBSCRIBE"})
}

// A dialog that only we know of is not kept up for ever: nobody would hear of what it brings.
func TestUnclaimedDialogEnds(t *testing.T) {
	g := lonelyAgent(t)
	d := romeosDialog(g, time.Hour)
	a, c, l := startKept(t, []adapters.Record{recordOf(t, &d)}, nil)
	s := a.subscribers.all()[0]
	s.mu.Lock()
	if s.claimBy.IsZero() {
		t.Error("it is taken for claimed")
	}
	s.claimBy, s.refreshAt, s.resumeAt = time.Now(), time.Now(), time.Time{}
	s.schedule()
	s.mu.Unlock()
	m := g.readRequest(map[string]bool{})
	fields(t, m, map[string]string{"CSeq": "1501 SUBSCRIBE", "Expires": "0", "Call-ID": "sub-1"})
	g.answer(m, wire.Response{Code: 481})
	until(t, "the record is forgotten", func() bool { return len(l.all()) == 0 })
	c.quiet(t)
}

// An approval is acknowledged when it is kept, because the presentity's side says it once.
func TestApprovalIsKeptBeforeItIsAcknowledged(t *testing.T) {
	a, c, _ := startKept(t, nil, nil)
	c.mu.Lock()
	c.forgetful = true
	c.mu.Unlock()
	g := udpAgent(t, a)
	seen := map[string]bool{}
	done := watchRomeo(a, g, adapters.WatchOpen)
	sub := g.request("SUBSCRIBE", seen)
	g.answer(sub, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}, {Name: "Contact", Value: "<sip:romeo@" + g.addr().String() + ">"}}})
	next(t, done, "outcome")
	g.send(notifyText(sub, "agent", "1", "active;expires=600", ""))
	op := next(t, c.notices, "approval")
	if op.Change != adapters.AuthorizationGranted || op.Kept == nil {
		t.Fatalf("%+v", op)
	}
	// On a slow machine copies of the SUBSCRIBE wait to be read.
	for m := g.readWithin(20 * time.Millisecond); m != nil; m = g.readWithin(20 * time.Millisecond) {
		if !m.IsRequest() || m.Method() != "SUBSCRIBE" {
			t.Errorf("before it was kept:\n%s", m.Raw())
		}
	}
	op.Kept()
	m := g.read()
	for m.IsRequest() && m.Method() == "SUBSCRIBE" {
		m = g.read()
	}
	if m.IsRequest() || m.StatusCode() != 200 {
		t.Errorf("%s", m.Raw())
	}
}
