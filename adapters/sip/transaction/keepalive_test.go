package transaction

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// piped is a connection without a network whose far end a test plays.
type piped struct {
	net.Conn
	far net.Conn

	mu   sync.Mutex
	got  bytes.Buffer // what the far end has read
	when []time.Duration
	pong bool // the far end answers pings
}

func (p *piped) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(ours) }
func (p *piped) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(theirs) }

// newPiped makes a connection whose far end reads all and answers each ping until quiet is set.
func newPiped(began time.Time) *piped {
	near, far := net.Pipe()
	p := &piped{Conn: near, far: far, pong: true}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := far.Read(b)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.got.Write(b[:n])
			ping := string(b[:n]) == "\r\n\r\n"
			if ping {
				p.when = append(p.when, time.Since(began))
			}
			pong := ping && p.pong
			p.mu.Unlock()
			if pong {
				far.Write([]byte("\r\n")) //nolint:errcheck // the test sees what is missing
			}
		}
	}()
	return p
}

func (p *piped) pings() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Duration(nil), p.when...)
}

// RFC 5626 §4.4.1: "If a pong is not received within 10 seconds after sending a ping ... then the client MUST treat the flow as failed."
// T-FI-27: a half-open connection is noticed.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := newBubble(t, nil, nil)
		p := newPiped(began)
		l.connect(p)
		var c *conn
		for c = range l.pool.all { //nolint:revive // the only one
		}
		c.ping.start(100*time.Second, 0)
		time.Sleep(10 * time.Minute)
		n := p.pings()
		if len(n) < 5 || len(n) > 8 {
			t.Errorf("%d pings in ten minutes: %v", len(n), n)
		}
		for i := 1; i < len(n); i++ {
			// Between 80 and 100 % of the interval, after the wait for the pong.
			if d := n[i] - n[i-1]; d < 80*time.Second || d > 111*time.Second {
				t.Errorf("%s between two pings", d)
			}
		}
		if c.ending() {
			t.Fatal("closed although it was alive")
		}
		p.mu.Lock()
		p.pong = false
		p.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if !c.ending() {
			t.Error("open although no ping is answered")
		}
		if d := time.Since(began); d > 13*time.Minute {
			t.Error(d)
		}
		l.stop()
		p.far.Close() //nolint:errcheck // a test
	})
}

// RFC 6223 §4.3: "if the "keep" parameter in the topmost Via header field of the response contains a "keep" parameter value, it MUST start
// sending keep-alives"; and it is only asked for where a dialog begins.
func TestKeepIsAgreedUpon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := newBubble(t, nil, nil)
		p := newPiped(began)
		to := l.connect(p)
		ask := func(method, keep string) string {
			p.mu.Lock()
			p.got.Reset()
			p.mu.Unlock()
			done := make(chan Result, 1)
			go func() { done <- l.Do(t.Context(), to, testRequest(method, "")) }()
			synctest.Wait()
			p.mu.Lock()
			raw := bytes.Clone(p.got.Bytes())
			p.mu.Unlock()
			m, err := wire.Parse(raw, wire.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			answer := strings.Replace(string(answerTo(raw, 200)), ";keep", keep, 1)
			p.far.Write([]byte(answer)) //nolint:errcheck // Do fails then
			if r := <-done; r.Err != nil {
				t.Fatal(r.Err)
			}
			return m.TopVia().String()
		}
		if via := ask("MESSAGE", ""); strings.Contains(via, "keep") || strings.Contains(via, "alias") {
			t.Errorf("MESSAGE with %s", via)
		}
		if via := ask("SUBSCRIBE", ";keep"); !strings.Contains(via, ";keep") {
			t.Errorf("SUBSCRIBE with %s", via)
		}
		time.Sleep(2 * time.Minute)
		if n := p.pings(); len(n) != 0 {
			t.Errorf("pings at %v: nobody agreed", n)
		}
		ask("SUBSCRIBE", ";keep=30")
		time.Sleep(2 * time.Minute)
		if n := len(p.pings()); n < 2 || n > 5 {
			t.Errorf("%d pings in two minutes", n)
		}
		l.stop()
		p.far.Close() //nolint:errcheck // a test
	})
}

