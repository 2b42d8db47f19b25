package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// world is Romeo with his SIP phone and presence server, Juliet with her XMPP server, and the gateway between them, which watch each other
// over a network that loses and repeats, and a gateway that is killed. What either side is shown is kept as a client would show it.
type world struct {
	t      *rapid.T
	disk   *storetest.Memory
	routes []gateway.Route
	random *dice

	mu      sync.Mutex
	gateway *gateway.Gateway // nil while it is down
	sip     *adaptertest.Fake
	xmpp    *fakeAttendant
	inbox   chan func() // what comes to the gateway, in order; nil while it is down
	bad     bool        // the network loses and repeats

	// Romeo's phone: it watches Juliet while it wants to, in a dialog with a name.
	wants, rejected bool
	dialog          string
	dialogs         int
	// ended tells that the gateway's SIP side has ended the dialog, which the phone may not know yet.
	ended     bool
	romeoSees map[string]bool
	// Romeo's presence server: what he says, who may see it, and whether Juliet has a dialog there.
	romeo        map[string]bool
	romeoAllows  bool
	julietDialog bool

	// Juliet's server: her contact Romeo ("", "ask", "to"), what it thinks of him as a watcher ("", "pending", "from"), her devices.
	roster     string
	inRoster   string
	online     bool
	devices    map[string]bool
	julietSees map[string]bool
	// asked is when her server last asked the gateway for Romeo; missed tells that the gateway was not there, or died of it, and nobody asks
	// again before her next session: Romeo is unknown to her until then.
	asked  time.Time
	missed bool
}

func (w *world) start() {
	sip := adaptertest.NewFake("sip", adapters.Capabilities{Protocol: resolver.SIP, CarriesHops: true, PositiveAnswer: true})
	xmpp := fakeXMPP("xmpp")
	sip.OnWatch, sip.OnNotify = w.romeoIsAsked, w.romeoIsTold
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
	g, err := gateway.New(gateway.Config{
		Adapters:  []adapters.Adapter{sip, xmpp},
		Routes:    w.routes,
		OpenStore: func(context.Context) (store.Durable, error) { return w.disk, nil },
	})
	if err == nil {
		err = g.Start(context.Background())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	inbox := make(chan func(), 1000)
	go func() {
		for f := range inbox {
			f()
		}
	}()
	w.mu.Lock()
	w.gateway, w.sip, w.xmpp, w.inbox = g, sip, xmpp, inbox
	w.mu.Unlock()
}

// kill ends the gateway as kill -9 does, as far as its disk and its neighbours can tell.
func (w *world) kill() {
	w.mu.Lock()
	g, inbox := w.gateway, w.inbox
	w.gateway, w.inbox = nil, nil
	w.missed = w.missed || time.Since(w.asked) < time.Second
	w.mu.Unlock()
	w.disk.FailWith(func(string) error { return store.ErrUnavailable })
	close(inbox)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	g.Shutdown(ctx) //nolint:errcheck // it was killed
	w.disk.FailWith(nil)
}

// in brings something to the gateway, if it is there. w.mu is held.
func (w *world) in(f func()) {
	if w.inbox != nil {
		w.inbox <- f
	}
}

// weather says what the network does with what the gateway sends: whether it arrives, how often, and whether the gateway hears of it.
func (w *world) weather() (times int, failed adapters.Status) {
	if w.gateway == nil {
		return 0, adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	if w.bad {
		switch w.random.IntN(6) {
		case 0:
			return 0, adapters.Failed(adapters.ReasonDomainTimeout, "")
		case 1:
			return 1, adapters.Failed(adapters.ReasonOutcomeUnknown, "")
		case 2:
			return 2, adapters.Status{}
		}
	}
	return 1, adapters.Status{}
}

// romeoIsTold is a NOTIFY to Romeo's phone.
func (w *world) romeoIsTold(_ context.Context, op *adapters.NotifyOp) adapters.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	times, failed := w.weather()
	if op.Watch.Session != w.dialog || w.ended {
		return adapters.Failed(adapters.ReasonNotFound, "")
	}
	// A dialog is over with the NOTIFY that says so, and with one that is not answered (RFC 6665 §4.2.2), whether or not it arrives.
	w.ended = op.State == adapters.WatchTerminated || failed.Reason == adapters.ReasonDomainTimeout
	for range times {
		if op.Presence != nil {
			w.romeoSees = map[string]bool{}
			for _, u := range op.Presence.Tuples {
				if u.Status.Basic == pidf.BasicOpen {
					w.romeoSees[u.ID.String()] = true
				}
			}
		}
		if op.State == adapters.WatchTerminated {
			w.romeoSees, w.dialog = map[string]bool{}, ""
			w.rejected = w.rejected || op.End == adapters.EndRejected
		}
	}
	if failed.Outcome != 0 {
		return failed
	}
	return adapters.Succeeded()
}

// subscribe is Romeo's phone doing what it has to, every now and then.
func (w *world) subscribe() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.wants || w.rejected || w.gateway == nil {
		return
	}
	if w.ended { // its refresh is answered 481
		w.dialog, w.romeoSees, w.ended = "", map[string]bool{}, false
	}
	if w.dialog == "" {
		w.dialogs++
		w.dialog = fmt.Sprintf("dialog%d", w.dialogs)
	}
	op := romeoWatchesJuliet(adapters.WatchOpen, w.dialog, 2*time.Hour)
	op.Hops = adapters.DefaultHops
	h := w.sip.Handler()
	w.in(func() {
		h.Watch(context.Background(), op, func(st adapters.WatchStatus) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if st.Outcome == adapters.Failure && w.dialog == op.Watch.Session {
				w.dialog, w.romeoSees = "", map[string]bool{}
			}
		})
	})
}

