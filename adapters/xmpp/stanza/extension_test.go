package stanza_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// message wraps the children of a message in one.
func message(children string) string {
	return "<message from='juliet@example.com/balcony' to='romeo@example.net' id='m1' type='chat'>" + children + "</message>"
}

// TestExtensionsIn: what clients put beside a body, each as it reaches a reader who has only text.
func TestExtensionsIn(t *testing.T) {
	const markable, oob = "<markable xmlns='urn:xmpp:chat-markers:0'/>", "<x xmlns='jabber:x:oob'><url>https://example.com/a.png</url></x>"
	for _, c := range []struct {
		name, in string
		want     adapters.MessageOp // beside the addresses, the kind, the id and the hops; Content's type is that of a body
		text     string
	}{
		{"composing", "<composing xmlns='http://jabber.org/protocol/chatstates'/><thread>t</thread>", adapters.MessageOp{Activity: adapters.ActivityComposing, Thread: "t"}, ""},
		{"active", "<active xmlns='http://jabber.org/protocol/chatstates'/>", adapters.MessageOp{Activity: adapters.ActivityActive}, ""},
		{"paused", "<paused xmlns='http://jabber.org/protocol/chatstates'/>", adapters.MessageOp{Activity: adapters.ActivityPaused}, ""},
		{"inactive", "<inactive xmlns='http://jabber.org/protocol/chatstates'/>", adapters.MessageOp{Activity: adapters.ActivityInactive}, ""},
		{"gone", "<gone xmlns='http://jabber.org/protocol/chatstates'/>", adapters.MessageOp{Activity: adapters.ActivityGone}, ""},
		{"a state asks for no receipt", "<gone xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>" + markable, adapters.MessageOp{Activity: adapters.ActivityGone}, ""},
		{"body and state", "<body>x</body><active xmlns='http://jabber.org/protocol/chatstates'/>", adapters.MessageOp{}, "x"},
		{"markable", "<body>x</body>" + markable + "<request xmlns='urn:xmpp:receipts'/>", adapters.MessageOp{Wants: adapters.WantDelivered | adapters.WantDisplayed}, "x"},
		{"correction", "<body>window</body><replace id='bad1' xmlns='urn:xmpp:message-correct:0'/>", adapters.MessageOp{}, "Correction: window"},
		{
			"correction that says so", "<body>I meant: window</body><replace id='bad1' xmlns='urn:xmpp:message-correct:0'/><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-correct:0'><body start='0' end='9'/></fallback>",
			adapters.MessageOp{},
			"I meant: window",
		},
		{
			"reply keeps its quotation", "<body>&gt; Anna wrote:\n&gt; We should bake a cake\nGreat idea!</body><reply to='anna@example.com/laptop' id='message-id1' xmlns='urn:xmpp:reply:0'/>" +
				"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='38'/></fallback>", adapters.MessageOp{}, "> Anna wrote:\n> We should bake a cake\nGreat idea!",
		},
		{"reaction", "<reactions id='m0' xmlns='urn:xmpp:reactions:0'><reaction>\U0001F44B</reaction><reaction>\U0001F422</reaction><reaction>\U0001F44B</reaction></reactions><store xmlns='urn:xmpp:hints'/>", adapters.MessageOp{}, "Reacted to an earlier message: \U0001F44B \U0001F422"},
		{"reaction taken back", "<reactions id='m0' xmlns='urn:xmpp:reactions:0'/>", adapters.MessageOp{}, "Took back the reaction to an earlier message"},
		{"reaction with words", "<body>I wave</body><reactions id='m0' xmlns='urn:xmpp:reactions:0'><reaction>\U0001F44B</reaction></reactions><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reactions:0'/>", adapters.MessageOp{}, "I wave"},
		{"link that is the body", "<body>https://example.com/a.png</body>" + oob, adapters.MessageOp{Links: []adapters.Link{{URL: "https://example.com/a.png"}}}, "https://example.com/a.png"},
		{"link beside a body", "<body>look</body>" + oob, adapters.MessageOp{Links: []adapters.Link{{URL: "https://example.com/a.png"}}}, "look\nhttps://example.com/a.png"},
		{"link alone", "<x xmlns='jabber:x:oob'><url> https://example.com/a </url><desc>A cat</desc></x>", adapters.MessageOp{Links: []adapters.Link{{URL: "https://example.com/a", Description: "A cat"}}}, "A cat: https://example.com/a"},
		{"link that is none", "<body>x</body><x xmlns='jabber:x:oob'><url>javascript:alert(1)</url></x><x xmlns='jabber:x:oob'><url>https://a@b.example/</url></x><x xmlns='jabber:x:oob'/>", adapters.MessageOp{}, "x"},
		{"no-store", "<body>x</body><no-store xmlns='urn:xmpp:hints'/>", adapters.MessageOp{NoStore: true}, "x"},
		{"no-permanent-store", "<body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/>", adapters.MessageOp{NoStore: true}, "x"},
		{"no-copy is about something else", "<body>x</body><no-copy xmlns='urn:xmpp:hints'/>", adapters.MessageOp{}, "x"},
		{"origin-id", "<body>x</body><origin-id xmlns='urn:xmpp:sid:0' id='o1'/><stanza-id xmlns='urn:xmpp:sid:0' id='s1' by='romeo@example.net'/>", adapters.MessageOp{OriginID: "o1"}, "x"},
		{"stanza-id alone is nobody's word", "<body>x</body><stanza-id xmlns='urn:xmpp:sid:0' id='s1' by='romeo@example.net'/>", adapters.MessageOp{}, "x"},
		{"nick", "<body>x</body><nick xmlns='http://jabber.org/protocol/nick'> Juliet\n C. </nick>", adapters.MessageOp{SenderName: "Juliet  C."}, "x"},
		{"nick too long", "<body>x</body><nick xmlns='http://jabber.org/protocol/nick'>" + strings.Repeat("n", 257) + "</nick>", adapters.MessageOp{}, "x"},
		{"encrypted with a text", "<body>[OMEMO]</body><encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>", adapters.MessageOp{Fallback: true}, "[OMEMO]"},
		{"XHTML-IM is another form of the body", "<body>x</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p>other</p></body></html>", adapters.MessageOp{}, "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			op, e := stanza.ToMessage(read(t, message(c.in)))
			if e != nil || op == nil {
				t.Fatal(op, e)
			}
			want := c.want
			want.From, want.To, want.Kind, want.TransID, want.Hops = party(julietIM, "balcony"), party(romeoIM, ""), adapters.KindChat, "m1", adapters.DefaultHops
			if c.text != "" {
				want.Content = adapters.Content{Type: "text/plain;charset=UTF-8", Octets: []byte(c.text), Language: op.Content.Language}
			}
			if d := cmp.Diff(&want, op, cmp.Comparer(func(a, b cpim.Address) bool { return a == b })); d != "" {
				t.Fatal(d)
			}
		})
	}
}

