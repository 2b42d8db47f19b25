package pidf

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

// made makes the next document and gives it to the watcher, who must end with want.
func made(t testing.TB, m *PartialMaker, c *PartialCopy, want *Presence) string {
	t.Helper()
	b, err := m.Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParsePartial(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	got, err := c.Apply(d)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if !got.Equal(want) {
		a, _ := got.Append(nil)
		w, _ := want.Append(nil)
		t.Fatalf("the watcher has\n%s\nwant\n%s\nafter\n%s", a, w, b)
	}
	if v, _ := c.Version(); v != m.Version() {
		t.Fatalf("the watcher is at version %d, the maker at %d", v, m.Version())
	}
	return string(b)
}

func mustParse(t testing.TB, content string) *Presence {
	t.Helper()
	p, err := Parse([]byte(`<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" ` +
		`xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="pres:juliet@example.com">` + content + `</presence>`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tupleText(id, basic string) string {
	return `<tuple id="` + id + `"><status><basic>` + basic + `</basic></status><contact priority="0.8">im:juliet@example.com</contact>` +
		`<note xml:lang="en">a note that makes the tuple longer than what says that it changed</note></tuple>`
}

func personText(id, activity string) string {
	return `<dm:person id="` + id + `"><r:activities><r:` + activity + `/></r:activities><dm:note>also long enough to be worth a diff of its own</dm:note></dm:person>`
}

// "All the information that has been added to the presence document is listed inside <add> elements. All information that has been removed
// from the presence document is listed inside <remove> elements, and all information that has been changed is listed under <replace>
// elements." (RFC 5263 §4.4)
func TestPartialMaker(t *testing.T) {
	a, b, c := tupleText("a", "open"), tupleText("b", "open"), tupleText("c", "closed")
	many := a + b + c + tupleText("e", "open") + tupleText("f", "open")
	for _, x := range []struct {
		name, from, to string
		ops            string // of the diff, in order; "full" for none
	}{
		{"the same", a + b, a + b, ""},
		{"a status", many, strings.Replace(many, `<tuple id="b"><status><basic>open`, `<tuple id="b"><status><basic>closed`, 1), "replace"},
		{"one more at the end", a + b, a + b + c, "add"},
		{"one more in the middle", a + c, a + b + c, "add"},
		{"one more in front", b + c, a + b + c, "add"},
		{"two more in a row", many, a + tupleText("x", "open") + tupleText("y", "open") + strings.TrimPrefix(many, a), "add add"},
		{"the first of all", personText("p", "away") + personText("q", "busy"), a + personText("p", "away") + personText("q", "busy"), "add"},
		{"one less", many, strings.Replace(many, b, "", 1), "remove"},
		{"all of a kind gone", a + b + personText("p", "away"), personText("p", "away"), "remove remove"},
		{"another in its place", many, strings.Replace(many, b, tupleText("z", "open"), 1), "remove add"},
		{"a person", many + personText("p", "away"), many + personText("p", "busy"), "replace"},
		{"the first person", many, many + personText("p", "busy"), "add"},
		{"a person in front", many + personText("p", "away"), many + personText("q", "busy") + personText("p", "away"), "add"},
		{"a device", many, many + `<dm:device id="d"><dm:deviceID>urn:x-mac:0003ba4811e3</dm:deviceID></dm:device>`, "add"},
		{"another order", many, strings.Replace(many, a+b, b+a, 1), "full"},
		{"a note of all", many, many + `<note>hello</note>`, "full"},
		{"an extension of all", many, many + `<x xmlns="urn:x"/>`, "full"},
		{"more change than rest", a, tupleText("a", "closed"), "full"},
	} {
		t.Run(x.name, func(t *testing.T) {
			var m PartialMaker
			var w PartialCopy
			// "for the first partial notification (within a given subscription), the PA MUST initialize version to value one (1)" and "MUST
			// deliver the full state" (RFC 5263 §4.4).
			if first := made(t, &m, &w, mustParse(t, x.from)); !strings.Contains(first, "<p:pidf-full ") || !strings.Contains(first, ` version='1'`) {
				t.Errorf("the first document: %s", first)
			}
			doc := made(t, &m, &w, mustParse(t, x.to))
			got := "full"
			if strings.Contains(doc, "<p:pidf-diff ") {
				var ops []string
				for part := range strings.SplitSeq(doc, "<p:") {
					if name, _, _ := strings.Cut(part, " "); name == "add" || name == "remove" || name == "replace" {
						ops = append(ops, name)
					}
				}
				got = strings.Join(ops, " ")
			}
			if got != x.ops || !strings.Contains(doc, ` version='2'`) {
				t.Errorf("operations %q, want %q:\n%s", got, x.ops, doc)
			}
			m.Reset()
			if again := made(t, &m, &w, mustParse(t, x.to)); !strings.Contains(again, "<p:pidf-full ") || !strings.Contains(again, ` version='3'`) {
				t.Errorf("after a reset: %s", again)
			}
		})
	}
}

func TestPartialMakerFaults(t *testing.T) {
	var m PartialMaker
	if b, err := m.Append([]byte("before"), &Presence{}); err == nil || string(b) != "before" || m.Version() != 0 {
		t.Errorf("a document without an entity: %q, %v, version %d", b, err, m.Version())
	}
	m.version = math.MaxUint32
	if _, err := m.Append(nil, mustParse(t, "")); err == nil {
		t.Error("the numbers have an end")
	}
	m = PartialMaker{}
	other := mustParse(t, tupleText("a", "open"))
	if b, err := m.Append([]byte("before"), other); err != nil || !strings.HasPrefix(string(b), "before<?xml") {
		t.Errorf("%v %s", err, b)
	}
}

// FuzzPartialMaker: whatever document follows whatever other, the watcher has it.
func FuzzPartialMaker(f *testing.F) {
	f.Add("ab", "bca")
	f.Add("abc", "")
	f.Add("", "PQ")
	f.Add("abPQ", "bXbP")
	f.Fuzz(func(t *testing.T, from, to string) {
		// A letter is a tuple or, if it is a capital, a person of that id; one that comes again has another status.
		doc := func(s string, seed int) *Presence {
			p := mustParse(t, "")
			seen := map[byte]bool{}
			for i := range min(len(s), 40) {
				if c := s[i] | 0x20; c < 'a' || c > 'z' || seen[s[i]] {
					continue
				}
				seen[s[i]] = true
				if s[i] < 'a' {
					p.Persons = append(p.Persons, Person{ID: MustParseID("P" + s[i:i+1]), Notes: []Note{{Text: strconv.Itoa((i + seed) % 2)}}})
					continue
				}
				p.Tuples = append(p.Tuples, Tuple{ID: MustParseID(s[i : i+1]), Status: Status{Basic: Basic(1 + (i+seed)%2)}})
			}
			return p
		}
		var m PartialMaker
		var w PartialCopy
		made(t, &m, &w, doc(from, 0))
		made(t, &m, &w, doc(to, 1))
		made(t, &m, &w, doc(from, 1))
	})
}

func BenchmarkPartialMaker(b *testing.B) {
	one, err := Parse([]byte(twoTuples))
	if err != nil {
		b.Fatal(err)
	}
	two, err := Parse([]byte(strings.Replace(twoTuples, "away", "dnd", 1)))
	if err != nil {
		b.Fatal(err)
	}
	docs := [2]*Presence{one, two}
	var m PartialMaker
	dst := make([]byte, 0, 4096)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Append(dst, docs[n%2]); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
