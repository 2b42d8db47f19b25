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
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// chain is two SIP users, each with a gateway of his own, and XMPP between the gateways: Romeo - gateway - gateway - Tybalt. The links lose and
// repeat, and either gateway is killed. Each watches the other.
type chain struct {
	t      *rapid.T
	random *dice

	mu   sync.Mutex
	bad  bool
	ends [2]*chainEnd
}

// chainEnd is one user with his phone and his presence server, and his gateway.
type chainEnd struct {
	*chain
	far    *chainEnd
	user   cpim.Address
	routes []gateway.Route
	disk   *storetest.Memory

	gateway   *gateway.Gateway // nil while it is down
	sip, xmpp *adaptertest.Fake
	inbox     chan func()

	// His phone.
	wants, rejected, ended bool
	dialog                 string
	dialogs                int
	sees                   map[string]bool
	// His presence server: what he says, whom he allows, and whether the other one has a dialog there.
	devices map[string]bool
	allows  bool
	watched bool
}

func (e *chainEnd) start() {
	e.mu.Lock()
	sip := adaptertest.NewFake("sip", adapters.Capabilities{Protocol: resolver.SIP, CarriesHops: true, PositiveAnswer: true})
	xmpp := adaptertest.NewFake("xmpp", adapters.Capabilities{Protocol: resolver.XMPP, AsksExplicitly: true, OneByOne: true})
	sip.OnWatch, sip.OnNotify = e.serverIsAsked, e.phoneIsTold
	xmpp.OnWatch, xmpp.OnNotify = e.asksFar, e.tellsFar
	e.mu.Unlock()
	g, err := gateway.New(gateway.Config{
		Adapters: []adapters.Adapter{sip, xmpp}, Routes: e.routes,
		OpenStore: func(context.Context) (store.Durable, error) { return e.disk, nil },
	})
	if err == nil {
		err = g.Start(context.Background())
	}
	if err != nil {
		e.t.Fatal(err)
	}
	inbox := make(chan func(), 1000)
	go func() {
		for f := range inbox {
			f()
		}
	}()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gateway, e.sip, e.xmpp, e.inbox = g, sip, xmpp, inbox
	if e.far.gateway != nil { // the link between the gateways is there again, for both
		for _, x := range []*chainEnd{e, e.far} {
			x.xmpp.Handler().(adapters.Outages).Back(x.way())
		}
	}
}

func (e *chainEnd) way() adapters.Way {
	return adapters.Way{Ours: e.user.Domain(), Theirs: e.far.user.Domain()}
}

func (e *chainEnd) kill() {
	e.mu.Lock()
	g, inbox := e.gateway, e.inbox
	e.gateway, e.inbox = nil, nil
	if e.far.gateway != nil {
		e.far.xmpp.Handler().(adapters.Outages).Lost(e.far.way())
	}
	e.mu.Unlock()
	e.disk.FailWith(func(string) error { return store.ErrUnavailable })
	close(inbox)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	g.Shutdown(ctx) //nolint:errcheck // it was killed
	e.disk.FailWith(nil)
}

// in brings something to the gateway of e, if it is there. mu is held.
func (e *chainEnd) in(f func()) {
	if e.inbox != nil {
		e.inbox <- f
	}
}

