package sip

import (
	"context"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// What a peer does that means harm, or dies, to us as a subscriber.

// ticks is how often the timers of subscriber dialogs fired.
func ticks(a *Adapter) uint64 { return a.subscribers.ticks.Load() }

// dialogsEnd waits until no subscriber dialog is left.
func dialogsEnd(t *testing.T, a *Adapter) {
	t.Helper()
	waitFor(t, func() bool { return a.subscribers.count() == 0 })
}

func TestPollEnds(t *testing.T) {
	for _, c := range []struct {
		name, state string // of the NOTIFY; "" for none
		before      bool   // it overtakes the response
	}{
		{"no NOTIFY follows", "", false},
		{"the NOTIFY is active", "active;expires=0", false},
		{"the NOTIFY is active for long", "active;expires=3600", false},
		{"the NOTIFY is pending", "pending", false},
		{"the NOTIFY has a state of its own", "resting", false},
		{"the NOTIFY overtakes the response", "active", true},
		{"as it should be", "terminated;reason=timeout", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, core := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
			g := udpAgent(t, a)
			done := watchRomeo(a, g, adapters.WatchFetch)
			sub := g.request("SUBSCRIBE", map[string]bool{})
			respond := func() {
				g.answer(sub, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "0"}}})
				next(t, done, "outcome")
			}
			if !c.before {
				respond()
			}
			if c.state != "" {
				if r := g.ask(notifyText(sub, "agent", "1", c.state, "")); r.StatusCode() != 200 {
					t.Fatal(r.StatusCode())
				}
				next(t, core.notices, "notification")
			}
			if c.before {
				respond()
			}
			dialogsEnd(t, a)
			if n := ticks(a); n > 4 {
				t.Errorf("the timer of one poll fired %d times", n)
			}
		})
	}
}

// T-PR-16: who watches can end it, whatever the other side does then.
func TestCloseEnds(t *testing.T) {
	for _, c := range []struct{ name, state string }{
		{"no NOTIFY follows", ""},
		{"only a NOTIFY that was under way comes", "active;expires=600"},
		{"as it should be", "terminated;reason=timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, core := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
			g := udpAgent(t, a)
			seen := map[string]bool{}
			sub := open(t, a, core, g, seen, "600")
			done := watchRomeo(a, g, adapters.WatchClose)
			m := g.request("SUBSCRIBE", seen)
			g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "0"}}})
			next(t, done, "outcome")
			if c.state != "" {
				g.ask(notifyText(sub, "agent", "2", c.state, ""))
			}
			dialogsEnd(t, a)
			if n := ticks(a); n > 4 {
				t.Errorf("the timer of one dialog fired %d times", n)
			}
			core.quiet(t)
		})
	}
}

// "If a SUBSCRIBE request to refresh a subscription fails with any error code other than those listed above, the original subscription
// is still considered valid for the duration of the most recently known "Expires" value" (RFC 6665 §4.1.2.2), and so after silence.
func TestRefreshThatIsNotAnsweredEndsNothing(t *testing.T) {
	a, core := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	sub := open(t, a, core, g, seen, "600")
	s := next(t, watchRomeo(a, g, adapters.WatchOpen), "outcome") // nobody answers
	if s.Outcome != adapters.Failure || s.State != adapters.WatchActive {
		t.Errorf("%+v, want a failure that leaves the watch active", s)
	}
	select {
	case op := <-core.notices:
		t.Errorf("the core was told %+v", op)
	case <-time.After(50 * time.Millisecond):
	}
	if n := a.subscribers.count(); n != 1 {
		t.Errorf("%d dialogs, want the one that is valid", n)
	}
	if r := g.ask(notifyText(sub, "agent", "2", "active;expires=500", "")); r.StatusCode() != 200 {
		t.Errorf("a NOTIFY in the dialog got %d", r.StatusCode())
	}
}

