package cpim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type vector struct{ file, rule, section, why string }

func readIndex(t *testing.T, path string) []vector {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	for i, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, " | ")
		if len(f) != 4 {
			t.Fatalf("%s:%d: want 4 columns", path, i+1)
		}
		list = append(list, vector{f[0], f[1], f[2], f[3]})
	}
	return list
}

// T-TT-C: each invalid sample is refused for the one fault it has, and each
// valid one is accepted and printed octet for octet.
func TestMessageVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range readIndex(t, "testdata/message/index.txt") {
		t.Run(v.file, func(t *testing.T) {
			path := filepath.Join("testdata/message", v.file+".cpim")
			seen[path] = true
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m, err := ParseMessage(b, Limits{})
			if v.rule == "ok" {
				if err != nil {
					t.Fatalf("%s: %v", v.why, err)
				}
				checkMessage(t, b, m)
				return
			}
			var serr *SyntaxError
			if !errors.As(err, &serr) {
				t.Fatalf("%s: accepted", v.why)
			}
			if serr.Rule != v.rule || serr.Section != v.section {
				t.Errorf("%s: got %v, want rule %s, section %s", v.why, serr, v.rule, v.section)
			}
			if serr.Offset < 0 || serr.Offset > len(b) || serr.Expected == "" {
				t.Errorf("offset %d of %d, expected %q", serr.Offset, len(b), serr.Expected)
			}
		})
	}
	files, _ := filepath.Glob("testdata/message/*/*.cpim")
	for _, f := range files {
		if !seen[f] {
			t.Errorf("%s is not in the index", f)
		}
	}
}

// checkMessage checks what must be true of every Message.
func checkMessage(t *testing.T, b []byte, m *Message) {
	t.Helper()
	if !bytes.Equal(m.Bytes(), b) || !bytes.Equal(m.Append(nil), b) {
		t.Error("a relayed object must print byte for byte")
	}
	// The headers and the content, put together, are the object.
	var again []byte
	for h := range m.Headers() {
		again = append(append(again, h.Name...), ':')
		again = append(append(again, h.Params()...), ' ')
		again = append(append(again, h.Value...), "\r\n"...)
		for _, s := range []string{h.Text(), h.Lang()} {
			if strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("%q has a CR, LF or NUL", s)
			}
		}
		for _, p := range h.ParamList() {
			if strings.ContainsAny(p.Value, "\r\n\x00") {
				t.Errorf("parameter %q has a CR, LF or NUL", p.Value)
			}
		}
	}
	again = append(append(again, "\r\n"...), m.Content().Bytes()...)
	if !bytes.Equal(again, b) {
		t.Errorf("parts give %q, want %q", again, b)
	}
	var boxes []Mailbox
	if f, ok := m.From(); ok {
		boxes = append(boxes, f)
	}
	for mb := range m.To() {
		boxes = append(boxes, mb)
	}
	for mb := range m.CC() {
		boxes = append(boxes, mb)
	}
	for _, mb := range boxes {
		if strings.ContainsAny(mb.Name()+mb.URI(), "\r\n\x00") {
			t.Errorf("mailbox %q has a CR, LF or NUL", mb)
		}
		back, err := ParseMailbox(mb.String())
		if err != nil || back != mb {
			t.Errorf("mailbox %q reads back as %q, %v", mb, back, err)
		}
	}
	for s := range m.Subjects() {
		if strings.ContainsAny(s.Text, "\r\n\x00") {
			t.Errorf("subject %q has a CR, LF or NUL", s.Text)
		}
	}
	for f := range m.Requires() {
		if f.Local == "" || f.Namespace == "" {
			t.Errorf("required feature %+v", f)
		}
	}
	if m.Content().ContentType().IsZero() {
		t.Error("no content type")
	}
}

