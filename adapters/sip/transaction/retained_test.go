package transaction

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// RFC 3261 §17.2.2: "While in the "Completed" state, the server transaction MUST pass the final response to the transport layer for
// retransmission whenever a retransmission of the request is received." Whatever the response says, it is the same octets, although those
// of most are not kept.
func TestTheSameAnswerAgain(t *testing.T) {
	for name, v := range map[string]struct {
		code   int
		reason string
		opts   RespondOptions
		kept   bool
	}{
		"as most are":     {202, "Accepted", RespondOptions{}, false},
		"default phrase":  {480, "", RespondOptions{}, false},
		"a tag of ours":   {200, "", RespondOptions{ToTag: wire.NewTag()}, false},
		"another tag":     {200, "", RespondOptions{ToTag: "t"}, true},
		"a tag too many":  {200, "", RespondOptions{ToTag: "0123456789abcdefghijklmz"}, true},
		"phrase":          {480, "Not now", RespondOptions{}, true},
		"header field":    {415, "", RespondOptions{Headers: []wire.Header{{Name: "Accept", Value: "text/plain"}}}, true},
		"spare":           {200, "", RespondOptions{Spare: []wire.Header{{Name: "Server", Value: "x"}}}, true},
		"body":            {200, "", RespondOptions{ContentType: "text/plain", Body: []byte("x")}, true},
		"a code of today": {699, "", RespondOptions{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
					calls++
					if err := tx.Respond(v.code, v.reason, v.opts); err != nil {
						t.Error(err)
					}
				}), nil)
				raw := inRequest("OPTIONS", "z9hG4bK1", "call", "")
				for range 3 {
					l.receive(bytes.Clone(raw), l.origin)
					time.Sleep(time.Second)
				}
				p := l.socket.packets()
				if calls != 1 || len(p) != 3 || !bytes.Equal(p[0].octets, p[1].octets) || !bytes.Equal(p[0].octets, p[2].octets) {
					t.Fatalf("%d calls, answers %v", calls, p)
				}
				kept := 0
				for i := range l.servers.done.parts {
					kept += len(l.servers.done.parts[i].more)
				}
				if (kept == 1) != v.kept {
					t.Errorf("%d responses are kept whole", kept)
				}
				l.stop()
			})
		})
	}
}

// A client that uses a branch twice does not take the answer to its first request for one to its second (RFC 3261 §8.1.1.7: "The branch
// parameter value MUST be unique across space and time for all requests sent by the UA").
func TestTheBranchOfAnotherRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
			calls++
			tx.Respond(202, "", RespondOptions{}) //nolint:errcheck // looked at below
		}), nil)
		for i := range 2 {
			l.receive(inRequest("MESSAGE", "z9hG4bK1", fmt.Sprintf("call%d", i), ""), l.origin)
		}
		p := l.socket.packets()
		if calls != 1 || len(p) != 2 || statusOf(p[0]) != "202 Accepted" || !bytes.HasPrefix(p[1].octets, []byte("SIP/2.0 400 ")) {
			t.Errorf("%d calls, answers %v", calls, p)
		}
		l.stop()
	})
}

// A copy is answered where it came from, and with no more octets than that one may get (THREATS S11).
func TestACopyFromElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
			tx.Respond(480, "Not now, and for a reason that is told at some length here", RespondOptions{}) //nolint:errcheck // looked at below
		}), nil)
		raw := inRequest("OPTIONS", "z9hG4bK1", "call", "")
		long := bytes.Replace(raw, []byte("Content-Length"), []byte("Subject: this makes it longer than the copy, by so much that it counts\r\nContent-Length"), 1)
		l.receive(long, l.origin)
		o := l.origin
		o.remote = netip.MustParseAddrPort("192.0.2.7:6000")
		l.receive(bytes.Clone(long), o)
		l.receive(raw, o)
		p := l.socket.packets()
		if len(p) != 2 || p[0].to != theirs || p[1].to != o.remote {
			t.Errorf("answers %v", p)
		}
		l.stop()
	})
}
