package sip

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/websocket"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// storeFor is a store with one certificate for each list of names (none for an empty one), whose root is ca's.
func storeFor(t *testing.T, ca *certstest.CA, each ...[]string) *certs.Store {
	t.Helper()
	dir := t.TempDir()
	c := certs.Config{RootsFile: ca.WriteRoot(dir), Logger: zerolog.Nop()}
	for i, names := range each {
		at := t.TempDir()
		f := ca.Issue(certstest.Spec{DNS: names}).WriteFiles(at)
		c.Certificates = append(c.Certificates, certs.Source{Name: itoa(int64(i)), ChainFile: f.Chain, KeyFile: f.Key})
	}
	s, err := certs.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// secureLayer is a transaction layer with a TLS listener on address, whose host is its domain.
type secureLayer struct {
	*transaction.Layer
	registry *prometheus.Registry
	sources  chan transaction.Source
}

func (l *secureLayer) Request(_ *wire.Message, src transaction.Source, tx *transaction.ServerTx) {
	l.sources <- src
	tx.Respond(200, "", transaction.RespondOptions{}) //nolint:errcheck // the other side sees it
}

// value is that of a metric with one label.
func (l *secureLayer) value(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := l.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %q", name, label)
	return 0
}

// opened is how many connections are open that this side opened.
func (l *secureLayer) opened(t *testing.T) float64 {
	t.Helper()
	return l.value(t, "isthmus_sip_connections", "here")
}

func startSecure(t *testing.T, address, host string, store *certs.Store, change func(*transaction.Config)) *secureLayer {
	t.Helper()
	l := &secureLayer{registry: prometheus.NewRegistry(), sources: make(chan transaction.Source, 16)}
	cfg := transaction.Config{
		Listeners: []transaction.Listener{{Transport: resolver.TLS, Address: address}}, TLS: secure(store, host), Registerer: l.registry, Logger: zerolog.Nop(),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if l.Layer, err = transaction.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Shutdown(t.Context()) }) //nolint:errcheck // cut off on purpose
	return l
}

// as is the target that leads to l's first listener, which must prove name.
func (l *secureLayer) as(name string) resolver.Target {
	return resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TLS, Addr: l.Addrs()[0].Address, ServerName: name})
}

// from is a MESSAGE from a domain.
func from(domain string) *wire.Request {
	return &wire.Request{
		Method: "MESSAGE", URI: "sip:romeo@example.net", From: "<sip:juliet@" + domain + ">;tag=" + wire.NewTag(), To: "<sip:romeo@example.net>",
		CallID: wire.NewCallID(""), CSeq: 1, ContentType: "text/plain", Body: []byte("hello"),
	}
}

// RFC 5922 §7.3: "the client MUST compare the original domain portion of the SIP AUS used as input to the RFC 3263 [8] server location
// procedures to the SIP domain identities obtained from the certificate", and §7.4 for the other side. RFC 5923 §8.1, §8.2: a connection
// is used again, in both directions, only for a domain that its far end has proven. IPv4 and IPv6.
func TestTLS_T_TL_05(t *testing.T) {
	ca := certstest.NewCA(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		west := startSecure(t, address, "", storeFor(t, ca, []string{"example.com"}), nil)
		east := startSecure(t, address, "", storeFor(t, ca, []string{"example.net", "example.org"}), nil)
		send := func(l *secureLayer, to resolver.Target, domain string) transaction.Result {
			return l.Do(t.Context(), to, from(domain))
		}

		if r := send(west, east.as("example.net"), "example.com"); r.Err != nil {
			t.Fatalf("%s: %v", address, r.Err)
		}
		if src := <-east.sources; !slices.Equal(src.Domains, []string{"example.com"}) || src.Transport != resolver.TLS {
			t.Errorf("%s: source %+v, should have proven example.com", address, src)
		}
		if r := send(west, east.as("example.org"), "example.com"); r.Err != nil || west.opened(t) != 1 {
			t.Errorf("%s: %v over %g connections, should be the one that has proven example.org, too", address, r.Err, west.opened(t))
		}
		<-east.sources
		// The other way: the connection that west opened, and offered.
		if r := send(east, west.as("example.com"), "example.net"); r.Err != nil || east.opened(t) != 0 {
			t.Errorf("%s: %v, %g connections opened the other way, should be none", address, r.Err, east.opened(t))
		}
		if src := <-west.sources; !slices.Contains(src.Domains, "example.net") {
			t.Errorf("%s: source %+v, should have proven example.net", address, src)
		}
		// Nothing is sent to what does not prove the domain, and no connection serves a domain that it has not proven.
		for _, name := range []string{"example.edu", "net", "sub.example.net"} {
			if r := send(west, east.as(name), "example.com"); !errors.Is(r.Err, transaction.ErrTransport) || r.Sent {
				t.Errorf("%s: to %s: %+v", address, name, r)
			}
		}
		if r := send(east, west.as("example.edu"), "example.net"); !errors.Is(r.Err, transaction.ErrTransport) || r.Sent {
			t.Errorf("%s: back to example.edu: %+v", address, r)
		}
		if len(east.sources)+len(west.sources) != 0 {
			t.Errorf("%s: a request arrived", address)
		}
		// A request from a domain that has no certificate is not sent with that of another one: nor over its connection.
		if r := send(west, east.as("example.net"), "example.info"); r.Err != nil || west.opened(t) != 2 {
			t.Errorf("%s: %v over %g connections, should be a second one", address, r.Err, west.opened(t))
		}
		if src := <-east.sources; len(src.Domains) != 0 {
			t.Errorf("%s: source %+v has proven something", address, src)
		}
	}
}

