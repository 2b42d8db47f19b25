package sip

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// presenceServerOf starts an adapter that publishes Juliet's presence to the agent that it returns, and takes the watch that it opens.
func presenceServerOf(t *testing.T, users ...string) (*Adapter, *core, *agent, *adapters.WatchOp) {
	t.Helper()
	// The agent's socket comes first, since the configuration names it.
	first, _ := start(t, nil)
	g := udpAgent(t, first)
	a, c := start(t, func(cfg *Config) {
		cfg.PublishTo = []PublishTo{{Peer: "trunk", Hop: g.hop(), Watcher: "presence@example.net", Users: users}}
	})
	if len(users) == 0 {
		return a, c, g, nil
	}
	op := next(t, c.watches, "watch")
	if op.Verb != adapters.WatchOpen || op.Watch.Watcher != pres("presence@example.net") || op.Watch.Presentity != pres("juliet@example.com") ||
		op.Watch.Session == "" || op.Duration != time.Hour || op.Peer.Name != "trunk" {
		t.Fatalf("%+v", op)
	}
	return a, c, g, op
}

func etagged(etag, expires string) wire.Response {
	return wire.Response{Code: 200, Headers: []wire.Header{{Name: "SIP-ETag", Value: etag}, {Name: "Expires", Value: expires}}}
}

// now is what is to be published.
func (p *publishing) now() *body {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.body
}

func TestPublishOut(t *testing.T) {
	a, c, g, op := presenceServerOf(t, "juliet@example.com")
	seen := map[string]bool{}
	// Nothing goes out before the user has decided (RFC 8048 §8.2).
	for _, n := range []adapters.NotifyOp{
		{Watch: op.Watch, State: adapters.WatchPending, Presence: document(t, "juliet@example.com", "open")},
		{Watch: op.Watch, State: adapters.WatchActive, Change: adapters.AuthorizationGranted},
	} {
		if s := a.Notify(t.Context(), nil, &n); s.Outcome != adapters.Success {
			t.Errorf("%+v", s)
		}
	}
	tell := func(basic string) <-chan adapters.Status {
		return notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", basic)})
	}
	// "An initial PUBLISH request MUST NOT contain a SIP-If-Match header field." (RFC 3903 §4.2)
	done := tell("open")
	m := g.request("PUBLISH", seen)
	if m.RequestURIText() != "sip:juliet@example.com" || !strings.Contains(string(m.Body()), "open") {
		t.Errorf("%s", m.Raw())
	}
	fields(t, m, map[string]string{
		"To": "<sip:juliet@example.com>", "Event": "presence", "Expires": "3600", "SIP-If-Match": "-", "Contact": "-",
		"Content-Type": "application/pidf+xml", "CSeq": "1 PUBLISH",
	})
	// One is under way at a time, and of those that wait the newest goes.
	p := a.publishers.find(op.Watch.Session)
	taken := func(what *body) func() bool { return func() bool { return p.now() != what } }
	said := p.now()
	second := tell("closed")
	waitFor(t, taken(said))
	said = p.now()
	third := tell("closed")
	waitFor(t, taken(said))
	g.answer(m, etagged("one", "1800"))
	next(t, done, "outcome")
	m = g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"SIP-If-Match": "one", "CSeq": "2 PUBLISH", "Content-Type": "application/pidf+xml"})
	// "If an EPA receives a 412 (Conditional Request Failed) response, it MUST NOT reattempt the PUBLISH request. Instead, to publish
	// event state, the EPA SHOULD perform an initial publication" (RFC 3903 §5).
	g.answer(m, wire.Response{Code: 412})
	m = g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"SIP-If-Match": "-", "CSeq": "3 PUBLISH"})
	// "it MAY retry the publication after changing the expiration interval" (RFC 3903 §5).
	g.answer(m, wire.Response{Code: 423, Headers: []wire.Header{{Name: "Min-Expires", Value: "7200"}}})
	m = g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"Expires": "7200"})
	g.answer(m, etagged("two", "7200"))
	for _, d := range []<-chan adapters.Status{second, third} {
		if s := next(t, d, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%+v", s)
		}
	}
	// A server that fails costs the watch nothing: it is tried again.
	done = tell("open")
	g.answer(g.request("PUBLISH", seen), wire.Response{Code: 404})
	if s := next(t, done, "outcome"); s.Reason != adapters.ReasonServiceUnavailable {
		t.Errorf("%+v", s)
	}
	// The refresh in its time has no body, but here what failed is still to be said.
	done2 := make(chan adapters.Status, 1)
	again := func() { done2 <- p.publish(t.Context(), true) }
	go again()
	m = g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"SIP-If-Match": "two", "Content-Type": "application/pidf+xml"})
	g.answer(m, etagged("three", "7200"))
	next(t, done2, "outcome")
	// "a PUBLISH request that refreshes event state MUST NOT have a body" (RFC 3903 §4.3).
	go again()
	m = g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"SIP-If-Match": "three", "Expires": "7200", "Content-Type": "-"})
	g.answer(m, etagged("four", "7200"))
	next(t, done2, "outcome")
	// The user takes the authorization back: what was published is removed, and the user is forgotten.
	done = notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchTerminated, End: adapters.EndRejected})
	m = g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"SIP-If-Match": "four", "Expires": "0", "Content-Type": "-"})
	g.answer(m, etagged("five", "0"))
	next(t, done, "outcome")
	if n := a.publishers.count(); n != 0 {
		t.Errorf("%d users are left", n)
	}
	c.quiet(t)
}

