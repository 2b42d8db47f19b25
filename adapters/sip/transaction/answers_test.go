package transaction

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// toTag is the tag of To in a response.
func toTag(t *testing.T, b []byte) string {
	t.Helper()
	m, err := wire.Parse(bytes.Clone(b), wire.Limits{})
	if err != nil {
		t.Fatalf("%v: %q", err, b)
	}
	return m.To().Tag()
}

// T-FI-24, THREATS G12: a MESSAGE that comes again as a new transaction is not delivered again. While the first has no answer its copies
// wait for it; afterwards they get the same one. After an answer which says that it was not taken, to try again is no copy.
func TestMessageSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held []*ServerTx
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) { held = append(held, tx) }), nil)
		send := func(branch, call string) { l.receive(inRequest("MESSAGE", branch, call, ""), l.origin) }
		answers := func(from int) (list []string) {
			for _, p := range l.socket.packets()[from:] {
				list = append(list, statusOf(p))
			}
			return list
		}
		send("z9hG4bK1", "c1")
		send("z9hG4bK1", "c1")
		send("z9hG4bK2", "c1")
		send("z9hG4bK3", "c1")
		if len(held) != 1 || len(l.socket.packets()) != 0 {
			t.Fatalf("%d delivered, answered %v", len(held), answers(0))
		}
		if err := held[0].Respond(202, "", RespondOptions{}); err != nil {
			t.Fatal(err)
		}
		send("z9hG4bK4", "c1")
		time.Sleep(40 * time.Second) // Timer J is over
		send("z9hG4bK5", "c1")
		send("z9hG4bK1", "c1")
		p := l.socket.packets()
		if len(held) != 1 || fmt.Sprint(answers(0)) != "[202 Accepted 202 Accepted 202 Accepted 202 Accepted 202 Accepted 202 Accepted]" {
			t.Fatalf("%d delivered, answered %v", len(held), answers(0))
		}
		for i := range p {
			if toTag(t, p[i].octets) != toTag(t, p[0].octets) {
				t.Errorf("answer %d has another tag", i)
			}
		}
		time.Sleep(10 * time.Minute)
		send("z9hG4bK6", "c1")
		if len(held) != 2 {
			t.Error("remembered for longer than AnswerLife")
		}

		send("z9hG4bK7", "c2")
		at := len(l.socket.packets())
		held[2].Respond(480, "", RespondOptions{}) //nolint:errcheck // the packets show it
		send("z9hG4bK8", "c2")
		if len(held) != 4 || fmt.Sprint(answers(at)) != "[480 Temporarily Unavailable]" {
			t.Errorf("a new attempt after 480: %d delivered, answered %v", len(held), answers(at))
		}
		// What was sent again because its outcome is not known may have been delivered.
		held[3].Respond(504, "", RespondOptions{}) //nolint:errcheck // the packets show it
		send("z9hG4bK9", "c2")
		if len(held) != 4 {
			t.Error("delivered again after 504")
		}
		l.stop()
	})
}

// S2, T-FI-24: what looks like the copy of another user's MESSAGE is none: answered with that one's answer it would be lost, and its sender
// would not know.
func TestCopiesAreOfOneSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delivered := 0
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
			delivered++
			tx.Respond(202, "", RespondOptions{}) //nolint:errcheck // the count shows it
		}), nil)
		l.receive(bytes.Replace(inRequest("MESSAGE", "z9hG4bK1", "c1", ""), []byte("juliet@"), []byte("mallory@"), 1), l.origin)
		time.Sleep(40 * time.Second) // Timer J is over, AnswerLife is not
		l.receive(inRequest("MESSAGE", "z9hG4bK2", "c1", ""), l.origin)
		if delivered != 2 {
			t.Errorf("%d delivered of 2", delivered)
		}
		l.stop()
	})
}

// T-FI-24: the copy comes over another connection, or the first connection is gone.
func TestMessageSentAgainOverAnotherConnection(t *testing.T) {
	calls := 0
	l := startLayer(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
		calls++
		tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the responses show it
	}), nil)
	var tags []string
	for n := range 3 {
		nc := dial(t, l)
		if _, err := nc.Write([]byte(strings.Replace(tcpRequest(1), "z9hG4bK1", fmt.Sprintf("z9hG4bK1x%d", n/2), 1))); err != nil {
			t.Fatal(err)
		}
		b, _, err := wire.NewStreamReader(nc, wire.Limits{}).Next()
		if err != nil || !bytes.HasPrefix(b, []byte("SIP/2.0 200 OK")) {
			t.Fatalf("%v %q", err, b)
		}
		tags = append(tags, toTag(t, b))
	}
	if calls != 1 || tags[0] != tags[1] || tags[1] != tags[2] {
		t.Errorf("%d delivered, tags %v", calls, tags)
	}
}