// A certificate of an authority that nobody trusts proves nothing: neither side goes on as if it did (T-TL-04).
func TestTLSWithAnotherAuthority(t *testing.T) {
	ca, other := certstest.NewCA(t), certstest.NewCA(t)
	east := startSecure(t, "127.0.0.1:0", "", storeFor(t, ca, []string{"example.net"}), nil)
	west := startSecure(t, "127.0.0.1:0", "", storeFor(t, other, []string{"example.com"}), nil)
	if r := west.Do(t.Context(), east.as("example.net"), from("example.com")); !errors.Is(r.Err, transaction.ErrTransport) || r.Sent {
		t.Errorf("result %+v", r)
	}
	// A client whose certificate is bad is a stranger.
	f := other.Issue(certstest.Spec{DNS: []string{"example.com"}})
	nc, err := tls.Dial("tcp", east.Addrs()[0].Address.String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "example.net", Certificates: []tls.Certificate{f.TLS()}})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close() //nolint:errcheck // a test
	text := strings.ReplaceAll(strings.TrimPrefix(tagged(hello, "s"), "\n"), "\n", "\r\n")
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	line, rest, _ := strings.Cut(head, "\r\n")
	if _, err := io.WriteString(nc, line+"\r\nVia: SIP/2.0/TLS h;branch=z9hG4bKx;alias\r\n"+rest+"\r\nContent-Length: "+itoa(int64(len(body)))+"\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	if src := <-east.sources; len(src.Domains) != 0 {
		t.Errorf("source %+v has proven something", src)
	}
}

// Mutual TLS is an identity: a peer without networks is recognised by its certificate, on the same address where a stranger is refused.
func TestPeerByCertificate(t *testing.T) {
	ca := certstest.NewCA(t)
	a, c := start(t, func(cfg *Config) {
		cfg.Listeners = []transaction.Listener{{Transport: resolver.TLS, Address: "127.0.0.1:0"}}
		cfg.Peers = []Peer{{Name: "trunk", Certificates: []string{"proxy.example.net"}, Domains: []string{"example.net"}}}
		cfg.Certificates = storeFor(t, ca, []string{"example.com"})
	})
	to := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TLS, Addr: a.Addrs()[0].Address, ServerName: "example.com"})
	for name, want := range map[string]int{"proxy.example.net": 202, "other.example.net": 403} {
		l := startSecure(t, "127.0.0.1:0", name, storeFor(t, ca, []string{name}), nil)
		req := from("example.net")
		req.URI, req.To = "sip:juliet@example.com", "<sip:juliet@example.com>"
		done := make(chan transaction.Result, 1)
		go func() { done <- l.Do(t.Context(), to, req) }()
		r := <-done
		if r.Err != nil || r.Response.StatusCode() != want {
			t.Errorf("%s: %+v, should be answered %d", name, r, want)
		}
		if want == 202 {
			if op := next(t, c.messages, "message"); op.Peer != (adapters.Peer{Adapter: Name, Name: "trunk"}) {
				t.Errorf("peer %+v", op.Peer)
			}
		}
	}
	c.quiet(t)
}

