package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// world is Romeo with his SIP phone and presence server, Juliet with her XMPP server, and the gateway between them, which watch each other
// over a network that loses and repeats, and a gateway that is killed. What either side is shown is kept as a client would show it.
type world struct {
	*sipUser // Romeo
	xmpp     *fakeAttendant

	// Juliet's server: her contact Romeo ("", "ask", "to"), what it thinks of him as a watcher ("", "pending", "from"), her devices.
	roster     string
	inRoster   string
	online     bool
	hers       map[string]bool
	julietSees map[string]bool
	// asked is when her server last asked the gateway for Romeo; missed tells that the gateway was not there, or died of it, and nobody asks
	// again before her next session: Romeo is unknown to her until then.
	asked  time.Time
	missed bool
}

func (w *world) start() {
	xmpp := fakeXMPP("xmpp")
	xmpp.OnWatch, xmpp.OnNotify = w.julietIsAsked, w.julietIsTold
	xmpp.attends = func() adapters.Attendance {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case w.bad && w.random.IntN(3) == 0:
			return adapters.AttendanceUnknown
		case w.online:
			return adapters.AttendancePresent
		}
		return adapters.AttendanceAbsent
	}
	w.mu.Lock()
	w.xmpp = xmpp
	w.mu.Unlock()
	w.run(w.side(), xmpp)
}

func (w *world) kill() {
	w.mu.Lock()
	w.missed = w.missed || time.Since(w.asked) < time.Second
	w.mu.Unlock()
	w.end()
}

// julietIsTold is what Juliet's server gets of Romeo.
func (w *world) julietIsTold(_ context.Context, op *adapters.NotifyOp) adapters.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	times, failed := w.weather(true)
	for range times {
		switch op.Change {
		case adapters.AuthorizationGranted:
			if w.roster == "ask" {
				w.roster = "to"
			}
		case adapters.AuthorizationRefused:
			w.roster, w.julietSees = "", map[string]bool{}
		}
		if w.roster != "to" || !w.online {
			continue // she did not ask for it, or is not there to be shown it
		}
		for _, id := range op.Withdrawn {
			delete(w.julietSees, id.String())
		}
		if op.Presence != nil {
			for _, u := range op.Presence.Tuples {
				if u.Status.Basic == pidf.BasicOpen {
					w.julietSees[u.ID.String()] = true
				} else {
					delete(w.julietSees, u.ID.String())
				}
			}
		}
	}
	if failed.Outcome != 0 {
		return failed
	}
	return adapters.Accepted()
}

// julietIsAsked is a request or a probe of the gateway's for Juliet's presence.
func (w *world) julietIsAsked(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	times, failed := w.weather(true)
	for range times {
		switch op.Verb {
		case adapters.WatchAsk:
			if w.inRoster == "from" {
				w.julietSays(subscribed())
				w.julietPresence()
			} else {
				w.inRoster = "pending"
			}
		case adapters.WatchOpen, adapters.WatchFetch:
			if w.inRoster == "from" {
				w.julietPresence()
			} else {
				w.julietSays(unsubscribed())
			}
		case adapters.WatchCancel:
			w.inRoster = ""
		}
	}
	if failed.Outcome != 0 {
		return adapters.WatchStatus{Status: failed}
	}
	return adapters.WatchStatus{Status: adapters.Accepted()}
}

func unsubscribed() *adapters.NotifyOp {
	op := subscribed()
	op.Change, op.State, op.End = adapters.AuthorizationRefused, adapters.WatchTerminated, adapters.EndRejected
	return op
}

// julietPresence is the answer to a probe (RFC 6121 §4.3.2).
func (w *world) julietPresence() {
	if len(w.hers) == 0 {
		gone := presence("", pidf.BasicClosed)
		gone.Whole = true
		w.julietSays(gone)
	}
	for _, name := range slices.Sorted(maps.Keys(w.hers)) {
		w.julietSays(presence(name, pidf.BasicOpen))
	}
}

// julietSays is a stanza of her server's for Romeo.
func (w *world) julietSays(op *adapters.NotifyOp) {
	if w.gateway != nil {
		h := w.xmpp.Handler()
		w.in(func() { h.Notify(context.Background(), op) })
	}
}

// julietAsks is a stanza of her server's for Romeo.
func (w *world) julietAsks(verb adapters.WatchVerb) {
	w.asked, w.missed = time.Now(), w.gateway == nil
	if w.gateway != nil {
		h := w.xmpp.Handler()
		op := julietWatchesRomeo(verb)
		op.Hops = adapters.DefaultHops
		w.in(func() { h.Watch(context.Background(), op, func(adapters.WatchStatus) {}) })
	}
}

