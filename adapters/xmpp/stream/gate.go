package stream

import (
	"context"
	"net/netip"
	"sync"
)

// GateLimits bounds the connections that are not authenticated yet (THREATS.md X6, T-OV-05). Zero and negative fields stand for the
// defaults.
type GateLimits struct {
	// Connections is how many there may be in all (default 2000).
	Connections int
	// PerAddress is how many there may be from one IPv4 address, or one IPv6 network of 64 bits (default 64).
	PerAddress int
	// Handshakes is how many TLS handshakes are under way at once; others wait, within the time for their handshake (default 64).
	Handshakes int
}

// DefaultGateLimits returns the limits that stand where a field is zero.
func DefaultGateLimits() GateLimits {
	return GateLimits{Connections: 2000, PerAddress: 64, Handshakes: 64}
}

// Gate counts the connections of one process that are not authenticated yet. It may be used by any number of goroutines.
type Gate struct {
	lim   GateLimits
	hands chan struct{}

	mu     sync.Mutex
	inside int
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

// network returns what counts as one address: of IPv6 the network, because who has one address of it has all.
func network(a netip.Addr) netip.Prefix {
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
// Pass goes into Incoming, and is left by the stream when the peer is authenticated or the connection closed.
func (g *Gate) Enter(addr netip.Addr) (*Pass, bool) {
	from := network(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside >= g.lim.Connections || g.byAddr[from] >= g.lim.PerAddress {
		return nil, false
	}
	g.inside++
	g.byAddr[from]++
	return &Pass{gate: g, from: from}, true
}

// Inside returns how many connections are not authenticated yet.
func (g *Gate) Inside() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}

// Pass is one connection's place in a Gate. A nil Pass is one that nothing bounds.
type Pass struct {
	gate *Gate
	from netip.Prefix
	once sync.Once
}

// Leave gives the place back. It may be called again, and by any goroutine.
func (p *Pass) Leave() {
	if p == nil {
		return
	}
	p.once.Do(func() {
		g := p.gate
		g.mu.Lock()
		defer g.mu.Unlock()
		g.inside--
		if g.byAddr[p.from]--; g.byAddr[p.from] == 0 {
			delete(g.byAddr, p.from)
		}
	})
}

// handshake waits for a place among the TLS handshakes, until ctx ends. done gives it back.
func (p *Pass) handshake(ctx context.Context) (done func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	select {
	case p.gate.hands <- struct{}{}:
		return func() { <-p.gate.hands }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
