package transaction

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/websocket"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// conn is one connection, opened by either side. A goroutine reads it, another writes it: whoever sends only appends to pending, and all
// that gathers while a write is under way goes out in the next one.
type conn struct {
	layer     *Layer
	nc        net.Conn
	transport resolver.Transport
	remote    netip.AddrPort
	local     netip.AddrPort
	key       poolKey
	inbound   bool
	number    uint64     // see Source.Connection
	stranger  bool       // opened by somebody whom Config.Admit does not admit; the pool's mutex guards it
	place     netip.Addr // what it counts for in pool.perAddress and pool.shaking
	leaves    time.Time  // a stranger's; set before its first message is read
	shaking   bool       // it began as a stranger's TLS handshake; set before anybody else has the connection

	// What TLS proved; written by the handshake, before anybody else has the connection.
	proof     atomic.Pointer[proof] // of the far side; see identities
	state     tls.ConnectionState   // for judging again
	localName string                // TLS.Local of our own certificate
	aliases   []netip.AddrPort      // under which it stands in pool.proven; the pool's mutex guards it

	lastWrite atomic.Int64 // Unix nanoseconds
	lastRead  atomic.Int64 // Unix nanoseconds
	ping      keepAliver
	frames    framer
	partial   time.Time // since when the reader goroutine has had a message that is not complete
	wake      chan struct{}
	gone      chan struct{} // closed with the connection
	drained   chan struct{} // closed when a lingering connection has written all

	mu       sync.Mutex
	pending  []byte // not yet taken by the writer
	taken    int    // octets that the writer has and the socket not
	queued   uint64 // octets ever queued
	written  uint64 // octets that the socket took
	begun    bool   // the writer runs
	draining bool   // close when all is written
	linger   bool   // then only our side, so that the peer can read what was written
	closed   bool
	reached  uint64 // octets that the peer may have, as known when the connection was closed
	err      error
	waiting  map[*clientTx]struct{}
}

// framer cuts what a connection reads into messages; see wire.StreamReader for what its methods return.
type framer interface {
	Next() (b []byte, keepAlive bool, err error)
	Buffered() int
	ExpectPong()
}

func newConn(l *Layer, nc net.Conn, transport resolver.Transport, key poolKey, inbound bool) *conn {
	c := &conn{
		layer: l, nc: nc, transport: transport, key: key, inbound: inbound, number: l.pool.numbers.Add(1), remote: addrOf(nc.RemoteAddr()), local: addrOf(nc.LocalAddr()),
		wake: make(chan struct{}, 1), gone: make(chan struct{}), drained: make(chan struct{}), waiting: map[*clientTx]struct{}{},
	}
	c.frames = wire.NewStreamReader(c, l.limits())
	now := time.Now().UnixNano()
	c.lastWrite.Store(now)
	c.lastRead.Store(now)
	c.ping.conn = c
	c.ping.timer.owner = &c.ping
	return c
}

// source is where requests on this connection come from.
func (c *conn) source() Source {
	return Source{Transport: c.transport, Remote: c.remote, Local: c.local, Domains: c.identities(), Connection: c.number}
}

// addrOf is the address of a TCP socket; the zero AddrPort for others.
func addrOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// viaTransport is the transport's name in Via (RFC 3261 §20.42).
func (c *conn) viaTransport() string {
	switch c.transport {
	case resolver.TLS:
		return "TLS"
	case resolver.WS:
		return "WS"
	case resolver.WSS:
		return "WSS"
	default:
		return "TCP"
	}
}

// enqueue gives octets to the writer. It never waits; it fails with ErrOverloaded if too many wait already, or with the connection's
// fault.
func (c *conn) enqueue(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue(b)
}

func (c *conn) queue(b []byte) error {
	if err := c.room(len(b)); err != nil {
		return err
	}
	before := len(c.pending)
	if isWebSocket(c.transport) {
		c.pending = websocket.AppendMessage(c.pending, b)
	} else {
		c.pending = append(c.pending, b...)
	}
	c.added(len(c.pending) - before)
	return nil
}

