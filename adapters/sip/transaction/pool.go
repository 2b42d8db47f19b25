package transaction

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// poolKey is where a connection leads. RFC 3261 §18: "These connections are indexed by the tuple formed from the address, port, and
// transport protocol at the far end". Over TLS that is not enough: name is the domain that the far end has to prove, local the
// certificate of ours that it was shown (RFC 5923 §9.3). Over the other transports nobody proves a name, and both are empty.
type poolKey struct {
	transport resolver.Transport
	addr      netip.AddrPort
	name      string
	local     string
}

// pool holds all connections and opens those that are missing, one at a time for each key.
type pool struct {
	layer    *Layer
	inbound  atomic.Int64
	outbound atomic.Int64
	queued   atomic.Int64
	numbers  atomic.Uint64 // the last Source.Connection

	mu         sync.Mutex
	closed     bool
	opening    int // connections that are being opened, which count as open
	strangers  int
	shaking    map[netip.Addr]int // strangers' TLS handshakes under way
	all        map[*conn]struct{}
	perAddress map[netip.Addr]int // inbound
	by         map[poolKey]*pooled
	// proven is the alias table of RFC 5923 §8: connections over TLS by the address that leads to them. Which domains the far end has
	// proven, the connection knows. A connection stands here once for each address, of which it has at most maxAliases.
	proven map[netip.AddrPort][]*conn
}

// strangerLife is how long who is no peer may stay connected: long enough to be told so (THREATS X6).
const strangerLife = 30 * time.Second

// maxAliases bounds the addresses under which one connection is known.
const maxAliases = 4

// pooled is a connection that is open, or is being opened: then ready is open, too.
type pooled struct {
	ready chan struct{}
	conn  *conn
	err   error
}

func (p *pool) init(l *Layer) {
	p.layer = l
	p.numbers.Store(rand.Uint64() >> 1)
	p.all = map[*conn]struct{}{}
	p.perAddress = map[netip.Addr]int{}
	p.shaking = map[netip.Addr]int{}
	p.by = map[poolKey]*pooled{}
	p.proven = map[netip.AddrPort][]*conn{}
}

