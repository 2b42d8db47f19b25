package stanza_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// TestLineEnds: a carriage return that stands as itself is content in a body, where Prosody 0.12.3 has put it, and a line end anywhere
// else (XML 1.0 §2.11): two readers of one thread must agree.
func TestLineEnds(t *testing.T) {
	s := read(t, "<message from='juliet@example.com' to='romeo@example.net'><subject>a\r\nb</subject><body>a\r\nb</body><thread>c\rd</thread></message>")
	if string(s.Body) != "a\r\nb" || s.Subjects[0].Text != "a\nb" || s.Thread != "c\nd" {
		t.Errorf("%q %q %q", s.Body, s.Subjects[0].Text, s.Thread)
	}
	s = read(t, "<presence from='juliet@example.com'><status>a\r\nb</status></presence>")
	if s.Statuses[0].Text != "a\nb" {
		t.Errorf("%q", s.Statuses[0].Text)
	}
	s = read(t, "<message type='error' from='juliet@example.com'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>a\r\nb</text></error></message>")
	if s.Error.Text != "a\nb" {
		t.Errorf("%q", s.Error.Text)
	}
}

// TestOneTextPerLanguage: "but only if each instance possesses an 'xml:lang' attribute with a distinct language value" (RFC 6121
// §5.2.3, §5.2.4) holds of what we read and of what we write, and a tag's case has no meaning (RFC 5646 §2.1.1).
func TestOneTextPerLanguage(t *testing.T) {
	s := read(t, "<message from='juliet@example.com' to='romeo@example.net'><body xml:lang='en'>yes</body><body xml:lang='EN'>no</body></message>")
	if s.Fault == nil || s.Fault.Condition != stanza.BadRequest {
		t.Errorf("two bodies in one language: %v", s.Fault)
	}
	op := &adapters.MessageOp{
		From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: "text/plain", Language: "cs", Octets: []byte("x")},
		Subjects:     []adapters.LangText{{Text: "first"}, {Lang: "CS", Text: "second"}, {Lang: "de", Text: "third"}, {Lang: "no tag", Text: "fourth"}},
		Alternatives: []adapters.LangText{{Lang: "cs", Text: "second"}, {Lang: "de", Text: "third"}, {Lang: "De", Text: "fourth"}},
	}
	got, err := stanza.AppendMessage(nil, op, stanza.Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	if want := "<message from='romeo@example.net' to='juliet@example.com' xml:lang='cs'><subject>first</subject><subject xml:lang='de'>third</subject>" +
		"<body>x</body><body xml:lang='de'>third</body></message>"; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if s := read(t, string(got)); s.Fault != nil {
		t.Errorf("our own stanza is refused by us: %v", s.Fault)
	}
}

// TestNoTagNoLanguage: what is no language tag does not travel as one (a Content-Language list, or worse).
func TestNoTagNoLanguage(t *testing.T) {
	for _, lang := range []string{"en, fr", "*", "x' from='y", "\x00", "123456789", "en-", strings.Repeat("a-", 40) + "a"} {
		op := &adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: "text/plain", Language: lang, Octets: []byte("x")}}
		got, err := stanza.AppendMessage(nil, op, stanza.Envelope{})
		if err != nil || string(got) != "<message from='romeo@example.net' to='juliet@example.com'><body>x</body></message>" {
			t.Errorf("%q: %s, %v", lang, got, err)
		}
	}
}

// TestStatusPerLanguage: the first that can be carried.
func TestStatusPerLanguage(t *testing.T) {
	doc := &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@example.net"), Tuples: []pidf.Tuple{{
		ID: pidf.MustParseID("a"), Status: pidf.Status{Basic: pidf.BasicOpen},
		Notes: []pidf.Note{{Lang: "en", Text: "a\x00b"}, {Lang: "en", Text: "kept"}, {Lang: "EN", Text: "twice"}},
	}}}
	got, _, err := stanza.AppendNotify(nil, &adapters.NotifyOp{Watch: adapters.WatchID{Watcher: julietP, Presentity: romeoP}, State: adapters.WatchActive, Presence: doc}, time.Time{})
	if want := "<presence from='romeo@example.net/a' to='juliet@example.com' xml:lang='en'><status>kept</status></presence>"; err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

// TestLongID: an id is echoed and remembered, so it has a bound, and who exceeds it is told.
func TestLongID(t *testing.T) {
	long := strings.Repeat("i", 1025)
	s := read(t, "<message from='juliet@example.com' to='romeo@example.net' id='"+long+"'><body>x</body></message>")
	if _, e := stanza.ToMessage(s); e == nil || e.Condition != stanza.PolicyViolation || s.ID != "" {
		t.Errorf("%v, id of %d", e, len(s.ID))
	}
	s = read(t, "<message from='juliet@example.com' to='romeo@example.net'><received xmlns='urn:xmpp:receipts' id='"+long+"'/></message>")
	if r := stanza.ToReport(s, time.Time{}); r != nil {
		t.Errorf("%d", len(r.TransID))
	}
}

// TestReadHead: of what is too large, who is told and by which id; and of an error, that it is one.
func TestReadHead(t *testing.T) {
	r := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{})
	for _, c := range []struct {
		name, raw string
		kind      stanza.Kind
		fails     bool
	}{
		{"message", "<message from='juliet@example.com/x' to='romeo@example.net' id='1' type='chat'><body>\xe2\x82", stanza.Message, false},
		{"error", "<message from='juliet@example.com/x' to='romeo@example.net' id='1' type='error'><body>", stanza.Message, false},
		{"empty", "<iq from='juliet@example.com/x' to='romeo@example.net' id='1' type='get'/>", stanza.IQ, false},
		{"no stanza", "<x>", 0, false},
		{"in the start tag", "<message from='juliet@example.com/x' to='ro", 0, true},
		{"nothing", "", 0, true},
	} {
		s, err := r.ReadHead([]byte(c.raw), componentScope(t))
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if err != nil {
			continue
		}
		if s.Kind != c.kind || s.Kind != 0 && (s.Fault == nil || s.Fault.Condition != stanza.PolicyViolation || s.ID != "1" || s.From.IsZero() || s.To.IsZero() || (s.Type == "error") != (s.Error != nil)) {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}
