package sip

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/imdn"
)

// withMessageID is a message/cpim object with a Message-ID that asks for notices.
func withMessageID(id string) string {
	return carrying("Content-Type: message/cpim", "From: <im:romeo@example.net>\nTo: <im:juliet@example.com>\nDateTime: 2026-11-22T07:00:00.25-05:00\n"+
		"NS: imdn <urn:ietf:params:imdn>\nimdn.Message-ID: "+id+"\nimdn.Disposition-Notification: positive-delivery, display\n\nContent-Type: text/plain\n\nx")
}

// "The <message-id> element is mandatory and carries the Message-ID of the IM for which the IMDN is being requested" (RFC 5438 §11.1.1):
// whatever token of RFC 3862 §3.6 it is, the notice names it as it came, with the time that the message had.
func TestNoticeNamesTheMessageIDThatCame(t *testing.T) {
	for _, id := range []string{
		"34jk324j", "a#1", "$&|^a", "Å-7", "x-b64u-YQ", "x-b64u-w4U", "x-b64u-", "a.b-c_d~e!f%g*h'i`j", strings.Repeat("m", 512),
	} {
		t.Run(id[:min(len(id), 20)], func(t *testing.T) {
			in, ref := ReadMessage(request(t, withMessageID(id)), ReadOptions{Now: now})
			if ref != nil {
				t.Fatal(ref)
			}
			op := in.Message
			for kind, want := range map[adapters.ReportKind]imdn.Status{adapters.ReportDelivered: imdn.Delivered, adapters.ReportDisplayed: imdn.Displayed} {
				req, err := WriteReport(&adapters.Report{
					Kind: kind, Sender: op.From, Recipient: op.To, TransID: op.TransID, Thread: op.Thread, Wants: op.Wants, Sent: op.Sent, Time: now,
				}, WriteOptions{FromTag: "t", CSeq: 1, Now: now})
				if err != nil {
					t.Fatal(err)
				}
				object, err := cpim.ParseMessage(req.Body, cpim.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				n, err := imdn.Parse(object.Content().Body())
				if err != nil {
					t.Fatal(err)
				}
				f := n.Fields()
				if f.MessageID != id || f.Status != want || f.DateTime.String() != "2026-11-22T07:00:00.25-05:00" {
					t.Errorf("a notice of %q at %v, %v: the message is %q", f.MessageID, f.DateTime, f.Status, id)
				}
			}
		})
	}
}

// A Message-ID that no notice could name is refused: else its sender would wait for one that cannot come.
func TestMessageIDThatNoNoticeCanName(t *testing.T) {
	in, ref := ReadMessage(request(t, withMessageID(strings.Repeat("m", 513))), ReadOptions{Now: now})
	if ref == nil || ref.Code != 400 {
		t.Errorf("%v, taken %v", ref, in.Message != nil)
	}
}

// A recipient's refusal of what one sender put into an object says nothing of objects: else any sender could see to it that the
// recipient gets no request for receipts from anybody for a day.
func TestOneSenderTeachesNothingOfAnother(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		learns     bool
	}{
		{"an object with a picture", "image/png", false},
		{"an object with HTML", "text/html", false},
		{"an object with text", "text/plain", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _ := start(t, func(cfg *Config) {
				peer := loopback
				peer.Dispositions = true
				cfg.Peers = []Peer{peer}
			})
			g := udpAgent(t, a)
			seen := map[string]bool{}
			object := outgoing(func(op *adapters.MessageOp) {
				op.Content = adapters.Content{Type: c.kind, Octets: []byte("x")}
				op.Object = []byte("From: <im:juliet@example.com>\r\n\r\nContent-Type: " + c.kind + "\r\n\r\nx")
			})
			codes := []int{415}
			if c.learns {
				codes = append(codes, 200) // in the form that is left
			}
			outcomeOf(t, a, g, seen, object, codes...)
			asks := outgoing(func(op *adapters.MessageOp) { op.Wants = adapters.WantDelivered })
			came, _ := outcomeOf(t, a, g, seen, asks, 200)
			if learnt := came[0].ContentType() != "message/cpim"; learnt != c.learns {
				t.Errorf("the next message went as %s", came[0].ContentType())
			}
		})
	}
}

