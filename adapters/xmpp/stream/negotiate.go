package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// alpnServer is the protocol name of direct TLS between servers (XEP-0368 §3).
const alpnServer = "xmpp-server"

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// negotiation is what both roles need until a stream is open. It belongs to the goroutine of Open or Accept.
type negotiation struct {
	s      *Conn
	wire   *wire
	lim    Strangers
	pre    strictxml.Limits // of one element
	ctx    context.Context  //nolint:containedctx // it lives as long as the call that brings it
	cancel context.CancelFunc
	stop   func() bool
	until  time.Time
	secure *tls.ConnectionState // nil: in the clear
	opened bool                 // our header is written in the present stream
	mute   bool                 // in a TLS handshake: no word of XML may be written (RFC 6120 §5.4.3.2)
	cut    chan struct{}        // closed when the time has ended the connection's reads and writes
}

// begin starts the time of a negotiation.
func begin(ctx context.Context, conn net.Conn, lim strictxml.Limits, strangers Strangers) *negotiation {
	n := &negotiation{lim: strangers.orDefault(), wire: &wire{Conn: conn, left: -1}}
	n.pre = n.lim.strict(lim)
	boundUnread(conn)
	n.s = &Conn{conn: n.wire, wire: n.wire, lim: lim}
	n.s.meter = &meter{s: n.s, left: n.lim.Octets}
	n.s.stream = strictxml.NewStream(n.s.meter, n.pre)
	n.until = time.Now().Add(n.lim.Time)
	n.ctx, n.cancel = context.WithDeadline(ctx, n.until)
	n.cut = make(chan struct{})
	n.stop = context.AfterFunc(n.ctx, func() {
		conn.SetDeadline(past)
		close(n.cut)
	})
	return n
}

// end ends the time of a negotiation, and the connection if it failed. header is what is said before a stream error where our header
// has not been written; nil if nobody would wait for one.
func (n *negotiation) end(err error, header func() []byte) error {
	late := !n.stop()
	ctxErr := n.ctx.Err()
	n.cancel()
	if late {
		<-n.cut
		// Whatever was under way has failed for it, or will.
		if errors.Is(ctxErr, context.DeadlineExceeded) && !time.Now().Before(n.until) {
			err = ErrSlow
		} else {
			err = ctxErr
		}
	}
	if err == nil {
		return n.wire.SetDeadline(time.Time{})
	}
	n.fail(err, header)
	return err
}

// fail closes the connection after the last word that the error asks for.
func (n *negotiation) fail(err error, header func() []byte) {
	var last []byte
	_, told := errors.AsType[*Error](err)
	f, ours := errors.AsType[*Fault](err)
	switch c := ConditionOf(err); {
	case c != 0:
		if !n.opened && header != nil {
			last = header()
			n.opened = true
		}
		if !ours {
			f = &Fault{Condition: c}
		}
		last = AppendFault(last, f)
	case ours || told || errors.Is(err, io.EOF):
		// The peer has closed its side, and we close ours (RFC 6120 §4.4).
		last = append(last, closingTag...)
	}
	if len(last) == 0 || !n.opened || n.mute {
		n.s.drop()
		return
	}
	n.s.shut(string(last), true)
}

// write writes a part of the negotiation; the context bounds it.
func (n *negotiation) write(b []byte) error {
	_, err := n.s.conn.Write(b)
	return err
}

// header reads the header of the peer.
func (n *negotiation) header() (header, error) {
	root, scope, err := n.s.stream.Header()
	if err != nil {
		return header{}, n.reading(err)
	}
	n.s.scope = scope
	return readHeader(root, scope)
}

// next reads an element that belongs to the negotiation. A stream error is returned as an *Error.
func (n *negotiation) next() ([]byte, *strictxml.Element, error) {
	raw, err := n.s.stream.Next()
	if err != nil {
		return nil, nil, n.reading(err)
	}
	e, err := strictxml.ParseElement(raw, n.s.scope, n.pre)
	if err != nil {
		return nil, nil, err
	}
	if se, ok := errorIn(e); ok {
		return nil, nil, se
	}
	return raw, e, nil
}

// reading gives the error of a read its name. A stream that ends in the middle is one that the peer has left.
func (n *negotiation) reading(err error) error {
	if err == io.EOF {
		return fmt.Errorf("xmpp/stream: the peer closed the stream: %w", err)
	}
	return err
}

// nothingLeft checks that no octet came in the clear after the element that ends a stream in the clear (THREATS.md X9). strictxml
// holds what was read; what was not read is TLS's, and cannot be anything but a record of it.
func (n *negotiation) nothingLeft(fault error) error {
	if n.s.stream.Buffered() != 0 {
		return fault
	}
	return nil
}

// restart makes the peer begin a new stream, on a reader that knows nothing of the one before (RFC 6120 §4.3.3, §5.4.3.3).
func (n *negotiation) restart() {
	n.s.stream = strictxml.NewStream(n.s.meter, n.pre)
	n.s.scope = nil
	n.opened = false
}

// handshake puts TLS over the connection.
func (n *negotiation) handshake(client bool, cfg *tls.Config) error {
	ctx, cancel := context.WithTimeout(n.ctx, n.lim.TLSTime)
	defer cancel()
	var conn *tls.Conn
	if client {
		conn = tls.Client(n.wire, cfg)
	} else {
		conn = tls.Server(n.wire, cfg)
	}
	n.wire.left, n.mute = n.lim.TLSOctets, true
	n.wire.turn = n.s.pass.turn(ctx)
	err := n.wire.turn.take()
	if err == nil {
		err = conn.HandshakeContext(ctx)
	}
	n.wire.turn.give()
	n.wire.left, n.wire.turn = -1, nil
	if err != nil {
		return &TLSError{Err: err}
	}
	n.mute = false
	state := conn.ConnectionState()
	n.secure = &state
	n.s.conn = conn
	n.restart()
	return nil
}

// TLSError is a TLS handshake that failed. The connection was closed without a closing tag, as it must be (RFC 6120 §5.4.3.2).
type TLSError struct {
	// Err is the error of crypto/tls: an alert, a certificate that the configuration refuses, a time that passed.
	Err error
}

// Error returns what crypto/tls says.
func (e *TLSError) Error() string { return "xmpp/stream: TLS: " + e.Err.Error() }

// Unwrap returns Err, for errors.Is.
func (e *TLSError) Unwrap() error { return e.Err }

// authenticated lifts all bounds of an unauthenticated peer and makes it begin the stream that stanzas are sent on.
func (n *negotiation) authenticated() {
	n.s.meter = nil
	n.s.stream = strictxml.NewStream(n.s.conn, n.s.lim)
	n.s.scope, n.opened = nil, false
	n.pre = n.s.lim
}
