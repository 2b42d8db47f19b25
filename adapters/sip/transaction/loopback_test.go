package transaction

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/leaktest"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// handlerFunc is a Handler.
type handlerFunc func(req *wire.Message, src Source, tx *ServerTx)

func (f handlerFunc) Request(req *wire.Message, src Source, tx *ServerTx) { f(req, src, tx) }

// answerOK answers everything with 200 at once.
var answerOK = handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
	tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the test sees what comes
})

// startLayer starts a layer with UDP and TCP on one loopback address and ends it with the test.
func startLayer(t testing.TB, h Handler, change func(*Config)) *Layer {
	t.Helper()
	cfg := Config{
		Listeners: []Listener{{Transport: resolver.UDP, Address: "127.0.0.1:0"}, {Transport: resolver.TCP, Address: "127.0.0.1:0"}},
		Logger:    zerolog.Nop(),
	}
	if change != nil {
		change(&cfg)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		defer cancel()
		if err := l.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := l.Wait(); err != nil {
			t.Errorf("wait: %v", err)
		}
	})
	return l
}

// targetOf is the first listener of a transport.
func targetOf(t testing.TB, l *Layer, transport resolver.Transport) resolver.Target {
	t.Helper()
	for _, a := range l.Addrs() {
		if a.Transport == transport {
			return resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: transport, Addr: a.Address})
		}
	}
	t.Fatalf("no %s listener", transport)
	return resolver.Target{}
}

func testRequest(method string, body string) *wire.Request {
	return &wire.Request{
		Method: method, URI: "sip:romeo@example.net", From: "<sip:juliet@example.com>;tag=" + wire.NewTag(), To: "<sip:romeo@example.net>",
		CallID: wire.NewCallID("example.com"), CSeq: 1, ContentType: "text/plain", Body: []byte(body),
	}
}

func TestRoundTrip(t *testing.T) {
	for _, transport := range []resolver.Transport{resolver.UDP, resolver.TCP} {
		t.Run(transport.String(), func(t *testing.T) {
			var body []byte
			got := make(chan Source, 1)
			server := startLayer(t, handlerFunc(func(req *wire.Message, src Source, tx *ServerTx) {
				body = bytes.Clone(req.Body())
				got <- src
				if err := tx.Respond(202, "Taken", RespondOptions{Headers: []wire.Header{{Name: "Server", Value: "test"}}}); err != nil {
					t.Error(err)
				}
				if err := tx.Respond(200, "", RespondOptions{}); !errors.Is(err, ErrAnswered) {
					t.Errorf("second final response: %v", err)
				}
			}), nil)
			client := startLayer(t, answerOK, nil)
			r := client.Do(t.Context(), targetOf(t, server, transport), testRequest("MESSAGE", "wherefore\r\nart <thou>"))
			if r.Err != nil || !r.Sent || r.Response.StatusCode() != 202 || r.Response.ReasonPhrase() != "Taken" {
				t.Fatalf("result %+v", r)
			}
			src := <-got
			if string(body) != "wherefore\r\nart <thou>" || src.Transport != transport {
				t.Errorf("server got %q from %+v", body, src)
			}
			if r.Response.To().Tag() == "" {
				t.Error("no To tag in the response")
			}
			if n := client.clients.count.Load(); n != 0 {
				t.Errorf("%d client transactions left", n)
			}
		})
	}
}

// RFC 3261 §18.1.1: "If a request is within 200 bytes of the path MTU, or if it is larger than 1300 bytes and the path MTU is unknown,
// the request MUST be sent using an RFC 2914 [43] congestion controlled transport protocol, such as TCP."
func TestLargeRequestGoesOverTCP(t *testing.T) {
	seen := make(chan string, 1)
	h := handlerFunc(func(req *wire.Message, _ Source, tx *ServerTx) {
		seen <- req.TopVia().Transport()
		tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the client sees it
	})
	// Both listeners must share one port.
	server := startLayer(t, h, func(c *Config) {
		port := porttest.Address(t)
		c.Listeners = []Listener{{Transport: resolver.UDP, Address: port}, {Transport: resolver.TCP, Address: port}}
	})
	client := startLayer(t, answerOK, nil)
	r := client.Do(t.Context(), targetOf(t, server, resolver.UDP), testRequest("MESSAGE", strings.Repeat("x", 1300)))
	if r.Err != nil || r.Response.StatusCode() != 200 || r.Target.Transport() != resolver.TCP {
		t.Fatalf("result %+v", r)
	}
	if via := <-seen; via != "TCP" {
		t.Errorf("Via said %s", via)
	}
}

