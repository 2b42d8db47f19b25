package xmpp

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Name is the adapter's name.
const Name = "xmpp"

// Adapter speaks XMPP. It is made by New.
type Adapter struct {
	now  atomic.Pointer[world]
	log  zerolog.Logger
	tap  adapters.Tap
	m    *metrics
	dial dialer

	flows   flows
	servers *servers    // nil without server-to-server
	shared  atomic.Bool // by several gateways

	since    time.Time
	answers  *brake
	caps     *capsCache
	talks    *conversations
	lapses   lapses
	personal *personal

	attending attending
	waiters   sync.Pool // of *waiter: the adapter's own, since a channel belongs to the time that it was made in (testing/synctest)

	h       adapters.Handler
	outages adapters.Outages // the same, if it wants to know
	base    context.Context  // of every inbound operation; ends when the adapter stops
	cancel  context.CancelFunc

	started  sync.Once
	stopping sync.Once
	mu       sync.Mutex
	starting bool
	fault    error
	stopped  chan struct{}
	retiring sync.WaitGroup // links that a reload has taken out
}

var _ adapters.Adapter = (*Adapter)(nil)

// New checks the configuration and makes an adapter that is not started. The error joins every fault of the configuration.
func New(c Config) (*Adapter, error) {
	x, err := c.world()
	if err != nil {
		return nil, err
	}
	a := &Adapter{log: c.Logger, tap: c.Tap, dial: (&net.Dialer{}).DialContext, stopped: make(chan struct{})}
	a.flows.admission = c.Admission
	a.base, a.cancel = context.WithCancel(context.Background())
	a.since, a.answers, a.caps, a.talks, a.personal = time.Now(), newBrake(), newCapsCache(), newConversations(), newPersonal()
	a.now.Store(&x.world)
	for _, e := range x.ends {
		x.links = append(x.links, newLink(a, e))
	}
	if x.side != nil {
		a.servers = newServers(a, x.side)
	}
	if a.m, err = newMetrics(c.Registerer, a); err != nil {
		return nil, err
	}
	return a, nil
}

// Name implements adapters.Adapter.
func (a *Adapter) Name() string { return Name }

// Capabilities implements adapters.Adapter. XMPP carries no hop count (RFC 7247 §8), and a server never confirms delivery.
func (a *Adapter) Capabilities() adapters.Capabilities {
	// What is left of a stanza for content: escaping makes up to six octets of one, but seldom does; a message that
	// grows beyond the limit is refused when it is written.
	return adapters.Capabilities{Protocol: resolver.XMPP, MaxContent: a.lim().StanzaBytes, AsksExplicitly: true, OneByOne: true}
}

// Start implements adapters.Adapter: it waits for the first attempt of each link, at most Limits.StartWait, and succeeds although
// servers are down: they are tried again. It fails if a server refuses its secret.
func (a *Adapter) Start(ctx context.Context, h adapters.Handler) error {
	first := false
	var fault error
	a.started.Do(func() {
		first = true
		a.h = h
		a.outages, _ = h.(adapters.Outages)
		a.personal.audience, _ = h.(adapters.Audience)
		a.mu.Lock()
		a.starting = true
		a.mu.Unlock()
		if a.servers != nil {
			fault = a.servers.start(ctx)
		}
		if fault != nil {
			a.cancel()
		}
		for _, l := range a.links() {
			l.start()
		}
		go a.settle()
	})
	if !first {
		return errors.New("xmpp: the adapter was started already")
	}
	if fault != nil {
		return fault
	}
	ctx, cancel := context.WithTimeout(ctx, a.lim().StartWait)
	defer cancel()
	for _, l := range a.links() {
		select {
		case <-l.first:
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.starting = false
	return a.fault
}

// settle closes stopped when every link has ended.
func (a *Adapter) settle() {
	for {
		links := a.links()
		for _, l := range links {
			<-l.done
		}
		if slices.Equal(links, a.links()) {
			break // and no reload has put others in their place meanwhile
		}
	}
	a.retiring.Wait()
	if a.servers != nil {
		<-a.base.Done()
		a.servers.stop()
	}
	close(a.stopped)
}

// fail stops a link for a fault that another attempt would not mend, and at the start the whole adapter.
func (a *Adapter) fail(l *link, err error) {
	a.mu.Lock()
	if a.fault == nil {
		a.fault = err
	}
	all := a.starting
	a.mu.Unlock()
	l.log.Error().Str("fault", err.Error()).Msg("xmpp: component link is stopped")
	l.box.close("The link to this domain is stopped")
	if !all {
		return
	}
	for _, l := range a.links() {
		l.box.close("The gateway is shutting down")
	}
	a.cancel()
}

// Wait implements adapters.Adapter. The fault is ErrNotAuthorized, of the first link that it stopped, or nil.
func (a *Adapter) Wait() error {
	<-a.stopped
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fault
}

// Shutdown implements adapters.Adapter: new operations are refused, what is queued is written and acknowledged as far as ctx and the
// links allow, then the streams are closed. What did not leave is answered with ReasonDomainTimeout. What comes from the servers
// meanwhile is refused; what came before is still answered, as far as ctx allows.
func (a *Adapter) Shutdown(ctx context.Context) error {
	began := true
	a.started.Do(func() { began = false })
	a.stopping.Do(func() {
		a.lapses.end()
		for _, l := range a.links() {
			l.box.close("The gateway is shutting down")
		}
		if a.servers != nil {
			a.servers.drain()
		}
		if began {
			a.flush(ctx)
		}
		a.cancel()
		if !began {
			close(a.stopped)
		}
	})
	<-a.stopped
	return nil
}

// flush waits until the links that are up have nothing left to do.
func (a *Adapter) flush(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		busy := false
		for _, l := range a.links() {
			busy = busy || l.state().Phase == LinkUp && (l.unanswered.Load() > 0 || !l.box.idle())
		}
		busy = busy || a.servers != nil && a.servers.busy()
		if !busy {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Links returns the state of each link, in the order of the configuration: part of readiness.
func (a *Adapter) Links() []LinkState {
	all := make([]LinkState, 0, len(a.links()))
	for _, l := range a.links() {
		all = append(all, l.state())
	}
	return all
}

// ours tells whether a domain, as it stands in a JID, is one of our own.
func (a *Adapter) ours(domain string) bool { return a.now.Load().own[domain] }

// sender is what an operation leaves by.
type sender interface {
	send(ctx context.Context, it *item, deadline time.Time) adapters.Status
	// address is who we are on it: one of our hosts.
	address() jid.JID
}

// route finds the way by which a user of the domain from writes to the domain to, both A-labels: a component's link if one is between
// these two, else the stream between their servers. The status says why there is none.
func (a *Adapter) route(from, to string, hops []resolver.Target) (sender, adapters.Status) {
	for _, l := range a.links() {
		if l.end().domain == from && l.end().serves[to] {
			if l.lease != nil && !l.lease.held() {
				return nil, adapters.Failed(adapters.ReasonDomainTimeout, "") // another gateway has it
			}
			return l, adapters.Status{}
		}
	}
	if a.servers != nil {
		p, st := a.servers.route(from, to, hops)
		if p != nil {
			return p, adapters.Status{}
		}
		if st.Outcome != 0 {
			return nil, st
		}
	}
	return nil, noRoute()
}
