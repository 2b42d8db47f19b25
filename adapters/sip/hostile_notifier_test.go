package sip

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// What a watcher does that means harm, or dies, to us as a notifier.

// "A 481 response" to a NOTIFY is one of those for which "the notifier MUST remove the corresponding subscription" (RFC 6665 §4.2.2):
// what waits for its turn is not sent any more (PEERS: NOTIFY after 481).
func TestNoNotifyAfter481(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	_, watch := establish(t, g, c, seen)
	first := notify(a, g, adapters.NotifyOp{Watch: watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")})
	m := g.request("NOTIFY", seen)
	second := notify(a, g, adapters.NotifyOp{Watch: watch, Presence: document(t, "juliet@example.com", "closed")})
	waitFor(t, func() bool {
		n := a.notifiers.find(watch.Session)
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.next != nil
	})
	g.answer(m, wire.Response{Code: 481})
	if s := next(t, first, "outcome"); s.Code != 481 {
		t.Errorf("%+v", s)
	}
	if s := next(t, second, "outcome"); s.Outcome != adapters.Failure || s.Reason != adapters.ReasonNotFound {
		t.Errorf("%+v", s)
	}
	for m := g.readWithin(100 * time.Millisecond); m != nil; m = g.readWithin(100 * time.Millisecond) {
		if m.IsRequest() && !seen[m.TopVia().Branch()] {
			t.Errorf("a NOTIFY in a dialog that is gone:\n%s", m.Raw())
		}
	}
}

// A watch that is ended while the watcher does not answer is forgotten, and told of its end when its turn comes.
func TestEndOfASilentWatcher(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	_, watch := establish(t, g, c, seen)
	notify(a, g, adapters.NotifyOp{Watch: watch, State: adapters.WatchActive})
	m := g.request("NOTIFY", seen)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	s := a.Notify(ctx, nil, &adapters.NotifyOp{Watch: watch, State: adapters.WatchTerminated, End: adapters.EndRejected})
	if s.Outcome != adapters.Indeterminate {
		t.Errorf("%+v", s)
	}
	g.answer(m, wire.Response{Code: 200})
	m = g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"Subscription-State": "terminated;reason=rejected"})
	g.answer(m, wire.Response{Code: 200})
	waitFor(t, func() bool { return a.notifiers.count() == 0 })
}

