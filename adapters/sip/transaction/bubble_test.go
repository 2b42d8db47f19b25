package transaction

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// packet is a datagram that a fakeSocket was given.
type packet struct {
	at     time.Duration // since the socket was made
	octets []byte
	to     netip.AddrPort
}

// fakeSocket is a UDP socket without a network, so that time can be fake.
type fakeSocket struct {
	began time.Time
	mu    sync.Mutex
	sent  []packet
	err   error
	peer  func(b []byte) // called for each datagram, by the sender's goroutine
}

func (s *fakeSocket) send(b []byte, _ slack, to netip.AddrPort, _ netip.Addr, _ *clientTx) error {
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	s.sent = append(s.sent, packet{time.Since(s.began), bytes.Clone(b), to})
	peer := s.peer
	s.mu.Unlock()
	if peer != nil {
		peer(bytes.Clone(b))
	}
	return nil
}

func (s *fakeSocket) sentBy() string { return "192.0.2.1:5060" }

func (s *fakeSocket) packets() []packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]packet(nil), s.sent...)
}

var (
	ours   = netip.MustParseAddrPort("192.0.2.1:5060")
	theirs = netip.MustParseAddrPort("192.0.2.7:5060")
)

// bubbleLayer is a layer in a synctest bubble on a fake socket.
type bubbleLayer struct {
	*Layer
	socket *fakeSocket
	origin origin
}

func newBubble(t *testing.T, h Handler, change func(*Config)) *bubbleLayer {
	t.Helper()
	cfg := Config{Logger: zerolog.Nop(), SentBy: "192.0.2.1"}
	if change != nil {
		change(&cfg)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.started = true
	l.begin(h)
	s := &fakeSocket{began: time.Now()}
	return &bubbleLayer{l, s, origin{udp: s, remote: theirs, local: ours}}
}

// stop ends the layer at once, whatever waits.
func (l *bubbleLayer) stop() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.Shutdown(ctx) //nolint:errcheck // it is cut off on purpose
}

// ask is Do on the fake socket.
func (l *bubbleLayer) ask(ctx context.Context, method string) Result {
	req := testRequest(method, "hello")
	scratch := getBuffer()
	defer putBuffer(scratch)
	l.enter()
	defer l.leave()
	return l.sent(ctx, l.socket, resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: theirs}), req, scratch)
}

// sent is what became of a request that was sent from a socket.
func (l *Layer) sent(ctx context.Context, socket packetSender, target resolver.Target, req *wire.Request, scratch *[]byte) Result {
	r := Result{Target: target}
	if tx, _ := l.sendUDP(ctx, socket, req, scratch, &r); tx != nil {
		tx.wait(ctx, &r)
	}
	return r
}

// request is a request as a peer would send it.
func inRequest(method, branch, callID, toTag string) []byte {
	if toTag != "" {
		toTag = ";tag=" + toTag
	}
	return []byte(method + " sip:romeo@example.net SIP/2.0\r\nVia: SIP/2.0/UDP peer.example.com;branch=" + branch + ";rport\r\nMax-Forwards: 70\r\n" +
		"From: <sip:juliet@example.com>;tag=from1\r\nTo: <sip:romeo@example.net>" + toTag + "\r\nCall-ID: " + callID + "\r\nCSeq: 7 " + method +
		"\r\nContent-Length: 0\r\n\r\n")
}

// answerTo is a response as a peer would send it.
func answerTo(b []byte, code int) []byte {
	m, err := wire.Parse(bytes.Clone(b), wire.Limits{})
	if err != nil {
		panic(err)
	}
	m.SetSource(ours)
	r, err := wire.AppendResponse(nil, m, wire.Response{Code: code, ToTag: "peer"})
	if err != nil {
		panic(err)
	}
	return r
}