// happen is one thing that somebody does.
func (w *world) happen(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if his, ok := strings.CutPrefix(what, "Romeo "); ok {
		w.does(his)
		return
	}
	name := devices[w.random.IntN(len(devices))]
	switch what {
	case "Juliet's device comes":
		if w.hers[name] = true; w.inRoster == "from" {
			w.julietSays(presence(name, pidf.BasicOpen))
		}
	case "Juliet's device goes":
		if w.hers[name] {
			delete(w.hers, name)
			if w.inRoster == "from" {
				w.julietSays(presence(name, pidf.BasicClosed))
			}
		}
	case "Juliet decides for Romeo":
		if w.inRoster == "pending" {
			w.inRoster = "from"
			w.julietSays(subscribed())
			w.julietPresence()
		}
	case "Juliet decides against Romeo":
		if w.inRoster != "" {
			w.inRoster = ""
			w.julietSays(unsubscribed())
		}
	case "Juliet comes":
		w.online, w.julietSees = true, map[string]bool{}
		if w.roster == "to" {
			w.julietAsks(adapters.WatchOpen)
		}
	case "Juliet goes":
		w.online, w.julietSees = false, map[string]bool{}
	case "Juliet wants Romeo":
		if w.roster == "" {
			w.roster = "ask"
		}
		w.julietAsks(adapters.WatchAsk)
	case "Juliet wants him no more":
		w.roster, w.julietSees = "", map[string]bool{}
		w.julietAsks(adapters.WatchCancel)
	}
}

var happenings = []string{
	"Juliet's device comes", "Juliet's device goes", "Juliet decides for Romeo", "Juliet decides for Romeo", "Juliet decides against Romeo", "Juliet comes", "Juliet comes", "Juliet goes",
	"Juliet wants Romeo", "Juliet wants Romeo", "Juliet wants him no more", "Romeo says something", "Romeo says something", "Romeo names his phone anew", "Romeo allows",
	"Romeo allows no more", "Romeo wants", "Romeo wants", "Romeo wants no more", "kill", "kill", "outage", "wait", "wait",
}

// pass lets time pass, in which Romeo's phone does what it has to.
func (w *world) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.subscribe()
		time.Sleep(min(20*time.Minute, time.Until(end)))
	}
	synctest.Wait()
}

// T-PR-10, T-PR-08, T-PR-11, T-FI-01: whatever happened, when the network is quiet each side shows what the other side last said, or that it is
// unknown: never a stale open, and nothing to who may not see it.
func TestT_PR_10_QuietNetworkShowsTheTruth(t *testing.T) {
	routes := []gateway.Route{
		{Domain: "example.net", Adapter: "sip", NextHops: hops(t, "sip:127.0.0.1:5060;transport=udp")},
		{Domain: "example.com", Adapter: "xmpp", NextHops: hops(t, "component:127.0.0.1:5347")},
	}
	rapid.Check(t, func(rt *rapid.T) {
		events := rapid.SliceOfN(rapid.SampledFrom(happenings), 1, 40).Draw(rt, "events")
		seed := rapid.Uint64().Draw(rt, "seed")
		fault := ""
		synctest.Test(t, func(*testing.T) {
			p := &process{network: newNetwork(rt, seed), routes: routes, disk: &storetest.Memory{}}
			w := &world{sipUser: newSIPUser(p, romeoSeen, julietSeen), online: true, julietSees: map[string]bool{}, hers: map[string]bool{"balcony": true}}
			w.start()
			for _, what := range events {
				w.pass(time.Duration(w.random.IntN(100)) * 10 * time.Millisecond)
				switch what {
				case "kill":
					w.kill()
					w.start()
				case "outage":
					w.kill()
					for range 3 {
						w.happen(happenings[w.random.IntN(len(happenings))])
					}
					w.pass(time.Duration(w.random.IntN(60)) * time.Minute)
					w.start()
				case "wait":
					w.pass(time.Duration(w.random.IntN(300)) * time.Minute)
				default:
					w.happen(what)
				}
			}
			w.quiet()
			w.pass(40 * time.Hour) // longer than a user who does not decide is left alone
			fault = w.check()
			if fault == "" {
				w.happen("Juliet goes")
				w.pass(time.Hour)
				w.happen("Juliet comes")
				w.pass(time.Hour)
				fault = w.check()
			}
			w.kill()
			synctest.Wait()
		})
		if fault != "" {
			rt.Fatalf("%s\n%q", fault, events)
		}
	})
}

// check says what is wrong with what the two are shown, "" if nothing is.
func (w *world) check() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	romeo, juliet := fmt.Sprint(slices.Sorted(maps.Keys(w.sees))), fmt.Sprint(slices.Sorted(maps.Keys(w.julietSees)))
	want := "[]"
	if w.inRoster == "from" && w.dialog != "" {
		want = seen(w.hers)
	}
	if romeo != want {
		return fmt.Sprintf("Romeo sees %s of Juliet, want %s (wants %v, dialog %q, rejected %v, roster %q)", romeo, want, w.wants, w.dialog, w.rejected, w.inRoster)
	}
	if w.wants && !w.rejected && w.inRoster == "from" && w.dialog == "" {
		return "Romeo wants to watch, may, and does not"
	}
	want = "[]"
	if w.roster == "to" && w.online && w.allows {
		want = seen(w.devices)
	}
	if juliet != want && !(w.missed && juliet == "[]") {
		return fmt.Sprintf("Juliet sees %s of Romeo, want %s (roster %q, online %v, allowed %v, dialog %v)", juliet, want, w.roster, w.online, w.allows, w.watched)
	}
	return ""
}
