package sip

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// core is a gateway that does what a test says and remembers what it was told.
type core struct {
	mu      sync.Mutex
	message func(*adapters.MessageOp) adapters.Status
	watch   func(*adapters.WatchOp) adapters.WatchStatus
	// forgetful: it says of nothing that it is kept.
	forgetful bool
	held      chan<- func(adapters.WatchStatus) // set: takes what answers a watch operation, which is not answered then

	messages chan *adapters.MessageOp
	watches  chan *adapters.WatchOp
	notices  chan *adapters.NotifyOp
	reports  chan *adapters.Report
}

func newCore() *core {
	return &core{
		messages: make(chan *adapters.MessageOp, 64), watches: make(chan *adapters.WatchOp, 64),
		notices: make(chan *adapters.NotifyOp, 64), reports: make(chan *adapters.Report, 64),
	}
}

func (c *core) Message(_ context.Context, op *adapters.MessageOp, respond func(adapters.Status)) {
	c.mu.Lock()
	f := c.message
	c.mu.Unlock()
	c.messages <- op
	if f == nil {
		respond(adapters.Accepted())
		return
	}
	respond(f(op))
}

func (c *core) Watch(_ context.Context, op *adapters.WatchOp, respond func(adapters.WatchStatus)) {
	c.mu.Lock()
	f, held := c.watch, c.held
	c.mu.Unlock()
	if held != nil {
		held <- respond
		return
	}
	c.watches <- op
	if f == nil {
		respond(adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchPending, Duration: op.Duration})
		return
	}
	respond(f(op))
}

func (c *core) Notify(_ context.Context, op *adapters.NotifyOp) {
	c.mu.Lock()
	forgetful := c.forgetful
	c.mu.Unlock()
	if op.Kept != nil && !forgetful {
		op.Kept()
	}
	c.notices <- op
}

func (c *core) Report(_ context.Context, report *adapters.Report) { c.reports <- report }

// answer sets what a message is answered with.
func (c *core) answer(s adapters.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.message = func(*adapters.MessageOp) adapters.Status { return s }
}

// quiet fails the test if the core was told anything.
func (c *core) quiet(t *testing.T) {
	t.Helper()
	if n := len(c.messages) + len(c.watches) + len(c.notices) + len(c.reports); n > 0 {
		t.Errorf("the core was told %d things that it should not have heard", n)
	}
}

// wait is how long a test waits for what must come: longer than any machine that tests much at a time needs.
const wait = 40 * time.Second

func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(wait):
		t.Fatalf("no %s came", what)
	}
	panic("unreachable")
}

// loopback is the peer of the tests: the whole loopback network, with the SIP domain of RFC 7572.
var loopback = Peer{Name: "trunk", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Domains: []string{"example.net"}}

// start starts an adapter on loopback sockets.
func start(t *testing.T, change func(*Config)) (*Adapter, *core) {
	t.Helper()
	return startWith(t, change, func(*Adapter) {})
}

// startWith is start, with something to be done before Start.
func startWith(t *testing.T, change func(*Config), before func(*Adapter)) (*Adapter, *core) {
	t.Helper()
	cfg := Config{
		Listeners: []transaction.Listener{
			{Transport: resolver.UDP, Address: "127.0.0.1:0"}, {Transport: resolver.TCP, Address: "127.0.0.1:0"},
		},
		Peers:  []Peer{loopback},
		Logger: zerolog.New(zerolog.NewTestWriter(t)),
		T1:     100 * time.Millisecond, // what a loaded machine does not do in 64 of them fails
		Limits: Limits{NotifyInterval: time.Millisecond},
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := newCore()
	before(a)
	if err := a.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := a.Wait(); err != nil {
			t.Errorf("wait: %v", err)
		}
	})
	return a, c
}

// agent is a SIP user agent that a test plays by hand, on a UDP socket or a TCP connection.
type agent struct {
	t    *testing.T
	conn net.Conn
	udp  *net.UDPConn
	to   netip.AddrPort
	sr   *wire.StreamReader
	n    int
	sent int // octets of the last request
	// early are the requests that came while a response was waited for.
	early []*wire.Message
}

// udpAgent is an agent with a UDP socket of its own that talks to a.
func udpAgent(t *testing.T, a *Adapter) *agent {
	t.Helper()
	u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return &agent{t: t, udp: u, to: a.Addrs()[0].Address}
}

// tcpAgent is an agent with a TCP connection to a.
func tcpAgent(t *testing.T, a *Adapter) *agent {
	t.Helper()
	c, err := net.Dial("tcp4", a.Addrs()[1].Address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &agent{t: t, conn: c, sr: wire.NewStreamReader(c, wire.Limits{})}
}

func (g *agent) addr() netip.AddrPort {
	if g.udp != nil {
		return g.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	return g.conn.LocalAddr().(*net.TCPAddr).AddrPort()
}

// hop is where the adapter reaches the agent.
func (g *agent) hop() resolver.Target {
	return resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: g.addr()})
}

