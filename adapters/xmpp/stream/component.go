package stream

import (
	"context"
	"crypto/sha1" //nolint:gosec // XEP-0114 §3 prescribes it
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// preAuthBytes bounds what is read from a peer before the handshake, per element, in octets (THREATS.md X4).
const preAuthBytes = 16 << 10

// maxID bounds a stream id in octets.
const maxID = 1024

// Errors of a stream's opening that are no stream error of the peer's.
var (
	ErrHeader    = errors.New("xmpp/stream: the peer's stream header is not one of a component stream (XEP-0114)")
	ErrHandshake = errors.New("xmpp/stream: the peer answered the handshake with something else (XEP-0114)")
)

// Handshake returns the credentials of XEP-0114 §3: the lower-case hexadecimal SHA-1 of the stream id and the secret.
func Handshake(id string, secret []byte) string {
	h := sha1.New() //nolint:gosec // see above
	io.WriteString(h, id)
	h.Write(secret)
	return hex.EncodeToString(h.Sum(nil))
}

// CheckHandshake tells whether got is the handshake of id and secret, in constant time (THREATS.md X14).
func CheckHandshake(got, id string, secret []byte) bool {
	return subtle.ConstantTimeCompare([]byte(got), []byte(Handshake(id, secret))) == 1
}

// Component says how to open a component stream.
type Component struct {
	// Domain is the component's own host, the 'to' of its header.
	Domain string
	Secret []byte
	// Limits apply after the handshake.
	Limits strictxml.Limits
}

// OpenComponent opens a component stream on conn, which it closes on failure. ctx bounds the opening. The error is an *Error if
// the server refused us (not-authorized: the secret is wrong; conflict: another component has this host), a
// *strictxml.SyntaxError, ErrHeader, ErrHandshake, or the connection's.
func OpenComponent(ctx context.Context, conn net.Conn, c Component) (_ *Conn, err error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	boundUnread(conn)
	s := &Conn{conn: conn}
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			s.fail(err)
			return
		}
		err = conn.SetDeadline(time.Time{})
	}()
	head := append([]byte(nil), "<?xml version='1.0'?><stream:stream xmlns='"+SpaceComponent+"' xmlns:stream='"+SpaceStreams+"' to='"...)
	head = strictxml.AppendAttrValue(head, c.Domain)
	if _, err := conn.Write(append(head, "'>"...)); err != nil {
		return nil, err
	}
	pre := c.Limits
	if pre.Bytes <= 0 || pre.Bytes > preAuthBytes {
		pre.Bytes = preAuthBytes
	}
	s.stream = strictxml.NewStream(conn, pre)
	root, scope, err := s.stream.Header()
	if err != nil {
		return nil, err
	}
	s.scope = scope
	if space, _ := scope.Lookup(""); root.Name != (strictxml.Name{Space: SpaceStreams, Local: "stream"}) || space != SpaceComponent {
		// A server that refuses the header sends its own and an error (XEP-0114 §3), in whatever namespace it likes.
		if root.Name.Space == SpaceStreams {
			if raw, err := s.stream.Next(); err == nil {
				if se, ok := ReadError(raw, scope, pre); ok {
					return nil, se
				}
			}
		}
		return nil, ErrHeader
	}
	id, _ := root.Attr("", "id")
	if id == "" || len(id) > maxID {
		if raw, err := s.stream.Next(); err == nil {
			if se, ok := ReadError(raw, scope, pre); ok {
				return nil, se
			}
		}
		return nil, ErrHeader
	}
	shake := append([]byte("<handshake>"), Handshake(id, c.Secret)...)
	if _, err := conn.Write(append(shake, "</handshake>"...)); err != nil {
		return nil, err
	}
	raw, err := s.stream.Next()
	if err != nil {
		return nil, err
	}
	if se, ok := ReadError(raw, scope, pre); ok {
		return nil, se
	}
	e, err := strictxml.ParseElement(raw, scope, pre)
	if err != nil {
		return nil, err
	}
	// "the receiving application (in this case the server) MUST return an empty <handshake/> element" (XEP-0114 §3).
	if e.Name != (strictxml.Name{Space: SpaceComponent, Local: "handshake"}) || len(e.Nodes) != 0 || len(e.Attrs) != 0 {
		return nil, ErrHandshake
	}
	s.stream.SetLimits(c.Limits)
	return s, nil
}

// fail closes the connection, with a stream error if the reader's fault has one.
func (s *Conn) fail(err error) {
	if c := ConditionOf(err); c != 0 {
		s.Close(c)
		return
	}
	s.drop()
}
