package xmpp

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
)

// world is what a reload may replace, but for the server-to-server side, which is in servers. Immutable; reading it is one atomic load.
type world struct {
	limits   Limits
	backoff  Backoff
	software Software
	links    []*link
	own      map[string]bool        // our hosts, as they stand in a JID
	hosts    map[string]*jid.Hosted // by the host, as it stands in a JID
}

func (a *Adapter) lim() *Limits   { return &a.now.Load().limits }
func (a *Adapter) back() *Backoff { return &a.now.Load().backoff }
func (a *Adapter) links() []*link { return a.now.Load().links }

func (v *servers) side() *serverSide  { return v.now.Load() }
func (v *servers) lim() *ServerLimits { return &v.now.Load().Limits }

// checkedConfig is a Config that was checked, before there are links.
type checkedConfig struct {
	world
	ends []*endpoint
	side *serverSide // nil without server-to-server
}

// world checks a configuration. The error joins every fault of it, but that those of the server side come alone.
func (c *Config) world() (*checkedConfig, error) {
	ends, err := c.check()
	if err != nil {
		return nil, err
	}
	x := &checkedConfig{
		world: world{limits: c.Limits.orDefault(), backoff: c.Backoff.orDefault(), software: c.Software, own: map[string]bool{}, hosts: map[string]*jid.Hosted{}},
		ends:  ends,
	}
	taken := map[string]bool{}
	for _, e := range ends {
		x.own[e.self.Domain()], taken[e.domain] = true, true
		x.host(e.domain, e.self, e.hosts)
	}
	if c.Servers == nil {
		return x, nil
	}
	if x.side, err = c.Servers.check(taken); err != nil {
		return nil, err
	}
	for d := range x.side.wire {
		x.own[d] = true
	}
	if x.side.gateway != nil {
		x.host(x.side.gateway.domain, x.side.gateway.self, x.side.hosted)
	}
	return x, nil
}

// ErrNeedsRestart says that a change is not possible while the adapter runs: from no server-to-server side to one, or back.
var ErrNeedsRestart = errors.New("xmpp: this change needs a restart")

// Prepare checks a configuration that is to replace that of New, and opens the listeners that are not open yet; see adapters.Change. What is
// a logger, a tap or a registerer, and the limits Opening and OpeningPerAddress, stay as they were.
//
// A link whose name, server, domain and first domain of Serves are the same stays up: whom else it serves changes in place, and another
// secret is for its next stream; one that is down tries at once. A link that is no more is drained: what is queued is written and
// acknowledged, for at most Limits.Deadline, then its stream ends. Of a new one on the same server with the same domain the stream begins
// when that of the old one has ended, and what comes meanwhile waits for it. Streams of servers stay, but nothing comes or goes on them any
// more for a domain that is not ours any more.
func (a *Adapter) Prepare(ctx context.Context, cfg Config) (adapters.Change, error) {
	x, err := cfg.world()
	if err != nil {
		return adapters.Change{}, err
	}
	if (x.side == nil) != (a.servers == nil) {
		return adapters.Change{}, ErrNeedsRestart
	}
	var listeners []*serverListener
	if a.servers != nil {
		if listeners, err = a.servers.listen(ctx, x.side.Listeners); err != nil {
			return adapters.Change{}, err
		}
	}
	return adapters.NewChange(func() { a.take(x, listeners) }, func() {
		if a.servers != nil {
			a.servers.closeNew(listeners)
		}
	}), nil
}

