package pidf

import (
	"errors"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
)

// Append refuses what no valid document has, and then leaves dst as it was.
func TestAppendRefuses(t *testing.T) {
	at := func(s string) datetime.Value { return datetime.MustParse(s, datetime.PIDF) }
	person := func(r *Rich) func(*Presence) {
		return func(p *Presence) { p.Persons = []Person{{ID: MustParseID("p"), Rich: r}} }
	}
	tuple := func(f func(*Tuple)) func(*Presence) { return func(p *Presence) { f(&p.Tuples[0]) } }
	rich := func(r *Rich) func(*Presence) { return tuple(func(t *Tuple) { t.Rich = r }) }
	for _, c := range []struct {
		name, rule string
		change     func(*Presence)
	}{
		{"no entity", "entity-missing", func(p *Presence) { p.Entity = URI{} }},
		{"no tuple id", "tuple-id", tuple(func(t *Tuple) { t.ID = ID{} })},
		{"one id twice", "id-unique", func(p *Presence) { p.Tuples = append(p.Tuples, p.Tuples[0]) }},
		{"one id in two kinds", "id-unique", func(p *Presence) { p.Persons = []Person{{ID: p.Tuples[0].ID}} }},
		{"empty status", "status-empty", tuple(func(t *Tuple) { t.Status = Status{} })},
		{"undefined basic", "basic-value", tuple(func(t *Tuple) { t.Status.Basic = 9 })},
		{"show as extension", "show-extension", tuple(func(t *Tuple) {
			t.Status.Extensions = []Extension{MustParseExtension(`<show xmlns="jabber:client">away</show>`)}
		})},
		{"mustUnderstand in a tuple", "must-understand-place", tuple(func(t *Tuple) {
			t.Extensions = []Extension{MustParseExtension(`<x:y xmlns:x="u:x" xmlns:p="urn:ietf:params:xml:ns:pidf" p:mustUnderstand="1"/>`)}
		})},
		{"zero extension", "extension-namespace", tuple(func(t *Tuple) { t.Extensions = []Extension{{}} })},
		{"extension of PIDF", "extension-namespace", tuple(func(t *Tuple) {
			t.Extensions = []Extension{MustParseExtension(`<note xmlns="urn:ietf:params:xml:ns:pidf"/>`)}
		})},
		{"extension without namespace", "extension-namespace", func(p *Presence) { p.Extensions = []Extension{MustParseExtension(`<y/>`)} }},
		{"typed extension", "extension-typed", tuple(func(t *Tuple) {
			t.Extensions = []Extension{MustParseExtension(`<class xmlns="urn:ietf:params:xml:ns:pidf:rpid">x</class>`)}
		})},
		{"note language", "note-lang", func(p *Presence) { p.Notes = []Note{{"x", "a b"}} }},
		{"note not UTF-8", "text-characters", func(p *Presence) { p.Notes = []Note{{"\xff", ""}} }},
		{"note with NUL", "text-characters", func(p *Presence) { p.Notes = []Note{{"a\x00b", ""}} }},
		{"device without URN", "device-urn", func(p *Presence) { p.Devices = []Device{{ID: MustParseID("d"), DeviceID: MustParseURI("mac:x")}} }},
		{"activities in a tuple", "rich-place", rich(&Rich{Activities: []Activities{{Values: []Activity{ActivityAway}}}})},
		{"relationship in a person", "rich-place", person(&Rich{Relationship: &Relationship{Value: RelationSelf}})},
		{"undefined activity", "rpid-value", person(&Rich{Activities: []Activities{{Values: []Activity{"note"}}}})},
		{"unknown activity and another", "rpid-unknown", person(&Rich{Activities: []Activities{{Values: []Activity{ActivityUnknown, ActivityTV}}}})},
		{"no mood", "mood-empty", person(&Rich{Moods: []Mood{{}}})},
		{"class with line ends", "class-token", person(&Rich{Class: "a\nb"})},
		{"sphere in words", "sphere-text", person(&Rich{Spheres: []Sphere{{Text: "scouting"}}})},
		{"postal with an address", "service-class-contact", tuple(func(t *Tuple) {
			t.Contact = &Contact{URI: MustParseURI("im:a@b")}
			t.Rich = &Rich{ServiceClass: &ServiceClass{Value: ServicePostal}}
		})},
		{"timed status of the present", "timed-status-range", tuple(func(t *Tuple) {
			t.Timestamp = at("2026-02-01T00:00:00Z")
			t.Rich = &Rich{TimedStatus: []TimedStatus{{From: at("2026-01-01T00:00:00Z")}}}
		})},
		{"two display names of one language", "cipid-display-name", person(&Rich{CIPID: &CIPID{DisplayNames: []Note{{"a", "en"}, {"b", "en"}}}})},
		{"caps entry", "caps-value", rich(&Rich{ServiceCaps: &ServiceCaps{Methods: &CapSet{Supported: []Capability{{Name: "GET"}}}}})},
		{"caps type", "caps-type", rich(&Rich{ServiceCaps: &ServiceCaps{Types: []string{"text"}}})},
		{"attribute in no namespace", "attribute", person(&Rich{Activities: []Activities{{Span: Span{Attributes: []Attribute{{Name{"", "a"}, "1"}}}}}})},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &Presence{Entity: MustParseURI("pres:a@b"), Tuples: []Tuple{{ID: MustParseID("t"), Status: Status{Basic: BasicOpen}}}}
			if _, err := p.Append(nil); err != nil {
				t.Fatal(err)
			}
			c.change(p)
			got, err := p.Append([]byte("before"))
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Rule != c.rule || syntax.Offset != -1 {
				t.Fatalf("%v, want %s", err, c.rule)
			}
			if string(got) != "before" {
				t.Errorf("dst is %q", got)
			}
		})
	}
}