// T-OV-05, THREATS X6: a connection whose handshake does not come to an end is closed.
func TestHandshakeEnds(t *testing.T) {
	ca := certstest.NewCA(t)
	begin := func(ends time.Duration) *secureLayer {
		return startSecure(t, "127.0.0.1:0", "", storeFor(t, ca, []string{"example.net"}), func(c *transaction.Config) {
			c.Listeners = append(c.Listeners, transaction.Listener{Transport: resolver.WS, Address: "127.0.0.1:0"})
			c.Bounds.HandshakeTimeout, c.Bounds.UpgradeTimeout, c.Bounds.Handshakes = ends, ends, 24
			c.Admit = func(src transaction.Source) bool { return len(src.Domains) > 0 }
		})
	}
	l := begin(200 * time.Millisecond)
	for i, first := range []string{"\x16\x03\x01", "GET / HTTP/1.1\r\nHost: "} {
		for range 3 {
			nc, err := net.Dial("tcp", l.Addrs()[i].Address.String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close() //nolint:errcheck // a test
			if _, err := io.WriteString(nc, first); err != nil {
				t.Fatal(err)
			}
			nc.SetDeadline(time.Now().Add(wait)) //nolint:errcheck // the read fails then
			if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("listener %d: still open", i)
			}
		}
	}
	// One address cannot take every turn: over an eighth of them its connections are closed at once.
	l = begin(2 * wait)
	for n := range 5 {
		nc, err := net.Dial("tcp", l.Addrs()[0].Address.String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close() //nolint:errcheck // a test
		if n < 3 {
			continue
		}
		nc.SetDeadline(time.Now().Add(wait)) //nolint:errcheck // the read fails then
		if _, err := nc.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is open", n)
		}
	}
	if n := l.value(t, "isthmus_sip_dropped_total", "per address"); n != 2 {
		t.Errorf("%g connections refused because of their address, should be 2", n)
	}
}

// wsClient is a WebSocket client.
type wsClient struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func dialWS(t *testing.T, nc net.Conn, origin string) (*wsClient, int) {
	t.Helper()
	t.Cleanup(func() { nc.Close() })     //nolint:errcheck // a test
	nc.SetDeadline(time.Now().Add(wait)) //nolint:errcheck // the read fails then
	c := &wsClient{t, nc, bufio.NewReader(nc)}
	if origin != "" {
		origin = "Origin: " + origin + "\r\n"
	}
	io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+origin+ //nolint:errcheck // the answer shows it
		"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, resp.StatusCode
}

// send writes a masked frame.
func (c *wsClient) send(op websocket.Opcode, payload string) {
	c.t.Helper()
	b := []byte{0x80 | byte(op)}
	if len(payload) < 126 {
		b = append(b, 0x80|byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(payload)))
	}
	b = append(append(b, 0, 0, 0, 0), payload...)
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *wsClient) read() (websocket.Opcode, string) {
	c.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		c.t.Fatal(err)
	}
	n := int(head[1])
	if n == 126 {
		var more [2]byte
		io.ReadFull(c.r, more[:]) //nolint:errcheck // the payload is missing then
		n = int(binary.BigEndian.Uint16(more[:]))
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		c.t.Fatal(err)
	}
	return websocket.Opcode(head[0] & 0xF), string(b)
}

