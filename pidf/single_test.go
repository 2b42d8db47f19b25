package pidf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"pgregory.net/rapid"
)

// of makes a document of tuples "id basic show priority second", where "-" is none.
func tuplesOf(t *testing.T, tuples ...string) *Presence {
	t.Helper()
	p := &Presence{Entity: MustParseURI("pres:juliet@example.com")}
	for _, line := range tuples {
		f := strings.Fields(line)
		one := Tuple{ID: MustParseID(f[0])}
		switch f[1] {
		case "open":
			one.Status.Basic = BasicOpen
		case "closed":
			one.Status.Basic = BasicClosed
		}
		one.Status.Show, _ = ParseShow(f[2])
		if f[3] != "-" {
			one.Contact = &Contact{URI: MustParseURI("im:" + strings.ToLower(f[0]) + "@example.com"), Priority: MustParsePriority(f[3])}
		}
		if f[4] != "-" {
			one.Timestamp = datetime.MustParse("2026-01-01T00:00:0"+f[4]+"Z", datetime.PIDF)
		}
		one.Notes = []Note{{Text: f[0]}}
		p.Tuples = append(p.Tuples, one)
	}
	return p
}

// T-CP-05, T-CP-06: which of an XMPP user's resources a watcher is told that reads one tuple: the most available one in the sense of RFC 6121
// §8.5.2.1.1, whatever the order in which they stand.
func TestSingleChooses(t *testing.T) {
	for _, x := range []struct {
		name, want string
		tuples     []string
	}{
		{"the only one", "a", []string{"a open dnd - -"}},
		{"open before closed, whatever else", "b", []string{"a closed - 1 9", "b open dnd 0 1"}},
		{"open before unsaid", "b", []string{"a - chat 1 9", "b open dnd - 1"}},
		{"unsaid before closed", "b", []string{"a closed - 1 9", "b - away - 1"}},
		{"the highest priority, whatever the availability", "b", []string{"a open chat 0.5 9", "b open dnd 0.51 1"}},
		{"no priority is the lowest", "b", []string{"a open chat - 9", "b open dnd 0.001 1"}},
		{"no priority is 0", "b", []string{"a open - 0 9", "b open chat - 1"}},
		{"spelling of priority does not count", "b", []string{"a open - 0.5 1", "b open chat 0.500 1"}},
		{"chat before online", "b", []string{"a open - - 9", "b open chat - 1"}},
		{"online before away", "b", []string{"a open away - 9", "b open - - 1"}},
		{"away before xa", "b", []string{"a open xa - 9", "b open away - 1"}},
		{"xa before dnd", "b", []string{"a open dnd - 9", "b open xa - 1"}},
		{"the newest", "b", []string{"a open away - 1", "b open away - 2"}},
		{"a time before none", "b", []string{"a open - - -", "b open - - 1"}},
		{"the id", "a", []string{"b open - 1 1", "a open - 1 1", "c open - 1 1"}},
		{"of closed ones the newest", "b", []string{"a closed - - 1", "b closed - - 2"}},
		{"one of many", "d", []string{"a open away 1 1", "b open away 0.1 7", "c closed - 1 8", "d open - 1 2", "e open - 1 1"}},
	} {
		for turned := range x.tuples {
			p := tuplesOf(t, append(append([]string{}, x.tuples[turned:]...), x.tuples[:turned]...)...)
			before, _ := p.Append(nil)
			s := p.Single()
			if len(s.Tuples) != 1 || s.Tuples[0].Notes[0].Text != x.want {
				t.Errorf("%s: %+v, want %s", x.name, s.Tuples, x.want)
				continue
			}
			was, one := p.Tuple(MustParseID(x.want)), &s.Tuples[0]
			if one.ID != TupleID("") || one.Status.Basic != was.Status.Basic || one.Status.Show != was.Status.Show || one.Contact != was.Contact {
				t.Errorf("%s: %+v of %+v", x.name, one, was)
			}
			if s.Newest() != p.Newest() {
				t.Errorf("%s: newest %v, was %v: it would be taken for outdated", x.name, s.Newest(), p.Newest())
			}
			if after, _ := p.Append(nil); string(after) != string(before) {
				t.Errorf("%s: the document itself was changed", x.name)
			}
		}
	}
}