// Whatever text a note or an address has, one document comes out, and the text comes back.
func TestTextCannotBreakOut(t *testing.T) {
	for _, text := range []string{"</note></tuple></presence><presence/>", "]]>", "<![CDATA[", "&amp;&#0;", "\"'><", "a\r\nb\tc", "\u202e\u2028", "<!--", strings.Repeat("<", 1000)} {
		p := &Presence{Entity: MustParseURI("pres:a@b"), Tuples: []Tuple{{ID: MustParseID("t"), Status: Status{Basic: BasicOpen}, Notes: []Note{{text, ""}}}}}
		printed, err := p.Append(nil)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		q, err := Parse(printed)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := q.Tuples[0].Notes[0].Text; got != text || len(q.Tuples) != 1 {
			t.Errorf("%q came back as %q", text, got)
		}
	}
}

func TestNotesForAndZeroTuples(t *testing.T) {
	p, err := Parse([]byte(xmlDeclaration + `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" entity="pres:a@b" xml:lang="fr">` +
		`<note>général</note><dm:person id="p1"/><dm:person id="p2"><dm:note xml:lang="de">eigen</dm:note></dm:person></presence>`))
	if err != nil {
		t.Fatal(err)
	}
	// RFC 4479 §5: "If a <person> element does not have any of its own <note> elements, the <note> elements that are the direct
	// children of <presence> are the <note> elements for that <person>."
	if n := p.NotesFor(&p.Persons[0]); len(n) != 1 || n[0] != (Note{"général", "fr"}) {
		t.Errorf("%v", n)
	}
	if n := p.NotesFor(&p.Persons[1]); len(n) != 1 || n[0] != (Note{"eigen", "de"}) {
		t.Errorf("%v", n)
	}
	if !p.ZeroTuples() {
		t.Error("there are tuples")
	}
	if p.Tuple(MustParseID("p1")) != nil {
		t.Error("a person is no tuple")
	}
}

// A parsed document does not alias its input.
func TestParseDoesNotAlias(t *testing.T) {
	doc := []byte(twoTuples)
	p, err := Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	before, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range doc {
		doc[i] = 'x'
	}
	after, err := p.Append(nil)
	if err != nil || string(after) != string(before) || string(p.Raw()) != twoTuples {
		t.Error("the document changed with its input")
	}
}
