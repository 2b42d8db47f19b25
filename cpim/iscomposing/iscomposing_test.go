package iscomposing

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
)

const open = `<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing">`

// Every example of RFC 3994 §5. Their xsi:schemaLocation names
// "urn:ietf:params:xml:ns:im-composing", which is not the namespace of the
// document: a known fault, and without effect.
func TestPublishedExamples(t *testing.T) {
	for name, want := range map[string]Fields{
		"rfc3994-5-a": {State: "active", ContentType: "text/plain", Refresh: 90},
		"rfc3994-5-b": {State: "idle", LastActive: datetime.MustParse("2003-01-27T10:43:00Z", datetime.XML), ContentType: "audio"},
	} {
		b, err := os.ReadFile("../testdata/rfc/" + name + ".xml")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Fields(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", name, got)
		}
		if string(s.Bytes()) != string(b) || s.Active() != (want.State == "active") {
			t.Errorf("%s: %q", name, s.Bytes())
		}
		roundTrip(t, s)
	}
}

// roundTrip checks that what was parsed prints, and parses to the same.
func roundTrip(t *testing.T, s *Status) {
	t.Helper()
	out := s.Append(nil)
	again, err := Parse(out)
	if err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if !reflect.DeepEqual(again.Fields(), s.Fields()) {
		t.Fatalf("%+v became %+v", s.Fields(), again.Fields())
	}
	if string(again.Append(nil)) != string(out) {
		t.Fatalf("%s prints as %s", out, again.Append(nil))
	}
	made, err := New(s.Fields())
	if err != nil {
		t.Fatalf("New(%+v): %v", s.Fields(), err)
	}
	if string(made.Bytes()) != string(out) {
		t.Fatalf("made %s, want %s", made.Bytes(), out)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		want     Fields
		active   bool
		expires  time.Duration
	}{
		{"active", open + "<state>active</state></isComposing>", Fields{State: "active"}, true, 120 * time.Second},
		{"white space", open + "\n <state> active\n</state>\n</isComposing>\n", Fields{State: "active"}, true, 120 * time.Second},
		// "Recipients […] MUST treat state tokens other than "idle" and
		// "active" as "idle"."
		{"other state", open + "<state>paused</state></isComposing>", Fields{State: "paused"}, false, 120 * time.Second},
		{"state is case-sensitive", open + "<state>Active</state></isComposing>", Fields{State: "Active"}, false, 120 * time.Second},
		{"refresh", open + "<state>active</state><refresh>+0060</refresh></isComposing>", Fields{State: "active", Refresh: 60}, true, time.Minute},
		{"long refresh", open + "<state>active</state><refresh>99999999999999999999</refresh></isComposing>", Fields{State: "active", Refresh: MaxRefreshSeconds}, true, 24 * time.Hour},
		{"prefix", `<c:isComposing xmlns:c="urn:ietf:params:xml:ns:im-iscomposing"><c:state>idle</c:state></c:isComposing>`, Fields{State: "idle"}, false, 120 * time.Second},
		{"CDATA", open + "<state><![CDATA[active]]></state></isComposing>", Fields{State: "active"}, true, 120 * time.Second},
		{
			"extension", open + `<state>active</state><x:a xmlns:x="urn:x">1</x:a></isComposing>`,
			Fields{State: "active", Extensions: []string{`<x:a xmlns:x="urn:x">1</x:a>`}},
			true, 120 * time.Second,
		},
		{
			"extension declared outside", `<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing" xmlns:x="urn:x"><x:a b="c"/><state>active</state></isComposing>`,
			Fields{State: "active", Extensions: []string{`<x:a b="c" xmlns:x="urn:x"/>`}},
			true, 120 * time.Second,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			got := s.Fields()
			if len(got.Extensions) == len(tt.want.Extensions) && len(got.Extensions) > 0 && got.Extensions[0] != tt.want.Extensions[0] {
				// The place of a declaration in a start tag is not ours to say.
				if !strings.Contains(strings.ReplaceAll(got.Extensions[0], "'", `"`), `xmlns:x="urn:x"`) {
					t.Errorf("extension %s", got.Extensions[0])
				}
				got.Extensions = tt.want.Extensions
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v", got)
			}
			if s.Active() != tt.active || s.Expires() != tt.expires {
				t.Errorf("active %v, expires %v", s.Active(), s.Expires())
			}
			roundTrip(t, s)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, in, rule string }{
		{"empty", "", "xml-"},
		{"not XML", "active", "xml-"},
		{"cut", open + "<state>active</state>", "xml-"},
		{"DOCTYPE", `<!DOCTYPE a>` + open + "<state>active</state></isComposing>", "xml-"},
		{"other encoding", `<?xml version="1.0" encoding="ISO-8859-1"?>` + open + "<state>active</state></isComposing>", "xml-"},
		{"bad UTF-8", open + "<state>\xff</state></isComposing>", "xml-"},
		{"no namespace", "<isComposing><state>active</state></isComposing>", "xml-root"},
		{"other namespace", `<isComposing xmlns="urn:ietf:params:xml:ns:im-composing"><state>active</state></isComposing>`, "xml-root"},
		{"other root", `<iscomposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></iscomposing>`, "xml-root"},
		{"no state", open + "</isComposing>", "iscomposing-state"},
		{"empty state", open + "<state> </state></isComposing>", "iscomposing-state"},
		{"two states", open + "<state>active</state><state>idle</state></isComposing>", "xml-once"},
		{"order", open + "<refresh>60</refresh><state>active</state></isComposing>", "xml-order"},
		// "Adding elements to the namespace defined in this document is not
		// permitted."
		{"unknown element", open + "<state>active</state><x/></isComposing>", "xml-element"},
		{"element without a namespace", open + `<state>active</state><x xmlns=""/></isComposing>`, "xml-element"},
		{"text between", open + "<state>active</state>x</isComposing>", "xml-text"},
		{"attribute", open + `<state a="b">active</state></isComposing>`, "xml-attribute"},
		{"element in state", open + "<state><b/></state></isComposing>", "xml-element"},
		{"refresh 0", open + "<state>active</state><refresh>0</refresh></isComposing>", "iscomposing-refresh"},
		{"refresh negative", open + "<state>active</state><refresh>-1</refresh></isComposing>", "iscomposing-refresh"},
		{"refresh fraction", open + "<state>active</state><refresh>1.5</refresh></isComposing>", "iscomposing-refresh"},
		{"refresh empty", open + "<state>active</state><refresh/></isComposing>", "iscomposing-refresh"},
		{"timestamp", open + "<state>active</state><lastactive>yesterday</lastactive></isComposing>", "date-fullyear"},
		{"timestamp lower case", open + "<state>active</state><lastactive>2003-01-27t10:43:00Z</lastactive></isComposing>", "datetime-case"},
		{"timestamp without offset", open + "<state>active</state><lastactive>2003-01-27T10:43:00</lastactive></isComposing>", "time-offset"},
		{"content type", open + "<state>active</state><contenttype>a b</contenttype></isComposing>", "iscomposing-contenttype"},
		{"content type with parameters", open + "<state>active</state><contenttype>text/plain;a=b</contenttype></isComposing>", "iscomposing-contenttype"},
		{"too long", open + "<state>active</state>" + strings.Repeat(" ", 70000) + "</isComposing>", "xml-"},
		{"too deep", open + "<state>active</state>" + strings.Repeat(`<x xmlns="urn:x">`, 20) + strings.Repeat("</x>", 20) + "</isComposing>", "xml-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse([]byte(tt.in))
			var serr *SyntaxError
			if !errors.As(err, &serr) {
				t.Fatalf("accepted as %+v", s)
			}
			if serr.Rule != tt.rule && (tt.rule != "xml-" || !strings.HasPrefix(serr.Rule, "xml-")) {
				t.Errorf("got %v, want %s", serr, tt.rule)
			}
			if serr.Section == "" || serr.Offset < 0 || serr.Offset > len(tt.in) {
				t.Errorf("incomplete %#v", serr)
			}
		})
	}
}