// The memory is bounded: the oldest answer gives way.
func TestAnswersAreBounded(t *testing.T) {
	var table answerTable
	table.init(2*shards, time.Hour)
	for i := range uint64(100) {
		table.put(time.Now(), hashKey{i * shards, i << 32}, reply{code: 200}, nil)
	}
	if n := table.known.parts[0].len(); n != 2 {
		t.Errorf("%d kept, should be 2", n)
	}
	if _, ok := table.get(time.Now(), hashKey{99 * shards, 99 << 32}); !ok {
		t.Error("the newest is gone")
	}
	if _, ok := table.get(time.Now(), hashKey{97 * shards, 97 << 32}); ok {
		t.Error("an old one is there")
	}
}

// T-FI-24: what has the identifiers of a message that was answered, and another content or sender, is another message. To answer it from
// memory would lose it in silence.
func TestAnotherMessageIsNoCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delivered := 0
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
			delivered++
			tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the count shows it
		}), nil)
		first := "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\none"
		for i, v := range []struct{ name, old, with string }{
			{"the first", "", ""},
			{"another body", "\r\n\r\none", "\r\n\r\ntwo"},
			{"another sender", "From: <sip:juliet@", "From: <sip:nurse@"},
			{"another type", "text/plain", "text/x-note"},
			{"another recipient", "MESSAGE sip:romeo@", "MESSAGE sip:tybalt@"},
		} {
			b := strings.Replace(string(inRequest("MESSAGE", fmt.Sprintf("z9hG4bK%d", i), "c1", "")), "Content-Length: 0\r\n\r\n", first, 1)
			l.receive([]byte(strings.Replace(b, v.old, v.with, 1)), l.origin)
			if delivered != i+1 {
				t.Errorf("%s: %d delivered, should be %d", v.name, delivered, i+1)
				delivered = i + 1
			}
			time.Sleep(33 * time.Second) // Timer J: after it the requests are not merged ones any more
		}
		l.stop()
	})
}

// T-FI-24: a message whose answer comes later than its transaction lives is not delivered again for its copies: until there is an answer
// its outcome is not known, then they get that answer. If it was not taken, to try again is right.
func TestCopyOfWhatIsAnsweredLate(t *testing.T) {
	for _, v := range []struct {
		code, delivered int
		answer          string
	}{{200, 1, "200 OK"}, {480, 2, "503 Service Unavailable"}} {
		synctest.Test(t, func(t *testing.T) {
			var held []*ServerTx
			l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
				if held = append(held, tx); len(held) > 1 {
					tx.Respond(503, "", RespondOptions{}) //nolint:errcheck // the packets show it
				}
			}), nil)
			send := func(branch string) string {
				l.receive(inRequest("MESSAGE", branch, "c1", ""), l.origin)
				p := l.socket.packets()
				return statusOf(p[len(p)-1])
			}
			l.receive(inRequest("MESSAGE", "z9hG4bK1", "c1", ""), l.origin)
			time.Sleep(33 * time.Second)
			if s := send("z9hG4bK2"); s != "504 Server Time-out" || len(held) != 1 {
				t.Errorf("before the answer: %s, %d delivered", s, len(held))
			}
			held[0].Respond(v.code, "", RespondOptions{}) //nolint:errcheck // it is too late for the first
			if s := send("z9hG4bK3"); s != v.answer || len(held) != v.delivered {
				t.Errorf("after %d: %s, %d delivered", v.code, s, len(held))
			}
			l.stop()
		})
	}
}

// Of two copies that come at once, when the first attempt was refused, one is served and the other waits for its answer.
func TestTwoCopiesAtOnce(t *testing.T) {
	var table mergeTable
	table.init(time.Minute)
	old, one, two := &ServerTx{}, &ServerTx{}, &ServerTx{}
	if _, _, known := table.add(time.Now(), old); known || table.replace(old, one) != nil {
		t.Fatal("no place")
	}
	if table.replace(old, two) != one {
		t.Error("both have the place of the first")
	}
}

// T-FI-24: "same branch; new TCP connection": a client whose connection ended while its request was under way, and that sends it again
// over a new one, gets the answer there; somebody else with the same branch does not.
func TestSameBranchOverAnotherConnection(t *testing.T) {
	held := make(chan *ServerTx, 2)
	l := startLayer(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) { held <- tx }), nil)
	first := dial(t, l)
	if _, err := first.Write([]byte(tcpRequest(1))); err != nil {
		t.Fatal(err)
	}
	tx := <-held
	still := dial(t, l) // while the first connection is there, the answer goes there
	exchange := func(nc net.Conn) {
		t.Helper()
		if _, err := nc.Write([]byte(tcpRequest(1) + "\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, make([]byte, 2)); err != nil { // the pong: the copy was seen
			t.Fatal(err)
		}
	}
	exchange(still)
	first.Close() //nolint:errcheck // a test
	<-tx.route.conn.gone
	second := dial(t, l)
	exchange(second)
	if err := tx.Respond(200, "", RespondOptions{}); err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.NewStreamReader(second, wire.Limits{}).Next()
	if err != nil || !bytes.HasPrefix(b, []byte("SIP/2.0 200 OK")) || len(held) != 0 {
		t.Errorf("%v %q, %d more delivered", err, b, len(held))
	}
}