// When the table is full of what still holds, a new conversation costs no walk through all of it each time.
func TestComposersFullCostsNoWalk(t *testing.T) {
	s := newComposers()
	for i := range composersLimit {
		s.step(conversation{to: cpim.MustParseAddress("im:u" + strconv.Itoa(i) + "@example.net")}, adapters.ActivityComposing, 0, now)
	}
	stranger := conversation{to: cpim.MustParseAddress("im:stranger@example.net")}
	// A walk is some 200 µs, a look-up less than one; the best of several runs has the machine for itself.
	const many = 50
	best := time.Hour
	for range 40 {
		began := time.Now()
		for range many {
			if s.step(stranger, adapters.ActivityComposing, 0, now) {
				t.Fatal("there was room")
			}
		}
		best = min(best, time.Since(began)/many)
	}
	if best > 30*time.Microsecond {
		t.Errorf("%v for one", best)
	}
	if !s.step(stranger, adapters.ActivityComposing, 0, now.Add(time.Hour)) {
		t.Error("what has lapsed makes no room")
	}
}

// What is kept of users keeps nothing of the requests that they came in.
func TestWhatIsKeptIsSmall(t *testing.T) {
	l, c := newLearned(), newComposers()
	before := heapInUse()
	for i := range 500 {
		request := "im:u" + strconv.Itoa(i) + "@example.net" + strings.Repeat(" ", 64<<10)
		user := cpim.MustParseAddress(strings.TrimRight(request, " "))
		l.note(userAgent{"p", user, featureCPIM}, true)
		c.step(conversation{user, user}, adapters.ActivityComposing, 0, now)
	}
	if grown := heapInUse() - before; grown > 8<<20 {
		t.Errorf("%d octets for 500 users", grown)
	}
	runtime.KeepAlive(l)
	runtime.KeepAlive(c)
}

func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// An address that was read is no part of the request: what is kept by it, in the core too, would keep 64 KiB each.
func TestAddressesAreNoPartsOfRequests(t *testing.T) {
	before := heapInUse()
	var kept []adapters.Party
	for range 500 {
		op := read(t, strings.Replace(rfc7572Example4, "Content-Length: 44\n\nNeither", "\n"+strings.Repeat("x", 32<<10), 1))
		kept = append(kept, adapters.Party{Address: op.From.Address}, adapters.Party{Address: op.To.Address})
	}
	if grown := heapInUse() - before; grown > 8<<20 {
		t.Errorf("%d octets for 1000 addresses", grown)
	}
	runtime.KeepAlive(kept)
}

// A message is delivered, or its sender is told: who wants to hear that it was delivered is told also that it was not, when it turns out late.
func TestReceiptsAskForFailuresToo(t *testing.T) {
	for _, c := range []struct {
		wants adapters.Dispositions
		want  imdn.Want
	}{
		{adapters.WantDelivered, imdn.PositiveDelivery | imdn.NegativeDelivery}, {adapters.WantDisplayed, imdn.WantDisplay | imdn.NegativeDelivery}, {0, 0},
	} {
		op := outgoing(func(op *adapters.MessageOp) { op.Wants = c.wants })
		object, err := cpim.ParseMessage(written(t, op, WriteOptions{Now: now, CPIM: true}).Body(), cpim.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := imdn.RequestOf(object); err != nil || r.Want != c.want {
			t.Errorf("%v: asks for %v, %v", c.wants, r.Want, err)
		}
	}
}

// A name cannot turn the direction of what stands behind it.
func TestNamesKeepTheirDirection(t *testing.T) {
	for in, want := range map[string]string{"Romeo\u202e": "Romeo", "\u2066a\u2069\u202bb\u202c": "a  b", "\u05d0\u05d1": "\u05d0\u05d1"} {
		if got := displayName(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}
