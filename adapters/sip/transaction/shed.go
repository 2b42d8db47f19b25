package transaction

import (
	"encoding/hex"
	"hash/maphash"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/admission"
)

// flowOf is whose share requests from o count for; nil for nobody's: a stranger's are refused anyway.
func (l *Layer) flowOf(o *origin) *admission.Flow {
	if l.cfg.Admission == nil || l.cfg.Flow == nil {
		return nil
	}
	if o.conn == nil {
		return l.cfg.Flow(o.remote.Addr(), nil)
	}
	return l.cfg.Flow(o.remote.Addr(), o.conn.identities())
}

// shed is the admission of requests while more come than can be done: before anything is made of their octets, because "the
// overloaded server must bear the cost of rejecting some requests" (RFC 7339 §5.10.2). It reports whether b was refused. Answers, copies of
// requests that have a transaction and requests within a dialog come first. What cannot be refused at first sight is marked to be refused when it
// was read. b is not kept.
func (l *Layer) shed(b []byte, o *origin) (refused bool) {
	defer func() {
		if r := recover(); r != nil { // one message must not end the service for all (THREATS S13)
			refused = true
			l.metrics.panics.Inc()
			l.log.Error().Interface("panic", r).Stringer("peer", o.remote).Bytes("stack", debug.Stack()).Msg("sip message dropped after a panic")
		}
	}()
	if !wire.IsRequest(b) {
		return false
	}
	if o.flow = l.flowOf(o); o.flow == nil {
		return false
	}
	now := o.at
	if now.IsZero() {
		now = time.Now()
	}
	piece := admission.Piece{Lot: l.lots.of(b)}
	if !l.cfg.Admission.Active() {
		o.over = o.flow.Judge(now, piece, o.stand) != admission.Take
		return false
	}
	if o.conn == nil {
		piece.Mark = l.lots.mark(b) // over a connection nobody sends it again
	}
	unheard := o.stale && sifted(b)
	if unheard && o.flow.Hopeless(piece) {
		// Its client waits for long already: those that came after it are answered in time without it.
		l.metrics.drop(dropUnheard)
		return true
	}
	judge := func() admission.Verdict { return o.flow.Judge(now, piece, o.stand) }
	if o.conn == nil && piece.Lot >= o.flow.Pass() && sifted(b) {
		verdict := judge()
		if verdict == admission.Ignore {
			o.loud = true
			l.metrics.drop(dropUnheard)
			return true
		}
		judge = func() admission.Verdict { return verdict } // the bound has moved; judged again it would count twice, and be its own copy
	}
	var g wire.Glance
	if !g.Read(b, l.limits()) {
		o.over = judge() != admission.Take
		return false
	}
	via := g.TopVia()
	if key, ok := l.servers.glanced(via, g.Method()); !ok || l.servers.has(now, key) {
		o.free = ok
		o.over = !ok && judge() != admission.Take
		return false
	}
	if g.InDialog() {
		if o.flow.AdmitUrgent(now) {
			return false
		}
	} else {
		switch judge() {
		case admission.Take:
			return false
		case admission.Ignore:
			unheard = o.conn == nil
		case admission.Refuse:
		}
	}
	o.loud = true
	if unheard {
		l.metrics.drop(dropUnheard)
		return true
	}
	l.metrics.requests[0][methodIndex(g.Method())].Inc()
	l.metrics.drop(dropLoad)
	l.refuseGlance(&g, len(b), *o)
	return true
}

// refuseGlance answers 503 as refuse does, without Retry-After, which would stop a proxy from sending anything (RFC 3261 §21.5.4).
func (l *Layer) refuseGlance(g *wire.Glance, size int, o origin) {
	via := g.TopVia()
	var hop wire.HopAnswer
	if o.conn != nil {
		hop.NoReceived = isWebSocket(o.conn.transport)
	}
	hop.Overload = l.tell(via, o.flow)
	var sum [8]byte
	h := maphash.String(l.servers.seed[0], g.CallID())*31 + maphash.String(l.servers.seed[1], via.Branch())
	for i := range sum {
		sum[i] = byte(h >> (8 * i))
	}
	var room [2 * len(sum)]byte
	hex.Encode(room[:], sum[:])
	scratch := getBuffer()
	defer putBuffer(scratch)
	const phrase = "Service Unavailable"
	out := g.AppendRefusal((*scratch)[:0], 503, phrase, string(room[:]), o.remote, hop, false)
	for try := 0; o.conn == nil && !fits(len(out), size); try++ {
		switch try {
		case 0: // the short names
		case 1:
			hop.Overload = wire.Overload{}
		default:
			*scratch = out
			l.metrics.drop(dropAmplify)
			return
		}
		out = g.AppendRefusal(out[:0], 503, phrase, string(room[:]), o.remote, hop, true)
	}
	*scratch = out
	l.tap(Outbound, out)
	way := o.back(via)
	if err := way.send(out); err != nil {
		l.metrics.drop(dropResponse)
		return
	}
	l.metrics.responses[1][5].Inc()
}

// glanced is key of a request of which only these two are known; false where they do not suffice.
func (t *serverTable) glanced(via wire.Via, method string) (key hashKey, ok bool) {
	branch := via.Branch()
	if len(branch) <= len(wire.MagicCookie) || branch[:len(wire.MagicCookie)] != wire.MagicCookie {
		return key, false
	}
	var room [256]byte
	b := appendCookieKey(room[:0], via, method)
	return hashKey{maphash.Bytes(t.seed[0], b), maphash.Bytes(t.seed[1], b)}, true
}

// FlowOf says whose share of what can be done requests count for, by the address that they come from and the domains that its certificate proves;
// nil for those of nobody who is known. It must not block.
type FlowOf func(remote netip.Addr, domains []string) *admission.Flow
