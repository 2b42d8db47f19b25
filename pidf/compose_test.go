package pidf

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func newComposer(t *testing.T, previous *Presence) *Composer {
	t.Helper()
	c, err := NewComposer(MustParseURI("pres:juliet@example.com"), previous)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// RFC 3863 §4.1.7: "A PRESENTITY MUST NOT generate successive <presence> elements containing the same timestamp."
// T-CP-14: 10,000 rapid changes, the timestamps strictly increase, also after the clock steps back.
func TestTimestampsIncrease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newComposer(t, nil)
		var last *Presence
		sources := []Source{{Resource: "balcony", Basic: BasicOpen}, {Resource: "chamber", Basic: BasicOpen}}
		now := time.Now()
		for i := range 10_000 {
			switch i % 1000 {
			case 300:
				now = now.Add(-time.Hour)
			case 600:
				now = now.AddDate(1, 0, 0)
			case 900:
				now = now.AddDate(-1, 0, 0)
			}
			sources[i%2].Show = Show(1 + (i/2)%2)
			doc, changed, err := c.Compose(now, sources)
			if err != nil {
				t.Fatal(err)
			}
			if !changed {
				t.Fatalf("step %d: a change gave no document", i)
			}
			if last != nil && !doc.Newest().After(last.Newest()) {
				t.Fatalf("step %d: %v is not after %v", i, doc.Newest(), last.Newest())
			}
			if last != nil && (doc.Outdated(last) || !last.Outdated(doc)) {
				t.Fatalf("step %d: a watcher would ignore the newer document", i)
			}
			again, changed, err := c.Compose(now, sources)
			if err != nil || changed || again != doc {
				t.Fatalf("step %d: no change gave another document", i)
			}
			last = doc
		}
		// After a restart it goes on from the last document.
		c = newComposer(t, last)
		sources[0].Show = ShowXA
		doc, changed, err := c.Compose(now.AddDate(-5, 0, 0), sources)
		if err != nil || !changed || !doc.Newest().After(last.Newest()) {
			t.Errorf("after a restart: %v %v", changed, err)
		}
		if doc.Tuples[1].Timestamp != last.Tuples[1].Timestamp {
			t.Error("after a restart the unchanged tuple has another timestamp")
		}
	})
}

// RFC 3922 §6.3.2: "an XMPP-CPIM gateway MUST NOT generate a PIDF document with zero <tuple/> children"
func TestComposeLifeOfResources(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	c := newComposer(t, nil)
	step := func(name string, changed bool, sources []Source, want ...string) *Presence {
		t.Helper()
		now = now.Add(time.Second)
		doc, got, err := c.Compose(now, sources)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got != changed {
			t.Errorf("%s: changed is %v", name, got)
		}
		var have []string
		for _, tuple := range doc.Tuples {
			have = append(have, tuple.ID.String()+" "+tuple.Status.Basic.String())
		}
		if strings.Join(have, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s: %v, want %v", name, have, want)
		}
		checkRoundTrip(t, doc)
		return doc
	}
	balcony := Source{Resource: "balcony", Basic: BasicOpen, Priority: 13, HasPriority: true, Contact: MustParseURI("im:juliet@example.com")}
	chamber := Source{Resource: "chamber", Basic: BasicOpen, Show: ShowDND, Notes: []Note{{Text: "asleep", Lang: "en"}}}
	step("nobody", true, nil, "ID- closed")
	step("nobody still", false, nil, "ID- closed")
	first := step("first", true, []Source{balcony}, "ID-balcony open")
	if p := first.Tuples[0].Contact.Priority.String(); p != "0.102" { // RFC 3922 §5.1.7
		t.Errorf("priority %s", p)
	}
	both := step("second", true, []Source{chamber, balcony}, "ID-balcony open", "ID-chamber open")
	if both.Tuples[0].Timestamp != first.Tuples[0].Timestamp {
		t.Error("the unchanged tuple has another timestamp")
	}
	step("other order", false, []Source{balcony, chamber}, "ID-balcony open", "ID-chamber open")
	step("one gone", true, []Source{chamber}, "ID-balcony closed", "ID-chamber open")
	step("still gone", false, []Source{chamber}, "ID-balcony closed", "ID-chamber open")
	step("dropped with the next change", true, []Source{{Resource: "chamber", Basic: BasicOpen}}, "ID-chamber open")
	step("unavailable", true, []Source{{Resource: "chamber", Basic: BasicClosed, Show: ShowAway}}, "ID-chamber closed")
	step("gone after unavailable", false, nil, "ID-chamber closed")
	step("back", true, []Source{balcony}, "ID-balcony open")
	if _, _, err := c.Compose(now, []Source{balcony, balcony}); err == nil {
		t.Error("one resource twice is no error")
	}
}

// Whatever comes and goes, each document is valid, has a tuple for each source, and is newer than the last.
func TestComposeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := NewComposer(MustParseURI("pres:juliet@example.com"), nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var last *Presence
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(-3600e9, 3600e9).Draw(t, "clock")))
			var sources []Source
			for _, resource := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "1", "a b", "😀", "Ä", "_", "x_20_y"}), 0, 5, rapid.ID[string]).Draw(t, "resources") {
				sources = append(sources, Source{Resource: resource, Basic: BasicOpen, Show: Show(rapid.IntRange(0, 4).Draw(t, "show"))})
			}
			doc, changed, err := c.Compose(now, sources)
			if err != nil {
				t.Fatal(err)
			}
			if doc.ZeroTuples() {
				t.Fatal("no tuple")
			}
			for _, s := range sources {
				if tuple := doc.Tuple(TupleID(s.Resource)); tuple == nil || tuple.Status.Basic != BasicOpen || tuple.Status.Show != s.Show {
					t.Fatalf("resource %q: %+v", s.Resource, tuple)
				}
			}
			printed, err := doc.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Parse(printed); err != nil {
				t.Fatal(err)
			}
			if changed && last != nil && !doc.Newest().After(last.Newest()) {
				t.Fatal("not newer")
			}
			last = doc
		}
	})
}

func TestMerge(t *testing.T) {
	parse := func(body string) *Presence {
		p, err := Parse([]byte(xmlDeclaration + `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="pres:a@b">` + body + `</presence>`))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	phone := parse(`<tuple id="t"><status><basic>open</basic></status></tuple><note>hi</note><dm:person id="p"><r:activities id="a"><r:away/></r:activities></dm:person>`)
	desk := parse(`<tuple id="t"><status><basic>closed</basic></status></tuple><note>hi</note><dm:person id="p"><r:activities id="a"><r:busy/></r:activities></dm:person>`)
	merged := Merge(MustParseURI("pres:juliet@example.com"), phone, desk, phone)
	checkRoundTrip(t, merged)
	if len(merged.Tuples) != 2 || merged.Tuples[1].ID.String() != "t-2" || len(merged.Persons) != 2 || merged.Persons[1].ID.String() != "p-2" || len(merged.Notes) != 1 {
		t.Errorf("%+v", merged)
	}
	if id := desk.Persons[0].Rich.Activities[0].ID; id.String() != "a" || !merged.Persons[1].Rich.Activities[0].ID.IsZero() {
		t.Error("the second activities keep an id that is taken, or the source was changed")
	}
	if !merged.Equal(Merge(MustParseURI("pres:juliet@example.com"), phone, desk, phone)) {
		t.Error("not the same each time")
	}
}
