package stanza_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
)

// "When a CPIM gateway relays an instant message, it decrements the value of the MaxForwards attribute" (RFC 3860 §3.4.2): over XMPP, which
// has none, our own element carries it, and the gateways that were passed.
func TestTheWayCrossesAndComesBack(t *testing.T) {
	op := &adapters.MessageOp{
		From: party("im:romeo@example.net", ""), To: party("im:juliet@example.com", ""), TransID: "m1", Hops: 41,
		Trace: []string{"a1.b2", "c3.d4"}, Content: adapters.Content{Type: "text/plain;charset=UTF-8", Octets: []byte("x")},
	}
	octets, err := stanza.AppendMessage(nil, op, stanza.Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "<way xmlns='https://github.com/isthmus-gateway/ns/way' hops='41' by='a1.b2 c3.d4'/>"
	if !strings.Contains(string(octets), want) {
		t.Errorf("no %s in\n%s", want, octets)
	}
	back, e := stanza.ToMessage(read(t, string(octets)))
	if e != nil || back.Hops != 41 || fmt.Sprint(back.Trace) != "[a1.b2 c3.d4]" {
		t.Errorf("%+v, %+v", back, e)
	}
	op.Trace = nil
	if octets, _ = stanza.AppendMessage(nil, op, stanza.Envelope{}); strings.Contains(string(octets), "way") {
		t.Errorf("an element that nobody asked for in\n%s", octets)
	}
	// XEP-0085 §5.6: a chat state that stands alone "MUST NOT contain any child elements other than the chat state notification extension".
	op.Trace, op.Activity, op.Content = []string{"a1"}, adapters.ActivityComposing, adapters.Content{}
	if octets, _ = stanza.AppendMessage(nil, op, stanza.Envelope{}); strings.Contains(string(octets), "way") {
		t.Errorf("an element beside a chat state in\n%s", octets)
	}
}

// Anybody may write such an element: it can shorten the way of its message, and nothing else.
func TestForgedWays(t *testing.T) {
	const space = "xmlns='https://github.com/isthmus-gateway/ns/way'"
	long := strings.Repeat("a ", adapters.MaxTrace+5)
	for _, c := range []struct {
		name, in string
		hops     int
		trace    int
	}{
		{"none", "", adapters.DefaultHops, 0},
		{"no hops left", "<way " + space + " hops='0'/>", 0, 0},
		{"more than there are", "<way " + space + " hops='999'/>", adapters.DefaultHops, 0},
		{"no number", "<way " + space + " hops='-1' by='a'/>", adapters.DefaultHops, 1},
		{"a long number", "<way " + space + " hops='0000000000000000001'/>", adapters.DefaultHops, 0},
		{"empty", "<way " + space + " hops='' by=''/>", adapters.DefaultHops, 0},
		{"two: the first counts", "<way " + space + " hops='5'/><way " + space + " hops='60'/>", 5, 0},
		{"too many gateways", "<way " + space + " hops='5' by='" + long + "'/>", 5, adapters.MaxTrace},
		{"far too many", "<way " + space + " hops='5' by='" + strings.Repeat(long, 100) + "'/>", 5, 0},
		{"what is no entry", "<way " + space + " hops='5' by='a_b &lt;x/> é " + strings.Repeat("x", 33) + " ok'/>", 5, 1},
		{"of another namespace", "<way xmlns='urn:example' hops='0'/>", adapters.DefaultHops, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			op, e := stanza.ToMessage(read(t, message("<body>x</body>"+c.in)))
			if e != nil {
				t.Fatal(e)
			}
			if op.Hops != c.hops || len(op.Trace) != c.trace {
				t.Errorf("hops %d, trace %q; want %d, %d entries", op.Hops, op.Trace, c.hops, c.trace)
			}
		})
	}
}