// dice are chance that several goroutines ask.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// weather is what becomes of a packet of the gateway of e: how often it arrives, and what the gateway hears. mu is held.
func (e *chainEnd) weather(there bool) (times int, failed adapters.Status) {
	if e.gateway == nil || !there {
		return 0, adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	if e.bad {
		switch e.random.IntN(6) {
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

// asksFar is a stanza that asks, from gateway to gateway: RFC 8048 §5.2, §7.1.
func (e *chainEnd) asksFar(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	times, failed := e.weather(e.far.gateway != nil)
	for range times {
		h := e.far.xmpp.Handler()
		asked := &adapters.WatchOp{Verb: op.Verb, Watch: adapters.WatchID{Watcher: op.Watch.Watcher, Presentity: op.Watch.Presentity}, Hops: adapters.DefaultHops}
		switch op.Verb {
		case adapters.WatchFetch:
			asked.Verb = adapters.WatchOpen // a probe is a probe
		case adapters.WatchClose:
			gone := &adapters.NotifyOp{Watch: adapters.WatchID{Watcher: op.Watch.Presentity, Presentity: op.Watch.Watcher}, Whole: true, Presence: bareClosed(op.Watch.Watcher)}
			e.far.in(func() { h.Notify(context.Background(), gone) })
			continue
		}
		e.far.in(func() { h.Watch(context.Background(), asked, func(adapters.WatchStatus) {}) })
	}
	if failed.Outcome != 0 {
		return adapters.WatchStatus{Status: failed}
	}
	return adapters.WatchStatus{Status: adapters.Accepted()}
}

func bareClosed(of cpim.Address) *pidf.Presence {
	return &pidf.Presence{Entity: pidf.MustParseURI(of.String()), Tuples: []pidf.Tuple{{ID: pidf.TupleID(""), Status: pidf.Status{Basic: pidf.BasicClosed}}}}
}

// tellsFar is the stanzas of a notification, from gateway to gateway, in the order in which the XMPP adapter writes them.
func (e *chainEnd) tellsFar(_ context.Context, op *adapters.NotifyOp) adapters.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	if op.State == adapters.WatchPending {
		return adapters.Accepted() // nothing is said of it (RFC 8048 §5.2.1)
	}
	times, failed := e.weather(e.far.gateway != nil)
	id := adapters.WatchID{Watcher: op.Watch.Watcher, Presentity: op.Watch.Presentity}
	for range times {
		var all []*adapters.NotifyOp
		say := func(n adapters.NotifyOp) { n.Watch = id; all = append(all, &n) }
		device := func(tuple pidf.ID, basic pidf.Basic) {
			name, _ := tuple.Resource()
			if name == "" {
				name = tuple.String()
			}
			say(adapters.NotifyOp{Instance: name, Presence: &pidf.Presence{
				Entity: pidf.MustParseURI(id.Presentity.String()), Tuples: []pidf.Tuple{{ID: tuple, Status: pidf.Status{Basic: basic}}},
			}})
		}
		bare := func() { say(adapters.NotifyOp{Whole: true, Presence: bareClosed(id.Presentity)}) }
		if op.Failure.Outcome != 0 {
			say(adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndNoResource})
		} else {
			if op.Change == adapters.AuthorizationGranted {
				say(adapters.NotifyOp{Change: adapters.AuthorizationGranted, State: adapters.WatchActive})
			}
			for _, gone := range op.Withdrawn {
				device(gone, pidf.BasicClosed)
			}
			switch p := op.Presence; {
			case op.Change == adapters.AuthorizationRefused:
				say(adapters.NotifyOp{Change: adapters.AuthorizationRefused, State: adapters.WatchTerminated, End: adapters.EndRejected})
			case p == nil:
				if op.State == adapters.WatchTerminated && len(op.Withdrawn) == 0 {
					bare()
				}
			case len(p.Tuples) == 0:
				bare()
			default:
				for i := range p.Tuples {
					device(p.Tuples[i].ID, p.Tuples[i].Status.Basic)
				}
			}
		}
		h := e.far.xmpp.Handler()
		for _, n := range all {
			e.far.in(func() { h.Notify(context.Background(), n) })
		}
	}
	if failed.Outcome != 0 {
		return failed
	}
	return adapters.Accepted()
}

// serverIsAsked is a SUBSCRIBE to his presence server.
func (e *chainEnd) serverIsAsked(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	times, failed := e.weather(true)
	for range times {
		switch op.Verb {
		case adapters.WatchClose, adapters.WatchCancel:
			e.watched = false
		default:
			if !e.allows {
				e.watched = false
				return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonForbidden, ""), End: adapters.EndRejected, State: adapters.WatchTerminated}
			}
			e.watched = true
			e.serverNotifies()
		}
	}
	if failed.Outcome != 0 {
		return adapters.WatchStatus{Status: failed}
	}
	return adapters.WatchStatus{Status: adapters.Succeeded(), Duration: time.Hour}
}