// RFC 3261 §17.1.2.2: "the client transaction SHOULD set timer F to fire in 64*T1 seconds", and timer E is T1, then doubles up to T2.
func TestClientTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, answerOK, nil)
		r := l.ask(t.Context(), "MESSAGE")
		if !errors.Is(r.Err, ErrTimeout) || !r.Sent {
			t.Errorf("result %+v", r)
		}
		if e := time.Since(l.socket.began); e < 32*time.Second || e > 32*time.Second+60*time.Millisecond {
			t.Errorf("timer F after %s", e)
		}
		want := []float64{0, .5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5}
		p := l.socket.packets()
		if len(p) != len(want) {
			t.Fatalf("%d datagrams, should be %d", len(p), len(want))
		}
		for i := range p {
			late := p[i].at - time.Duration(want[i]*float64(time.Second))
			if late < 0 || late > time.Duration(i)*60*time.Millisecond {
				t.Errorf("datagram %d after %s, should be %.1f s", i, p[i].at, want[i])
			}
			if !bytes.Equal(p[i].octets, p[0].octets) {
				t.Errorf("datagram %d differs", i)
			}
		}
		l.stop()
	})
}

// RFC 3261 §17.1.2.2: "If a provisional response is received while in the "Trying" state", retransmissions go on every T2.
func TestClientProceeding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, answerOK, nil)
		l.socket.peer = func(b []byte) {
			l.socket.mu.Lock()
			n := len(l.socket.sent)
			l.socket.mu.Unlock()
			code := 100
			if n == 3 {
				code = 200
			}
			go l.receive(answerTo(b, code), l.origin)
		}
		r := l.ask(t.Context(), "MESSAGE")
		if r.Err != nil || r.Response.StatusCode() != 200 {
			t.Errorf("result %+v", r)
		}
		if e := time.Since(l.socket.began); e < 8*time.Second || e > 9*time.Second {
			t.Errorf("answered after %s, should be two times T2", e)
		}
		l.stop()
	})
}

func TestClientContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, answerOK, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r := l.ask(ctx, "MESSAGE")
		if !errors.Is(r.Err, ErrTimeout) || !errors.Is(r.Err, context.DeadlineExceeded) || !r.Sent || r.Branch == "" {
			t.Errorf("result %+v", r)
		}
		n := len(l.socket.packets())
		time.Sleep(time.Minute)
		if more := len(l.socket.packets()); more != n {
			t.Errorf("%d datagrams after the end", more-n)
		}
		if c := l.clients.count.Load(); c != 0 {
			t.Errorf("%d transactions left", c)
		}
		l.stop()
	})
}

// RFC 3261 §18.1.2: "If the value of the "sent-by" parameter in that header field value does not correspond to a value that the client
// transport is configured to insert into requests, the response MUST be silently discarded." T-ID-13, S16 for branch, method, source and Via count.
func TestForeignResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		l := newBubble(t, answerOK, func(c *Config) { c.Registerer = reg })
		replace := func(b []byte, old, with string) []byte {
			if !bytes.Contains(b, []byte(old)) {
				t.Errorf("no %q in %q", old, b)
			}
			return bytes.Replace(b, []byte(old), []byte(with), 1)
		}
		l.socket.peer = func(b []byte) {
			ok := answerTo(b, 200)
			go func() {
				l.receive(replace(bytes.Clone(ok), "192.0.2.1:5060", "192.0.2.9:5060"), l.origin)
				l.receive(replace(bytes.Clone(ok), "7 MESSAGE", "7 INVITE"), l.origin)
				l.receive(replace(bytes.Clone(ok), "branch=z9hG4bK", "branch=z9hG4bKx"), l.origin)
				l.receive(replace(bytes.Clone(ok), "From:", "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKy\r\nFrom:"), l.origin)
				elsewhere := l.origin
				elsewhere.remote = netip.MustParseAddrPort("198.51.100.1:5060")
				l.receive(bytes.Clone(ok), elsewhere)
				time.Sleep(time.Second)
				l.receive(bytes.Clone(ok), l.origin)
			}()
		}
		req := testRequest("MESSAGE", "x")
		req.CSeq = 7
		scratch := getBuffer()
		l.enter()
		r := l.sent(t.Context(), l.socket, resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: theirs}), req, scratch)
		l.leave()
		if r.Err != nil || time.Since(l.socket.began) < time.Second {
			t.Errorf("result %+v after %s: a foreign response was taken", r, time.Since(l.socket.began))
		}
		time.Sleep(2 * time.Second) // the copies' answers
		for rule, want := range map[string]float64{dropForeign: 3, dropStray: 1, dropVias: 1} {
			if n := counted(l.metrics.dropped.WithLabelValues(rule)); n < want {
				t.Errorf("%g dropped as %s, should be at least %g", n, rule, want)
			}
		}
		l.stop()
	})
}