// room fails if n more octets cannot be queued.
func (c *conn) room(n int) error {
	switch {
	case c.err != nil:
		return c.err
	case c.draining:
		return fmt.Errorf("%w: %s: connection is being closed", ErrTransport, c.remote)
	}
	if len(c.pending)+c.taken+n > c.layer.bounds().WriteQueueBytes {
		return fmt.Errorf("%w: write queue of %s", ErrOverloaded, c.remote)
	}
	return nil
}

// added counts octets that were appended to pending and wakes the writer.
func (c *conn) added(n int) {
	c.queued += uint64(n)
	c.layer.pool.queued.Add(int64(n))
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// enqueueFrame is enqueue for what is no SIP message: frames of a WebSocket, pings.
func (c *conn) enqueueFrame(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.room(len(b)); err != nil {
		return err
	}
	c.pending = append(c.pending, b...)
	c.added(len(b))
	return nil
}

// closing writes a Close frame and then closes a WebSocket, once (RFC 6455 §5.5.1).
func (c *conn) closing(code int) {
	c.enqueueFrame(websocket.AppendClose(nil, code)) //nolint:errcheck // it is closed anyway
	c.lingerOut()
}

// enqueueFor is enqueue for a request, whose transaction is told when the connection ends.
func (c *conn) enqueueFor(tx *clientTx, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.queue(b); err != nil {
		return err
	}
	tx.queuedTo = c.queued
	c.waiting[tx] = struct{}{}
	return nil
}

// ending reports whether nothing more can be sent.
func (c *conn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || c.draining
}

// forget ends the tie of a transaction and reports whether all octets of its request may have gone to the socket, or still will: a
// request that is not complete cannot be acted upon. How much the socket has of a write that is under way nobody knows.
func (c *conn) forget(tx *clientTx) (sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, tx)
	switch {
	case tx.queuedTo == 0:
		return false
	case c.closed:
		return c.reached >= tx.queuedTo
	default:
		return true
	}
}

// write is the writer goroutine.
func (c *conn) write() {
	var out []byte
	for {
		select {
		case <-c.wake:
		case <-c.gone:
			return
		}
		for {
			c.mu.Lock()
			out, c.pending = c.pending, out[:0]
			c.taken = len(out)
			finished, linger := c.draining && len(out) == 0, c.linger
			c.mu.Unlock()
			if finished {
				if half, ok := c.nc.(interface{ CloseWrite() error }); ok && linger {
					half.CloseWrite() //nolint:errcheck // the reader closes the rest
					close(c.drained)
				} else {
					c.close(ErrClosed)
				}
				return
			}
			if len(out) == 0 {
				break
			}
			now := time.Now()
			c.lastWrite.Store(now.UnixNano())
			c.nc.SetWriteDeadline(now.Add(c.layer.bounds().WriteTimeout)) //nolint:errcheck // Write fails then
			n, err := c.nc.Write(out)
			c.mu.Lock()
			c.written += uint64(n)
			c.taken = 0
			c.mu.Unlock()
			c.layer.pool.queued.Add(-int64(len(out)))
			if err != nil {
				c.close(fmt.Errorf("%w: write to %s: %w", ErrTransport, c.remote, err))
				return
			}
			if cap(out) > maxPooled {
				out = nil // a burst must not be kept for ever
			}
		}
	}
}