// RFC 3428 §8: a large MESSAGE never goes over UDP where TCP fails.
func TestLargeRequestWithoutTCP(t *testing.T) {
	server := startLayer(t, answerOK, func(c *Config) { c.Listeners = c.Listeners[:1] })
	client := startLayer(t, answerOK, nil)
	r := client.Do(t.Context(), targetOf(t, server, resolver.UDP), testRequest("MESSAGE", strings.Repeat("x", 1300)))
	if !errors.Is(r.Err, ErrTooLarge) || r.Sent {
		t.Fatalf("result %+v", r)
	}
}

// RFC 3261 §18.4: "Host, network, port or protocol unreachable errors, or parameter problem errors SHOULD cause the transport layer to
// inform the transport user of a failure in sending."
func TestPortUnreachable(t *testing.T) {
	client := startLayer(t, answerOK, nil)
	addr := porttest.Refused(t)
	target := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: addr})
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	r := client.Do(ctx, target, testRequest("OPTIONS", "x"))
	if !errors.Is(r.Err, ErrTransport) || r.Sent {
		t.Fatalf("result %+v", r)
	}
	target = resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: addr})
	if r = client.Do(ctx, target, testRequest("OPTIONS", "x")); !errors.Is(r.Err, ErrTransport) || r.Sent {
		t.Fatalf("TCP: result %+v", r)
	}
}

// RFC 3581 §4: the response "MUST be sent from the same address and port that the corresponding request was received on", also where
// one socket has all addresses of the machine; and both address families work.
func TestWildcardAndIPv6(t *testing.T) {
	for _, v := range []struct{ name, listen, target string }{
		{"IPv4 wildcard", "0.0.0.0:0", "127.0.0.2"},
		{"IPv6 wildcard", "[::]:0", "::1"},
		{"IPv6", "[::1]:0", "::1"},
	} {
		t.Run(v.name, func(t *testing.T) {
			if strings.Contains(v.listen, "[") && !haveIPv6() {
				if os.Getenv("CI") != "" {
					t.Fatal("no IPv6 on this machine")
				}
				t.Skip("no IPv6 on this machine")
			}
			came := make(chan netip.AddrPort, 1)
			server := startLayer(t, handlerFunc(func(_ *wire.Message, src Source, tx *ServerTx) {
				came <- src.Local
				tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the client sees it
			}), func(c *Config) {
				c.SentBy = "gateway.example.com"
				c.Listeners = []Listener{{Transport: resolver.UDP, Address: v.listen}}
			})
			// The client drops a response that comes from another address than the request went to.
			client := startLayer(t, answerOK, func(c *Config) {
				c.SentBy = "client.example.com"
				c.Listeners = []Listener{{Transport: resolver.UDP, Address: v.listen}}
			})
			at := netip.AddrPortFrom(netip.MustParseAddr(v.target), server.Addrs()[0].Address.Port())
			target := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: at})
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			r := client.Do(ctx, target, testRequest("MESSAGE", "x"))
			if r.Err != nil || r.Response.TopVia().SentBy() != "client.example.com:"+strconv.Itoa(int(client.Addrs()[0].Address.Port())) {
				t.Fatalf("result %+v", r)
			}
			if local := <-came; local != at {
				t.Errorf("received on %s, should be %s", local, at)
			}
		})
	}
}