// What belongs to the whole person stays, and of devices those that the tuple that is left has, or none.
func TestSingleKeepsThePerson(t *testing.T) {
	p := read(t, `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
	xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="pres:juliet@example.com">
	<tuple id="ID-a"><status><basic>open</basic></status><dm:deviceID>urn:device:a</dm:deviceID></tuple>
	<tuple id="ID-b"><status><basic>closed</basic></status><dm:deviceID>urn:device:b</dm:deviceID></tuple>
	<note>hers</note>
	<dm:person id="ID-"><rpid:activities id="act"><rpid:meal/></rpid:activities><rpid:mood><rpid:happy/></rpid:mood><dm:note>eats</dm:note></dm:person>
	<dm:device id="da"><dm:deviceID>urn:device:a</dm:deviceID></dm:device>
	<dm:device id="db"><dm:deviceID>urn:device:b</dm:deviceID></dm:device>
	<dm:device id="dc"><dm:deviceID>urn:device:c</dm:deviceID></dm:device></presence>`)
	s := p.Single()
	checkRoundTrip(t, s)
	if len(s.Persons) != 1 || s.Persons[0].Rich == nil || len(s.Persons[0].Rich.Activities)+len(s.Persons[0].Rich.Moods) != 2 || s.Persons[0].Notes[0].Text != "eats" || s.Notes[0].Text != "hers" {
		t.Errorf("%+v %+v", s.Persons, s.Notes)
	}
	if s.Persons[0].ID == s.Tuples[0].ID || p.Persons[0].ID != TupleID("") {
		t.Errorf("the ids: %v and %v; before %v", s.Persons[0].ID, s.Tuples[0].ID, p.Persons[0].ID)
	}
	var devices []string
	for _, d := range s.Devices {
		devices = append(devices, d.ID.String())
	}
	if fmt.Sprint(devices) != "[da dc]" {
		t.Errorf("devices %v", devices)
	}
}

func read(t *testing.T, doc string) *Presence {
	t.Helper()
	p, err := Parse([]byte(xmlDeclaration + doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkSingle is what holds of Single of any document that prints.
func checkSingle(t interface {
	Helper()
	Fatalf(string, ...any)
}, p *Presence,
) {
	t.Helper()
	s := p.Single()
	printed, err := s.Append(nil)
	if err != nil {
		t.Fatalf("it does not print: %v", err)
	}
	q, err := Parse(printed)
	if err != nil {
		t.Fatalf("the strict reader does not take it: %v\n%s", err, printed)
	}
	open := false
	for _, u := range p.Tuples {
		open = open || u.Status.Basic == BasicOpen
	}
	if len(q.Tuples) != 1 || q.Tuples[0].ID != TupleID("") || (q.Tuples[0].Status.Basic == BasicOpen) != open || len(q.Persons) != len(p.Persons) {
		t.Fatalf("open before: %v\n%s", open, printed)
	}
	if again := q.Single(); !again.Equal(q) {
		t.Fatalf("the single form of it is another one:\n%s", printed)
	}
	if s.Outdated(p) && len(p.Devices) == len(s.Devices) {
		t.Fatalf("it would be taken for outdated:\n%s", printed)
	}
}

// T-CP-05: for any number of tuples there is one, which is open if any was, in a document that is valid.
func TestSingleIsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &Presence{Entity: MustParseURI("pres:juliet@example.com")}
		ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "a", "b", "a b", "😀", "_"}), 0, 6, rapid.ID[string]).Draw(t, "resources")
		for _, id := range ids {
			u := Tuple{ID: TupleID(id), Status: Status{Basic: Basic(rapid.IntRange(0, 2).Draw(t, "basic")), Show: Show(rapid.IntRange(0, 4).Draw(t, "show"))}}
			if u.Status.Basic == BasicAbsent && u.Status.Show == ShowNone {
				u.Status.Show = ShowAway
			}
			if rapid.Bool().Draw(t, "contact") {
				priority, _ := PriorityFromXMPP(int8(rapid.IntRange(-128, 127).Draw(t, "priority")))
				u.Contact = &Contact{URI: MustParseURI("im:juliet@example.com"), Priority: priority}
			}
			if at := rapid.IntRange(0, 9).Draw(t, "time"); at > 0 {
				u.Timestamp = datetime.MustParse(fmt.Sprintf("2026-01-01T00:00:0%dZ", at), datetime.PIDF)
			}
			p.Tuples = append(p.Tuples, u)
		}
		checkSingle(t, p)
	})
}