// drain closes the connection, or only our side of it, when all that waits is written.
func (c *conn) drain(linger bool) {
	c.mu.Lock()
	c.draining, c.linger = true, linger
	begun := c.begun
	c.mu.Unlock()
	if !begun {
		c.close(ErrClosed) // its handshake is not done: there is nothing to write
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// close ends the connection and the transactions on it. Any goroutine, any number of times.
func (c *conn) close(err error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed, c.err = true, err
	// Noted now: closing makes a write that is under way return, and what it then says must not depend on who looks first.
	c.reached = c.written + uint64(c.taken)
	c.layer.pool.queued.Add(-int64(len(c.pending)))
	c.pending = nil
	waiting := c.waiting
	c.waiting = map[*clientTx]struct{}{}
	c.mu.Unlock()
	close(c.gone)
	c.ping.stop()
	c.nc.Close() //nolint:errcheck // nothing to be done
	c.layer.pool.remove(c)
	for tx := range waiting {
		tx.fail(err, false)
	}
}

// serve is the reader goroutine of a connection that was opened to us: it completes the handshakes first.
func (c *conn) serve(origins []string) {
	err := c.handshake(c.layer.life)
	c.layer.pool.shook(c)
	if err == nil && isWebSocket(c.transport) {
		err = c.upgrade(origins)
	}
	if err != nil {
		c.layer.log.Debug().Err(err).Stringer("peer", c.remote).Msg("sip connection refused")
		c.close(err)
		return
	}
	if !c.layer.pool.ready(c) {
		return
	}
	c.layer.tasks.Go(c.write)
	c.read()
}

// read is the reader goroutine.
func (c *conn) read() {
	l := c.layer
	r := c.frames
	o := origin{conn: c, remote: c.remote, local: c.local}
	for {
		b, ping, err := r.Next()
		if err == nil {
			c.partial = time.Time{}
		}
		switch {
		case ping:
			// RFC 5626 §4.4.1: "the server MUST" answer a double CRLF with a single one.
			c.enqueue([]byte("\r\n")) //nolint:errcheck // a full queue means that the peer does not read
			continue
		case err == nil:
			l.receive(b, o)
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && r.Buffered() == 0 && c.leaves.IsZero() && !c.isIdle() {
			continue
		}
		var syntax *wire.SyntaxError
		if errors.As(err, &syntax) {
			// THREATS S5: there is no resynchronisation. The sender is told, if it can be, and the connection is closed.
			l.metrics.drop(syntax.Rule)
			l.refuseFrame(b, syntax, o)
			c.lingerOut()
		}
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			err = io.EOF
		}
		c.close(fmt.Errorf("%w: read from %s: %w", ErrTransport, c.remote, err))
		return
	}
}

// lingerOut writes what waits, closes our side and reads for a moment what the peer still sends: to close a socket with unread octets
// would destroy the answer on its way.
func (c *conn) lingerOut() {
	const most, moment = 64 << 10, time.Second
	c.drain(true)
	select {
	case <-c.drained:
		c.nc.SetReadDeadline(time.Now().Add(moment)) //nolint:errcheck // it is closed next
		io.CopyN(io.Discard, c.nc, most)             //nolint:errcheck // it is closed next
	case <-c.gone:
	}
}

// Read reads the socket for the StreamReader, under the deadline of an idle connection, or of a message that does not become complete.
func (c *conn) Read(p []byte) (int, error) {
	now := time.Now()
	deadline := now.Add(c.layer.bounds().IdleTimeout)
	if c.frames.Buffered() > 0 {
		if c.partial.IsZero() {
			c.partial = now
		}
		if t := c.partial.Add(c.layer.transactionLife()); t.Before(deadline) {
			deadline = t
		}
	} else {
		c.partial = time.Time{}
	}
	if !c.leaves.IsZero() && c.leaves.Before(deadline) {
		deadline = c.leaves
	}
	if err := c.nc.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := c.nc.Read(p)
	if n > 0 {
		c.lastRead.Store(time.Now().UnixNano())
	}
	return n, err
}

// isIdle reports whether nothing waits for this connection and nothing was written for a while.
func (c *conn) isIdle() bool {
	if c.ping.kept() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) == 0 && time.Since(time.Unix(0, c.lastWrite.Load())) >= c.layer.bounds().IdleTimeout
}

// refuseFrame answers the head of a message whose end is not known.
func (l *Layer) refuseFrame(head []byte, fault *wire.SyntaxError, o origin) {
	if len(head) == 0 {
		return
	}
	l.tap(Inbound, head)
	m, err := wire.Parse(bytes.Clone(head), l.limits())
	if m == nil || !m.IsRequest() || m.Method() == "ACK" {
		return
	}
	code, reason := fault.Code, fault.Reason
	var syntax *wire.SyntaxError
	if errors.As(err, &syntax) && syntax.Framing {
		code, reason = syntax.Code, syntax.Reason
	}
	m.SetSource(o.remote)
	l.refuse(m, len(head), o, code, reason)
}
