package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// housed is a side whose far side may bring what belongs to a watch to any gateway.
type housed struct{ *adaptertest.Fake }

var _ adapters.Homed = housed{}

func (housed) House(adapters.Homes)                   {}
func (housed) Keep(adapters.Keeper)                   {}
func (housed) Resume([]adapters.Record)               {}
func (housed) Carried(context.Context, []byte) []byte { return nil }
func (housed) Release(func(of adapters.WatchID) bool) {}

// dropped is how many notifications a node has dropped for a reason.
func (m *member) dropped(why string) float64 {
	m.t.Helper()
	return m.labelled("isthmus_notifications_dropped_total", why)
}

// labelled is a node's metric with this value of a label.
func (m *member) labelled(metric, label string) (n float64) {
	m.t.Helper()
	families, err := m.metrics.Gather()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			for _, l := range x.GetLabel() {
				if f.GetName() == metric && l.GetValue() == label {
					n += x.GetCounter().GetValue() + x.GetGauge().GetValue()
				}
			}
		}
	}
	return n
}

// askedFleet is one gateway, whose SIP side is housed, where juliet has asked to watch romeo.
func askedFleet(t *testing.T, limits gateway.Limits) (*fleet, *member) {
	f := newFleet(t)
	f.limits, f.housed = limits, true
	m := f.start("a")
	time.Sleep(6 * time.Second)
	answers := make(chan adapters.WatchStatus, 2)
	op := julietWatchesRomeo(adapters.WatchAsk)
	op.Hops = adapters.DefaultHops
	m.xmpp.Handler().Watch(t.Context(), op, func(s adapters.WatchStatus) { answers <- s })
	if s := <-answers; s.Outcome == adapters.Failure {
		t.Fatalf("%+v", s)
	}
	time.Sleep(time.Second)
	if n := len(m.sip.Watches()); n != 1 {
		t.Fatalf("romeo was asked %d times", n)
	}
	return f, m
}

// What comes behind a decision that is being written down waits for it, also where it came to the owner of the pair in the first place: the first NOTIFY
// of a dialog that says "active" is the approval, and those behind it are neither lost nor in the way of messages.
func TestNotifyBehindADecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := askedFleet(t, gateway.Limits{Messages: 3})
		defer f.shutdown()
		m.memory.FailWith(func(method string) error {
			if method == "Put" {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
		approval := documentOf(pidf.BasicOpen, "phone")
		approval.Change = adapters.AuthorizationGranted
		m.sip.Handler().Notify(t.Context(), approval)
		m.sip.Handler().Notify(t.Context(), documentOf(pidf.BasicOpen, "desk"))
		end := documentOf(pidf.BasicOpen)
		end.State, end.End, end.Presence = adapters.WatchTerminated, adapters.EndTimeout, nil
		m.sip.Handler().Notify(t.Context(), end)
		if load := m.gateway.Load(); load != 0 {
			t.Errorf("presence that waits is said to be a load of %d percent", load)
		}
		if onward, main := m.labelled("isthmus_lane_tasks", "onward"), m.labelled("isthmus_lane_tasks", "main"); onward != 3 || main != 0 {
			t.Errorf("%v tasks of presence wait, and %v others", onward, main)
		}
		if n := m.labelled("isthmus_lanes", "onward"); n != 1 {
			t.Errorf("they wait in %v lanes", n)
		}
		time.Sleep(5 * time.Minute)
		if got := notices(m.xmpp.Notifies()); !strings.Contains(got, "ID-desk=open") {
			t.Errorf("juliet is told:\n%s", got)
		}
		if got := verbs(m.sip.Watches()); got != "open open" {
			t.Errorf("asked of romeo's side: %s", got)
		}
		if n := m.dropped("unowned"); n != 0 {
			t.Errorf("%v were dropped", n)
		}
	})
}

