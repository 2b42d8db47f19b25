package stream

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
)

// GateLimits bounds the connections that are not authenticated yet (THREATS.md X6, T-OV-05). Zero and negative fields stand for the
// defaults.
type GateLimits struct {
	// Connections is how many there may be in all (default 2000). When there are as many, the one that has been there longest is closed
	// for the next: who means well is through in a moment, and who does not would else keep everybody out.
	Connections int
	// PerAddress is how many there may be from one IPv4 address, or one IPv6 network of 64 bits (default 64).
	PerAddress int
	// Handshakes is how many TLS handshakes compute at once; others wait for their turn, within the time for a handshake (default 16).
	// One that waits for octets of its peer does not count, so that slow peers cannot keep others out.
	Handshakes int
}

// DefaultGateLimits returns the limits that stand where a field is zero.
func DefaultGateLimits() GateLimits {
	return GateLimits{Connections: 2000, PerAddress: 64, Handshakes: 16}
}

// Gate counts the connections of one process that are not authenticated yet. It may be used by any number of goroutines.
type Gate struct {
	lim   GateLimits
	hands chan struct{}

	mu     sync.Mutex
	inside list.List // of *Pass, the oldest first
	byAddr map[netip.Prefix]int
}

// NewGate returns a Gate with nobody inside.
func NewGate(l GateLimits) *Gate {
	d := DefaultGateLimits()
	if l.Connections > 0 {
		d.Connections = l.Connections
	}
	if l.PerAddress > 0 {
		d.PerAddress = l.PerAddress
	}
	if l.Handshakes > 0 {
		d.Handshakes = l.Handshakes
	}
	return &Gate{lim: d, hands: make(chan struct{}, d.Handshakes), byAddr: make(map[netip.Prefix]int)}
}

// Network returns what counts as one address: of IPv6 the network, because who has one address of it has all.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: all of these count as one
	}
	return p
}

// Enter takes a place for a connection from addr. It returns nil, false if there is none: the caller closes the connection. Otherwise the
// Pass goes into Incoming, and is left by the stream when the peer is authenticated or the connection closed. evict closes the connection;
// it is called, by any goroutine, when the place is wanted for another. If it is nil, the place is kept.
func (g *Gate) Enter(addr netip.Addr, evict func()) (*Pass, bool) {
	from := Network(addr)
	p := &Pass{gate: g, from: from, evict: evict}
	var gone *Pass
	g.mu.Lock()
	if g.byAddr[from] >= g.lim.PerAddress {
		g.mu.Unlock()
		return nil, false
	}
	if g.inside.Len() >= g.lim.Connections {
		if gone, _ = g.inside.Front().Value.(*Pass); gone.evict == nil {
			g.mu.Unlock()
			return nil, false
		}
		g.remove(gone)
	}
	p.place = g.inside.PushBack(p)
	g.byAddr[from]++
	g.mu.Unlock()
	if gone != nil {
		gone.evict()
	}
	return p, true
}

// remove gives a place back. The caller holds the lock.
func (g *Gate) remove(p *Pass) {
	if p.place == nil {
		return
	}
	g.inside.Remove(p.place)
	p.place = nil
	if g.byAddr[p.from]--; g.byAddr[p.from] == 0 {
		delete(g.byAddr, p.from)
	}
}

// Inside returns how many connections are not authenticated yet.
func (g *Gate) Inside() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside.Len()
}

// Pass is one connection's place in a Gate. A nil Pass is one that nothing bounds.
type Pass struct {
	gate  *Gate
	from  netip.Prefix
	evict func()
	place *list.Element // nil when it has been given back
}

// Leave gives the place back. It may be called again, and by any goroutine.
func (p *Pass) Leave() {
	if p == nil {
		return
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.gate.remove(p)
}

// turn is the turn of one TLS handshake to compute. A nil turn is one that nothing bounds. It is for one goroutine.
type turn struct {
	ctx   context.Context //nolint:containedctx // it lives as long as the handshake
	hands chan struct{}
	has   bool
}

// turn returns what a handshake that ctx bounds has to take before it computes.
func (p *Pass) turn(ctx context.Context) *turn {
	if p == nil {
		return nil
	}
	return &turn{ctx: ctx, hands: p.gate.hands}
}

// take waits until the handshake may compute.
func (t *turn) take() error {
	if t == nil || t.has {
		return nil
	}
	select {
	case t.hands <- struct{}{}:
		t.has = true
		return nil
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
}

// give lets another compute.
func (t *turn) give() {
	if t != nil && t.has {
		<-t.hands
		t.has = false
	}
}
