package transaction

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// dial opens a raw connection to the TCP listener of l.
func dial(t *testing.T, l *Layer) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", targetOf(t, l, resolver.TCP).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() }) //nolint:errcheck // a test
	if err := nc.SetDeadline(time.Now().Add(40 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}

func tcpRequest(n int) string {
	return strings.Replace(string(inRequest("MESSAGE", fmt.Sprintf("z9hG4bK%d", n), fmt.Sprintf("call%d", n), "")), "/UDP", "/TCP", 1)
}

// LIBRARIES.md A: 5000 requests in one go must reach the handler, and be answered, in their order.
func TestStreamKeepsOrder(t *testing.T) {
	var order []string
	l := startLayer(t, handlerFunc(func(req *wire.Message, _ Source, tx *ServerTx) {
		order = append(order, req.CallID())
		tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the responses show it
	}), func(c *Config) { c.Bounds.WriteQueueBytes = 8 << 20 })
	nc := dial(t, l)
	const n = 5000
	go func() {
		w := bufio.NewWriter(nc)
		for i := range n {
			w.WriteString(tcpRequest(i)) //nolint:errcheck // the responses show it
		}
		w.Flush() //nolint:errcheck // the responses show it
	}()
	r := wire.NewStreamReader(nc, wire.Limits{})
	for i := range n {
		b, _, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.Parse(b, wire.Limits{})
		if err != nil || m.CallID() != fmt.Sprintf("call%d", i) || m.StatusCode() != 200 {
			t.Fatalf("response %d: %v %s", i, err, b)
		}
	}
	for i, id := range order {
		if id != fmt.Sprintf("call%d", i) {
			t.Fatalf("request %d was %s", i, id)
		}
	}
	if c := l.servers.count.Load(); c != 0 {
		t.Errorf("%d transactions kept on a reliable transport", c)
	}
}

// T-FZ-02, THREATS S5: a message whose end is not known is answered, and the connection is closed.
func TestStreamFramingFault(t *testing.T) {
	l := startLayer(t, handlerFunc(func(req *wire.Message, _ Source, tx *ServerTx) {
		if req.CallID() != "call1" {
			t.Errorf("%s reached the handler", req.CallID())
		}
		tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the responses show it
	}), nil)
	for _, v := range []struct{ name, old, with, want string }{
		{"two lengths", "Content-Length: 0", "Content-Length: 0\r\nl: 0", "400 Bad Request: two Content-Length headers"},
		{"2**32", "Content-Length: 0", "Content-Length: 4294967296", "400 Bad Request: malformed Content-Length"},
		{"no length", "Content-Length: 0\r\n", "", "400 Bad Request: no Content-Length"},
		{"too long", "Content-Length: 0", "Content-Length: 99999", "513 Message Too Large"},
		{"bare LF", "Max-Forwards: 70\r\n", "Max-Forwards: 70\n", "400 Bad Request: CR or LF alone"},
	} {
		nc := dial(t, l)
		bad := strings.Replace(tcpRequest(2), v.old, v.with, 1)
		if _, err := io.WriteString(nc, tcpRequest(1)+bad+tcpRequest(3)); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(nc)
		if err != nil || !strings.HasPrefix(string(b), "SIP/2.0 200 OK\r\n") || !strings.Contains(string(b), "\r\n\r\nSIP/2.0 "+v.want+"\r\n") ||
			strings.Count(string(b), "SIP/2.0 ") != 2 {
			t.Errorf("%s: %v %q", v.name, err, b)
		}
		nc.Close() //nolint:errcheck // a test
	}
}

// A fault within a message whose end is known costs that message only.
func TestStreamGoesOn(t *testing.T) {
	l := startLayer(t, answerOK, nil)
	nc := dial(t, l)
	bad := strings.Replace(tcpRequest(1), "CSeq: 7 MESSAGE", "CSeq: 7 INFO", 1)
	if _, err := io.WriteString(nc, "\r\n\r\n"+bad+"\r\n"+tcpRequest(2)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	pong := make([]byte, 2)
	if _, err := io.ReadFull(r, pong); err != nil || string(pong) != "\r\n" {
		t.Errorf("RFC 5626 §4.4.1: pong %v %q", err, pong)
	}
	frames := wire.NewStreamReader(r, wire.Limits{})
	for _, want := range []string{"SIP/2.0 400 Bad Request: CSeq method differs\r\n", "SIP/2.0 200 OK\r\n"} {
		if b, _, err := frames.Next(); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%v %q, should begin with %q", err, b, want)
		}
	}
}

// becomes waits until a count is what it should be.
func becomes(t *testing.T, what string, want int64, count func() int64) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(40 * time.Second); count() != want; <-look.C {
		if time.Now().After(end) {
			t.Errorf("%s: %d, want %d", what, count(), want)
			return
		}
	}
}

