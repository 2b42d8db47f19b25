package transaction

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// streamListener accepts connections.
type streamListener struct {
	layer     *Layer
	ln        net.Listener
	transport resolver.Transport       // TCP, TLS, WS or WSS
	origins   atomic.Pointer[[]string] // of WS and WSS
	local     netip.AddrPort
	via       string // host:port
	once      sync.Once
	gone      chan struct{}
}

func (l *Layer) listenStream(ctx context.Context, b boundListener) (*streamListener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, network("tcp", b.Address.Addr()), b.Address.String())
	if err != nil {
		return nil, err
	}
	local := addrOf(ln.Addr())
	s := &streamListener{layer: l, ln: ln, transport: b.Transport, local: local, via: l.cfg.sentBy(local), gone: make(chan struct{})}
	s.origins.Store(&b.origins)
	return s, nil
}

func (s *streamListener) at() BoundListener { return BoundListener{s.transport, s.local} }

// allowed are the origins that hold now.
func (s *streamListener) allowed() []string {
	if o := s.origins.Load(); o != nil {
		return *o
	}
	return nil
}

func (s *streamListener) serve() { s.layer.tasks.Go(s.accept) }

// discard gives up a listener that was opened for a change that does not come.
func (s *streamListener) discard() { s.close() }

// retire takes no more connections; those that are there stay until they end.
func (s *streamListener) retire() { s.close() }

// network is "udp4" or "tcp6": a wildcard of one family never takes the other's traffic.
func network(name string, a netip.Addr) string {
	if a.Is4() {
		return name + "4"
	}
	return name + "6"
}

// accept is the listener's goroutine. When the system has no more files it waits and goes on.
func (s *streamListener) accept() {
	for {
		nc, err := s.ln.Accept()
		switch {
		case err == nil:
			s.layer.pool.accept(nc, s)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			s.layer.log.Warn().Err(err).Stringer("listener", s.local).Msg("sip accept failed")
			select {
			case <-time.After(100 * time.Millisecond):
			case <-s.gone:
				return
			}
		}
	}
}

func (s *streamListener) close() {
	s.once.Do(func() {
		close(s.gone)
		s.ln.Close() //nolint:errcheck // nothing to be done
	})
}

// streamSentBy is host:port for Via on a connection: where we listen for connections of its kind in its address family, because "the transport layer
// MUST also be prepared to receive an incoming connection on the source IP address from which the request was sent and port number in
// the "sent-by" field" (RFC 3261 §18.1.1); else the connection's own end.
func (l *Layer) streamSentBy(c *conn) string {
	for _, s := range l.open.Load().tcp {
		if s.transport == c.transport && s.local.Addr().Is4() == c.local.Addr().Is4() {
			return s.via
		}
	}
	return l.cfg.sentBy(c.local)
}

// dialFrom is the address that connections to a peer come from: the one we listen on, so that a peer who knows us by it is not
// surprised. nil lets the system choose: for a wildcard, and where one of the two is loopback and the other is not.
func (l *Layer) dialFrom(to netip.Addr) net.Addr {
	for _, s := range l.open.Load().list {
		a := s.at().Address.Addr()
		if a.Is4() == to.Is4() && !a.IsUnspecified() && a.IsLoopback() == to.IsLoopback() {
			return &net.TCPAddr{IP: a.AsSlice(), Zone: a.Zone()}
		}
	}
	return nil
}
