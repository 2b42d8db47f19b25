package xmpp

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// A server gives a component's host to one stream. Of several gateways that act as one, the owner of a link's place has it; between servers, the
// owner of a pair of domains carries what goes from the one to the other, so that order is kept. What comes in may come to any gateway.

var _ adapters.Shared = (*Adapter)(nil)

// linkPlace is the place of a component's link.
func linkPlace(component string) string { return "component " + component }

// Place implements adapters.Shared.
func (a *Adapter) Place(from, to cpim.Address) string {
	for _, l := range a.links() {
		if e := l.end(); e.between(from.Domain(), to.Domain()) || e.between(to.Domain(), from.Domain()) {
			return linkPlace(e.Name)
		}
	}
	if a.servers == nil {
		return ""
	}
	return "servers " + from.Domain() + " " + to.Domain()
}

// between tells whether the component is between one of our domains and one of XMPP, both A-labels.
func (e *endpoint) between(ours, theirs string) bool {
	return e.serves[theirs] && (e.domain == ours || slices.Contains(e.hosts, ours))
}

// Share implements adapters.Shared.
func (a *Adapter) Share() {
	a.shared.Store(true)
	for _, l := range a.links() {
		l.lease = newLinkLease()
		l.firstOnce.Do(func() { close(l.first) })
	}
}

// Places implements adapters.Shared.
func (a *Adapter) Places() (all []string) {
	for _, l := range a.links() {
		all = append(all, linkPlace(l.end().Name))
	}
	return all
}

// returned tells the core that a shared link is up: what its server said while no gateway, or another one, had it may have been heard by nobody.
func (l *link) returned() {
	core, ok := l.a.h.(adapters.Outages)
	if !ok {
		return
	}
	e := l.end()
	for theirs := range e.serves {
		core.Back(adapters.Way{Ours: e.domain, Theirs: theirs})
		for _, ours := range e.hosts {
			core.Back(adapters.Way{Ours: ours, Theirs: theirs})
		}
	}
}

func (a *Adapter) linkAt(place string) *link {
	for _, l := range a.links() {
		if l.lease != nil && linkPlace(l.end().Name) == place {
			return l
		}
	}
	return nil
}

// Open implements adapters.Shared.
func (a *Adapter) Open(place string) {
	if l := a.linkAt(place); l != nil {
		l.lease.open(l.ctx)
	}
}

// closeWait bounds how long Close waits for the stream's end. What waits there has been answered before.
const closeWait = 3 * time.Second

// Close implements adapters.Shared.
func (a *Adapter) Close(ctx context.Context, place string) {
	l := a.linkAt(place)
	if l == nil {
		return
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && l.state().Phase == LinkUp && (l.unanswered.Load() > 0 || !l.box.idle()) {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	l.lease.shut(closeWait)
}

// linkLease is whether a link is this gateway's to open. Safe for use from many goroutines.
type linkLease struct {
	mu      sync.Mutex
	opened  chan struct{} // closed while it is this gateway's
	ctx     context.Context
	cancel  context.CancelFunc
	running chan struct{} // closed when the link has ended; nil while it has not begun
}

func newLinkLease() *linkLease { return &linkLease{opened: make(chan struct{})} }

// open gives the link to this gateway, until shut or the end of ctx.
func (g *linkLease) open(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx != nil && g.ctx.Err() == nil {
		return
	}
	if g.ctx == nil {
		g.ctx, g.cancel = context.WithCancel(ctx)
		close(g.opened)
	}
}

// held tells whether it is this gateway's.
func (g *linkLease) held() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ctx != nil && g.ctx.Err() == nil
}

// wait returns when the link is this gateway's, with what ends that; false when ctx has ended.
func (g *linkLease) wait(ctx context.Context) (context.Context, bool) {
	for {
		g.mu.Lock()
		opened := g.opened
		g.mu.Unlock()
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, false
		}
		g.mu.Lock()
		if g.ctx == nil { // shut again meanwhile
			g.mu.Unlock()
			continue
		}
		g.running = make(chan struct{})
		mine := g.ctx
		g.mu.Unlock()
		return mine, true
	}
}

// ended tells that the link has ended: another may have it.
func (g *linkLease) ended() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.running)
	g.running = nil
	if g.ctx.Err() != nil {
		g.ctx, g.opened = nil, make(chan struct{})
	}
}

// shut takes the link from this gateway, and waits for its end for a while.
func (g *linkLease) shut(patience time.Duration) {
	g.mu.Lock()
	if g.ctx == nil {
		g.mu.Unlock()
		return
	}
	g.cancel()
	running := g.running
	if running == nil { // it has not begun
		g.ctx, g.opened = nil, make(chan struct{})
	}
	g.mu.Unlock()
	if running == nil {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-running:
	case <-timer.C:
	}
}