// RFC 3261 §17.2.2: "While in the "Completed" state, the server transaction MUST pass the final response to the transport layer for
// retransmission whenever a retransmission of the request is received", for 64*T1.
func TestServerRetransmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
			calls++
			tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the packets show it
		}), nil)
		raw := inRequest("PUBLISH", "z9hG4bK1", "c1", "")
		for range 5 {
			l.receive(bytes.Clone(raw), l.origin)
		}
		p := l.socket.packets()
		if calls != 1 || len(p) != 5 {
			t.Fatalf("%d calls, %d responses", calls, len(p))
		}
		for i := range p {
			if !bytes.Equal(p[i].octets, p[0].octets) || p[i].to != theirs {
				t.Errorf("response %d differs", i)
			}
		}
		time.Sleep(31 * time.Second)
		l.receive(bytes.Clone(raw), l.origin)
		if calls != 1 {
			t.Error("called again before Timer J")
		}
		time.Sleep(2 * time.Second)
		if n := l.servers.count.Load(); n != 0 {
			t.Errorf("%d transactions after Timer J", n)
		}
		l.receive(bytes.Clone(raw), l.origin)
		if calls != 2 {
			t.Error("not a new request after Timer J")
		}
		l.stop()
	})
}

// RFC 4320 §4.1: "an SIP element MUST respond to a non-INVITE request with a Status-Code of 100 if it has not otherwise responded after
// the amount of time it takes a client transaction's Timer E to be reset to T2"; §4.2: no 408, and nothing at all when it expires.
func TestServerUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late *ServerTx
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) { late = tx }), nil)
		l.receive(inRequest("MESSAGE", "z9hG4bK1", "c1", ""), l.origin)
		time.Sleep(3400 * time.Millisecond)
		if n := len(l.socket.packets()); n != 0 {
			t.Errorf("%d responses before 3.5 s", n)
		}
		time.Sleep(200 * time.Millisecond)
		if p := l.socket.packets(); len(p) != 1 || !bytes.HasPrefix(p[0].octets, []byte("SIP/2.0 100 Trying\r\n")) {
			t.Fatalf("packets %v", p)
		}
		if err := late.Respond(408, "", RespondOptions{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("408: %v", err)
		}
		if err := late.Respond(180, "", RespondOptions{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("180: %v", err)
		}
		if err := late.Respond(200, "two\r\nX: 1", RespondOptions{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("bad phrase: %v", err)
		}
		time.Sleep(29 * time.Second)
		if l.servers.count.Load() != 0 || l.underway.Load() != 0 || len(l.socket.packets()) != 1 {
			t.Errorf("%d transactions, %d under way, %d packets", l.servers.count.Load(), l.underway.Load(), len(l.socket.packets()))
		}
		if err := late.Respond(200, "", RespondOptions{}); !errors.Is(err, ErrAnswered) {
			t.Errorf("late answer: %v", err)
		}
		l.stop()
	})
}

func counted(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}

func statusOf(p packet) string {
	line, _, _ := strings.Cut(string(p.octets), "\r\n")
	return strings.TrimPrefix(line, "SIP/2.0 ")
}

