package stanza_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

func read(t testing.TB, raw string) *stanza.Stanza {
	t.Helper()
	s, err := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{}).Read([]byte(raw), componentScope(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func party(uri, instance string) adapters.Party {
	return adapters.Party{Address: cpim.MustParseAddress(uri), Instance: instance}
}

var (
	julietIM, romeoIM = "im:juliet@example.com", "im:romeo@example.net"
	julietP, romeoP   = cpim.MustParseAddress("pres:juliet@example.com"), cpim.MustParseAddress("pres:romeo@example.net")
)

const czech = "\n Nic z ob\u00e9ho, m\u00e1 d\u011bvo spanil\u00e1,\n nenavid\u00ed\u0161-li jedno nebo druh\u00e9.\n   "

// TestMessageIn: "The mapping of XMPP syntax to SIP syntax MUST be as shown in the following table" (RFC 7572 §4, Table 1).
func TestMessageIn(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     *adapters.MessageOp
	}{
		{
			"RFC 7572 example 1", `<message from='juliet@example.com/yn0cl4bnw0yr3vym' to='romeo@example.net'><body>Art thou not Romeo, and a Montague?</body></message>`,
			&adapters.MessageOp{
				From: party(julietIM, "yn0cl4bnw0yr3vym"), To: party(romeoIM, ""), Hops: adapters.DefaultHops,
				Content: adapters.Content{Type: "text/plain;charset=UTF-8", Octets: []byte("Art thou not Romeo, and a Montague?")},
			},
		},
		{
			"every row of Table 1", `<message from='juliet@example.com/a b' to='romeo@example.net/phone' id='m1' type='chat' xml:lang='en'><subject>I implore you!</subject>` +
				`<subject xml:lang='cs'>Úpěnlivě prosím!</subject><body>Wherefore?</body><body xml:lang='cs'>Pročež?</body><thread parent='p0'>t1</thread>` +
				`<delay xmlns='urn:xmpp:delay' from='example.com' stamp='2002-09-10T23:08:25Z'/><request xmlns='urn:xmpp:receipts'/><unknown xmlns='urn:x'><body>evil</body></unknown></message>`,
			&adapters.MessageOp{
				From: party(julietIM, "a b"), To: party(romeoIM, "phone"), Kind: adapters.KindChat, Thread: "t1", ParentThread: "p0", TransID: "m1",
				Subjects:     []adapters.LangText{{Lang: "en", Text: "I implore you!"}, {Lang: "cs", Text: "Úpěnlivě prosím!"}},
				Alternatives: []adapters.LangText{{Lang: "cs", Text: "Pročež?"}}, Wants: adapters.WantDelivered, Hops: adapters.DefaultHops,
				Content: adapters.Content{Type: "text/plain;charset=UTF-8", Language: "en", Octets: []byte("Wherefore?")},
				Sent:    time.Date(2002, 9, 10, 23, 8, 25, 0, time.UTC),
			},
		},
		{
			"empty body", `<message from='juliet@example.com' to='romeo@example.net'><body/></message>`,
			&adapters.MessageOp{From: party(julietIM, ""), To: party(romeoIM, ""), Hops: adapters.DefaultHops, Content: adapters.Content{Type: "text/plain;charset=UTF-8", Octets: []byte{}}},
		},
		{
			"subject alone", `<message from='juliet@example.com' to='romeo@example.net' type='headline'><subject>O</subject></message>`,
			&adapters.MessageOp{
				From: party(julietIM, ""), To: party(romeoIM, ""), Hops: adapters.DefaultHops, Kind: adapters.KindHeadline,
				Subjects: []adapters.LangText{{Text: "O"}}, Content: adapters.Content{Type: "text/plain;charset=UTF-8", Octets: []byte{}},
			},
		},
		{
			"unknown type is normal", `<message from='juliet@example.com' to='romeo@example.net' type='shout'><body>O</body></message>`,
			&adapters.MessageOp{From: party(julietIM, ""), To: party(romeoIM, ""), Hops: adapters.DefaultHops, Content: adapters.Content{Type: "text/plain;charset=UTF-8", Octets: []byte("O")}},
		},
		{
			"not a language", `<message from='juliet@example.com' to='romeo@example.net' xml:lang='en&#10;X: y'><body>O</body></message>`,
			&adapters.MessageOp{From: party(julietIM, ""), To: party(romeoIM, ""), Hops: adapters.DefaultHops, Content: adapters.Content{Type: "text/plain;charset=UTF-8", Octets: []byte("O")}},
		},
		{"body of another namespace", `<message from='juliet@example.com' to='romeo@example.net'><body xmlns='urn:x'>O</body></message>`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			op, e := stanza.ToMessage(read(t, c.in))
			if e != nil {
				t.Fatal(e, e.Text)
			}
			if d := cmp.Diff(c.want, op, cmp.Comparer(func(a, b cpim.Address) bool { return a == b })); d != "" {
				t.Fatal(d)
			}
		})
	}
}

