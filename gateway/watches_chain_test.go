package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// chain is two SIP users, each with a gateway of his own, and XMPP between the gateways: Romeo - gateway - gateway - Tybalt. The links lose and
// repeat, and either gateway is killed. Each watches the other.
type chain struct {
	*network
	ends [2]*chainEnd
}

// chainEnd is one user and his gateway.
type chainEnd struct {
	*sipUser
	far  *chainEnd
	xmpp *adaptertest.Fake
}

func (e *chainEnd) start() {
	xmpp := adaptertest.NewFake("xmpp", adapters.Capabilities{Protocol: resolver.XMPP, AsksExplicitly: true, OneByOne: true})
	xmpp.OnWatch, xmpp.OnNotify = e.asksFar, e.tellsFar
	e.mu.Lock()
	e.xmpp = xmpp
	e.mu.Unlock()
	e.run(e.side(), xmpp)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.far.gateway != nil { // the link between the gateways is there again, for both
		for _, x := range []*chainEnd{e, e.far} {
			x.xmpp.Handler().(adapters.Outages).Back(x.way())
		}
	}
}

func (e *chainEnd) way() adapters.Way {
	return adapters.Way{Ours: e.user.Domain(), Theirs: e.peer.Domain()}
}

func (e *chainEnd) kill() {
	e.mu.Lock()
	if e.far.gateway != nil {
		e.far.xmpp.Handler().(adapters.Outages).Lost(e.far.way())
	}
	e.mu.Unlock()
	e.end()
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

var chainHappenings = []string{
	"says something", "says something", "says something", "names his phone anew", "allows", "allows no more", "wants", "wants", "wants", "wants no more",
	"kill", "kill", "outage", "wait", "wait",
}

func (e *chainEnd) happen(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.does(what)
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
			c := &chain{network: newNetwork(rt, seed)}
			users := [2]cpim.Address{cpim.MustParseAddress("pres:romeo@example.net"), cpim.MustParseAddress("pres:tybalt@example.org")}
			for i, user := range users {
				p := &process{network: c.network, disk: &storetest.Memory{}, routes: []gateway.Route{
					{Domain: user.Domain(), Adapter: "sip", NextHops: hops(t, "sip:127.0.0.1:5060;transport=udp")},
					{Domain: users[1-i].Domain(), Adapter: "xmpp", NextHops: hops(t, "component:127.0.0.1:5347")},
				}}
				c.ends[i] = &chainEnd{sipUser: newSIPUser(p, user, users[1-i])}
			}
			for i, e := range c.ends {
				e.far = c.ends[1-i]
			}
			for _, e := range c.ends {
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
			c.quiet()
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