func (g *agent) write(b []byte) {
	g.t.Helper()
	var err error
	if g.udp != nil {
		_, err = g.udp.WriteToUDPAddrPort(b, g.to)
	} else {
		_, err = g.conn.Write(b)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// read returns the next message that is no copy of the last request.
func (g *agent) read() *wire.Message {
	g.t.Helper()
	m := g.readWithin(wait)
	if m == nil {
		g.t.Fatal("the adapter sent nothing")
	}
	return m
}

func (g *agent) readWithin(d time.Duration) *wire.Message {
	g.t.Helper()
	var b []byte
	if g.udp != nil {
		g.udp.SetReadDeadline(time.Now().Add(d))
		buf := make([]byte, 65536)
		n, from, err := g.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return nil
		}
		g.to, b = from, buf[:n]
	} else {
		g.conn.SetReadDeadline(time.Now().Add(d))
		var err error
		if b, _, err = g.sr.Next(); err != nil {
			return nil
		}
	}
	m, err := wire.Parse(b, wire.Limits{})
	if err != nil {
		g.t.Fatalf("%v in what the adapter sent:\n%s", err, b)
	}
	return m
}

// nothingWithin fails the test if something comes within d that is no copy of a request in seen: on a slow machine such copies wait to be read.
func (g *agent) nothingWithin(d time.Duration, seen map[string]bool, what string) {
	g.t.Helper()
	for m := g.readWithin(d); m != nil; m = g.readWithin(d) {
		if !m.IsRequest() || !seen[m.TopVia().Branch()] {
			g.t.Errorf("%s:\n%s", what, m.Raw())
		}
	}
}

// response is the next message that is no copy of a request in seen, and must be a response.
func (g *agent) response(seen map[string]bool) *wire.Message {
	g.t.Helper()
	m := g.read()
	for m.IsRequest() && seen[m.TopVia().Branch()] {
		m = g.read()
	}
	if m.IsRequest() {
		g.t.Fatalf("a request came instead of a response:\n%s", m.Raw())
	}
	return m
}

// send sends a request as an RFC prints it, with a Via of the agent's own and a fresh branch; HOST stands for its address.
func (g *agent) send(text string) {
	g.t.Helper()
	g.n++
	transport := "UDP"
	if g.udp == nil {
		transport = "TCP"
	}
	if _, ok := g.conn.(*tls.Conn); ok {
		transport = "TLS"
	}
	host := g.addr().String()
	start, rest, _ := strings.Cut(strings.TrimPrefix(text, "\n"), "\n")
	text = start + "\nVia: SIP/2.0/" + transport + " " + host + ";branch=z9hG4bK" + host[len(host)-4:] + itoa(int64(g.n)) + itoa(time.Now().UnixNano()) + ";rport\n" + rest
	b := octets(strings.ReplaceAll(text, "HOST", host))
	g.sent = len(b)
	g.write(b)
}

// octets is a message as an RFC prints it, as it goes over the wire.
func octets(text string) []byte {
	head, body, _ := strings.Cut(text, "\n\n")
	head += "\nContent-Length: " + itoa(int64(len(body)))
	return []byte(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)
}

// ask sends a request and returns its final response.
func (g *agent) ask(text string) *wire.Message {
	g.t.Helper()
	g.send(text)
	for {
		m := g.read()
		if !m.IsRequest() && m.StatusCode() >= 200 {
			return m
		}
		if m.IsRequest() {
			g.early = append(g.early, m)
		}
	}
}

// answer answers a request.
func (g *agent) answer(req *wire.Message, r wire.Response) {
	g.t.Helper()
	if r.ToTag == "" {
		r.ToTag = "agent"
	}
	b, err := wire.AppendResponse(nil, req, r)
	if err != nil {
		g.t.Fatal(err)
	}
	g.write(b)
}

// request waits for a request of this method, other than the copies of earlier ones.
func (g *agent) request(method string, seen map[string]bool) *wire.Message {
	g.t.Helper()
	for end := time.Now().Add(wait); time.Now().Before(end); {
		var m *wire.Message
		if len(g.early) > 0 {
			m, g.early = g.early[0], g.early[1:]
		} else {
			m = g.read()
		}
		if !m.IsRequest() || seen[m.TopVia().Branch()] {
			continue
		}
		seen[m.TopVia().Branch()] = true
		if m.Method() != method {
			g.t.Fatalf("%s came, want %s:\n%s", m.Method(), method, m.Raw())
		}
		return m
	}
	g.t.Fatalf("no %s came", method)
	return nil
}
