package transaction

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// poolKey is where a connection leads. RFC 3261 §18: "These connections are indexed by the tuple formed from the address, port, and
// transport protocol at the far end". Over these transports nobody proves a name, so there is none in it.
type poolKey struct {
	transport resolver.Transport
	addr      netip.AddrPort
}

// pool holds all connections and opens those that are missing, one at a time for each key.
type pool struct {
	layer    *Layer
	inbound  atomic.Int64
	outbound atomic.Int64
	queued   atomic.Int64

	mu         sync.Mutex
	closed     bool
	opening    int // connections that are being opened, which count as open
	strangers  int
	all        map[*conn]struct{}
	perAddress map[netip.Addr]int // inbound
	by         map[poolKey]*pooled
}

// pooled is a connection that is open, or is being opened: then ready is open, too.
type pooled struct {
	ready chan struct{}
	conn  *conn
	err   error
}

func (p *pool) init(l *Layer) {
	p.layer = l
	p.all = map[*conn]struct{}{}
	p.perAddress = map[netip.Addr]int{}
	p.by = map[poolKey]*pooled{}
}

// get returns the connection to a target, opening it if there is none. A connection that the peer opened is used only if its far end is
// that very address and port. The opening goes on when ctx ends: others may wait for it, too.
func (p *pool) get(ctx context.Context, target resolver.Target) (*conn, error) {
	key := poolKey{transport: target.Transport(), addr: target.Addr()}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	e := p.by[key]
	if e != nil && e.conn != nil && e.conn.ending() {
		e = nil // its place is taken by a new one
	}
	if e == nil {
		if len(p.all)+p.opening >= p.layer.cfg.Bounds.Connections {
			p.mu.Unlock()
			p.layer.metrics.drop(dropConnections)
			return nil, fmt.Errorf("%w: connections", ErrOverloaded)
		}
		e = &pooled{ready: make(chan struct{})}
		p.by[key] = e
		p.opening++
		p.layer.tasks.Go(func() { p.open(key, e) })
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

// open dials and publishes the outcome.
func (p *pool) open(key poolKey, e *pooled) {
	l := p.layer
	ctx, cancel := context.WithTimeout(l.life, l.cfg.Bounds.DialTimeout)
	defer cancel()
	d := net.Dialer{Control: l.cfg.DialControl, LocalAddr: l.dialFrom(key.addr.Addr())}
	nc, err := d.DialContext(ctx, "tcp", key.addr.String())
	if err != nil {
		p.mu.Lock()
		p.opening--
		if p.by[key] == e {
			delete(p.by, key)
		}
		p.mu.Unlock()
		e.err = err
		close(e.ready)
		return
	}
	c := newConn(l, nc, key.transport, key, false)
	p.mu.Lock()
	p.opening--
	if p.closed {
		p.mu.Unlock()
		nc.Close() //nolint:errcheck // nothing to be done
		e.err = ErrClosed
		close(e.ready)
		return
	}
	p.all[c] = struct{}{}
	p.outbound.Add(1)
	e.conn = c
	p.mu.Unlock()
	p.run(c)
	close(e.ready)
}

// run starts the goroutines of a connection. The pool is not closed while a caller is one of the layer's tasks.
func (p *pool) run(c *conn) {
	p.layer.tasks.Go(c.read)
	p.layer.tasks.Go(c.write)
}

// accept takes a connection that a peer opened, or closes it where there is no room.
func (p *pool) accept(nc net.Conn, transport resolver.Transport) {
	c := newConn(p.layer, nc, transport, poolKey{transport: transport, addr: addrOf(nc.RemoteAddr())}, true)
	address := c.remote.Addr()
	b := p.layer.cfg.Bounds
	c.stranger = p.layer.cfg.Admit != nil && !p.layer.cfg.Admit(address)
	p.mu.Lock()
	rule := ""
	switch {
	case p.closed:
		rule = dropClosing
	case len(p.all)+p.opening >= b.Connections, c.stranger && p.strangers >= max(1, b.Connections/8):
		rule = dropConnections
	case p.perAddress[address] >= b.ConnectionsPerAddress:
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
	if p.by[c.key] == nil {
		e := &pooled{ready: make(chan struct{}), conn: c}
		close(e.ready)
		p.by[c.key] = e
	}
	p.mu.Unlock()
	p.run(c)
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
	if !c.inbound {
		p.outbound.Add(-1)
		return
	}
	p.inbound.Add(-1)
	if c.stranger {
		p.strangers--
	}
	address := c.remote.Addr()
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