// A flood that never lets the socket be read empty keeps nobody from closing it.
func TestAFloodDoesNotHoldUpTheEnd(t *testing.T) {
	from, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var to atomic.Pointer[net.UDPAddr]
	var calm atomic.Bool
	var read atomic.Int64
	many := make(chan struct{})
	flood := func() {
		for range 2 { // for each that is read, so that there are always some
			if at := to.Load(); at != nil && !calm.Load() {
				from.WriteTo([]byte("no request of any kind"), at) //nolint:errcheck // it is lost then, as others are
			}
		}
	}
	l, err := New(Config{
		Listeners: []Listener{{Transport: resolver.UDP, Address: "127.0.0.1:0"}}, Logger: zerolog.Nop(),
		Tap: func(d Direction, _ []byte) {
			if d == Inbound {
				if flood(); read.Add(1) == 5000 {
					close(many)
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context(), answerOK); err != nil {
		t.Fatal(err)
	}
	to.Store(net.UDPAddrFromAddrPort(l.Addrs()[0].Address))
	flood()
	<-many // by now some thousand wait in the socket
	ended := make(chan error, 1)
	go func() { ended <- l.Shutdown(context.Background()) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		calm.Store(true)
		t.Errorf("the listener could not be closed: %v", <-ended)
	}
}

func haveIPv6() bool {
	p, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	p.Close() //nolint:errcheck // a test
	return true
}

// A configuration that cannot work is refused with what to write instead.
func TestConfigurationFaults(t *testing.T) {
	for name, c := range map[string]Config{
		"no port":              {Listeners: []Listener{{Transport: resolver.UDP, Address: "127.0.0.1"}}},
		"a name":               {Listeners: []Listener{{Transport: resolver.UDP, Address: "localhost:5060"}}},
		"XMPP's transport":     {Listeners: []Listener{{Transport: resolver.Component, Address: "127.0.0.1:0"}}},
		"wildcard without Via": {Listeners: []Listener{{Transport: resolver.UDP, Address: "0.0.0.0:0"}}},
		"Via with port":        {SentBy: "example.com:5060"},
		"Via with line end":    {SentBy: "a\r\nb"},
		"T2 below T1":          {T1: time.Second, T2: time.Millisecond},
	} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	taken := startLayer(t, answerOK, nil)
	l, err := New(Config{Listeners: []Listener{{Transport: resolver.UDP, Address: "127.0.0.1:0"}, {Transport: resolver.TCP, Address: taken.Addrs()[1].Address.String()}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context(), answerOK); !errors.Is(err, ErrTransport) {
		t.Errorf("taken port: %v", err)
	}
	if err := l.Wait(); err != nil {
		t.Errorf("wait: %v", err)
	}
}

// benchmarkRoundTrip measures a client and a server of one process, so the figures are for both ends together.
func benchmarkRoundTrip(b *testing.B, transport resolver.Transport, parallel bool) {
	server := startLayer(b, answerOK, nil)
	client := startLayer(b, answerOK, nil)
	target := targetOf(b, server, transport)
	body := strings.Repeat("x", 400)
	b.ReportAllocs()
	cpu := cpuTime(b)
	if parallel {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if r := client.Do(context.Background(), target, testRequest("MESSAGE", body)); r.Err != nil {
					b.Error(r.Err)
					return
				}
			}
		})
	} else {
		for b.Loop() {
			if r := client.Do(context.Background(), target, testRequest("MESSAGE", body)); r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
}

func BenchmarkRoundTripUDP(b *testing.B)         { benchmarkRoundTrip(b, resolver.UDP, false) }
func BenchmarkRoundTripTCP(b *testing.B)         { benchmarkRoundTrip(b, resolver.TCP, false) }
func BenchmarkRoundTripUDPParallel(b *testing.B) { benchmarkRoundTrip(b, resolver.UDP, true) }
func BenchmarkRoundTripTCPParallel(b *testing.B) { benchmarkRoundTrip(b, resolver.TCP, true) }

// cpuTime is the CPU time of the process in nanoseconds.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