// TestWrappersTID04: "carbons/forwarded wrappers accepted only from own account (gateway: never)" (THREATS.md X13): what is inside of one
// was said by nobody.
func TestWrappersTID04(t *testing.T) {
	const inner = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='mercutio@example.com/x' to='romeo@example.net' id='m2'><body>forged</body>" +
		"<received xmlns='urn:xmpp:receipts' id='m3'/></message></forwarded>"
	for _, in := range []string{
		"<received xmlns='urn:xmpp:carbons:2'>" + inner + "</received>", "<sent xmlns='urn:xmpp:carbons:2'>" + inner + "</sent>", inner,
		"<result xmlns='urn:xmpp:mam:2' queryid='f27' id='28482'>" + inner + "</result>", "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='x'><item>" + inner + "</item></items></event>",
	} {
		s := read(t, message(in))
		if op, e := stanza.ToMessage(s); op != nil || e != nil {
			t.Errorf("%s became %+v, %v", in, op, e)
		}
		if r := stanza.ToReport(s, time.Time{}); r != nil {
			t.Errorf("%s became %+v", in, r)
		}
		if op, e := stanza.ToMessage(read(t, message("<body>own words</body>"+in))); e != nil || string(op.Content.Octets) != "own words" || op.From.Address.String() != julietIM {
			t.Errorf("%s: %+v, %v", in, op, e)
		}
	}
}

