package xmpp_test

import (
	"net"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

func listen(t *testing.T) *script {
	t.Helper()
	l, err := net.Listen("tcp", porttest.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &script{l: l}
}

// accept takes a connection and the component's header.
func (s *script) accept(t *testing.T) *peer {
	t.Helper()
	s.l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	c, err := s.l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	p := &peer{t: t, conn: c, in: strictxml.NewStream(c, strictxml.Limits{})}
	if _, _, err := p.in.Header(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) say(s string) {
	p.t.Helper()
	p.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.conn.Write([]byte(s)); err != nil {
		p.t.Fatal(err)
	}
}

// hear reads the next element.
func (p *peer) hear() *strictxml.Element {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(patience))
	raw, err := p.in.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	scope, _ := strictxml.NewScope(nil, "", stream.SpaceComponent)
	scope, _ = strictxml.NewScope(scope, "stream", stream.SpaceStreams)
	e, err := strictxml.ParseElement(raw, scope, strictxml.Limits{})
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

// welcome opens the stream.
func (s *script) welcome(t *testing.T) *peer {
	t.Helper()
	p := s.accept(t)
	p.say(head)
	if e := p.hear(); e.Name.Local != "handshake" || !stream.CheckHandshake(e.Text(), "3BF96D32", []byte(secret)) {
		t.Fatalf("handshake %s", e.Raw)
	}
	p.say("<handshake/>")
	return p
}

func attr(e *strictxml.Element, name string) string {
	v, _ := e.Attr("", name)
	return v
}

// pong answers a ping, as the server it was for.
func (p *peer) pong(e *strictxml.Element) {
	p.t.Helper()
	p.say("<iq type='result' from='" + xmppDomain + "' to='" + sipDomain + "' id='" + attr(e, "id") + "'/>")
}

// started starts an adapter against a script and returns its stream.
func started(t *testing.T, s *script, core adapters.Handler, change func(*xmpp.Config)) (*xmpp.Adapter, *peer) {
	t.Helper()
	cfg := quick()
	cfg.Components = []xmpp.Component{component(s.l.Addr().String())}
	if change != nil {
		change(&cfg)
	}
	peers := make(chan *peer, 1)
	go func() { peers <- s.welcome(t) }()
	a := start(t, cfg, core)
	p := next(t, peers, "the component's stream")
	await(t, "the link comes up", up(a))
	return a, p
}

// send calls Message on its own goroutine.
func send(t *testing.T, a *xmpp.Adapter, op *adapters.MessageOp) <-chan adapters.Status {
	done := make(chan adapters.Status, 1)
	go func() { done <- a.Message(t.Context(), nil, op) }()
	return done
}