// T-FZ-21, THREATS S19, RFC 7118 §5: SIP over WS and WSS, one message in each WebSocket message, responses and requests to the client over
// its own connection, Origin by list.
func TestWebSocket(t *testing.T) {
	ca := certstest.NewCA(t)
	a, c := start(t, func(cfg *Config) {
		cfg.Listeners = []transaction.Listener{
			{Transport: resolver.WS, Address: "127.0.0.1:0", Origins: []string{"https://chat.example.net"}},
			{Transport: resolver.WSS, Address: "127.0.0.1:0", Origins: []string{"https://chat.example.net"}},
		}
		cfg.Certificates = storeFor(t, ca, []string{"gateway.example.net"})
	})
	for i, transport := range []resolver.Transport{resolver.WS, resolver.WSS} {
		dial := func() net.Conn {
			to := a.Addrs()[i].Address.String()
			if transport == resolver.WS {
				nc, err := net.Dial("tcp", to)
				if err != nil {
					t.Fatal(err)
				}
				return nc
			}
			nc, err := tls.Dial("tcp", to, &tls.Config{RootCAs: ca.Pool(), ServerName: "gateway.example.net", NextProtos: []string{"h2", "http/1.1"}})
			if err != nil {
				t.Fatal(err)
			}
			return nc
		}
		if _, code := dialWS(t, dial(), "https://evil.example"); code != 403 {
			t.Errorf("%s: another origin: HTTP %d", transport, code)
		}
		w, code := dialWS(t, dial(), "https://chat.example.net")
		if code != 101 {
			t.Fatalf("%s: HTTP %d", transport, code)
		}
		text := strings.ReplaceAll(strings.TrimPrefix(tagged(hello, "ws"+transport.String()), "\n"), "\n", "\r\n")
		text = strings.Replace(text, "\r\n", "\r\nVia: SIP/2.0/"+strings.ToUpper(transport.String())+" df7jal23ls0d.invalid;branch=z9hG4bK"+transport.String()+";rport\r\n", 1)
		w.send(websocket.Text, text)
		next(t, c.messages, "message")
		op, got := w.read()
		if op != websocket.Text || !strings.HasPrefix(got, "SIP/2.0 202 ") || strings.Contains(got, "received=") {
			t.Errorf("%s: answered %d %s", transport, op, got)
		}
		w.send(websocket.Ping, "x")
		if op, got := w.read(); op != websocket.Pong || got != "x" {
			t.Errorf("%s: ping is answered %d %q", transport, op, got)
		}
		w.send(websocket.Binary, "\r\n\r\n")
		if _, got := w.read(); got != "\r\n" {
			t.Errorf("%s: RFC 5626 ping is answered %q", transport, got)
		}
		// Two SIP messages in one WebSocket message are refused, and so is a second one that hides behind Content-Length.
		_, body, _ := strings.Cut(text, "\r\n\r\n")
		second := strings.Replace(strings.Replace(text, "z9hG4bK", "z9hG4bK2", 1), "CSeq:", "Content-Length: "+itoa(int64(len(body)))+"\r\nCSeq:", 1)
		w.send(websocket.Text, second+text)
		if _, got := w.read(); !strings.HasPrefix(got, "SIP/2.0 400 ") {
			t.Errorf("%s: %s", transport, got)
		}
		// A request to the client goes over its connection.
		hop := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: transport, Addr: netip.MustParseAddrPort(w.nc.LocalAddr().String())})
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(t.Context(), []resolver.Target{hop}, outgoing(nil)) }()
		_, got = w.read()
		m, err := wire.Parse([]byte(got), wire.Limits{})
		if err != nil || m.Method() != "MESSAGE" || m.TopVia().Transport() != strings.ToUpper(transport.String()) {
			t.Fatalf("%s: %v %s", transport, err, got)
		}
		answer, err := wire.AppendResponse(nil, m, wire.Response{Code: 200, ToTag: "x"})
		if err != nil {
			t.Fatal(err)
		}
		w.send(websocket.Text, string(bytes.TrimSpace(answer))+"\r\n\r\n")
		if s := <-done; s.Outcome != adapters.Success {
			t.Errorf("%s: %+v", transport, s)
		}
		w.send(websocket.Close, "\x03\xe8")
		if op, got := w.read(); op != websocket.Close || got != "\x03\xe8" {
			t.Errorf("%s: close is answered %d %q", transport, op, got)
		}
		if s := a.Message(t.Context(), []resolver.Target{hop}, outgoing(nil)); s.Outcome != adapters.Failure {
			t.Errorf("%s: to a client that has gone: %+v", transport, s)
		}
	}
}

