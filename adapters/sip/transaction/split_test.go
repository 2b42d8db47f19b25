package transaction

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// T-FZ-02, THREATS S5: a stream cut in two at every octet is answered like the whole. The stream is a ping, a request, one with a fault that
// costs itself alone, one more request, and one whose end is not known, behind which nothing is read.
func TestStreamSplitAtEveryOctet(t *testing.T) {
	var calls []string
	l := startLayer(t, handlerFunc(func(req *wire.Message, _ Source, tx *ServerTx) {
		calls = append(calls, req.CallID())
		tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the responses show it
	}), func(c *Config) { c.Bounds.AnswerLife = -1 })
	stream := "\r\n\r\n" + tcpRequest(1) + strings.Replace(tcpRequest(2), "CSeq: 7 MESSAGE", "CSeq: 7 INFO", 1) + tcpRequest(3) +
		strings.Replace(tcpRequest(4), "Content-Length: 0", "Content-Length: 0\r\nl: 0", 1) + tcpRequest(5)
	const want = "SIP/2.0 200 OK|SIP/2.0 400 Bad Request: CSeq method differs|SIP/2.0 200 OK|SIP/2.0 400 Bad Request: two Content-Length headers"
	for at := range len(stream) {
		near, far := net.Pipe()
		calls = nil
		l.pool.accept(&piped{Conn: near}, &streamListener{layer: l, transport: resolver.TCP})
		go func() {
			// The end of the stream is not taken once the connection is closed.
			far.Write([]byte(stream[:at])) //nolint:errcheck // see above
			far.Write([]byte(stream[at:])) //nolint:errcheck // see above
		}()
		b, err := io.ReadAll(far)
		far.Close() //nolint:errcheck // a test
		if err != nil {
			t.Fatal(err)
		}
		got := string(b)
		if !strings.HasPrefix(got, "\r\nSIP/2.0") {
			t.Fatalf("split at %d: no pong: %q", at, got)
		}
		var lines []string
		for line := range strings.SplitSeq(got, "\r\n") {
			if strings.HasPrefix(line, "SIP/2.0 ") {
				lines = append(lines, line)
			}
		}
		if s := strings.Join(lines, "|"); s != want || strings.Join(calls, ",") != "call1,call3" {
			t.Fatalf("split at %d: %s, calls %v", at, s, calls)
		}
	}
}

// T-ID-13 on connections: a response is taken over the transport of its request only.
func TestResponseOverAnotherTransport(t *testing.T) {
	l := startLayer(t, answerOK, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // a test
	u, err := net.Dial("udp", targetOf(t, l, resolver.UDP).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close() //nolint:errcheck // a test
	done := make(chan Result, 1)
	go func() {
		done <- l.Do(t.Context(), resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: addrOf(ln.Addr())}), testRequest("MESSAGE", "x"))
	}()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close() //nolint:errcheck // a test
	b, _, err := wire.NewStreamReader(nc, wire.Limits{}).Next()
	if err != nil {
		t.Fatal(err)
	}
	forged, right := answerTo(b, 603), answerTo(b, 200)
	if _, err := u.Write(forged); err != nil {
		t.Fatal(err)
	}
	// Something behind it on the same socket, whose answer shows that the forged one was looked at.
	if _, err := u.Write(inRequest("OPTIONS", "z9hG4bKafter", "after", "")); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Read(make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write(right); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.Err != nil || r.Response.StatusCode() != 200 {
		t.Errorf("result %+v: a response over UDP was taken", r)
	}
}