// Messages that wait, however many, keep no decision away.
func TestDecisionAmongManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := askedFleet(t, gateway.Limits{Messages: 2})
		defer f.shutdown()
		slow := make(chan struct{})
		m.xmpp.before = func(*adapters.MessageOp) { <-slow }
		m.send(m.sip, message(romeo, juliet, "one"))
		m.send(m.sip, message(romeo, juliet, "two"))
		if s := <-m.send(m.sip, message(romeo, juliet, "three")); s.Reason != adapters.ReasonOverloaded {
			t.Fatalf("there is still room: %+v", s)
		}
		refusal := documentOf(pidf.BasicOpen)
		refusal.State, refusal.End, refusal.Change, refusal.Presence = adapters.WatchTerminated, adapters.EndRejected, adapters.AuthorizationRefused, nil
		m.sip.Handler().Notify(t.Context(), refusal)
		time.Sleep(time.Second)
		list := m.xmpp.Notifies()
		if len(list) == 0 || list[len(list)-1].Change != adapters.AuthorizationRefused {
			t.Errorf("juliet is told:\n%s", notices(list))
		}
		close(slow)
	})
}

// Where too much waits for other gateways, a decision about a pair that is this one's is done all the same.
func TestDecisionWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := askedFleet(t, gateway.Limits{Messages: 1})
		defer f.shutdown()
		elected := leaderless(f.nodes)
		approval := documentOf(pidf.BasicOpen, "phone")
		approval.Change = adapters.AuthorizationGranted
		m.sip.Handler().Notify(t.Context(), approval) // takes the only place
		var kept atomic.Int32
		op := julietWatchesRomeo(adapters.WatchCancel)
		op.Watch.Watcher, op.Hops = user("im:nurse1@example.com").Address, adapters.DefaultHops
		m.xmpp.Handler().Watch(t.Context(), op, func(s adapters.WatchStatus) {
			if kept.Add(1); s.Outcome == adapters.Failure {
				t.Errorf("a cancellation: %+v", s)
			}
		})
		time.Sleep(5 * time.Second) // the writers may be waiting out the failure of the approval's first write
		if kept.Load() != 1 {
			t.Errorf("a cancellation was answered %d times", kept.Load())
		}
		elected()
		time.Sleep(10 * time.Second)
	})
}

// Only who has done it has written it down: an owner that cannot read it, or has no such route, is asked again, and so is the next owner.
func TestDecisionThatItsOwnerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all, owner := watched(t)
		defer f.shutdown()
		var other *member
		for name, m := range all {
			if name != owner {
				other = m
			}
		}
		all[owner].memory.Serve(func(context.Context, string, []byte) []byte {
			return []byte(`{"fault":"the nodes have different routes"}`)
		})
		kept := make(chan struct{}, 2)
		op := takenBack()
		op.Kept = func() { kept <- struct{}{} }
		other.xmpp.Handler().Notify(t.Context(), op)
		time.Sleep(10 * time.Second)
		if len(kept) != 0 {
			t.Error("it is said to be kept, and nobody has it")
		}
		f.kill(owner)
		time.Sleep(time.Minute)
		if len(kept) != 1 {
			t.Errorf("it is said to be kept %d times", len(kept))
		}
		answers := make(chan adapters.WatchStatus, 2)
		again := romeoWatchesJuliet(adapters.WatchOpen, "e", time.Hour)
		again.Hops = adapters.DefaultHops
		other.sip.Handler().Watch(t.Context(), again, func(s adapters.WatchStatus) { answers <- s })
		if s := <-answers; s.State != adapters.WatchPending {
			t.Errorf("after the refusal: %+v", s)
		}
	})
}