// romeoIsAsked is a SUBSCRIBE for Romeo's presence.
func (w *world) romeoIsAsked(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	times, failed := w.weather()
	for range times {
		switch op.Verb {
		case adapters.WatchClose, adapters.WatchCancel:
			w.julietDialog = false
		default:
			if !w.romeoAllows {
				w.julietDialog = false
				return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonForbidden, ""), End: adapters.EndRejected}
			}
			w.julietDialog = true
			w.romeoNotifies()
		}
	}
	if failed.Outcome != 0 {
		return adapters.WatchStatus{Status: failed}
	}
	return adapters.WatchStatus{Status: adapters.Succeeded(), Duration: time.Hour}
}

// romeoNotifies is a NOTIFY of Romeo's presence server in Juliet's dialog. One that finds nobody ends the dialog.
func (w *world) romeoNotifies() {
	if !w.julietDialog {
		return
	}
	if w.gateway == nil {
		w.julietDialog = false
		return
	}
	op := documentOf(pidf.BasicOpen)
	for _, name := range slices.Sorted(maps.Keys(w.romeo)) {
		basic := pidf.BasicClosed
		if w.romeo[name] {
			basic = pidf.BasicOpen
		}
		op.Presence.Tuples = append(op.Presence.Tuples, pidf.Tuple{ID: pidf.TupleID(name), Status: pidf.Status{Basic: basic}})
	}
	h := w.sip.Handler()
	w.in(func() { h.Notify(context.Background(), op) })
}

