package pidf

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The three documents of RFC 5262 §6: the full state, the diff, and the updated local copy.
func TestPartialExampleRFC5262(t *testing.T) {
	var c PartialCopy
	apply(t, &c, readFile(t, "testdata/rfc/rfc5262-1.xml"))
	got := apply(t, &c, readFile(t, "testdata/rfc/rfc5262-2.xml"))
	want, err := ParsePartial(readFile(t, "testdata/rfc/rfc5262-3.xml"))
	if err != nil {
		t.Fatal(err)
	}
	// Known fault of the example: the note says "between the last tuple and person element" in the diff and "between the last
	// tuple and note element", with another indentation, in the result.
	for _, p := range []*Presence{got, want.Full()} {
		note := &p.Tuple(MustParseID("ert4773")).Notes[0]
		note.Text = collapse(strings.Replace(note.Text, "person element", "note element", 1))
	}
	if !got.Equal(want.Full()) {
		a, _ := got.Append(nil)
		b, _ := want.Full().Append(nil)
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
	if v, ok := c.Version(); !ok || v != 568 || !strings.Contains(string(c.Document()), `version="568"`) {
		t.Errorf("version %d", v)
	}
}

// The two documents of RFC 5263 §5, of which the first is not valid: see publishedFaults.
func TestPartialExampleRFC5263(t *testing.T) {
	var c PartialCopy
	for i, name := range []string{"testdata/rfc/rfc5263-1.xml", "testdata/rfc/rfc5263-2.xml"} {
		d, _, err := ParsePartialLenient(readFile(t, name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Apply(d)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Tuples) != 3+i {
			t.Errorf("%d tuples", len(p.Tuples))
		}
		if i == 1 && (p.Tuples[2].Status.Basic != BasicOpen || p.Tuples[1].Contact.Priority.String() != "0.7" ||
			len(p.Persons[0].Rich.Activities[0].Values) != 1) {
			t.Errorf("%+v", p)
		}
	}
}

// RFC 5263 §4.5: "If the watcher receives a presence document with the "version" attribute value equal or lower than the locally
// stored version number, it is considered a PA failure, and the watcher SHOULD discard the document without further processing."
func TestPartialVersions(t *testing.T) {
	full := func(version string) string {
		return `<?xml version="1.0"?><p:pidf-full xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" entity="pres:a@b"` + version + `/>`
	}
	diff := func(attributes string) string {
		return `<?xml version="1.0"?><p:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff"` + attributes + `/>`
	}
	var c PartialCopy
	for _, s := range []struct {
		name, doc string
		err       error
	}{
		{"diff first", diff(` version="1"`), ErrPartialNoFull},
		{"full", full(` version="5"`), nil},
		{"same version", full(` version="5"`), ErrPartialStale},
		{"lower version", diff(` version="4"`), ErrPartialStale},
		{"next", diff(` version="6"`), nil},
		{"gap", diff(` version="8"`), ErrPartialGap},
		{"after the gap", diff(` version="7"`), nil},
		{"full after a gap", full(` version="4294967295"`), nil},
		{"diff without version", diff(``), nil},
		{"the end of the numbers", diff(` version="0"`), ErrPartialStale},
		{"same entity", diff(` entity="pres:a@b"`), nil},
	} {
		d, err := ParsePartial([]byte(s.doc))
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if _, err := c.Apply(d); !errors.Is(err, s.err) {
			t.Errorf("%s: %v, want %v", s.name, err, s.err)
		}
	}
	// RFC 5262 §11: "If the 'version' or 'entity' attributes have incorrect content, it MAY be indicated by the
	// <invalid-attribute-value> error element."
	d, err := ParsePartial([]byte(diff(` entity="pres:other@b"`)))
	if err != nil {
		t.Fatal(err)
	}
	var fault *PatchError
	if _, err := c.Apply(d); !errors.As(err, &fault) || fault.Condition != PatchInvalidAttributeValue {
		t.Errorf("another entity: %v", err)
	}
	// "The local version counter MUST NOT be discarded" when the notifier changes the content type (RFC 5263 §4.5).
	c.Discard()
	if v, ok := c.Version(); !ok || v != 4294967295 {
		t.Errorf("version %d after Discard", v)
	}
	if d, err = ParsePartial([]byte(diff(``))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(d); !errors.Is(err, ErrPartialNoFull) {
		t.Errorf("diff after Discard: %v", err)
	}
}

func TestPartialFaults(t *testing.T) {
	const ns = ` xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff"`
	for _, c := range []struct{ name, doc, rule string }{
		// "Although the XML Schema also allows using <presence> as the document root element, it is disallowed" (RFC 5262 §3).
		{"presence", `<?xml version="1.0"?><presence` + ns + ` entity="pres:a@b"/>`, "root"},
		{"version word", `<?xml version="1.0"?><p:pidf-full` + ns + ` entity="pres:a@b" version="one"/>`, "version"},
		{"version negative", `<?xml version="1.0"?><p:pidf-diff` + ns + ` version="-1"/>`, "version"},
		{"version large", `<?xml version="1.0"?><p:pidf-diff` + ns + ` version="4294967296"/>`, "version"},
		{"entity", `<?xml version="1.0"?><p:pidf-diff` + ns + ` entity="a b"/>`, "entity-uri"},
		{"no entity in full", `<?xml version="1.0"?><p:pidf-full` + ns + `/>`, "entity-missing"},
		{"comment", `<?xml version="1.0"?><p:pidf-diff` + ns + `><!-- c --></p:pidf-diff>`, "comment"},
	} {
		_, err := ParsePartial([]byte(c.doc))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Rule != c.rule {
			t.Errorf("%s: %v, want %s", c.name, err, c.rule)
		}
	}
}

// A diff whose result is no PIDF changes nothing.
func TestPartialResultIsChecked(t *testing.T) {
	var c PartialCopy
	apply(t, &c, readFile(t, "testdata/rfc/rfc5262-1.xml"))
	for _, ops := range []string{
		`<p:replace sel="*/tuple[1]/status/basic/text()">maybe</p:replace>`,
		`<p:remove sel="*/tuple[1]/status"/>`,
		`<p:replace sel="*/tuple[1]/@id">cg231jcr</p:replace>`,
		`<p:remove sel="*/@entity"/>`,
		`<p:replace sel="*"><p:pidf-diff xmlns:p="urn:ietf:params:xml:ns:pidf-diff"/></p:replace>`,
	} {
		d, err := ParsePartial(diffOf(ops))
		if err != nil {
			t.Fatal(err)
		}
		var syntax *SyntaxError
		if _, err := c.Apply(d); !errors.As(err, &syntax) {
			t.Errorf("%s: %v", ops, err)
		}
		if v, _ := c.Version(); v != 567 {
			t.Fatal("the copy changed")
		}
	}
	d, err := ParsePartial(diffOf(`<p:replace sel="*/@entity">pres:eve@example.com</p:replace>`))
	if err != nil {
		t.Fatal(err)
	}
	var fault *PatchError
	if _, err := c.Apply(d); !errors.As(err, &fault) || fault.Condition != PatchInvalidAttributeValue {
		t.Errorf("another entity by patch: %v", err)
	}
}
