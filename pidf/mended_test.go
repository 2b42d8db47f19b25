package pidf

import (
	"strings"
	"testing"
)

func lenient(t *testing.T, content string) *Presence {
	t.Helper()
	p, _, err := ParseLenient([]byte(`<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="` + NamespaceDataModel +
		`" xmlns:r="` + NamespaceRPID + `" entity="pres:romeo@example.net">` + content + `</presence>`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMended(t *testing.T) {
	for _, c := range []struct {
		name, content string
		want          []string
	}{
		{
			"COMPAT(kamailio-go): activities in the tuple",
			`<tuple id="a"><status><basic>open</basic></status><r:activities><r:meeting/></r:activities></tuple>`,
			[]string{`<tuple id="a">`, `<basic>open</basic>`, `person`, `meeting`},
		},
		{
			"activities in the tuple, and a person who says something else",
			`<tuple id="a"><status><basic>open</basic></status><r:activities><r:meeting/></r:activities></tuple><dm:person id="p"><r:activities><r:away/></r:activities></dm:person>`,
			[]string{`<basic>open</basic>`, `id="p"`, `away`, "!meeting"},
		},
		{
			"no status, beside a tuple that has one",
			`<tuple id="a"><status/></tuple><tuple id="b"><status><basic>open</basic></status></tuple>`,
			[]string{`<tuple id="a"><status><basic>closed</basic>`, `<tuple id="b"><status><basic>open</basic>`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := lenient(t, c.content)
			if p.prints() {
				t.Fatal("it can be printed as it is")
			}
			m := p.Mended()
			b, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Parse(b); err != nil {
				t.Errorf("%v in %s", err, b)
			}
			for _, w := range c.want {
				if not, is := strings.CutPrefix(w, "!"); strings.Contains(strings.ReplaceAll(string(b), `'`, `"`), not) == is {
					t.Errorf("%s: %s", w, b)
				}
			}
			if m.Mended() != m {
				t.Error("what was mended is mended again")
			}
		})
	}
}

// FuzzMended: whatever ParseLenient takes about somebody can be printed once it is mended, strictly valid, and nobody is there who was not.
func FuzzMended(f *testing.F) {
	for _, s := range []string{
		`<tuple id="a"><status><basic>open</basic></status><r:activities><r:meeting/></r:activities></tuple>`,
		`<tuple id="1"><status/><note>x</note></tuple><tuple id="1"><status><basic>OPEN</basic></status></tuple>`,
		`<dm:person><r:mood><r:happy/></r:mood></dm:person><dm:device id="d"/>`,
	} {
		f.Add([]byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="` + NamespaceDataModel + `" xmlns:r="` + NamespaceRPID + `" entity="pres:x@y">` + s + `</presence>`))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, _, err := ParseLenient(doc)
		if err != nil || p.Entity.IsZero() {
			return
		}
		m := p.Mended()
		b, err := m.Append(nil)
		if err != nil {
			t.Fatalf("%v: %s", err, doc)
		}
		if _, err := Parse(b); err != nil {
			t.Errorf("%v: %s", err, b)
		}
		if len(m.Tuples) > len(p.Tuples) || len(m.Persons) > len(p.Persons)+1 {
			t.Errorf("%d tuples and %d persons of %d and %d", len(m.Tuples), len(m.Persons), len(p.Tuples), len(p.Persons))
		}
		open := func(p *Presence) (n int) {
			for i := range p.Tuples {
				if p.Tuples[i].Status.Basic == BasicOpen {
					n++
				}
			}
			return n
		}
		if open(m) > open(p) {
			t.Errorf("somebody came: %s", b)
		}
	})
}

func BenchmarkMended(b *testing.B) {
	p, _, err := ParseLenient([]byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:r="` + NamespaceRPID +
		`" entity="pres:x@y"><tuple id="a"><status><basic>open</basic></status><r:activities><r:meeting/></r:activities></tuple></presence>`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Mended()
	}
}
