package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
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

// network is what gateways and users send over: it loses and repeats until it is quiet. All that is on it is under mu.
type network struct {
	t      *rapid.T
	random *dice

	mu  sync.Mutex
	bad bool
}

func newNetwork(t *rapid.T, seed uint64) *network {
	return &network{t: t, random: &dice{r: rand.New(rand.NewPCG(seed, 1))}, bad: true}
}

// quiet has it lose and repeat nothing from now on.
func (n *network) quiet() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.bad = false
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

// process is a gateway that is killed, and comes again with what is on its disk.
type process struct {
	*network
	routes []gateway.Route
	disk   *storetest.Memory

	gateway *gateway.Gateway // nil while it is down
	inbox   chan func()      // what comes to it, in order; nil while it is down
}

func (p *process) run(sides ...adapters.Adapter) {
	g, err := gateway.New(gateway.Config{
		Adapters: sides, Routes: p.routes, OpenStore: func(context.Context) (store.Durable, error) { return p.disk, nil },
	})
	if err == nil {
		err = g.Start(context.Background())
	}
	if err != nil {
		p.t.Fatal(err)
	}
	inbox := make(chan func(), 1000)
	go func() {
		for f := range inbox {
			f()
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gateway, p.inbox = g, inbox
}

// end ends it as kill -9 does, as far as its disk and its neighbours can tell.
func (p *process) end() {
	p.mu.Lock()
	g, inbox := p.gateway, p.inbox
	p.gateway, p.inbox = nil, nil
	p.mu.Unlock()
	p.disk.FailWith(func(string) error { return store.ErrUnavailable })
	close(inbox)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	g.Shutdown(ctx) //nolint:errcheck // it was killed
	p.disk.FailWith(nil)
}

// in brings something to the gateway, if it is there. mu is held.
func (p *process) in(f func()) {
	if p.inbox != nil {
		p.inbox <- f
	}
}

// weather is what becomes of a packet of the gateway's to somebody who is there or not: how often it arrives, and what the gateway hears. mu is held.
func (p *process) weather(there bool) (times int, failed adapters.Status) {
	if p.gateway == nil || !there {
		return 0, adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	if p.bad {
		switch p.random.IntN(6) {
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

// sipUser is somebody on the SIP side of a gateway, with his phone and his presence server, and one peer: they watch each other.
type sipUser struct {
	*process
	user, peer cpim.Address
	sip        *adaptertest.Fake

	// His phone: it watches the peer while he wants to, in a dialog with a name, and shows what it was told.
	wants, rejected bool
	dialog          string
	dialogs         int
	// ended tells that the gateway has ended the dialog, which the phone may not know yet.
	ended bool
	sees  map[string]bool
	// His presence server: what he says, whether he allows the peer, and whether the peer has a dialog there.
	devices map[string]bool
	allows  bool
	watched bool
}

func newSIPUser(p *process, user, peer cpim.Address) *sipUser {
	return &sipUser{process: p, user: user, peer: peer, allows: true, sees: map[string]bool{}, devices: map[string]bool{"balcony": true}}
}

// side is the SIP side of the next gateway.
func (u *sipUser) side() adapters.Adapter {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sip = adaptertest.NewFake("sip", adapters.Capabilities{Protocol: resolver.SIP, CarriesHops: true, PositiveAnswer: true})
	u.sip.OnWatch, u.sip.OnNotify = u.serverIsAsked, u.phoneIsTold
	return u.sip
}

// phoneIsTold is a NOTIFY to his phone.
func (u *sipUser) phoneIsTold(_ context.Context, op *adapters.NotifyOp) adapters.Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	times, failed := u.weather(true)
	if op.Watch.Session != u.dialog || u.ended {
		return adapters.Failed(adapters.ReasonNotFound, "")
	}
	// A dialog is over with the NOTIFY that says so, and with one that is not answered (RFC 6665 §4.2.2), whether or not it arrives.
	u.ended = op.State == adapters.WatchTerminated || failed.Reason == adapters.ReasonDomainTimeout
	for range times {
		if op.Presence != nil {
			u.sees = map[string]bool{}
			for _, x := range op.Presence.Tuples {
				if x.Status.Basic == pidf.BasicOpen {
					u.sees[x.ID.String()] = true
				}
			}
		}
		if op.State == adapters.WatchTerminated {
			u.sees, u.dialog = map[string]bool{}, ""
			u.rejected = u.rejected || op.End == adapters.EndRejected
		}
	}
	if failed.Outcome != 0 {
		return failed
	}
	return adapters.Succeeded()
}

// subscribe is his phone doing what it has to, every now and then.
func (u *sipUser) subscribe() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.wants || u.rejected || u.gateway == nil {
		return
	}
	if u.ended { // its refresh is answered 481
		u.dialog, u.sees, u.ended = "", map[string]bool{}, false
	}
	if u.dialog == "" {
		u.dialogs++
		u.dialog = fmt.Sprintf("dialog%d", u.dialogs)
	}
	u.phoneAsks(adapters.WatchOpen, 2*time.Hour)
}

func (u *sipUser) phoneAsks(verb adapters.WatchVerb, d time.Duration) {
	op := &adapters.WatchOp{
		Verb: verb, Duration: d, Hops: adapters.DefaultHops, Watch: adapters.WatchID{Watcher: u.user, Presentity: u.peer, Session: u.dialog},
	}
	h := u.sip.Handler()
	u.in(func() {
		h.Watch(context.Background(), op, func(st adapters.WatchStatus) {
			u.mu.Lock()
			defer u.mu.Unlock()
			if st.Outcome == adapters.Failure && u.dialog == op.Watch.Session {
				u.dialog, u.sees = "", map[string]bool{}
			}
		})
	})
}

// serverIsAsked is a SUBSCRIBE to his presence server.
func (u *sipUser) serverIsAsked(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	times, failed := u.weather(true)
	for range times {
		switch op.Verb {
		case adapters.WatchClose, adapters.WatchCancel:
			u.watched = false
		default:
			if !u.allows {
				u.watched = false
				return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonForbidden, ""), End: adapters.EndRejected, State: adapters.WatchTerminated}
			}
			u.watched = true
			u.serverNotifies()
		}
	}
	if failed.Outcome != 0 {
		return adapters.WatchStatus{Status: failed}
	}
	return adapters.WatchStatus{Status: adapters.Succeeded(), Duration: time.Hour}
}

func (u *sipUser) watchOfMe() adapters.WatchID {
	return adapters.WatchID{Watcher: u.peer, Presentity: u.user}
}

// serverNotifies is a NOTIFY of his presence server in the peer's dialog. One that finds nobody ends the dialog.
func (u *sipUser) serverNotifies() {
	if !u.watched || u.gateway == nil {
		u.watched = false
		return
	}
	op := &adapters.NotifyOp{Watch: u.watchOfMe(), State: adapters.WatchActive, Whole: true, Presence: &pidf.Presence{Entity: pidf.MustParseURI(u.user.String())}}
	for _, name := range slices.Sorted(maps.Keys(u.devices)) {
		basic := pidf.BasicClosed
		if u.devices[name] {
			basic = pidf.BasicOpen
		}
		op.Presence.Tuples = append(op.Presence.Tuples, pidf.Tuple{ID: pidf.TupleID(name), Status: pidf.Status{Basic: basic}})
	}
	h := u.sip.Handler()
	u.in(func() { h.Notify(context.Background(), op) })
}

// does is one thing that he does. mu is held.
func (u *sipUser) does(what string) {
	name := devices[u.random.IntN(len(devices))]
	switch what {
	case "says something":
		u.devices[name] = !u.devices[name]
		u.serverNotifies()
	case "names his phone anew":
		delete(u.devices, name)
		u.devices[fmt.Sprintf("phone%d", u.random.IntN(3))] = true
		u.serverNotifies()
	case "allows":
		u.allows = true
	case "allows no more":
		u.allows = false
		if u.watched && u.gateway != nil {
			op := &adapters.NotifyOp{
				Watch: u.watchOfMe(), Whole: true, State: adapters.WatchTerminated, End: adapters.EndRejected, Change: adapters.AuthorizationRefused,
			}
			h := u.sip.Handler()
			u.in(func() { h.Notify(context.Background(), op) })
		}
		u.watched = false
	case "wants":
		u.wants, u.rejected = true, false
	case "wants no more":
		u.wants = false
		if u.dialog != "" && u.gateway != nil {
			u.phoneAsks(adapters.WatchClose, 0)
		}
		u.dialog, u.sees, u.ended = "", map[string]bool{}, false
	default:
		u.t.Fatalf("nobody does this: %q", what)
	}
}

// devices are the names of whatever users say something with.
var devices = []string{"balcony", "chamber"}

// seen is the names that are true in m, as the far side sees them.
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