// COMPAT(Jami): no namespace, and an element of its own.
func TestJami(t *testing.T) {
	in := []byte(`<?xml version="1.0" encoding="utf-8" ?>` + "\n" + `<isComposing><state>active</state><conversation>1f2e</conversation></isComposing>`)
	if _, err := Parse(in); err == nil {
		t.Error("strictly accepted")
	}
	s, used, err := ParseLenient(in)
	if err != nil || !s.Active() || used != NoNamespace || strings.Join(used.Names(), ",") != "no-namespace" {
		t.Fatalf("%v, %v", used, err)
	}
	if x := s.Fields().Extensions; len(x) != 1 || !strings.Contains(x[0], "1f2e") {
		t.Errorf("%q", x)
	}
	if _, used, err = ParseLenient([]byte(open + "<state>idle</state></isComposing>")); err != nil || used != 0 || used.Names() != nil {
		t.Errorf("%v, %v", used, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, f := range map[string]Fields{
		"no state":             {},
		"space around":         {State: " active"},
		"state XML cannot say": {State: "a\x00"},
		"bad UTF-8":            {State: "\xff"},
		"refresh":              {State: "active", Refresh: -1},
		"refresh too long":     {State: "active", Refresh: MaxRefreshSeconds + 1},
		"content type":         {State: "active", ContentType: "a/b/c"},
		"timestamp":            {State: "active", LastActive: datetime.MustParse("1990-12-31T23:59:60Z", datetime.RFC3339)},
		"extension":            {State: "active", Extensions: []string{"<a"}},
		"extension is ours":    {State: "active", Extensions: []string{`<state xmlns="` + Namespace + `">idle</state>`}},
		"two extensions":       {State: "active", Extensions: []string{`<a xmlns="urn:x"/><b xmlns="urn:x"/>`}},
		"no namespace":         {State: "active", Extensions: []string{`<a/>`}},
	} {
		if s, err := New(f); err == nil {
			t.Errorf("%s: %s", name, s.Bytes())
		}
	}
	s, err := New(Fields{State: `<&">`})
	if err != nil || !strings.Contains(string(s.Bytes()), "&lt;&amp;") {
		t.Errorf("%v", err)
	}
	roundTrip(t, s)
}

// What is printed validates against the schema of RFC 3994 §6.1.
func TestSchema(t *testing.T) {
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("xmllint is not installed (Debian: libxml2-utils)")
		}
		t.Skip("xmllint is not installed (Debian: libxml2-utils)")
	}
	schema := "testdata/rfc3994-im-iscomposing.xsd"
	s, err := New(Fields{
		State: "active", LastActive: datetime.MustParse("2003-01-27T10:43:00.5-00:00", datetime.XML), ContentType: "text/html", Refresh: 60,
		Extensions: []string{`<x xmlns="urn:x">1</x>`},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "doc.xml")
	if err := os.WriteFile(path, s.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(lint, "--noout", "--nonet", "--schema", schema, path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func FuzzParse(f *testing.F) {
	for _, n := range []string{"a", "b"} {
		b, err := os.ReadFile("../testdata/rfc/rfc3994-5-" + n + ".xml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`<isComposing><state>active</state><conversation>1</conversation></isComposing>`))
	f.Add([]byte(open + `<x:a xmlns:x="urn:x"/><state>a</state><refresh>+1</refresh></isComposing>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		l, used, lerr := ParseLenient(b)
		if err != nil {
			var serr *SyntaxError
			if !errors.As(err, &serr) || serr.Rule == "" || serr.Section == "" || serr.Offset < 0 || serr.Offset > len(b) {
				t.Fatalf("%#v", err)
			}
			if lerr == nil && (used == 0 || l.Fields().State == "") {
				t.Fatalf("leniently %+v with nothing used", l)
			}
			return
		}
		if lerr != nil || used != 0 {
			t.Fatalf("leniently %v, %v", used, lerr)
		}
		roundTrip(t, s)
	})
}

func BenchmarkParse(b *testing.B) {
	doc, err := os.ReadFile("../testdata/rfc/rfc3994-5-a.xml")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	s, err := New(Fields{State: "active", ContentType: "text/plain", Refresh: 90})
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = s.Append(buf[:0])
	}
}
