package transaction

import (
	"bytes"
	"fmt"
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
		table.put(mergeKey{i * shards, i}, 200, "", "")
	}
	part := &table.part[0]
	if len(part.by) != 2 || len(part.ring) != 2 {
		t.Errorf("%d kept, should be 2", len(part.by))
	}
	if _, ok := table.get(mergeKey{99 * shards, 99}); !ok {
		t.Error("the newest is gone")
	}
	if _, ok := table.get(mergeKey{97 * shards, 97}); ok {
		t.Error("an old one is there")
	}
}
