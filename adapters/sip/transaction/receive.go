package transaction

import (
	"errors"
	"net/netip"
	"runtime/debug"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// origin is the socket that octets came over, and so the way back.
type origin struct {
	udp    packetSender // or
	conn   *conn
	remote netip.AddrPort
	local  netip.AddrPort
}

// packetSender is what the transactions need of a UDP socket.
type packetSender interface {
	// send writes one datagram to an address, from an address of ours if the socket has several.
	send(b []byte, to netip.AddrPort, from netip.Addr) error
	// sentBy is host:port for Via.
	sentBy() string
}

func (o origin) transport() resolver.Transport {
	if o.conn != nil {
		return o.conn.transport
	}
	return resolver.UDP
}

// route is the way of a response.
type route struct {
	udp  packetSender // or
	conn *conn
	to   netip.AddrPort
	from netip.Addr
}

// back is the way of a response to a request with this Via on top. RFC 3581 §4: with rport, "the response MUST be sent to the IP
// address listed in the "received" parameter, and the port in the "rport" parameter" and "from the same address and port that the
// corresponding request was received on"; else RFC 3261 §18.2.2: to that address and the port of sent-by, 5060 if it has none. maddr is
// not followed: it would let a sender point our answers at anybody.
func (o origin) back(via wire.Via) route {
	to := o.remote
	if _, rport := via.RPort(); !rport && !via.IsZero() && o.conn == nil {
		port := via.Port()
		if port == 0 {
			port = 5060
		}
		to = netip.AddrPortFrom(to.Addr(), port)
	}
	return route{udp: o.udp, conn: o.conn, to: to, from: o.local.Addr()}
}

func (r route) send(b []byte) error {
	if r.conn != nil {
		return r.conn.enqueue(b)
	}
	return r.udp.send(b, r.to, r.from)
}

// receive takes the octets of one message over. It is called in order for each socket and never blocks. A panic is caught here: one
// message must not end the service for all (THREATS S13).
func (l *Layer) receive(b []byte, o origin) {
	defer func() {
		if r := recover(); r != nil {
			l.metrics.panics.Inc()
			l.log.Error().Interface("panic", r).Stringer("peer", o.remote).Bytes("stack", debug.Stack()).Msg("sip message dropped after a panic")
		}
	}()
	l.tap(Inbound, b)
	m, err := wire.Parse(b, l.cfg.Limits)
	if err != nil {
		l.refuseSyntax(m, err, len(b), o)
		return
	}
	m.SetSource(o.remote)
	if m.IsRequest() {
		l.request(m, o)
		return
	}
	l.metrics.responses[0][m.StatusCode()/100].Inc()
	l.clients.response(l, m, o)
}

// keepAlive reports whether a datagram is no message but keeps a NAT binding: CRLFs or zeros.
func keepAlive(b []byte) bool {
	if len(b) > 8 {
		return false
	}
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 {
			return false
		}
	}
	return true
}

// refuseSyntax answers what does not parse, where it can be answered, without state.
func (l *Layer) refuseSyntax(m *wire.Message, err error, size int, o origin) {
	var syntax *wire.SyntaxError
	if !errors.As(err, &syntax) {
		return
	}
	l.metrics.drop(syntax.Rule)
	if m == nil || m.Method() == "ACK" {
		return
	}
	m.SetSource(o.remote)
	l.refuse(m, size, o, syntax.Code, syntax.Reason)
}