// julietIsTold is what Juliet's server gets of Romeo.
func (w *world) julietIsTold(_ context.Context, op *adapters.NotifyOp) adapters.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	times, failed := w.weather()
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
	times, failed := w.weather()
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
	if len(w.devices) == 0 {
		gone := presence("", pidf.BasicClosed)
		gone.Whole = true
		w.julietSays(gone)
	}
	for _, name := range slices.Sorted(maps.Keys(w.devices)) {
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
	name := []string{"balcony", "chamber"}[w.random.IntN(2)]
	switch what {
	case "Juliet's device comes":
		if w.devices[name] = true; w.inRoster == "from" {
			w.julietSays(presence(name, pidf.BasicOpen))
		}
	case "Juliet's device goes":
		if w.devices[name] {
			delete(w.devices, name)
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
	case "Romeo says something":
		w.romeo[name] = !w.romeo[name]
		w.romeoNotifies()
	case "Romeo's phone has another name":
		delete(w.romeo, name)
		w.romeo[fmt.Sprintf("phone%d", w.random.IntN(3))] = true
		w.romeoNotifies()
	case "Romeo allows her":
		w.romeoAllows = true
	case "Romeo allows her no more":
		w.romeoAllows = false
		if w.julietDialog && w.gateway != nil {
			op := documentOf(pidf.BasicOpen)
			op.Presence, op.State, op.End, op.Change = nil, adapters.WatchTerminated, adapters.EndRejected, adapters.AuthorizationRefused
			h := w.sip.Handler()
			w.in(func() { h.Notify(context.Background(), op) })
		}
		w.julietDialog = false
	case "Romeo wants Juliet":
		w.wants, w.rejected = true, false
	case "Romeo wants her no more":
		w.wants = false
		if w.dialog != "" && w.gateway != nil {
			op := romeoWatchesJuliet(adapters.WatchClose, w.dialog, 0)
			op.Hops = adapters.DefaultHops
			h := w.sip.Handler()
			w.in(func() { h.Watch(context.Background(), op, func(adapters.WatchStatus) {}) })
		}
		w.dialog, w.romeoSees, w.ended = "", map[string]bool{}, false
	}
}

var happenings = []string{
	"Juliet's device comes", "Juliet's device goes", "Juliet decides for Romeo", "Juliet decides for Romeo", "Juliet decides against Romeo", "Juliet comes", "Juliet comes", "Juliet goes",
	"Juliet wants Romeo", "Juliet wants Romeo", "Juliet wants him no more", "Romeo says something", "Romeo says something", "Romeo's phone has another name", "Romeo allows her",
	"Romeo allows her no more", "Romeo wants Juliet", "Romeo wants Juliet", "Romeo wants her no more", "kill", "kill", "outage", "wait", "wait",
}

// pass lets time pass, in which Romeo's phone does what it has to.
func (w *world) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.subscribe()
		time.Sleep(min(20*time.Minute, time.Until(end)))
	}
	synctest.Wait()
}

// open is the names that are true in m, as the far side sees them.
func seen(m map[string]bool) string {
	var all []string
	for name, is := range m {
		if is {
			all = append(all, pidf.TupleID(name).String())
		}
	}
	slices.Sort(all)
	return fmt.Sprint(all)
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
			w := &world{
				t: rt, routes: routes, disk: &storetest.Memory{}, random: &dice{r: rand.New(rand.NewPCG(seed, 1))}, bad: true, romeoAllows: true, online: true,
				romeoSees: map[string]bool{}, julietSees: map[string]bool{}, romeo: map[string]bool{"balcony": true}, devices: map[string]bool{"balcony": true},
			}
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
			w.mu.Lock()
			w.bad = false
			w.mu.Unlock()
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
	romeo, juliet := fmt.Sprint(slices.Sorted(maps.Keys(w.romeoSees))), fmt.Sprint(slices.Sorted(maps.Keys(w.julietSees)))
	want := "[]"
	if w.inRoster == "from" && w.dialog != "" {
		want = seen(w.devices)
	}
	if romeo != want {
		return fmt.Sprintf("Romeo sees %s of Juliet, want %s (wants %v, dialog %q, rejected %v, roster %q)", romeo, want, w.wants, w.dialog, w.rejected, w.inRoster)
	}
	if w.wants && !w.rejected && w.inRoster == "from" && w.dialog == "" {
		return "Romeo wants to watch, may, and does not"
	}
	want = "[]"
	if w.roster == "to" && w.online && w.romeoAllows {
		want = seen(w.romeo)
	}
	if juliet != want && !(w.missed && juliet == "[]") {
		return fmt.Sprintf("Juliet sees %s of Romeo, want %s (roster %q, online %v, allowed %v, dialog %v)", juliet, want, w.roster, w.online, w.romeoAllows, w.julietDialog)
	}
	return ""
}