// TestMessageOut: "The mapping of SIP syntax to XMPP syntax MUST be as shown in the following table" (RFC 7572 §5, Table 2).
func TestMessageOut(t *testing.T) {
	text := func(s string) adapters.Content { return adapters.Content{Type: "text/plain", Octets: []byte(s)} }
	for _, c := range []struct {
		name string
		op   adapters.MessageOp
		want string
	}{
		{
			"RFC 7572 example 5",
			adapters.MessageOp{From: party(romeoIM, "dr4hcr0st3lup4c"), To: party(julietIM, ""), Content: text("Neither, fair saint, if either thee dislike.")},
			`<message from='romeo@example.net/dr4hcr0st3lup4c' to='juliet@example.com'><body>Neither, fair saint, if either thee dislike.</body></message>`,
		},
		{
			"RFC 7572 example 7",
			adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: "text/plain", Language: "cs", Octets: []byte(czech)}},
			`<message from='romeo@example.net' to='juliet@example.com' xml:lang='cs'><body>` + czech + `</body></message>`,
		},
		{"every row of Table 2", adapters.MessageOp{
			From: party("im:o'malley@example.net", ""), To: party(julietIM, "x/y"), TransID: "z9'1", Thread: "9E97<&>", ParentThread: `"`, Kind: adapters.KindChat,
			Subjects: []adapters.LangText{{Text: ""}, {Lang: "cs", Text: "a&b"}}, Alternatives: []adapters.LangText{{Lang: "de", Text: "ja"}},
			Content: text("a\r\nb"), Wants: adapters.WantDelivered,
		}, `<message from='o\27malley@example.net' to='juliet@example.com/x/y' id='z9&#39;1' type='chat'><subject/><subject xml:lang='cs'>a&amp;b</subject><body>a&#13;` + "\n" +
			`b</body><body xml:lang='de'>ja</body><thread parent='&#34;'>9E97&lt;&amp;&gt;</thread><request xmlns='urn:xmpp:receipts'/></message>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := stanza.AppendMessage(nil, &c.op, stanza.Envelope{})
			if err != nil {
				t.Fatal(err)
			}
			if want, have := read(t, c.want), read(t, string(got)); cmp.Diff(want.Bodies(), have.Bodies()) != "" || cmp.Diff(want.Subjects, have.Subjects) != "" || want.WantsReceipt != have.WantsReceipt || want.From != have.From || want.To != have.To ||
				want.ID != have.ID || want.Thread != have.Thread || want.ParentThread != have.ParentThread || want.Lang != have.Lang || want.Type != have.Type {
				t.Fatalf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	for _, c := range []struct {
		name string
		op   adapters.MessageOp
		want adapters.Reason
	}{
		{"control character", adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: text("a\x00b")}, adapters.ReasonNotAcceptable},
		{"escape in subject", adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: text("a"), Subjects: []adapters.LangText{{Text: "\x1b"}}}, adapters.ReasonNotAcceptable},
		{"not UTF-8", adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: text("\xff")}, adapters.ReasonBadRequest},
		{"picture", adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: "image/png", Octets: []byte("x")}}, adapters.ReasonUnsupportedContent},
		{"encrypted by OpenPGP", adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: "multipart/encrypted;protocol=\"application/pgp-encrypted\";boundary=b", Octets: []byte("x")}}, adapters.ReasonUnsupportedContent},
		{"unknown charset", adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: "text/plain;charset=x-none", Octets: []byte("x")}}, adapters.ReasonUnsupportedContent},
		{"not of its charset", adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: "text/html;charset=us-ascii", Octets: []byte("\xe9")}}, adapters.ReasonBadRequest},
		{"no activity that exists", adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Activity: 99}, adapters.ReasonNotAcceptable},
		{"no sender", adapters.MessageOp{To: party(julietIM, ""), Content: text("x")}, adapters.ReasonAddressMalformed},
		{"broken cpim", adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: "message/cpim", Octets: []byte("x")}}, adapters.ReasonBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := stanza.AppendMessage([]byte("kept"), &c.op, stanza.Envelope{})
			r, ok := err.(*stanza.Refusal)
			if !ok || r.Reason != c.want || string(got) != "kept" {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

// TestCPIMObject: the text inside of a relayed message/cpim crosses as the body.
func TestCPIMObject(t *testing.T) {
	object := "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\n\r\nContent-Type: text/plain;charset=utf-8\r\n\r\nNeither.\r\n"
	op := adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Object: []byte(object), Content: adapters.Content{Type: "message/cpim", Octets: []byte(object)}}
	got, err := stanza.AppendMessage(nil, &op, stanza.Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	if s := read(t, string(got)); string(s.Body) != "Neither.\r\n" {
		t.Fatalf("%s", got)
	}
}

// TestPresenceExamples holds the presence stanzas of RFC 8048 that XMPP sends to a gateway.
func TestPresenceExamples(t *testing.T) {
	watch := adapters.WatchID{Watcher: julietP, Presentity: romeoP}
	for _, c := range []struct {
		name, in string
		verb     adapters.WatchVerb
	}{
		{"example 1", `<presence from='juliet@example.com' to='romeo@example.net' type='subscribe'/>`, adapters.WatchAsk},
		{"example 7", `<presence from='juliet@example.com' to='romeo@example.net' type='unsubscribe'/>`, adapters.WatchCancel},
		{"example 22", `<presence from='juliet@example.com/chamber' to='romeo@example.net' type='probe'/>`, adapters.WatchFetch},
		{"RFC 6121 §4.3.1", `<presence from='juliet@example.com' id='ign291v5' to='romeo@example.net' type='probe'/>`, adapters.WatchOpen},
	} {
		t.Run(c.name, func(t *testing.T) {
			op, e := stanza.ToWatch(read(t, c.in))
			if e != nil || op.Verb != c.verb || op.Watch != watch {
				t.Fatalf("%+v, %v", op, e)
			}
		})
	}
	back := adapters.WatchID{Watcher: romeoP, Presentity: julietP}
	for _, c := range []struct {
		name, in string
		change   adapters.AuthorizationChange
		state    adapters.WatchState
		instance string
		basic    pidf.Basic
	}{
		{"example 13", `<presence from='juliet@example.com' to='romeo@example.net' type='subscribed'/>`, adapters.AuthorizationGranted, adapters.WatchActive, "", 0},
		{"example 15", `<presence from='juliet@example.com' to='romeo@example.net' type='unsubscribed'/>`, adapters.AuthorizationRefused, adapters.WatchTerminated, "", 0},
		{"example 18", `<presence from='juliet@example.com/yn0cl4bnw0yr3vym' to='romeo@example.net'/>`, 0, 0, "yn0cl4bnw0yr3vym", pidf.BasicOpen},
		{"unavailable", `<presence from='juliet@example.com/yn0cl4bnw0yr3vym' to='romeo@example.net' type='unavailable'/>`, 0, 0, "yn0cl4bnw0yr3vym", pidf.BasicClosed},
		{"bare address", `<presence from='juliet@example.com' to='romeo@example.net' type='unavailable'/>`, 0, 0, "", pidf.BasicClosed},
		{"resource that is no XML id", "<presence from='juliet@example.com/4 \u265a/_' to='romeo@example.net'/>", 0, 0, "4 \u265a/_", pidf.BasicOpen},
		{"silly values", `<presence from='juliet@example.com/r' to='romeo@example.net'><show>busy</show><priority>high</priority></presence>`, 0, 0, "r", pidf.BasicOpen},
		{"negative priority", `<presence from='juliet@example.com/r' to='romeo@example.net'><priority>-1</priority></presence>`, 0, 0, "r", pidf.BasicOpen},
	} {
		t.Run(c.name, func(t *testing.T) {
			op, e := stanza.ToNotify(read(t, c.in), time.Time{})
			if e != nil || op.Watch != back || op.Change != c.change || op.State != c.state || op.Instance != c.instance || (op.Presence == nil) != (c.basic == 0) {
				t.Fatalf("%+v, %v", op, e)
			}
			if p := op.Presence; p != nil {
				if tp := p.Tuples[0]; p.Entity.String() != "pres:juliet@example.com" || tp.Status.Basic != c.basic || tp.Status.Show != pidf.ShowNone ||
					tp.Contact != nil || tp.ID != pidf.TupleID(c.instance) {
					t.Fatalf("%+v", p)
				}
				if _, err := p.Append(nil); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestPresenceOut holds the presence stanzas of RFC 8048 that a gateway sends.
func TestPresenceOut(t *testing.T) {
	for _, c := range []struct {
		name string
		verb adapters.WatchVerb
		want string
	}{
		{"example 12", adapters.WatchAsk, "<presence from='romeo@example.net' to='juliet@example.com' type='subscribe'/>"},
		{"example 25", adapters.WatchFetch, "<presence from='romeo@example.net' to='juliet@example.com' type='probe'/>"},
		{"close (§5.3.3)", adapters.WatchClose, "<presence from='romeo@example.net' to='juliet@example.com' type='unavailable'/>"},
		{"cancel", adapters.WatchCancel, "<presence from='romeo@example.net' to='juliet@example.com' type='unsubscribe'/>"},
	} {
		got, err := stanza.AppendWatch(nil, &adapters.WatchOp{Verb: c.verb, Watch: adapters.WatchID{Watcher: romeoP, Presentity: julietP}}, "")
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v", c.name, got, err)
		}
	}
	doc := func(tuples ...pidf.Tuple) *pidf.Presence {
		return &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@example.net"), Tuples: tuples}
	}
	open := pidf.Tuple{ID: pidf.MustParseID("ID-dr4hcr0st3lup4c"), Status: pidf.Status{Basic: pidf.BasicOpen}}
	closed := pidf.Tuple{ID: pidf.MustParseID("ID-dr4hcr0st3lup4c"), Status: pidf.Status{Basic: pidf.BasicClosed}}
	rich := pidf.Tuple{
		ID: pidf.MustParseID("a"), Status: pidf.Status{Basic: pidf.BasicOpen, Show: pidf.ShowAway},
		Contact: &pidf.Contact{URI: pidf.MustParseURI("sip:romeo@example.net"), Priority: pidf.MustParsePriority("1")},
		Notes:   []pidf.Note{{Text: "a<b"}, {Lang: "cs", Text: "č"}, {Lang: "cs", Text: "twice"}},
	}
	refused := adapters.Failed(adapters.ReasonNotFound, "No such recipient")
	for _, c := range []struct {
		name string
		op   adapters.NotifyOp
		n    int
		want string
	}{
		{
			"examples 5 and 6",
			adapters.NotifyOp{Change: adapters.AuthorizationGranted, State: adapters.WatchActive, Presence: doc(open)},
			2,
			"<presence from='romeo@example.net' to='juliet@example.com' type='subscribed'/><presence from='romeo@example.net/dr4hcr0st3lup4c' to='juliet@example.com'/>",
		},
		{"example 9", adapters.NotifyOp{Change: adapters.AuthorizationRefused, State: adapters.WatchTerminated}, 1, "<presence from='romeo@example.net' to='juliet@example.com' type='unsubscribed'/>"},
		{"example 21", adapters.NotifyOp{State: adapters.WatchActive, Presence: doc(closed)}, 1, "<presence from='romeo@example.net/dr4hcr0st3lup4c' to='juliet@example.com' type='unavailable'/>"},
		// RFC 8048 §5.2.1: pending: "it MUST respond to them on the SIP side but refrain from sending any presence stanzas".
		{"pending tells nothing", adapters.NotifyOp{State: adapters.WatchPending, Presence: doc(open)}, 0, ""},
		{
			"rich",
			adapters.NotifyOp{State: adapters.WatchActive, Presence: doc(rich)},
			1,
			"<presence from='romeo@example.net/a' to='juliet@example.com'><show>away</show><status>a&lt;b</status><status xml:lang='cs'>č</status><priority>127</priority></presence>",
		},
		{"withdrawn", adapters.NotifyOp{Withdrawn: []pidf.ID{open.ID}}, 1, "<presence from='romeo@example.net/dr4hcr0st3lup4c' to='juliet@example.com' type='unavailable'/>"},
		{"terminated without a body", adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndTimeout}, 1, "<presence from='romeo@example.net' to='juliet@example.com' type='unavailable'/>"},
		{"no tuple", adapters.NotifyOp{State: adapters.WatchActive, Presence: doc()}, 1, "<presence from='romeo@example.net' to='juliet@example.com' type='unavailable'/>"},
		{"failure", adapters.NotifyOp{State: adapters.WatchTerminated, Failure: refused}, 1, "<presence from='romeo@example.net' to='juliet@example.com' type='error'><error type='cancel'>" +
			"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>No such recipient</text></error></presence>"},
	} {
		c.op.Watch = adapters.WatchID{Watcher: julietP, Presentity: romeoP}
		got, n, err := stanza.AppendNotify(nil, &c.op, time.Time{})
		if err != nil || n != c.n || string(got) != c.want {
			t.Errorf("%s: %d %s, %v", c.name, n, got, err)
		}
	}
}

// TestReports: late outcomes, both ways.
func TestReports(t *testing.T) {
	r := &adapters.Report{Kind: adapters.ReportDelivered, Sender: party(julietIM, "balcony"), Recipient: party(romeoIM, ""), TransID: "m1"}
	got, err := stanza.AppendReport(nil, r, "r1")
	if err != nil || string(got) != "<message from='romeo@example.net' to='juliet@example.com/balcony' id='r1'><received xmlns='urn:xmpp:receipts' id='m1'/></message>" {
		t.Fatalf("%s, %v", got, err)
	}
	r.Kind, r.Status = adapters.ReportFailed, adapters.Failed(adapters.ReasonRecipientUnavailable, "")
	if got, err = stanza.AppendReport(nil, r, "r1"); err != nil {
		t.Fatal(err)
	}
	// What we write as an error, we read as the report it was, turned round.
	back := stanza.ToReport(read(t, string(got)), time.Time{})
	if back == nil || back.TransID != "m1" || back.Status.Reason != adapters.ReasonRecipientUnavailable || back.Kind != adapters.ReportFailed {
		t.Fatalf("%+v", back)
	}
	// The receipt names the message; its own id is another (PEERS.md 5.1).
	back = stanza.ToReport(read(t, `<message from='juliet@example.com/balcony' to='romeo@example.net' id='own'><received xmlns='urn:xmpp:receipts' id='orig'/></message>`), time.Time{})
	if back == nil || back.Kind != adapters.ReportDelivered || back.TransID != "orig" || back.Recipient != party(julietIM, "balcony") || back.Sender != party(romeoIM, "") {
		t.Fatalf("%+v", back)
	}
}

// TestReadAlone: a stanza of a file, whatever stream it is from.
func TestReadAlone(t *testing.T) {
	for _, xmlns := range []string{"", " xmlns='jabber:client'", " xmlns='jabber:server'", " xmlns='jabber:component:accept'"} {
		s, err := stanza.ReadAlone([]byte("\n<message"+xmlns+" from='juliet@example.com/x' to='romeo@example.net'><body>O</body></message>\n"), strictxml.Limits{})
		if err != nil || s.Kind != stanza.Message || string(s.Body) != "O" {
			t.Errorf("%q: %+v, %v", xmlns, s, err)
		}
	}
	if s, err := stanza.ReadAlone([]byte("<message xmlns='urn:x'/>"), strictxml.Limits{}); err != nil || s.Kind != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := stanza.ReadAlone([]byte("<message><!-- --></message>"), strictxml.Limits{}); err == nil {
		t.Error("a comment was taken")
	}
}