// A user who adds the watcher as a contact joins, and leaves by removing it.
func TestPublishOutByWish(t *testing.T) {
	a, c, g, _ := presenceServerOf(t)
	wish := adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: pres("juliet@example.com"), Presentity: pres("presence@example.net")}}
	for range 2 {
		if s := a.Watch(t.Context(), nil, &wish); s.State != adapters.WatchActive {
			t.Fatalf("%+v", s)
		}
		if op := next(t, c.notices, "approval"); op.Change != adapters.AuthorizationGranted || op.Watch != wish.Watch || op.Presence != nil {
			t.Errorf("%+v", op)
		}
	}
	op := next(t, c.watches, "watch")
	next(t, c.watches, "the second wish, which is a refresh")
	if a.publishers.count() != 1 {
		t.Errorf("%d users", a.publishers.count())
	}
	seen := map[string]bool{}
	done := notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")})
	g.answer(g.request("PUBLISH", seen), etagged("one", "600"))
	next(t, done, "outcome")
	wish.Verb = adapters.WatchFetch
	if s := a.Watch(t.Context(), nil, &wish); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
	wish.Verb = adapters.WatchCancel
	if s := a.Watch(t.Context(), nil, &wish); s.State != adapters.WatchTerminated {
		t.Errorf("%+v", s)
	}
	m := g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"SIP-If-Match": "one", "Expires": "0"})
	g.answer(m, etagged("two", "0"))
	waitFor(t, func() bool { return a.publishers.count() == 0 })
	if op := next(t, c.watches, "end of the watch"); op.Verb != adapters.WatchCancel {
		t.Errorf("%+v", op)
	}
}

func TestPublishOutIsBounded(t *testing.T) {
	first, _ := start(t, nil)
	g := udpAgent(t, first)
	a, c := start(t, func(cfg *Config) {
		cfg.PublishTo = []PublishTo{{Peer: "trunk", Hop: g.hop(), Watcher: "presence@example.net", Users: []string{"juliet@example.com"}}}
		cfg.Limits.Publications = 1
	})
	next(t, c.watches, "watch")
	s := a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: pres("nurse@example.com"), Presentity: pres("presence@example.net")}})
	if s.Reason != adapters.ReasonOverloaded {
		t.Errorf("%+v", s)
	}
	for name, p := range map[string]PublishTo{
		"no peer":    {Peer: "nobody", Hop: g.hop(), Watcher: "presence@example.net"},
		"no hop":     {Peer: "trunk", Hop: resolver.Target{}, Watcher: "presence@example.net"},
		"no watcher": {Peer: "trunk", Hop: g.hop(), Watcher: "example.net"},
		"no mailbox": {Peer: "trunk", Hop: g.hop(), Watcher: "presence@example.net", Users: []string{"juliet"}},
	} {
		if _, err := New(Config{Peers: []Peer{loopback}, PublishTo: []PublishTo{p}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
