package pidf

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// publishedFault is a fault of an example as the RFC prints it.
type publishedFault struct {
	rule    string
	lenient []LeniencyKind // what ParseLenient needs; nil if it refuses the example too
	reason  string
}

// publishedFaults lists every example of the RFCs that is not valid by its own text. The test fails if one becomes valid.
func publishedFaults() map[string]publishedFault {
	return map[string]publishedFault{
		"rfc3863-6.xml": {"must-understand-place", []LeniencyKind{LenientMustUnderstand}, "§4.3.3 has mustUnderstand in a child of the tuple; §4.2.3 allows it only within a status"},
		"rfc4479-1.xml": {"entity-missing", []LeniencyKind{LenientEntityMissing, LenientDeviceURN}, "§7 has no entity, which RFC 3863 §4.1.1 demands, and deviceIDs that are no URNs (§3.4)"},
		"rfc4480-1.xml": {"sphere-text", []LeniencyKind{LenientSphereText}, "§4 has a sphere in words; the schema of §5.1 has only elements in it"},
		"rfc4481-1.xml": {"xml-declaration", []LeniencyKind{LenientDeclaration}, "§4 has no XML declaration, which RFC 3863 §4.1 demands"},
		"rfc4482-1.xml": {"tag-mismatch", nil, "§4 closes <c:display-name> with </c:card>: not well-formed"},
		"rfc5263-1.xml": {"caps-order", []LeniencyKind{LenientCapsOrder, LenientDeviceURN}, "§5 has <c:video> before <c:message>, against the schema of RFC 5196 §6, and the deviceID mac:xxx, no URN"},
		"rfc3922-9.xml": {"xml-declaration", []LeniencyKind{LenientDeclaration}, "§6.3.2 has no XML declaration"},
	}
}

func TestPublishedExamples(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc/*.xml")
	if err != nil || len(files) < 35 {
		t.Fatalf("%d example files, want at least 35 (%v)", len(files), err)
	}
	faults := publishedFaults()
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			doc, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(doc, []byte("pidf-diff ")) || bytes.Contains(doc, []byte("pidf-diff\n")) {
				if _, err := ParsePartial(doc); err != nil {
					t.Fatal(err)
				}
				return
			}
			strict, lenient := Parse, ParseLenient
			if bytes.Contains(doc, []byte("pidf-full")) {
				strict = func(doc []byte) (*Presence, error) {
					p, err := ParsePartial(doc)
					if err != nil {
						return nil, err
					}
					return p.Full(), nil
				}
				lenient = func(doc []byte) (*Presence, []Leniency, error) {
					p, found, err := ParsePartialLenient(doc)
					if err != nil {
						return nil, found, err
					}
					return p.Full(), found, nil
				}
			}
			p, err := strict(doc)
			fault, faulty := faults[name]
			if faulty {
				var syntax *SyntaxError
				if !errors.As(err, &syntax) || syntax.Rule != fault.rule {
					t.Fatalf("got %v, want the known fault %s (%s)", err, fault.rule, fault.reason)
				}
				p, found, err := lenient(doc)
				if fault.lenient == nil {
					if err == nil {
						t.Fatal("read leniently, though it is not well-formed")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if !sameKinds(found, fault.lenient) {
					t.Fatalf("leniencies %v, want %v", found, fault.lenient)
				}
				if !bytes.Equal(p.Raw(), doc) {
					t.Error("Raw differs from what came")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkRoundTrip(t, p)
			if !bytes.Equal(p.Raw(), doc) {
				t.Error("Raw differs from what came")
			}
			q, found, err := lenient(doc)
			if err != nil || len(found) > 0 || !q.Equal(p) {
				t.Errorf("the lenient reader differs on a valid document: %v %v", found, err)
			}
		})
	}
}

// sameKinds compares leniencies by kind, each kind once, in the order of first use.
func sameKinds(found []Leniency, want []LeniencyKind) bool {
	var kinds []LeniencyKind
	for _, l := range found {
		have := false
		for _, k := range kinds {
			have = have || k == l.Kind
		}
		if !have {
			kinds = append(kinds, l.Kind)
		}
	}
	if len(kinds) != len(want) {
		return false
	}
	for i := range kinds {
		if kinds[i] != want[i] {
			return false
		}
	}
	return true
}

// checkRoundTrip holds p to the property of the package: what parses prints, and parses to the same.
func checkRoundTrip(t testing.TB, p *Presence) {
	t.Helper()
	printed, err := p.Append(nil)
	if err != nil {
		t.Fatalf("a parsed document does not print: %v", err)
	}
	q, err := Parse(printed)
	if err != nil {
		t.Fatalf("a printed document does not parse: %v\n%s", err, printed)
	}
	again, err := q.Append(nil)
	if err != nil || !bytes.Equal(again, printed) {
		t.Fatalf("not the same after a round trip (%v):\n%s\n%s", err, printed, again)
	}
	if !strings.HasPrefix(string(printed), `<?xml version="1.0" encoding="UTF-8"?>`) {
		t.Fatal("no XML declaration") // RFC 3863 §4.1: "It MUST have the XML declaration"
	}
}

func TestExampleValues(t *testing.T) {
	doc, err := os.ReadFile("testdata/rfc/rfc4480-1.xml")
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := ParseLenient(doc)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Tuples) != 3 || len(p.Persons) != 1 || len(p.Devices) != 1 || len(p.Notes) != 1 {
		t.Fatalf("%d tuples, %d persons, %d devices, %d notes", len(p.Tuples), len(p.Persons), len(p.Devices), len(p.Notes))
	}
	tuple := p.Tuple(MustParseID("bs35r9"))
	if tuple == nil || tuple.Status.Basic != BasicOpen || tuple.Contact.Priority.Milli() != 800 || len(tuple.Notes) != 2 ||
		tuple.Notes[1].Lang != "fr" || tuple.Rich.Relationship.Value != RelationSelf || tuple.Rich.ServiceClass.Value != ServiceElectronic ||
		tuple.Rich.DeviceIDs[0].String() != "urn:device:0003ba4811e3" {
		t.Errorf("tuple: %+v", tuple)
	}
	if icon := p.Tuples[2].Rich.StatusIcons; len(icon) != 1 || p.Tuples[2].Rich.Class != "email" {
		t.Errorf("tuple 3: %+v", p.Tuples[2].Rich)
	}
	input := p.Devices[0].Rich.UserInput
	if !input.Idle || input.IdleThreshold != 600 || input.LastInput.String() != "2004-10-21T13:20:00-05:00" {
		t.Errorf("user-input: %+v", input)
	}
	r := p.Persons[0].Rich
	if len(r.Activities) != 1 || r.Activities[0].Values[0] != ActivityAway || r.Activities[0].Notes[0].Text != "Far away" ||
		r.Activities[0].Until.String() != "2005-05-30T17:00:00+05:00" {
		t.Errorf("activities: %+v", r.Activities)
	}
	if r.Moods[0].Values[0] != FeelingAngry || r.Moods[0].Others[0].Text != "brooding" || r.PlaceIs[0].Audio != AudioNoisy ||
		r.PlaceTypes[0].Extensions[0].Name() != (Name{"urn:ietf:params:xml:ns:location-type", "residence"}) ||
		!r.Privacy[0].Unknown || r.Spheres[0].Text != "bowling league" || r.TimeOffsets[0].Minutes != -240 || r.Class != "calendar" {
		t.Errorf("person: %+v", r)
	}
	if p.Newest().String() != "2005-10-27T16:49:29Z" {
		t.Errorf("newest %v", p.Newest())
	}
}