// Requests that the layer answers, or drops, by itself.
func TestServedHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		l := newBubble(t, handlerFunc(func(req *wire.Message, _ Source, tx *ServerTx) {
			calls++
			if req.Method() == "INVITE" {
				tx.Respond(405, "", RespondOptions{}) //nolint:errcheck // the packets show it
			}
		}), nil)
		expect := func(what string, raw []byte, wantCalls int, want ...string) {
			t.Helper()
			before, had := len(l.socket.packets()), calls
			l.receive(raw, l.origin)
			var got []string
			for _, p := range l.socket.packets()[before:] {
				got = append(got, statusOf(p))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || calls-had != wantCalls {
				t.Errorf("%s: answered %v with %d calls, should be %v with %d", what, got, calls-had, want, wantCalls)
			}
		}
		expect("ACK", inRequest("ACK", "z9hG4bK0", "c0", "x"), 0)
		expect("CANCEL of nothing", inRequest("CANCEL", "z9hG4bK1", "c1", ""), 0, "481 Call/Transaction Does Not Exist")
		expect("request", inRequest("MESSAGE", "z9hG4bK1", "c1", ""), 1)
		expect("CANCEL of it", inRequest("CANCEL", "z9hG4bK1", "c1", ""), 0, "200 OK")
		expect("copy while it is not answered", inRequest("MESSAGE", "z9hG4bK1", "c1", ""), 0)
		// RFC 3261 §8.2.2.2: merged requests.
		expect("another branch of a fork", bytes.Replace(inRequest("MESSAGE", "z9hG4bK2", "c1", ""), []byte("MESSAGE sip:romeo@"), []byte("MESSAGE sip:romeo2@"), 1), 0, "482 Loop Detected")
		expect("the same within a dialog", inRequest("MESSAGE", "z9hG4bK3", "c1", "tag"), 1)
		expect("other Call-ID", inRequest("MESSAGE", "z9hG4bK4", "c4", ""), 1)
		expect("INVITE", inRequest("INVITE", "z9hG4bK5", "c5", ""), 1, "405 Method Not Allowed")
		expect("INVITE again", inRequest("INVITE", "z9hG4bK5", "c5", ""), 1, "405 Method Not Allowed")
		p := l.socket.packets()
		if a, b := p[len(p)-1], p[len(p)-2]; !bytes.Equal(a.octets, b.octets) {
			t.Error("RFC 3261 §8.2.7: To tags must be the same for the same request")
		}
		// RFC 2543: no branch, or only the cookie.
		expect("RFC 2543", inRequest("OPTIONS", "1", "c6", ""), 1)
		expect("RFC 2543 again", inRequest("OPTIONS", "1", "c6", ""), 0)
		expect("bare cookie", inRequest("OPTIONS", "z9hG4bK", "c7", ""), 1)
		expect("bare cookie, other call", inRequest("OPTIONS", "z9hG4bK", "c8", ""), 1)
		expect("bad", bytes.Replace(inRequest("OPTIONS", "z9hG4bK9", "c9", ""), []byte("CSeq: 7"), []byte("CSeq: x"), 1), 0, "400 Bad Request: malformed CSeq")
		expect("version", bytes.Replace(inRequest("OPTIONS", "z9hG4bK9", "c9", ""), []byte("SIP/2.0\r\nVia"), []byte("SIP/3.0\r\nVia"), 1), 0, "505 Version Not Supported")
		expect("garbage", []byte("hello\r\n\r\n"), 0)
		expect("stray response", []byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\n\r\n"), 0)
		l.stop()
	})
}

// RFC 3581 §4 and RFC 3261 §18.2.2: where a response goes.
func TestResponseAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i, v := range []struct{ via, to, top string }{
			{"SIP/2.0/UDP peer.example.com:5099;branch=z9hG4bK0;rport", "192.0.2.7:6001", "SIP/2.0/UDP peer.example.com:5099;branch=z9hG4bK0;rport=6001;received=192.0.2.7"},
			{"SIP/2.0/UDP peer.example.com:5099;branch=z9hG4bK0", "192.0.2.7:5099", "SIP/2.0/UDP peer.example.com:5099;branch=z9hG4bK0;received=192.0.2.7"},
			{"SIP/2.0/UDP peer.example.com;branch=z9hG4bK0", "192.0.2.7:5060", "SIP/2.0/UDP peer.example.com;branch=z9hG4bK0;received=192.0.2.7"},
			{"SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK0", "192.0.2.7:5060", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK0"},
			{"SIP/2.0/UDP 192.0.2.7;rport;branch=z9hG4bK0", "192.0.2.7:6001", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK0;rport=6001;received=192.0.2.7"},
			{"SIP/2.0/UDP h;received=203.0.113.9;branch=z9hG4bK0;rport=9", "192.0.2.7:6001", "SIP/2.0/UDP h;branch=z9hG4bK0;rport=6001;received=192.0.2.7"},
			{"SIP/2.0/UDP h;maddr=203.0.113.9;branch=z9hG4bK0", "192.0.2.7:5060", "SIP/2.0/UDP h;maddr=203.0.113.9;branch=z9hG4bK0;received=192.0.2.7"},
			{"SIP / 2.0 / UDP h : 5070 ; branch = z9hG4bK0 , SIP/2.0/UDP a;branch=z9hG4bKa", "192.0.2.7:5070", "SIP/2.0/UDP h:5070;branch=z9hG4bK0;received=192.0.2.7"},
		} {
			l := newBubble(t, answerOK, nil)
			o := l.origin
			o.remote = netip.MustParseAddrPort("192.0.2.7:6001")
			raw := bytes.Replace(inRequest("MESSAGE", "z9hG4bK0", "c", ""), []byte("SIP/2.0/UDP peer.example.com;branch=z9hG4bK0;rport"), []byte(v.via), 1)
			l.receive(raw, o)
			p := l.socket.packets()
			if len(p) != 1 || p[0].to != netip.MustParseAddrPort(v.to) {
				t.Errorf("%d: %v", i, p)
			} else if m, err := wire.Parse(p[0].octets, wire.Limits{}); err != nil || m.TopVia().String() != v.top {
				t.Errorf("%s: %v %q, should be %q", v.via, err, m.TopVia(), v.top)
			}
			l.stop()
		}
	})
}