// get returns the connection to a target, opening it if there is none, on behalf of the domain local. Over TCP a connection that the
// peer opened is used only if its far end is that very address and port; over TLS if it has proven the target's domain and the peer
// offered it for that address (RFC 5923 §8.2). A WebSocket is opened by its client alone. The opening goes on when ctx ends: others may
// wait for it, too.
func (p *pool) get(ctx context.Context, target resolver.Target, local string) (*conn, error) {
	key := poolKey{transport: target.Transport(), addr: target.Addr()}
	if key.transport == resolver.TLS {
		key.name, key.local = target.ServerName(), p.layer.cfg.TLS.local(local)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	e := p.by[key]
	if e != nil && e.conn != nil && (e.conn.ending() || key.name != "" && !e.conn.proves(key.name)) {
		e.conn.ping.stop() // its place is taken by a new one: what is under way on it ends, and then it is idle
		e = nil
	}
	if e == nil && key.transport == resolver.TLS {
		if c := p.alias(key); c != nil {
			p.mu.Unlock()
			return c, nil
		}
	}
	if e == nil {
		if isWebSocket(key.transport) {
			p.mu.Unlock()
			return nil, fmt.Errorf("the WebSocket client at %s is not connected", key.addr)
		}
		if len(p.all)+p.opening >= p.layer.bounds().Connections {
			p.mu.Unlock()
			p.layer.metrics.drop(dropConnections)
			return nil, fmt.Errorf("%w: connections", ErrOverloaded)
		}
		e = &pooled{ready: make(chan struct{})}
		p.by[key] = e
		p.opening++
		p.layer.tasks.Go(func() { p.open(key, local, e) })
	}
	p.mu.Unlock()
	select {
	case <-e.ready:
		return e.conn, e.err
	default:
	}
	select {
	case <-e.ready:
		return e.conn, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Leads reports whether a request to a target would go over this very connection (see Source.Connection): behind a proxy, or after an
// address has found another user, the same address and port are no sign of the same client.
func (l *Layer) Leads(to resolver.Target, connection uint64) bool {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	e := l.pool.by[poolKey{transport: to.Transport(), addr: to.Addr()}]
	return e != nil && e.conn != nil && e.conn.number == connection && !e.conn.ending()
}

// alias finds an open connection that leads to key's address and has proven key's domain, to the same certificate of ours.
func (p *pool) alias(key poolKey) *conn {
	for _, c := range p.proven[key.addr] {
		if c.localName == key.local && c.proves(key.name) && !c.ending() {
			return c
		}
	}
	return nil
}

// addAlias makes c known under an address. p.mu is held.
func (p *pool) addAlias(c *conn, addr netip.AddrPort) {
	if len(c.aliases) >= maxAliases || slices.Contains(c.aliases, addr) {
		return
	}
	c.aliases = append(c.aliases, addr)
	p.proven[addr] = append(p.proven[addr], c)
}

// offered takes up the offer of a peer to send requests to it over the connection that it opened: RFC 5923 §8.2, for the address that
// its packets come from and the port of sent-by ("If the port number is omitted, a default port number of 5061 is to be used"), and only
// over TLS with a certificate (§9.2).
func (p *pool) offered(c *conn, port uint16) {
	if c.transport != resolver.TLS || !c.inbound || len(c.identities()) == 0 {
		return
	}
	if port == 0 {
		port = 5061
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.all[c]; ok {
		p.addAlias(c, netip.AddrPortFrom(c.remote.Addr(), port))
	}
}

// open dials and publishes the outcome.
func (p *pool) open(key poolKey, local string, e *pooled) {
	c, err := p.dial(key, local)
	p.mu.Lock()
	p.opening--
	if err == nil && p.closed {
		c.nc.Close() //nolint:errcheck // nothing to be done
		err = ErrClosed
	}
	if err != nil {
		if p.by[key] == e {
			delete(p.by, key)
		}
		p.mu.Unlock()
		e.err = err
		close(e.ready)
		return
	}
	p.all[c] = struct{}{}
	p.outbound.Add(1)
	c.begun = true
	e.conn = c
	if key.transport == resolver.TLS {
		p.addAlias(c, key.addr)
	}
	p.mu.Unlock()
	p.layer.tasks.Go(c.read)
	p.layer.tasks.Go(c.write)
	if p.layer.cfg.KeepAlive != nil {
		if every := p.layer.cfg.KeepAlive(c.source()); every > 0 {
			c.ping.start(every, 0)
		}
	}
	close(e.ready)
}

// accept takes a connection that a peer opened, or closes it where there is no room. Who is known by a certificate alone is a stranger
// until it was shown.
func (p *pool) accept(nc net.Conn, s *streamListener) {
	remote := addrOf(nc.RemoteAddr())
	if s.transport == resolver.TLS || s.transport == resolver.WSS {
		nc = tls.Server(nc, p.layer.cfg.TLS.Server(s.transport))
	}
	c := newConn(p.layer, nc, s.transport, poolKey{transport: s.transport, addr: remote}, true)
	b := p.layer.bounds()
	c.stranger = p.layer.cfg.Admit != nil && !p.layer.cfg.Admit(c.source())
	address := remote.Addr()
	if c.stranger {
		address = neighbourhood(address)
	}
	c.place = address
	_, encrypted := nc.(*tls.Conn)
	c.shaking = encrypted && c.stranger
	p.mu.Lock()
	rule := ""
	switch {
	case p.closed:
		rule = dropClosing
	case len(p.all)+p.opening >= b.Connections, c.stranger && p.strangers >= max(1, b.Connections/8):
		rule = dropConnections
	case p.perAddress[address] >= b.ConnectionsPerAddress, c.shaking && p.shaking[address] >= max(1, b.Handshakes/8):
		rule = dropPerAddress
	}
	if rule != "" {
		p.mu.Unlock()
		p.layer.metrics.drop(rule)
		nc.Close() //nolint:errcheck // nothing to be done
		return
	}
	p.all[c] = struct{}{}
	p.perAddress[address]++
	p.inbound.Add(1)
	if c.stranger {
		p.strangers++
	}
	if c.shaking {
		p.shaking[address]++
	}
	p.mu.Unlock()
	p.layer.tasks.Go(func() { c.serve(s.allowed()) })
}

// neighbourhood is what one stranger has of the addresses: an IPv6 site has a whole network of 2**64 at least.
func neighbourhood(a netip.Addr) netip.Addr {
	if a.Is6() {
		if n, err := a.WithZone("").Prefix(64); err == nil {
			return n.Addr()
		}
	}
	return a
}

// shook counts the end of a stranger's handshake, however it ended.
func (p *pool) shook(c *conn) {
	if !c.shaking {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	address := c.place
	if p.shaking[address]--; p.shaking[address] <= 0 {
		delete(p.shaking, address)
	}
}

// ready makes a connection that a peer opened usable for requests to it, when its handshakes are done. False says that the pool is
// closed.
func (p *pool) ready(c *conn) bool {
	known := c.stranger && p.layer.cfg.Admit(c.source())
	if isWebSocket(c.transport) && (known || !c.stranger) {
		c.ping.start(p.layer.bounds().IdleTimeout/2, 0)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.all[c]; !ok {
		return false
	}
	c.mu.Lock()
	c.begun = true
	c.mu.Unlock()
	if known {
		c.stranger = false
		p.strangers--
	}
	if c.stranger {
		c.leaves = time.Now().Add(strangerLife)
	}
	old := p.by[c.key]
	// From one address and port to one there is one connection: the old one has died and its reader does not know yet.
	dead := old != nil && old.conn != nil && old.conn.inbound && old.conn.local == c.local
	if c.transport != resolver.TLS && (old == nil || dead) {
		e := &pooled{ready: make(chan struct{}), conn: c}
		close(e.ready)
		p.by[c.key] = e
	}
	return true
}

// remove forgets a connection that was closed.
func (p *pool) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.all[c]; !ok {
		return
	}
	delete(p.all, c)
	if e := p.by[c.key]; e != nil && e.conn == c {
		delete(p.by, c.key)
	}
	for _, addr := range c.aliases {
		if rest := slices.DeleteFunc(p.proven[addr], func(o *conn) bool { return o == c }); len(rest) > 0 {
			p.proven[addr] = rest
		} else {
			delete(p.proven, addr)
		}
	}
	if !c.inbound {
		p.outbound.Add(-1)
		return
	}
	p.inbound.Add(-1)
	if c.stranger {
		p.strangers--
	}
	address := c.place
	if p.perAddress[address]--; p.perAddress[address] <= 0 {
		delete(p.perAddress, address)
	}
}

// flush closes every connection when what it has to write is written, and waits for that.
func (p *pool) flush(ctx context.Context) error {
	p.mu.Lock()
	all := make([]*conn, 0, len(p.all))
	for c := range p.all {
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		c.drain(false)
	}
	for _, c := range all {
		select {
		case <-c.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// close ends all connections and opens no more.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	all := make([]*conn, 0, len(p.all))
	for c := range p.all {
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		c.close(ErrClosed)
	}
}