// TestEncryptedIsRefused: what would be empty on the other side is refused, so that its sender knows.
func TestEncryptedIsRefused(t *testing.T) {
	for _, in := range []string{
		"<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>x</payload></encrypted>", "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/></encrypted>",
		"<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>", "<x xmlns='jabber:x:encrypted'>x</x>", "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:otr:0'/>",
	} {
		if op, e := stanza.ToMessage(read(t, message(in))); op != nil || e == nil || e.Condition != stanza.NotAcceptable || e.Text == "" {
			t.Errorf("%s became %+v, %v", in, op, e)
		}
	}
}

// TestMarkersIn: a marker is a report of the message it names, and no message.
func TestMarkersIn(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     adapters.ReportKind
	}{
		{"displayed", "<displayed xmlns='urn:xmpp:chat-markers:0' id='m0'/>", adapters.ReportDisplayed},
		{"received of an earlier draft", "<received xmlns='urn:xmpp:chat-markers:0' id='m0'/>", adapters.ReportDelivered},
		{"receipt", "<received xmlns='urn:xmpp:receipts' id='m0'/>", adapters.ReportDelivered},
		{"the first of two", "<received xmlns='urn:xmpp:receipts' id='m0'/><displayed xmlns='urn:xmpp:chat-markers:0' id='m9'/>", adapters.ReportDelivered},
		{"without an id", "<displayed xmlns='urn:xmpp:chat-markers:0'/>", 0},
		{"acknowledged of an earlier draft", "<acknowledged xmlns='urn:xmpp:chat-markers:0' id='m0'/>", 0},
	} {
		s := read(t, message(c.in))
		r := stanza.ToReport(s, time.Time{})
		if c.want == 0 {
			if r != nil {
				t.Errorf("%s: %+v", c.name, r)
			}
			continue
		}
		if r == nil || r.Kind != c.want || r.TransID != "m0" || r.Recipient != party(julietIM, "balcony") || r.Sender != party(romeoIM, "") {
			t.Errorf("%s: %+v", c.name, r)
		}
		// XEP-0333 §4: "an entity MUST NOT send a Displayed Marker as a response to a Displayed Marker"; nothing answers one (T-LP-06).
		if op, e := stanza.ToMessage(s); op != nil || e != nil {
			t.Errorf("%s is a message: %+v, %v", c.name, op, e)
		}
	}
	r := &adapters.Report{Kind: adapters.ReportDisplayed, Sender: party(julietIM, "balcony"), Recipient: party(romeoIM, ""), TransID: "m1"}
	got, err := stanza.AppendReport(nil, r, "r1")
	if want := "<message from='romeo@example.net' to='juliet@example.com/balcony' id='r1'><displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/></message>"; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

// TestReportsAskNothingTLP06: "input of type error/IMDN/receipt never produces output other than the mapped status" (THREATS.md G2), and
// what tells of a report, an error or an activity asks for no report.
func TestReportsAskNothingTLP06(t *testing.T) {
	op := &adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), TransID: "m1", Activity: adapters.ActivityComposing, Wants: adapters.WantDelivered | adapters.WantDisplayed}
	state, err := stanza.AppendMessage(nil, op, stanza.Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	all := [][]byte{state}
	for _, k := range []adapters.ReportKind{adapters.ReportDelivered, adapters.ReportDisplayed, adapters.ReportFailed} {
		out, err := stanza.AppendReport(nil, &adapters.Report{Kind: k, Sender: party(julietIM, ""), Recipient: party(romeoIM, ""), TransID: "m1", Wants: adapters.WantDelivered, Status: adapters.Failed(adapters.ReasonGone, "")}, "r1")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out)
	}
	for _, out := range all {
		s := read(t, string(out))
		if s.WantsReceipt || s.WantsMarker {
			t.Errorf("%s asks for a report", out)
		}
		if op, _ := stanza.ToMessage(s); op != nil && (op.Activity == adapters.ActivityNone || op.Wants != 0) {
			t.Errorf("%s is a message", out)
		}
	}
}

