package xmpp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// player is the other server as a test plays it: an open stream, and what comes on it.
type player struct {
	t     *testing.T
	conn  *stream.Conn
	raw   net.Conn
	id    string
	offer *stream.Offer
	in    chan *strictxml.Element
	ended chan error
}

func (f *federation) play(conn *stream.Conn, raw net.Conn, id string) *player {
	p := &player{t: f.t, conn: conn, raw: raw, id: id, in: make(chan *strictxml.Element, 4096), ended: make(chan error, 1)}
	f.t.Cleanup(func() { raw.Close() })
	go func() {
		for {
			b, err := conn.Next()
			if err == nil {
				var e *strictxml.Element
				if se, ok := stream.ReadError(b, conn.Scope(), strictxml.Limits{}); ok {
					err = se
				} else if e, err = strictxml.ParseElement(append([]byte(nil), b...), conn.Scope(), strictxml.Limits{}); err == nil {
					p.in <- e
					continue
				}
			}
			p.ended <- err
			return
		}
	}()
	return p
}

// dial opens a stream to addr as the server of from, with a certificate of its own CA if stranger is set.
func (f *federation) dial(from, to string, change func(*stream.Outgoing)) (*player, error) {
	f.t.Helper()
	c, err := net.Dial("tcp", f.addrs[to].Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	cfg := f.store(from).Client(certs.Client{From: from, ServerName: to}, func(tls.ConnectionState) error { return nil })
	o := stream.Outgoing{From: from, To: to, TLS: cfg, External: true, Dialback: true}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	conn, offer, err := stream.Open(ctx, c, o)
	if err != nil {
		c.Close()
		return nil, err
	}
	p := f.play(conn, c, offer.ID)
	p.offer = offer
	return p, nil
}

func (f *federation) mustDial(from, to string, change func(*stream.Outgoing)) *player {
	f.t.Helper()
	p, err := f.dial(from, to, change)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// theatre is where a test plays the server of a domain that the adapter connects to.
type theatre struct {
	f      *federation
	l      net.Listener
	domain string
	in     stream.Incoming
	quiet  bool // nothing is read of a stream once it is open, and managed if that is offered
}

// theatre listens for domain. Streams are accepted with EXTERNAL, stream management and dialback unless change says otherwise.
func (f *federation) theatre(domain string, change func(*stream.Incoming)) *theatre {
	f.t.Helper()
	l, err := net.Listen("tcp", porttest.Address(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { l.Close() })
	f.at(domain, resolver.TCP, l.Addr().String())
	cfg := f.store(domain).Server(certs.Server{Domain: domain})
	h := &theatre{f: f, l: l, domain: domain, in: stream.Incoming{
		Host:      func(to string) (stream.Host, bool) { return stream.Host{Name: to, TLS: cfg}, true },
		Authorize: func(string, *tls.ConnectionState) error { return nil }, Dialback: true, Management: true,
	}}
	if change != nil {
		change(&h.in)
	}
	return h
}

// accept takes the next stream.
func (h *theatre) accept() (*player, *stream.Claim) {
	h.f.t.Helper()
	c, err := h.l.Accept()
	if err != nil {
		h.f.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.f.t.Context(), patience)
	defer cancel()
	conn, claim, err := stream.Accept(ctx, c, h.in)
	if err != nil {
		h.f.t.Fatal(err)
	}
	if h.quiet {
		c.(*net.TCPConn).SetReadBuffer(4096)
		if h.in.Management {
			conn.Next()
			conn.Write([]byte("<enabled xmlns='urn:xmpp:sm:3'/>"), time.Now().Add(patience))
		}
		h.f.t.Cleanup(func() { c.Close() })
		return nil, claim
	}
	return h.f.play(conn, c, claim.ID), claim
}

// say writes text to the peer.
func (p *player) say(text string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(text), time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
}

// hear returns the next element whose local name is one of want, and passes over the others.
func (p *player) hear(want ...string) *strictxml.Element {
	p.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e := <-p.in:
			for _, w := range want {
				if e.Name.Local == w {
					return e
				}
			}
		case <-limit:
			p.t.Fatalf("nothing came of: %s", strings.Join(want, ", "))
		}
	}
}

// end returns the stream error that the peer ended the stream with, or what the connection ended with.
func (p *player) end() error {
	p.t.Helper()
	return next(p.t, p.ended, "the end of the stream")
}

// refused fails unless the peer ends the stream with the condition.
func (p *player) refused(want stream.Condition) {
	p.t.Helper()
	var se *stream.Error
	if err := p.end(); !errors.As(err, &se) || se.Condition != want {
		p.t.Fatalf("the stream ended with %v, not with %v", err, want)
	}
}

// message is a text that the core would send, with where it goes.
func (f *federation) message(from, to, id string) outgoing {
	_, domain, _ := strings.Cut(to, "@")
	return outgoing{between(from, to, id, "text"), f.hops(domain)}
}

// connect opens a TCP connection to a domain's server and says nothing.
func (f *federation) connect(domain string) net.Conn {
	f.t.Helper()
	c, err := net.Dial("tcp", f.addrs[domain].Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// closed tells whether the other side closes the connection.
func closed(c net.Conn, within time.Duration) bool {
	c.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, c)
	var late net.Error
	return !errors.As(err, &late) || !late.Timeout()
}

// outgoing is a message and where its domain's server is.
type outgoing struct {
	op   *adapters.MessageOp
	hops []resolver.Target
}

// post sends it and returns where the outcome will be.
func post(t *testing.T, a *xmpp.Adapter, m outgoing) <-chan adapters.Status {
	done := make(chan adapters.Status, 1)
	go func() { done <- a.Message(t.Context(), m.hops, m.op) }()
	return done
}