// RFC 6223 §4.4, for the one who receives keep-alives.
func TestKeepIsGranted(t *testing.T) {
	l := startLayer(t, answerOK, nil)
	for method, want := range map[string]string{"SUBSCRIBE": ";keep=90", "MESSAGE": ";keep"} {
		nc := dial(t, l)
		text := strings.ReplaceAll(strings.Replace(tcpRequest(1), ";rport", ";keep;rport", 1), "MESSAGE", method)
		if _, err := io.WriteString(nc, text); err != nil {
			t.Fatal(err)
		}
		b, _, err := wire.NewStreamReader(nc, wire.Limits{}).Next()
		line, _, _ := strings.Cut(string(b[bytes.Index(b, []byte("Via:")):]), "\r\n")
		if at := strings.Index(line, ";keep"); err != nil || at < 0 || !strings.HasPrefix(line[at:], want) || want == ";keep" && strings.Contains(line, "keep=") {
			t.Errorf("%s: %v %s, should have %s", method, err, line, want)
		}
	}
}

// RFC 3261 §18.2.2: "If that connection is no longer open, the server SHOULD open a connection to the IP address in the "received"
// parameter, if present, using the port in the "sent-by" value".
func TestResponseWhoseConnectionIsGone(t *testing.T) {
	held := make(chan *ServerTx, 1)
	l := startLayer(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) { held <- tx }), nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // a test
	nc := dial(t, l)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if _, err := io.WriteString(nc, strings.Replace(tcpRequest(1), "peer.example.com", "peer.example.com:"+port, 1)); err != nil {
		t.Fatal(err)
	}
	tx := <-held
	nc.Close() //nolint:errcheck // a test
	<-tx.route.conn.gone
	if err := tx.Respond(200, "", RespondOptions{}); err != nil {
		t.Fatal(err)
	}
	back, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()                                 //nolint:errcheck // a test
	back.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the read fails then
	b, _, err := wire.NewStreamReader(back, wire.Limits{}).Next()
	if err != nil || !bytes.HasPrefix(b, []byte("SIP/2.0 200 OK")) || !bytes.Contains(b, []byte(";branch=z9hG4bK1;")) {
		t.Errorf("%v %s", err, b)
	}
}

// RFC 7118 §6, RFC 6455 §5.5.2: the client of a WebSocket is pinged, stays while it answers, and is given up when it does not.
func TestWebSocketIsPinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, nil, nil)
		near, far := net.Pipe()
		l.pool.accept(&piped{Conn: near}, &streamListener{layer: l.Layer, transport: resolver.WS})
		go io.WriteString(far, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+ //nolint:errcheck // the answer shows it
			"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n")
		answer := make([]byte, 4096)
		if n, err := far.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 101 ") {
			t.Fatalf("%v %s", err, answer[:n])
		}
		began := time.Now()
		for range 10 {
			var ping [2]byte
			if _, err := io.ReadFull(far, ping[:]); err != nil || ping != [2]byte{0x89, 0} {
				t.Fatalf("%v %x after %s", err, ping, time.Since(began))
			}
			if _, err := far.Write([]byte{0x8A, 0x80, 0, 0, 0, 0}); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 12*time.Minute || d > 17*time.Minute {
			t.Errorf("ten pings in %s", d)
		}
		io.Copy(io.Discard, far) //nolint:errcheck // it ends with the connection
		synctest.Wait()
		if n := l.pool.inbound.Load(); n != 0 {
			t.Errorf("%d connections although the last ping was not answered", n)
		}
		l.stop()
	})
}

// RFC 6223 §5: the value is what the far side recommends as the interval. A shorter one than before counts at once and not after the
// longer one has passed.
func TestShorterKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, nil, nil)
		p := newPiped(time.Now())
		l.connect(p)
		for c := range l.pool.all {
			c.ping.start(24*time.Hour, keepLife)
			c.ping.start(30*time.Second, keepLife)
		}
		time.Sleep(5 * time.Minute)
		if n := len(p.pings()); n < 7 {
			t.Errorf("%d pings in 5 minutes, should be one every 30 s", n)
		}
		l.stop()
		p.far.Close() //nolint:errcheck // a test
	})
}