// A gateway that only knows of another owner has not done what it was asked: the owner hears a decision, or a cancellation, for the first time then. One
// that may have done it, or is of an earlier version, makes it one that is said again.
func TestDecisionThatIsRedirected(t *testing.T) {
	for _, c := range []struct {
		name, moved string
		again       bool
	}{
		{"untouched", `{"moved":true,"untouched":true,"owner":%q}`, false},
		{"begun", `{"moved":true,"owner":%q}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, all, owner := watched(t)
				defer f.shutdown()
				var next, taker string
				for name := range all {
					switch {
					case name == owner:
					case next == "":
						next = name
					default:
						taker = name
					}
				}
				all[owner].memory.Serve(func(context.Context, string, []byte) []byte { return fmt.Appendf(nil, c.moved, next) })
				calls := make(chan string, 8)
				all[next].memory.Serve(func(_ context.Context, _ string, octets []byte) []byte {
					calls <- string(octets)
					return []byte(`{"found":true,"watch":{"status":{"o":1}}}`)
				})
				all[taker].xmpp.Handler().Notify(t.Context(), takenBack())
				cancel := romeoWatchesJuliet(adapters.WatchCancel, "", 0)
				cancel.Hops = adapters.DefaultHops
				all[taker].sip.Handler().Watch(t.Context(), cancel, func(adapters.WatchStatus) {})
				time.Sleep(time.Second / 2)
				synctest.Wait()
				if len(calls) != 2 {
					t.Fatalf("the next owner was asked %d times", len(calls))
				}
				for range 2 {
					call := <-calls
					if strings.Contains(call, `"again":true`) != c.again {
						t.Errorf("said again, want %t: %s", c.again, call)
					}
					// Who does not own the pair says that it has not begun.
					if a, err := all[next].memory.Call(t.Context(), taker, []byte(call)); err != nil || !strings.Contains(string(a), `"moved":true,`) || !strings.Contains(string(a), `"untouched":true`) {
						t.Errorf("%s, %v", a, err)
					}
				}
			})
		})
	}
}

// A cancellation that its owner refuses is not said to be done.
func TestCancellationThatItsOwnerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b")
		defer f.shutdown()
		refuses := func(context.Context, string, []byte) []byte {
			return []byte(`{"watch":{"status":{"o":2,"r":"overloaded"}}}`)
		}
		var failed atomic.Int32
		for _, m := range f.nodes {
			m.memory.Serve(refuses)
		}
		for _, m := range f.nodes { // one of them is the owner
			op := julietWatchesRomeo(adapters.WatchCancel)
			op.Hops = adapters.DefaultHops
			m.xmpp.Handler().Watch(t.Context(), op, func(s adapters.WatchStatus) {
				if s.Outcome == adapters.Failure {
					failed.Add(1)
				}
			})
		}
		time.Sleep(3 * time.Minute)
		if failed.Load() != 1 {
			t.Errorf("%d of two were told that it failed", failed.Load())
		}
		if n := f.nodes["a"].dropped("unowned") + f.nodes["b"].dropped("unowned"); n != 1 {
			t.Errorf("%v are counted as dropped", n)
		}
	})
}

// Of presence that waits behind a decision the newest is kept, of each device, however much comes.
func TestNewestPresenceBehindADecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.limits = gateway.Limits{LaneMessages: 2}
		m := f.start("a")
		defer f.shutdown()
		time.Sleep(6 * time.Second)
		op := romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour)
		op.Hops = adapters.DefaultHops
		m.sip.Handler().Watch(t.Context(), op, func(adapters.WatchStatus) {})
		time.Sleep(time.Second)
		m.memory.FailWith(func(method string) error {
			if method == "Put" {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
		var kept atomic.Int32
		m.xmpp.Handler().Notify(t.Context(), subscribed())
		for _, basic := range []pidf.Basic{pidf.BasicOpen, pidf.BasicClosed, pidf.BasicOpen, pidf.BasicClosed} {
			for _, device := range []string{"balcony", "chamber"} {
				if basic == pidf.BasicClosed && device == "chamber" {
					continue
				}
				said := presence(device, basic)
				said.Kept = func() { kept.Add(1) }
				m.xmpp.Handler().Notify(t.Context(), said)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		list := m.sip.Notifies()
		if got := notices(list[len(list)-1:]); !strings.Contains(got, "ID-chamber=open") || strings.Contains(got, "ID-balcony=open") {
			t.Errorf("romeo is told:\n%s", notices(list))
		}
		if n := m.dropped("unowned"); n != 0 || kept.Load() != 6 {
			t.Errorf("%v were dropped, %d kept", n, kept.Load())
		}
	})
}