// A refresh that is answered but brings no NOTIFY is over after Timer N (RFC 6665 §4.1.2.4).
func TestRefreshWithoutNotify(t *testing.T) {
	a, core := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	open(t, a, core, g, seen, "600")
	done := watchRomeo(a, g, adapters.WatchOpen)
	g.answer(g.request("SUBSCRIBE", seen), wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	next(t, done, "outcome")
	if op := next(t, core.notices, "notification"); op.State != adapters.WatchTerminated || op.End != adapters.EndTimeout {
		t.Errorf("%+v", op)
	}
	dialogsEnd(t, a)
}

// A refresh whose NOTIFY overtakes its response is confirmed by it.
func TestRefreshWithEarlyNotify(t *testing.T) {
	a, core := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	sub := open(t, a, core, g, seen, "600")
	done := watchRomeo(a, g, adapters.WatchOpen)
	m := g.request("SUBSCRIBE", seen)
	g.ask(notifyText(sub, "agent", "2", "active;expires=600", ""))
	next(t, core.notices, "notification")
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	next(t, done, "outcome")
	select {
	case op := <-core.notices:
		t.Errorf("the core was told %+v", op)
	case <-time.After(2 * a.timerN):
	}
}

// A watch that is closed while a refresh is under way, by a caller that cannot wait for it, is closed all the same.
func TestCloseDuringRefresh(t *testing.T) {
	a, core := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	open(t, a, core, g, seen, "600")
	refreshed := watchRomeo(a, g, adapters.WatchOpen)
	m := g.request("SUBSCRIBE", seen)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.Watch(ctx, []resolver.Target{g.hop()}, &adapters.WatchOp{Verb: adapters.WatchClose, Watch: julietsWatch})
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	next(t, refreshed, "outcome")
	m = g.request("SUBSCRIBE", seen)
	fields(t, m, map[string]string{"Expires": "0"})
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "0"}}})
	dialogsEnd(t, a)
}

// The same while the first SUBSCRIBE is under way: nobody leaves a watch behind at the far side.
func TestCloseDuringOpening(t *testing.T) {
	a, core := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	opened := watchRomeo(a, g, adapters.WatchOpen)
	sub := g.request("SUBSCRIBE", seen)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.Watch(ctx, []resolver.Target{g.hop()}, &adapters.WatchOp{Verb: adapters.WatchClose, Watch: julietsWatch})
	g.ask(notifyText(sub, "agent", "1", "active;expires=600", "")) // overtakes the response
	g.answer(sub, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	next(t, opened, "outcome")
	m := g.request("SUBSCRIBE", seen)
	fields(t, m, map[string]string{"Expires": "0", "To": "<sip:romeo@example.net>;tag=agent"})
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "0"}}})
	g.ask(notifyText(sub, "agent", "2", "terminated;reason=timeout", ""))
	dialogsEnd(t, a)
	core.quiet(t)
}

// A refresh that waits behind the end of its watch does not open it again.
func TestRefreshBehindClose(t *testing.T) {
	a, core := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	open(t, a, core, g, seen, "600")
	s := a.subscribers.of(julietsWatch, nil)
	closed := watchRomeo(a, g, adapters.WatchClose)
	m := g.request("SUBSCRIBE", seen)
	refreshed := make(chan adapters.WatchStatus, 1)
	go func() { refreshed <- s.subscribe(t.Context(), time.Hour, 0) }()
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "0"}}})
	next(t, closed, "outcome")
	if st := next(t, refreshed, "outcome"); st.Outcome != adapters.Failure || st.State != adapters.WatchTerminated {
		t.Errorf("%+v", st)
	}
	if m := g.readWithin(50 * time.Millisecond); m != nil && !seen[m.TopVia().Branch()] {
		t.Errorf("opened again:\n%s", m.Raw())
	}
	dialogsEnd(t, a)
}

// A state that nobody has heard of says nothing of an authorization, so presence that comes with it goes nowhere while the watch is
// not known to be active (RFC 8048 §5.2.1).
func TestNoPresenceWithUnknownState(t *testing.T) {
	a, core := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	done := watchRomeo(a, g, adapters.WatchOpen)
	sub := g.request("SUBSCRIBE", seen)
	g.answer(sub, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	next(t, done, "outcome")
	for i, state := range []string{"pending", "waiting", "terminated;reason=rejected"} {
		if r := g.ask(notifyText(sub, "agent", itoa(int64(i+1)), state, documentText("romeo@example.net", "open"))); r.StatusCode() != 200 {
			t.Fatal(r.StatusCode())
		}
		if op := next(t, core.notices, "notification"); op.Presence != nil {
			t.Errorf("%s: presence was told", state)
		}
	}
}

// A watch that ends in the moment in which it is opened anew is opened all the same: "the watch is over" would be taken for a far side that
// does not know the presentity.
func TestOpenWhileEnding(t *testing.T) {
	a, core := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	open(t, a, core, g, seen, "600")
	a.subscribers.mu.Lock()
	old := a.subscribers.byWatch[julietsWatch]
	a.subscribers.mu.Unlock()
	old.mu.Lock()
	old.ended = true // its timer ends it, and has not come to take it out of the table
	old.mu.Unlock()
	done := watchRomeo(a, g, adapters.WatchOpen)
	m := g.request("SUBSCRIBE", seen)
	if m.To().Tag() != "" || m.CallID() == old.d.CallID {
		t.Errorf("not a dialog of its own:\n%s", m.Raw())
	}
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
}