func (e *chainEnd) watchOfMe() adapters.WatchID {
	return adapters.WatchID{Watcher: e.far.user, Presentity: e.user}
}

// serverNotifies is a NOTIFY of his presence server; one that finds nobody ends the dialog.
func (e *chainEnd) serverNotifies() {
	if !e.watched || e.gateway == nil {
		e.watched = false
		return
	}
	op := &adapters.NotifyOp{Watch: e.watchOfMe(), State: adapters.WatchActive, Whole: true, Presence: &pidf.Presence{Entity: pidf.MustParseURI(e.user.String())}}
	for _, name := range slices.Sorted(maps.Keys(e.devices)) {
		basic := pidf.BasicClosed
		if e.devices[name] {
			basic = pidf.BasicOpen
		}
		op.Presence.Tuples = append(op.Presence.Tuples, pidf.Tuple{ID: pidf.TupleID(name), Status: pidf.Status{Basic: basic}})
	}
	h := e.sip.Handler()
	e.in(func() { h.Notify(context.Background(), op) })
}

// phoneIsTold is a NOTIFY to his phone.
func (e *chainEnd) phoneIsTold(_ context.Context, op *adapters.NotifyOp) adapters.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	times, failed := e.weather(true)
	if op.Watch.Session != e.dialog || e.ended {
		return adapters.Failed(adapters.ReasonNotFound, "")
	}
	e.ended = op.State == adapters.WatchTerminated || failed.Reason == adapters.ReasonDomainTimeout
	for range times {
		if op.Presence != nil {
			e.sees = map[string]bool{}
			for _, u := range op.Presence.Tuples {
				if u.Status.Basic == pidf.BasicOpen {
					e.sees[u.ID.String()] = true
				}
			}
		}
		if op.State == adapters.WatchTerminated {
			e.sees, e.dialog = map[string]bool{}, ""
			e.rejected = e.rejected || op.End == adapters.EndRejected
		}
	}
	if failed.Outcome != 0 {
		return failed
	}
	return adapters.Succeeded()
}

// subscribe is his phone doing what it has to, every now and then.
func (e *chainEnd) subscribe() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.wants || e.rejected || e.gateway == nil {
		return
	}
	if e.ended {
		e.dialog, e.sees, e.ended = "", map[string]bool{}, false
	}
	if e.dialog == "" {
		e.dialogs++
		e.dialog = fmt.Sprintf("dialog%d", e.dialogs)
	}
	e.phoneAsks(adapters.WatchOpen, 2*time.Hour)
}

func (e *chainEnd) phoneAsks(verb adapters.WatchVerb, d time.Duration) {
	op := &adapters.WatchOp{
		Verb: verb, Duration: d, Hops: adapters.DefaultHops, Watch: adapters.WatchID{Watcher: e.user, Presentity: e.far.user, Session: e.dialog},
	}
	h := e.sip.Handler()
	e.in(func() {
		h.Watch(context.Background(), op, func(st adapters.WatchStatus) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if st.Outcome == adapters.Failure && e.dialog == op.Watch.Session {
				e.dialog, e.sees = "", map[string]bool{}
			}
		})
	})
}

func (e *chainEnd) happen(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := []string{"balcony", "chamber"}[e.random.IntN(2)]
	switch what {
	case "says something":
		e.devices[name] = !e.devices[name]
		e.serverNotifies()
	case "names his phone anew":
		delete(e.devices, name)
		e.devices[fmt.Sprintf("phone%d", e.random.IntN(3))] = true
		e.serverNotifies()
	case "allows":
		e.allows = true
	case "allows no more":
		e.allows = false
		if e.watched && e.gateway != nil {
			op := &adapters.NotifyOp{
				Watch: e.watchOfMe(), Whole: true, State: adapters.WatchTerminated, End: adapters.EndRejected, Change: adapters.AuthorizationRefused,
			}
			h := e.sip.Handler()
			e.in(func() { h.Notify(context.Background(), op) })
		}
		e.watched = false
	case "wants":
		e.wants, e.rejected = true, false
	case "wants no more":
		e.wants = false
		if e.dialog != "" && e.gateway != nil {
			e.phoneAsks(adapters.WatchClose, 0)
		}
		e.dialog, e.sees, e.ended = "", map[string]bool{}, false
	}
}