// When the table is full a request gets a 503 without state and without Retry-After, and the table does not grow.
func TestServerTableFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, handlerFunc(func(*wire.Message, Source, *ServerTx) {}), func(c *Config) { c.Bounds.ServerTransactions = 10 })
		for i := range 50 {
			l.receive(inRequest("MESSAGE", fmt.Sprintf("z9hG4bK%d", i), fmt.Sprintf("c%d", i), ""), l.origin)
		}
		p := l.socket.packets()
		if n := l.servers.count.Load(); n != 10 || len(p) != 40 {
			t.Fatalf("%d transactions, %d refusals", n, len(p))
		}
		for _, v := range p {
			if statusOf(v) != "503 Service Unavailable" || bytes.Contains(v.octets, []byte("Retry-After")) {
				t.Fatalf("%q", v.octets)
			}
		}
		l.stop()
	})
}

// T-OV-06: what is refused without state costs at most 1.2 times the octets, and one packet.
func TestOverloadReflection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, answerOK, func(c *Config) { c.Bounds.ServerTransactions = -1 })
		for _, raw := range [][]byte{
			inRequest("OPTIONS", "z9hG4bK1", "c", ""),
			inRequest("MESSAGE", "z9hG4bK1", "c", ""),
			inRequest("SUBSCRIBE", "z9hG4bK1", "c", ""),
			[]byte("A sip:b SIP/2.0\r\nv:SIP/2.0/UDP h\r\n\r\n"),
			[]byte("A sip:b SIP/2.0\r\nv:SIP/2.0/UDP h;rport\r\nf:sip:a\r\nt:sip:b\r\ni:1\r\nCSeq:1 A\r\n\r\n"),
			[]byte("A sip:b SIP/9.9\r\nv:SIP/2.0/UDP h;rport\r\n\r\n"),
			[]byte("A sip:b SIP/2.0\r\nv:" + strings.Repeat("SIP/2.0/UDP h,", 60) + "SIP/2.0/UDP h;rport\r\n\r\n"),
			bytes.Replace(inRequest("MESSAGE", "z9hG4bK1", "c", ""), []byte("CSeq: 7"), []byte("CSeq: x"), 1),
		} {
			before := len(l.socket.packets())
			size := len(raw)
			l.receive(raw, l.origin)
			p := l.socket.packets()[before:]
			out := 0
			for _, v := range p {
				out += len(v.octets)
			}
			if len(p) > 1 || out*5 > size*6 {
				t.Errorf("%d octets became %d in %d packets: %q", size, out, len(p), raw)
			}
		}
		l.stop()
	})
}