// TestExtensionsOut: and back.
func TestExtensionsOut(t *testing.T) {
	late := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	base := adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), TransID: "m1", Content: adapters.Content{Type: "text/plain", Octets: []byte("x")}}
	for _, c := range []struct {
		name string
		op   func(*adapters.MessageOp)
		env  stanza.Envelope
		want string
	}{
		{"composing", func(op *adapters.MessageOp) {
			op.Activity, op.Content, op.Thread = adapters.ActivityComposing, adapters.Content{}, "t"
		}, stanza.Envelope{Nick: true, State: adapters.ActivityActive}, "type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/><thread>t</thread>"},
		{"gone", func(op *adapters.MessageOp) { op.Activity, op.Content = adapters.ActivityGone, adapters.Content{} }, stanza.Envelope{}, "type='chat'><gone xmlns='http://jabber.org/protocol/chatstates'/>"},
		{"active with text", nil, stanza.Envelope{State: adapters.ActivityActive}, "<body>x</body><active xmlns='http://jabber.org/protocol/chatstates'/>"},
		{"markable", func(op *adapters.MessageOp) { op.Wants = adapters.WantDisplayed }, stanza.Envelope{}, "<body>x</body><markable xmlns='urn:xmpp:chat-markers:0'/>"},
		{"failure alone has no request", func(op *adapters.MessageOp) { op.Wants = adapters.WantFailed }, stanza.Envelope{}, "<body>x</body>"},
		{"delay", func(op *adapters.MessageOp) { op.Sent = late }, stanza.Envelope{Now: late.Add(time.Hour)}, "<body>x</body><delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05Z'/>"},
		{"links", func(op *adapters.MessageOp) {
			op.Links = []adapters.Link{{URL: "https://example.com/a&b", Name: "a.png"}, {URL: "javascript:x"}, {URL: "http://example.com/", Description: "d", Name: "n"}}
		}, stanza.Envelope{}, "<body>x</body><x xmlns='jabber:x:oob'><url>https://example.com/a&amp;b</url><desc>a.png</desc></x><x xmlns='jabber:x:oob'><url>http://example.com/</url><desc>d</desc></x>"},
		{"origin-id and no store", func(op *adapters.MessageOp) { op.OriginID, op.NoStore = "o'1", true }, stanza.Envelope{}, "<body>x</body><origin-id xmlns='urn:xmpp:sid:0' id='o&apos;1'/><no-permanent-store xmlns='urn:xmpp:hints'/>"},
		{"nick", func(op *adapters.MessageOp) { op.SenderName = "Romeo <M>" }, stanza.Envelope{Nick: true}, "<body>x</body><nick xmlns='http://jabber.org/protocol/nick'>Romeo &lt;M&gt;</nick>"},
		{"nick not now", func(op *adapters.MessageOp) { op.SenderName = "Romeo" }, stanza.Envelope{}, "<body>x</body>"},
		{"html", func(op *adapters.MessageOp) {
			op.Content = adapters.Content{Type: "text/html;charset=utf-8", Octets: []byte("<p>a <b onclick='x'>b</b><script>alert(1)</script></p>")}
		}, stanza.Envelope{}, "<body>a b</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p>a <strong>b</strong></p></body></html>"},
		{"html without markup", func(op *adapters.MessageOp) {
			op.Content = adapters.Content{Type: "text/html", Octets: []byte("a&lt;b")}
		}, stanza.Envelope{}, "<body>a&lt;b</body>"},
		{"other charset", func(op *adapters.MessageOp) {
			op.Content = adapters.Content{Type: "text/plain;charset=ISO-8859-1", Octets: []byte("\xe9")}
		}, stanza.Envelope{}, "<body>\u00e9</body>"},
		{"two parts, one a file", func(op *adapters.MessageOp) {
			op.Content = adapters.Content{Type: "multipart/alternative;boundary=b", Octets: []byte("--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\nContent-Type: text/html\r\n\r\n<i>rich</i>\r\n--b--\r\n")}
		}, stanza.Envelope{}, "<body>plain</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p><em>rich</em></p></body></html>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := base
			if c.op != nil {
				c.op(&op)
			}
			got, err := stanza.AppendMessage(nil, &op, c.env)
			inner := strings.TrimSuffix(strings.TrimPrefix(string(got), "<message from='romeo@example.net' to='juliet@example.com' id='m1'"), "</message>")
			if err != nil || strings.TrimPrefix(strings.TrimPrefix(inner, " "), ">") != c.want {
				t.Fatalf("%v\ngot  %s\nwant %s", err, got, c.want)
			}
			if s := read(t, string(got)); s.Fault != nil {
				t.Fatal(s.Fault)
			}
		})
	}
}