// knownFaults are the published examples that break the rules of their own or
// the cited text, with the rule that the strict reader names.
var knownFaults = map[string]struct{ rule, why string }{
	"rfc3862-5.1-with-mime-header": {"content-type", "begins with the MIME header of the object, which is no part of it"},
	"rfc3862-3.5-a":                {"name-prefix", "a fragment: the NS header is in §3.4"},
	"rfc3862-3.5-b":                {"name-prefix", "a fragment without its NS header"},
	"rfc3862-4.7":                  {"name-prefix", "a fragment without its NS header"},
	"rfc5438-7.1.1.3":              {"content-header-name", "no blank line before the content headers; and its Content-length is 12 for 11 octets"},
	"rfc5438-7.2.1.1":              {"content-header-name", "no blank line before the content headers"},
	"rfc5438-7.2.1.2":              {"content-header-name", "no blank line before the content headers"},
	"rfc5438-8.1":                  {"content-header-name", "no blank line before the content headers; and an IMDN without a Message-ID"},
	"rfc5438-8.1-with-mime-header": {"misread", "the same with the MIME header of the object in front: by the grammar that is one unknown header, and From and To are content headers"},
	"rfc5438-8.3":                  {"line-space", "no blank line before the content headers, one of which is folded"},
}

// Every example of RFC 3862 and RFC 5438, from the text of the RFC. A known
// fault that is accepted one day fails here too.
func TestPublishedExamples(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc/*.cpim")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".cpim")
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			m, err := ParseMessage(b, Limits{})
			fault, known := knownFaults[name]
			if !known {
				if err != nil {
					t.Fatal(err)
				}
				checkMessage(t, b, m)
				return
			}
			if fault.rule == "misread" {
				if _, ok := m.From(); err != nil || ok {
					t.Fatalf("known fault (%s): got %v", fault.why, err)
				}
				return
			}
			var serr *SyntaxError
			if !errors.As(err, &serr) || serr.Rule != fault.rule {
				t.Fatalf("known fault (%s): got %v, want %s", fault.why, err, fault.rule)
			}
		})
	}
}

func TestRFC3862Section51(t *testing.T) {
	b, err := os.ReadFile("testdata/rfc/rfc3862-5.1-with-mime-header.cpim")
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEntity(b, Limits{})
	if err != nil || !e.ContentType().Is("Message/CPIM") {
		t.Fatalf("%v, %v", e, err)
	}
	m, err := ParseMessage(e.Body(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	from, _ := m.From()
	if from.Name() != "MR SANDERS" || from.URI() != "im:piglet@100akerwood.com" {
		t.Errorf("From %+v", from)
	}
	if a, err := from.Address(); err != nil || a != MustParseAddress("im:piglet@100akerwood.com") {
		t.Errorf("address %v, %v", a, err)
	}
	if v, ok := m.DateTime(); !ok || v.String() != "2000-12-13T13:40:00-08:00" {
		t.Errorf("DateTime %v, %v", v, ok)
	}
	var subjects []Subject
	for s := range m.Subjects() {
		subjects = append(subjects, s)
	}
	if len(subjects) != 2 || subjects[0] != (Subject{"", "the weather will be fine today"}) ||
		subjects[1] != (Subject{"fr", "beau temps prevu pour aujourd'hui"}) {
		t.Errorf("subjects %q", subjects)
	}
	for f := range m.Requires() {
		if f != (Feature{"mid:MessageFeatures@id.foo.com", "VitalMessageOption"}) {
			t.Errorf("Require %+v", f)
		}
	}
	n := 0
	for h := range m.Lookup("mid:MessageFeatures@id.foo.com", "WackyMessageOption") {
		n++
		if h.Text() != "Use-silly-font" {
			t.Errorf("%q", h.Text())
		}
	}
	if n != 1 {
		t.Errorf("%d headers", n)
	}
	if c := m.Content(); c.ContentType().String() != "text/xml; charset=utf-8" ||
		string(c.Body()) != "<body>\r\nHere is the text of my message.\r\n</body>\r\n" {
		t.Errorf("content %q %q", c.ContentType(), c.Body())
	}
}

// The three examples of RFC 3862 §3.4 "have exactly the same meaning".
func TestNamespacesSameMeaning(t *testing.T) {
	for _, f := range []string{"b", "c", "d"} {
		b, err := os.ReadFile("testdata/rfc/rfc3862-3.4-" + f + ".cpim")
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseMessage(b, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		h := m.Header(1)
		if string(h.Namespace) != "http://id.acme.widgets/wily-headers/" || string(h.Local) != "runner-trap" || h.Text() != "set" {
			t.Errorf("%s: %s %s", f, h.Namespace, h.Local)
		}
	}
}