// S13: a panic of the handler costs one message.
func TestPanicIsCaught(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
			if calls++; calls == 1 {
				panic("test")
			}
			tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the packets show it
		}), nil)
		l.receive(inRequest("MESSAGE", "z9hG4bK1", "c1", ""), l.origin)
		l.receive(inRequest("MESSAGE", "z9hG4bK2", "c2", ""), l.origin)
		if n := len(l.socket.packets()); n != 1 || counted(l.metrics.panics) != 1 {
			t.Errorf("%d responses", n)
		}
		l.stop()
	})
}

// Shutdown refuses what is new, waits for what is under way, and goes.
func TestShutdownFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pending *ServerTx
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) { pending = tx }), nil)
		l.receive(inRequest("MESSAGE", "z9hG4bK1", "c1", ""), l.origin)
		done := make(chan error)
		go func() { done <- l.Shutdown(context.Background()) }()
		synctest.Wait()
		l.receive(inRequest("MESSAGE", "z9hG4bK2", "c2", ""), l.origin)
		if p := l.socket.packets(); len(p) != 1 || statusOf(p[0]) != "503 Service Unavailable" {
			t.Errorf("packets %v", p)
		}
		select {
		case err := <-done:
			t.Fatalf("shutdown did not wait: %v", err)
		default:
		}
		if err := pending.Respond(200, "", RespondOptions{}); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if r := l.Do(context.Background(), resolver.Target{}, nil); !errors.Is(r.Err, ErrClosed) {
			t.Errorf("Do after the end: %v", r.Err)
		}
	})
}

// T-FZ-18: whatever comes in whatever order, every transaction ends 64*T1 + 1 s after its last transition, and no goroutine stays.
func TestRandomEvents(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			var open []*ServerTx
			l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
				mu.Lock()
				open = append(open, tx)
				mu.Unlock()
			}), func(c *Config) { c.Bounds.ServerTransactions, c.Bounds.ClientTransactions = 40, 20 })
			var asked sync.WaitGroup
			for range 150 {
				switch rnd.IntN(8) {
				case 0, 1:
					method := methods[rnd.IntN(len(methods)-1)]
					n := rnd.IntN(30)
					l.receive(inRequest(method, fmt.Sprintf("z9hG4bK%d", n), fmt.Sprintf("c%d", n%20), ""), l.origin)
				case 2:
					mu.Lock()
					if len(open) > 0 {
						tx := open[rnd.IntN(len(open))]
						tx.Respond(100+rnd.IntN(600), "", RespondOptions{}) //nolint:errcheck // any outcome is fine
					}
					mu.Unlock()
				case 3:
					asked.Go(func() {
						if r := l.ask(context.Background(), "MESSAGE"); (r.Err == nil) == (r.Response == nil) {
							t.Errorf("result %+v", r)
						}
					})
				case 4:
					for _, p := range l.socket.packets() {
						if bytes.HasPrefix(p.octets, []byte("MESSAGE")) && rnd.IntN(4) == 0 {
							l.receive(answerTo(p.octets, []int{100, 183, 200, 202, 404, 503}[rnd.IntN(6)]), l.origin)
						}
					}
				case 5:
					l.socket.mu.Lock()
					l.socket.err = []error{nil, nil, errors.New("test")}[rnd.IntN(3)]
					l.socket.mu.Unlock()
				default:
					time.Sleep(time.Duration(rnd.IntN(4000)) * time.Millisecond)
				}
			}
			l.socket.mu.Lock()
			l.socket.err = nil
			l.socket.mu.Unlock()
			time.Sleep(64*500*time.Millisecond + time.Second)
			asked.Wait()
			if s, c := l.servers.count.Load(), l.clients.count.Load(); s != 0 || c != 0 {
				t.Errorf("seed %d: %d server and %d client transactions left", seed, s, c)
			}
			l.wheel.mu.Lock()
			if l.wheel.armed != 0 {
				t.Errorf("seed %d: %d timers left", seed, l.wheel.armed)
			}
			l.wheel.mu.Unlock()
			for i := range l.merged.live {
				if n := l.merged.live[i].used; n != 0 {
					t.Errorf("seed %d: %d merge entries left", seed, n)
				}
			}
			for i := range l.merged.done.parts {
				if n := l.merged.done.parts[i].len(); n != 0 {
					t.Errorf("seed %d: %d merge entries of answered requests left", seed, n)
				}
			}
			l.stop()
		})
	}
}
