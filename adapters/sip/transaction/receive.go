package transaction

import (
	"bytes"
	"errors"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/admission"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// origin is the socket that octets came over, and so the way back.
type origin struct {
	udp    packetSender // or
	conn   *conn
	remote netip.AddrPort
	local  netip.AddrPort
	flow   *admission.Flow // whose share a request counts for
	over   bool            // the request is over that share
	free   bool            // it is a copy of one that was counted
	at     time.Time       // when it was read; zero: now
	held   *held           // the message, if its memory is used again
	loud   bool            // it was refused for that
	stale  bool            // it has waited for too long
	stand  admission.Standing
}

// packetSender is what the transactions need of a UDP socket.
type packetSender interface {
	// send writes one datagram to an address, from an address of ours if the socket has several. pad is where it may be made longer. It takes a copy and does not wait: if it
	// turns out later that the datagram cannot be written, tx is told, which may be nil. The caller may hold what tx is guarded by.
	send(b []byte, pad slack, to netip.AddrPort, from netip.Addr, tx *clientTx) error
	// sentBy is host:port for Via.
	sentBy() string
}

// route is the way of a response.
type route struct {
	layer *Layer
	udp   packetSender // or
	conn  *conn
	to    netip.AddrPort
	from  netip.Addr
	again *resolver.Target // where else, if conn is gone; nil: nowhere
	size  int              // octets of the request
	flow  *admission.Flow  // whose share it counted for
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
	r := route{flow: o.flow, udp: o.udp, conn: o.conn, to: to, from: o.local.Addr()}
	if o.conn != nil {
		if t := o.elsewhere(via); !t.IsZero() {
			r.again = &t
		}
	}
	return r
}

// send writes a response, over another connection if its own is gone.
func (r *route) send(b []byte) error {
	if r.conn == nil {
		return r.udp.send(b, slackOf(b, 0, r.size*amplifyMost/amplifyOf), r.to, r.from, nil)
	}
	err := r.conn.enqueue(b)
	if err != nil && r.layer != nil && !errors.Is(err, ErrOverloaded) && r.again != nil && r.layer.resend(*r.again, r.conn.localName, b) {
		return nil
	}
	return err
}

// done tells whose share it was that the work on a request has ended, which has no transaction to tell it: else nothing seems to be done while such
// requests come, and all are refused more of theirs.
func (o origin) done() {
	if !o.over && !o.free {
		o.flow.Done()
	}
}

// source is where the request came from.
func (o origin) source() Source {
	if o.conn != nil {
		return o.conn.source()
	}
	return Source{Transport: resolver.UDP, Remote: o.remote, Local: o.local}
}

// hop is what a response tells the hop before. RFC 6223 §4.4: keep-alives are accepted where a dialog begins, on a connection that was
// opened to us.
func (l *Layer) hop(m *wire.Message, o *route, code int) (h wire.HopAnswer) {
	via := m.TopVia()
	h.Overload = l.tell(via, o.flow)
	if o.conn == nil {
		return h
	}
	h.NoReceived = isWebSocket(o.conn.transport)
	if code/100 == 2 && m.Method() == "SUBSCRIBE" && via.OffersKeep() {
		h.Keep = int(min(keepDefault, l.bounds().IdleTimeout/2) / time.Second)
	}
	return h
}

// received is a response and its octets, to be used again once nobody has it.
type received struct {
	message wire.Message
	octets  []byte
}

// pooledResponses are those that nobody has. A sync.Pool is a cache, not state.
var pooledResponses = sync.Pool{New: func() any { return new(received) }}

func (r *received) free() {
	if cap(r.octets) <= maxPooled {
		pooledResponses.Put(r)
	}
}

// held is a request, to be used again once neither who reads it nor its transaction needs it. Its octets are of that request for ever: what its
// methods have returned stays true.
type held struct {
	message wire.Message
	users   atomic.Int32
}

// requests are those that nobody has. A sync.Pool is a cache, not state.
var requests = sync.Pool{New: func() any { return new(held) }}

// release says that one of those who have h has done with it. It may be nil.
func (h *held) release() {
	if h != nil && h.users.Add(-1) == 0 {
		requests.Put(h)
	}
}

// isResponse tells whether octets begin as a response does.
func isResponse(data []byte) bool { return bytes.HasPrefix(data, []byte("SIP/2.0 ")) }

// take takes one datagram, which it copies first. It is called like receive.
func (l *Layer) take(data []byte, o origin) {
	if !isResponse(data) {
		b := make([]byte, len(data))
		copy(b, data)
		h := requests.Get().(*held)
		h.users.Store(1)
		o.held = h
		if !l.receiveInto(&h.message, b, o, nil) {
			h.release()
		}
		return
	}
	r := pooledResponses.Get().(*received)
	r.octets = append(r.octets[:0], data...)
	if !l.receiveInto(&r.message, r.octets, o, r) {
		r.free()
	}
}

// receive takes the octets of one message over. It is called in order for each socket and never blocks.
func (l *Layer) receive(b []byte, o origin) { l.receiveInto(new(wire.Message), b, o, nil) }

// receiveInto reads the message into m. It reports whether somebody may have m, or b, when it returns. A panic is caught here: one message
// must not end the service for all (THREATS S13).
func (l *Layer) receiveInto(m *wire.Message, b []byte, o origin, pooled *received) (kept bool) {
	defer func() {
		if r := recover(); r != nil {
			kept = true
			l.metrics.panics.Inc()
			l.log.Error().Interface("panic", r).Stringer("peer", o.remote).Bytes("stack", debug.Stack()).Msg("sip message dropped after a panic")
		}
	}()
	if o.at.IsZero() {
		o.at = time.Now()
	}
	l.tap(Inbound, b)
	if o.conn != nil && l.shed(b, &o) {
		return true
	}
	if answerable, err := wire.ParseInto(m, b, l.limits()); err != nil {
		if !answerable {
			m = nil
		}
		l.refuseSyntax(m, err, len(b), o)
		o.done()
		return true
	}
	m.SetSource(o.remote)
	if o.conn != nil && isWebSocket(o.conn.transport) && len(m.Raw()) != len(b) {
		// RFC 7118 §5: "a WebSocket message MUST NOT contain more than one SIP message".
		l.metrics.drop(dropTrailing)
		if m.IsRequest() && m.Method() != "ACK" {
			l.refuse(m, len(b), o, 400, "Bad Request: octets behind the message")
		}
		o.done()
		return true
	}
	if m.IsRequest() {
		if !l.request(m, o) {
			o.done()
		}
		return m.Method() != "MESSAGE" // see Handler
	}
	l.metrics.responses[0][m.StatusCode()/100].Inc()
	return l.clients.response(l, m, o, pooled)
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