// The newest state of a watch is told also where nobody waits for it any more, with what was left to it by older ones: else the watcher
// would take the last that it was told for true until it refreshes, and the core the watch for over.
func TestNewestStateOutlivesItsCaller(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	_, watch := establish(t, g, c, seen)
	first := notify(a, g, adapters.NotifyOp{Watch: watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")})
	m := g.request("NOTIFY", seen)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	s := a.Notify(ctx, nil, &adapters.NotifyOp{Watch: watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "closed")})
	if s.Outcome != adapters.Indeterminate {
		t.Errorf("%+v", s)
	}
	g.answer(m, wire.Response{Code: 200})
	if s := next(t, first, "outcome"); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
	m = g.request("NOTIFY", seen)
	if !strings.Contains(string(m.Body()), "closed") {
		t.Errorf("the newest is not told:\n%s", m.Raw())
	}
	g.answer(m, wire.Response{Code: 200})
}

// "If the NOTIFY request fails due to expiration of SIP Timer F (transaction timeout), the notifier SHOULD remove the subscription"
// (RFC 6665 §4.2.2), also where each caller's patience is shorter than Timer F.
func TestImpatientCoreLosesDeadWatcher(t *testing.T) {
	a, c := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	_, watch := establish(t, g, c, seen)
	for end := time.Now().Add(wait); a.notifiers.count() > 0; {
		ctx, cancel := context.WithTimeout(t.Context(), a.timerN/4)
		s := a.Notify(ctx, nil, &adapters.NotifyOp{Watch: watch, State: adapters.WatchActive})
		cancel()
		if s.Outcome != adapters.Failure {
			t.Fatalf("%+v", s)
		}
		if time.Now().After(end) {
			t.Fatal("a watcher that never answers is notified for ever")
		}
	}
}

// Default closed: a dialog that was stored under another configuration is not notified where no peer is any more.
func TestRestoredSourceIsCheckedAgain(t *testing.T) {
	a, _ := start(t, func(cfg *Config) {
		peer := loopback
		peer.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		cfg.Peers = []Peer{peer}
	})
	g := udpAgent(t, a)
	d := *romeoWatchesJuliet()
	d.Peer, d.Source, d.Transport, d.Expires = "trunk", g.addr().String(), "udp", time.Now().Add(time.Hour)
	d.RemoteTarget = "sip:romeo@host.example.net"
	a.Resume([]adapters.Record{recordOf(t, &d)})
	s := a.Notify(t.Context(), nil, &adapters.NotifyOp{Watch: d.watchID(), State: adapters.WatchActive})
	if s.Outcome != adapters.Failure || s.Reason != adapters.ReasonDomainNotFound {
		t.Errorf("%+v", s)
	}
	if m := g.readWithin(50 * time.Millisecond); m != nil {
		t.Errorf("sent to a stranger:\n%s", m.Raw())
	}
}

// "If the NOTIFY transaction fails due to the receipt of a 404, 405, 410, 416, 480-485, 489, 501, or 604 response to the NOTIFY request, the notifier
// MUST remove the corresponding subscription" (RFC 6665 §4.2.2), and for no other: the watcher has it, and waits for what comes next. A core that hears of a
// Reason that is of the watch, or of a recipient who is not there, tells nothing more.
func TestFailureOfOneNotify(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	_, watch := establish(t, g, c, seen)
	for code, why := range map[int]adapters.Reason{
		302: 0, 400: 0, 401: adapters.ReasonNotAuthenticated, 403: 0, 407: adapters.ReasonRegistrationRequired, 406: 0, 413: adapters.ReasonTooLarge, 415: 0, 420: 0, 486: 0, 487: 0, 488: 0, 491: adapters.ReasonUnexpectedRequest,
		493: 0, 500: adapters.ReasonInternal, 503: adapters.ReasonInternal, 504: 0, 600: 0, 603: 0, 606: 0,
	} {
		if why == 0 {
			why = adapters.ReasonServiceUnavailable
		}
		done := notify(a, g, adapters.NotifyOp{Watch: watch, State: adapters.WatchActive})
		g.answer(g.request("NOTIFY", seen), wire.Response{Code: code})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Failure || s.Reason != why || s.Code != code {
			t.Errorf("%d: %+v", code, s)
		}
		if a.notifiers.find(watch.Session) == nil {
			t.Fatalf("%d: the dialog is gone", code)
		}
	}
	// Nor has a watcher gone whose proxy cannot be reached.
	n := a.notifiers.find(watch.Session)
	n.mu.Lock()
	n.d.RemoteTarget, n.d.Source = "sip:romeo@127.0.0.1:1;transport=tcp", ""
	n.mu.Unlock()
	closed := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: netip.MustParseAddrPort("127.0.0.1:1")})
	s := a.Notify(t.Context(), []resolver.Target{closed}, &adapters.NotifyOp{Watch: watch, State: adapters.WatchActive})
	if s.Outcome != adapters.Failure || s.Reason != adapters.ReasonServiceUnavailable || a.notifiers.find(watch.Session) == nil {
		t.Errorf("nobody listens there: %+v", s)
	}
}

// "If the response for a request within a dialog is a 481 (Call/Transaction Does Not Exist) or a 408 (Request Timeout), the UAC SHOULD terminate the
// dialog" (RFC 3261 §12.2.1.2): the core takes a 408 for the end of the watch, and a dialog that went on would never hear of anything again, nor of its end.
func TestA408EndsTheDialog(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	r, watch := establish(t, g, c, seen)
	done := notify(a, g, adapters.NotifyOp{Watch: watch, State: adapters.WatchActive})
	g.answer(g.request("NOTIFY", seen), wire.Response{Code: 408})
	if s := next(t, done, "outcome"); s.Outcome != adapters.Failure || s.Reason != adapters.ReasonDomainTimeout || s.Code != 408 {
		t.Errorf("%+v", s)
	}
	if a.notifiers.find(watch.Session) != nil {
		t.Error("the dialog goes on")
	}
	if r := g.ask(within(r, "8", "600")); r.StatusCode() != 481 {
		t.Errorf("a refresh is answered %d", r.StatusCode())
	}
}