// take takes a checked configuration on.
func (a *Adapter) take(x *checkedConfig, listeners []*serverListener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.links()
	var fresh []*link
	for _, e := range x.ends {
		i := slices.IndexFunc(old, func(l *link) bool { return l.end().same(e) && !l.over() })
		if i < 0 {
			l := newLink(a, e)
			l.box.limit(x.limits)
			fresh, x.links = append(fresh, l), append(x.links, l)
			continue
		}
		l := old[i]
		secret := l.end().Secret != e.Secret
		l.now.Store(e)
		l.box.limit(x.limits)
		if x.links = append(x.links, l); secret {
			l.again.poke()
		}
	}
	if a.servers != nil {
		a.servers.take(x.side, listeners, x.limits)
	}
	a.now.Store(&x.world)
	for _, l := range old {
		if !slices.Contains(x.links, l) {
			a.retiring.Go(func() { l.retire() })
		}
	}
	for _, l := range fresh {
		var before []*link
		for _, o := range old {
			if !slices.Contains(x.links, o) && o.end().Server == l.end().Server && o.end().domain == l.end().domain {
				before = append(before, o)
			}
		}
		go func() {
			for _, o := range before {
				<-o.done
			}
			l.run(l.ctx)
		}()
	}
}

// same tells whether a stream of e can go on as one of other.
func (e *endpoint) same(other *endpoint) bool {
	return e.Name == other.Name && e.Server == other.Server && e.self == other.self && e.pinged == other.pinged
}

// over tells whether the link has stopped for good.
func (l *link) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// retireGrace is how long a link that was taken out still takes what was on its way to it.
const retireGrace = 100 * time.Millisecond

// retire drains the link and ends it.
func (l *link) retire() {
	defer func() { <-l.done }()
	defer l.stop()
	deadline := time.NewTimer(l.a.lim().Deadline)
	defer deadline.Stop()
	tick := time.NewTicker(retireGrace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		case <-l.done:
			return
		}
		l.box.close("The link to this domain was taken out of the configuration")
		if l.state().Phase != LinkUp || l.unanswered.Load() == 0 && l.box.idle() {
			return
		}
	}
}

// serverListener is an open socket.
type serverListener struct {
	net.Listener
	address string // as configured
	direct  atomic.Bool
}

// listen opens the listeners that are not open yet. If one cannot be opened, none is.
func (v *servers) listen(ctx context.Context, list []Listener) (open []*serverListener, err error) {
	v.mu.Lock()
	have := v.listeners
	v.mu.Unlock()
	for _, l := range list {
		if i := slices.IndexFunc(have, func(n *serverListener) bool { return n.address == l.Address }); i >= 0 {
			open = append(open, have[i])
			continue
		}
		var lc net.ListenConfig
		n, err := lc.Listen(ctx, "tcp", l.Address)
		if err != nil {
			v.closeNew(open)
			return nil, err
		}
		one := &serverListener{Listener: n, address: l.Address}
		one.direct.Store(l.Direct)
		open = append(open, one)
	}
	return open, nil
}

// closeNew closes those of open that are not in use.
func (v *servers) closeNew(open []*serverListener) {
	v.mu.Lock()
	have := v.listeners
	v.mu.Unlock()
	for _, n := range open {
		if !slices.Contains(have, n) {
			n.Close()
		}
	}
}

// takenOut is why a pair takes nothing.
const takenOut = "This domain was taken out of the configuration"

// take takes on a checked server side.
func (v *servers) take(side *serverSide, listeners []*serverListener, limits Limits) {
	if old := v.side(); side.DialbackSecret.IsZero() && old.DialbackSecret.IsZero() {
		side.secret = old.secret // a random one: keys of it are under way
	}
	v.now.Store(side)
	v.waiting.most.Store(int64(side.Limits.QueueBytes))
	v.mu.Lock()
	old := v.listeners
	if v.draining {
		v.mu.Unlock()
		v.closeNew(listeners)
		return
	}
	v.listeners = listeners
	v.mu.Unlock()
	for i, n := range listeners {
		n.direct.Store(side.Listeners[i].Direct)
		if !slices.Contains(old, n) {
			v.spawn(func() { v.accept(n) })
		}
	}
	for _, n := range old {
		if !slices.Contains(listeners, n) {
			n.Close()
		}
	}
	for _, p := range v.allPairs() {
		p.box.limit(limits)
		if side.hosts[p.local.domain] == nil {
			p.box.close(takenOut)
		} else {
			p.box.reopen(takenOut) // its streams may have stayed all the while, and so it has
		}
	}
}