// A peer that goes away without an answer ends the call at once, and whether it had the request is told.
func TestStreamPeerCloses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // a test
	go func() {
		nc, err := ln.Accept()
		if err == nil {
			wire.NewStreamReader(nc, wire.Limits{}).Next() //nolint:errcheck // whatever it is
			nc.Close()                                     //nolint:errcheck // a test
		}
	}()
	l := startLayer(t, answerOK, nil)
	target := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: addrOf(ln.Addr())})
	began := time.Now()
	r := l.Do(t.Context(), target, testRequest("MESSAGE", "x"))
	if !errors.Is(r.Err, ErrTransport) || !r.Sent || time.Since(began) > 10*time.Second {
		t.Errorf("result %+v", r)
	}
	becomes(t, "connections left", 0, l.pool.outbound.Load)
}

// A peer that does not read fills its own queue and nobody else's: then requests are refused without having been sent.
func TestStreamQueueIsBounded(t *testing.T) {
	buffer := func(option int) func(string, string, syscall.RawConn) error {
		return func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, option, 32<<10) //nolint:errcheck // the test fails then
			})
		}
	}
	lc := net.ListenConfig{Control: buffer(syscall.SO_RCVBUF)}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // a test
	l := startLayer(t, answerOK, func(c *Config) {
		c.Bounds.WriteQueueBytes = 256 << 10
		c.Bounds.WriteTimeout = 500 * time.Millisecond
		c.DialControl = buffer(syscall.SO_SNDBUF)
	})
	target := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: addrOf(ln.Addr())})
	var overloaded, failed atomic.Int64
	var calls sync.WaitGroup
	for range 40 {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
			defer cancel()
			r := l.Do(ctx, target, testRequest("MESSAGE", strings.Repeat("x", 50<<10)))
			switch {
			case errors.Is(r.Err, ErrOverloaded) && !r.Sent:
				overloaded.Add(1)
			case errors.Is(r.Err, ErrTransport):
				failed.Add(1)
			default:
				t.Errorf("result %+v", r)
			}
		})
	}
	calls.Wait()
	if overloaded.Load() == 0 || failed.Load() == 0 {
		t.Errorf("%d refused, %d failed by the write timeout", overloaded.Load(), failed.Load())
	}
	becomes(t, "octets that are counted as queued", 0, l.pool.queued.Load)
}

func TestConnectionBounds(t *testing.T) {
	l := startLayer(t, answerOK, func(c *Config) { c.Bounds.ConnectionsPerAddress = 3 })
	for range 3 {
		nc := dial(t, l)
		if _, err := io.WriteString(nc, tcpRequest(1)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	nc := dial(t, l)
	if n, err := nc.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d octets from a connection too many", n)
	}
	becomes(t, "connections", 3, l.pool.inbound.Load)
}

func TestIdleConnectionIsClosed(t *testing.T) {
	l := startLayer(t, answerOK, func(c *Config) { c.Bounds.IdleTimeout = 3 * time.Second })
	nc := dial(t, l)
	if _, err := io.WriteString(nc, tcpRequest(1)+"MESSAGE sip:half"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(nc); err != nil || !strings.HasPrefix(string(b), "SIP/2.0 200 OK\r\n") {
		t.Errorf("%v %q", err, b)
	}
}

// One connection carries the requests to a target, both ends of it wait for each other's responses, and it is opened once.
func TestConnectionIsShared(t *testing.T) {
	server := startLayer(t, answerOK, nil)
	client := startLayer(t, answerOK, nil)
	target := targetOf(t, server, resolver.TCP)
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if r := client.Do(context.Background(), target, testRequest("MESSAGE", "x")); r.Err != nil {
				t.Errorf("result %+v", r)
			}
		})
	}
	calls.Wait()
	if n := client.pool.outbound.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