var chainHappenings = []string{
	"says something", "says something", "says something", "names his phone anew", "allows", "allows no more", "wants", "wants", "wants", "wants no more",
	"kill", "kill", "outage", "wait", "wait",
}

func (c *chain) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, e := range c.ends {
			e.subscribe()
		}
		time.Sleep(min(20*time.Minute, time.Until(end)))
	}
	synctest.Wait()
}

// check says what is wrong with what e's phone shows.
func (e *chainEnd) check() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	got, want := fmt.Sprint(slices.Sorted(maps.Keys(e.sees))), "[]"
	if e.wants && !e.rejected && e.far.allows {
		want = seen(e.far.devices)
		if e.dialog == "" {
			return fmt.Sprintf("%v wants to watch, may, and does not", e.user)
		}
	}
	if got != want {
		return fmt.Sprintf("%v sees %s, want %s (wants %v, dialog %q, rejected %v, allowed %v, dialog there %v)",
			e.user, got, want, e.wants, e.dialog, e.rejected, e.far.allows, e.far.watched)
	}
	return ""
}

// T-PR-10, T-PR-11, T-FI-01: two users and two gateways in a row, over links that lose and repeat, with gateways that are killed: when the network is
// quiet, each side shows what the other side last said, or that it is unknown, never a stale open.
func TestT_PR_10_TwoGatewaysShowTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type step struct {
			end  int
			what string
		}
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.IntRange(0, 1).Draw(t, "end"), rapid.SampledFrom(chainHappenings).Draw(t, "what")}
		}), 1, 40).Draw(rt, "steps")
		seed := rapid.Uint64().Draw(rt, "seed")
		fault := ""
		synctest.Test(t, func(*testing.T) {
			c := &chain{t: rt, random: &dice{r: rand.New(rand.NewPCG(seed, 1))}, bad: true}
			for i, user := range []string{"pres:romeo@example.net", "pres:tybalt@example.org"} {
				c.ends[i] = &chainEnd{
					chain: c, user: cpim.MustParseAddress(user), disk: &storetest.Memory{}, allows: true, sees: map[string]bool{}, devices: map[string]bool{"balcony": true},
				}
			}
			for i, e := range c.ends {
				e.far = c.ends[1-i]
			}
			for _, e := range c.ends {
				e.routes = []gateway.Route{
					{Domain: e.user.Domain(), Adapter: "sip", NextHops: hops(t, "sip:127.0.0.1:5060;transport=udp")},
					{Domain: e.far.user.Domain(), Adapter: "xmpp", NextHops: hops(t, "component:127.0.0.1:5347")},
				}
				e.start()
			}
			for _, s := range steps {
				e := c.ends[s.end]
				c.pass(time.Duration(c.random.IntN(100)) * 10 * time.Millisecond)
				switch s.what {
				case "kill":
					e.kill()
					e.start()
				case "outage":
					e.kill()
					for range 3 {
						what := chainHappenings[c.random.IntN(10)]
						c.ends[c.random.IntN(2)].happen(what)
					}
					c.pass(time.Duration(c.random.IntN(60)) * time.Minute)
					e.start()
				case "wait":
					c.pass(time.Duration(c.random.IntN(300)) * time.Minute)
				default:
					e.happen(s.what)
				}
			}
			c.mu.Lock()
			c.bad = false
			c.mu.Unlock()
			c.pass(40 * time.Hour)
			for _, e := range c.ends {
				if fault == "" {
					fault = e.check()
				}
			}
			for _, e := range c.ends {
				e.kill()
			}
			synctest.Wait()
		})
		if fault != "" {
			rt.Fatalf("%s\n%+v", fault, steps)
		}
	})
}