// The settings of a peer that is known by its certificate alone hold for what is sent to it, and not those of another one with its domain.
func TestSettingsOfPeerByCertificate(t *testing.T) {
	p, err := newPeers([]Peer{
		{Name: "near", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Domains: []string{"example.net"}},
		{Name: "trunk", Certificates: []string{"proxy.example.net"}, Domains: []string{"example.net"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	hop := func(transport resolver.Transport, addr, name string) resolver.Target {
		return resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: transport, Addr: netip.MustParseAddrPort(addr), ServerName: name})
	}
	for _, v := range []struct {
		name, domain, want string
		to                 resolver.Target
	}{
		{"by certificate", "example.net", "trunk", hop(resolver.TLS, "198.51.100.1:5061", "proxy.example.net")},
		{"by address", "example.net", "near", hop(resolver.UDP, "192.0.2.1:5060", "")},
		{"that name without proof", "example.net", "near", hop(resolver.TCP, "198.51.100.1:5060", "proxy.example.net")},
		{"nobody's domain at a peer", "example.org", "near", hop(resolver.UDP, "192.0.2.1:5060", "")},
		{"nobody", "example.org", "", hop(resolver.UDP, "198.51.100.1:5060", "")},
	} {
		got := ""
		if peer := p.toward(v.to, v.domain); peer != nil {
			got = peer.Name
		}
		if got != v.want {
			t.Errorf("%s: %q, should be %q", v.name, got, v.want)
		}
	}
}

// A certificate with very many names, as providers have them, is no reason to open a connection for each request, whichever of the names
// is meant. An inbound one with fewer than 256 proves them all.
func TestCertificateOfManyNames(t *testing.T) {
	ca := certstest.NewCA(t)
	var names []string
	for i := range 300 {
		names = append(names, "d"+itoa(int64(i))+".example.net")
	}
	west := startSecure(t, "127.0.0.1:0", "", storeFor(t, ca, []string{"example.com"}), nil)
	east := startSecure(t, "127.0.0.1:0", "d0.example.net", storeFor(t, ca, names), nil)
	for range 3 {
		if r := west.Do(t.Context(), east.as("d299.example.net"), from("example.com")); r.Err != nil {
			t.Fatal(r.Err)
		}
		<-east.sources
	}
	if n := west.opened(t); n != 1 {
		t.Errorf("%g connections for three requests", n)
	}
}

// What a WebSocket client watches is not told to another client that comes to have its address and port, as happens behind one proxy.
func TestWebSocketOfAnother(t *testing.T) {
	a, _ := start(t, func(cfg *Config) {
		cfg.Listeners = []transaction.Listener{{Transport: resolver.WS, Address: "127.0.0.1:0"}}
	})
	to := a.Addrs()[0].Address.String()
	connect := func(local net.Addr) *wsClient {
		d := net.Dialer{LocalAddr: local}
		nc, err := d.DialContext(t.Context(), "tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		w, code := dialWS(t, nc, "")
		if code != 101 {
			t.Fatalf("HTTP %d", code)
		}
		return w
	}
	// From an address of this test alone: at 127.0.0.1 another process may get the port between the two.
	first := connect(&net.TCPAddr{IP: net.IPv4(127, 77, byte(os.Getpid()>>8), byte(os.Getpid()))})
	text := strings.ReplaceAll(strings.TrimPrefix(subscribeText, "\n"), "\n", "\r\n")
	text = strings.ReplaceAll(strings.Replace(text, "\r\n", "\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKws\r\n", 1), "HOST", "df7jal23ls0d.invalid;transport=ws")
	first.send(websocket.Text, text)
	if _, got := first.read(); !strings.HasPrefix(got, "SIP/2.0 200 ") {
		t.Fatal(got)
	}
	_, got := first.read()
	m, err := wire.Parse([]byte(got), wire.Limits{})
	if err != nil || m.Method() != "NOTIFY" {
		t.Fatalf("%v %s", err, got)
	}
	answer, err := wire.AppendResponse(nil, m, wire.Response{Code: 200})
	if err != nil {
		t.Fatal(err)
	}
	first.send(websocket.Text, string(answer))
	local := first.nc.LocalAddr()
	first.nc.(*net.TCPConn).SetLinger(0) //nolint:errcheck // the next Dial fails then
	first.nc.Close()                     //nolint:errcheck // a test
	second := connect(local)

	n := a.notifiers.all()[0]
	n.mu.Lock()
	id := n.d.watchID()
	n.mu.Unlock()
	s := a.Notify(t.Context(), nil, &adapters.NotifyOp{Watch: id, State: adapters.WatchActive})
	if s.Outcome != adapters.Failure {
		t.Errorf("%+v", s)
	}
	second.send(websocket.Ping, "x")
	if op, got := second.read(); op != websocket.Pong {
		t.Errorf("another user was sent %s", got)
	}
}
