package sip

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// everyRow runs a test for each row of a table as an RFC prints it, and fails for a row without a test, and for a test without a row.
// The left cell names the row, without its notes.
func everyRow(t *testing.T, file string, tests map[string]func(*testing.T)) {
	t.Helper()
	rows := 0
	for _, row := range tableRows(t, file) {
		if strings.Contains(row[0], " or Contents") || strings.Contains(row[0], " or Attribute") || strings.Contains(row[0], " or PIDF Data") {
			continue
		}
		name := strings.TrimSpace(noteCell.ReplaceAllString(row[0], ""))
		test := tests[name]
		if test == nil {
			t.Errorf("%s: row %q has no test", file, row)
			continue
		}
		rows++
		t.Run(name+" is "+row[1], test)
	}
	if rows != len(tests) {
		t.Errorf("%s: %d rows for %d tests", file, rows, len(tests))
	}
}

func header(t *testing.T, m *wire.Message, name, want string) {
	t.Helper()
	if got, _ := m.Header(name); got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func TestEveryRowOfRFC7572Table1(t *testing.T) {
	// "The mapping of XMPP syntax to SIP syntax MUST be as shown in the following table." (RFC 7572 §4)
	op := &adapters.MessageOp{
		From: adapters.Party{Address: im("juliet@example.com"), Instance: "yn0cl4bnw0yr3vym"}, To: adapters.Party{Address: im("romeo@example.net")},
		Thread: "D9AA95FD-2BD5-46E2-AF0F-6CFAA96BDDFA", TransID: "msg-7", Subjects: []adapters.LangText{{Text: "Ahoy"}}, Hops: 70,
		Content: adapters.Content{Type: "text/plain", Language: "cs", Octets: []byte("Nic z obého")},
	}
	a, _ := start(t, nil)
	g := udpAgent(t, a)
	send := func(t *testing.T, op *adapters.MessageOp) *wire.Message {
		t.Helper()
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(t.Context(), hopsTo(g), op) }()
		m := g.request("MESSAGE", map[string]bool{})
		g.answer(m, wire.Response{Code: 200})
		next(t, done, "outcome")
		return m
	}
	m := send(t, op)
	everyRow(t, "rfc7572-table1.txt", map[string]func(*testing.T){
		"<body/>": func(t *testing.T) {
			if string(m.Body()) != "Nic z obého" {
				t.Errorf("%q", m.Body())
			}
		},
		"<subject/>": func(t *testing.T) { header(t, m, "Subject", "Ahoy") },
		"<thread/>":  func(t *testing.T) { header(t, m, "Call-ID", op.Thread) },
		"from": func(t *testing.T) {
			if got := m.From().URI().String(); got != "sip:juliet@example.com;gr=yn0cl4bnw0yr3vym" {
				t.Errorf("From %s", got)
			}
		},
		"id": func(t *testing.T) {
			if b := m.TopVia().Branch(); !strings.HasSuffix(b, "-msg-7") {
				t.Errorf("branch %s", b)
			}
		},
		"to": func(t *testing.T) {
			if m.RequestURIText() != "sip:romeo@example.net" || m.To().URI().String() != "sip:romeo@example.net" {
				t.Errorf("%s, To %s", m.RequestURIText(), m.To())
			}
		},
		"type": func(t *testing.T) { // no mapping: a chat differs in nothing but what every message has of its own
			chat := *op
			chat.Kind = adapters.KindChat
			var names, others []string
			for n := range m.Names() {
				names = append(names, n)
			}
			for n := range send(t, &chat).Names() {
				others = append(others, n)
			}
			if strings.Join(names, " ") != strings.Join(others, " ") {
				t.Errorf("%v, and of a chat %v", names, others)
			}
		},
		"xml:lang": func(t *testing.T) { header(t, m, "Content-Language", "cs") },
	})
}

func TestEveryRowOfRFC7572Table2(t *testing.T) {
	// "The mapping of SIP syntax to XMPP syntax MUST be as shown in the following table." (RFC 7572 §5)
	const text = `
MESSAGE sip:juliet@example.com SIP/2.0
Via: SIP/2.0/TCP s2x.example.net;branch=z9hG4bKeskdgs677
Max-Forwards: 70
To: <sip:juliet@example.com>
From: <sip:romeo@example.net;gr=dr4hcr0st3lup4c>;tag=vwxyz
Call-ID: 9E97FB43-85F4-4A00-8751-1124FD4C7B2E
CSeq: 1 MESSAGE
Subject: Ahoy
Content-Type: text/plain
Content-Language: cs

Nic z obého`
	op := read(t, text)
	same := func(change ...string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			compareOps(t, read(t, strings.NewReplacer(change...).Replace(text)), op)
		}
	}
	everyRow(t, "rfc7572-table2.txt", map[string]func(*testing.T){
		"Call-ID": func(t *testing.T) {
			if op.Thread != "9E97FB43-85F4-4A00-8751-1124FD4C7B2E" {
				t.Error(op.Thread)
			}
		},
		"Content-Language": func(t *testing.T) {
			if op.Content.Language != "cs" {
				t.Error(op.Content.Language)
			}
		},
		"CSeq": same("CSeq: 1", "CSeq: 77"),
		"From": func(t *testing.T) {
			if op.From != (adapters.Party{Address: im("romeo@example.net"), Instance: "dr4hcr0st3lup4c"}) {
				t.Error(op.From)
			}
		},
		"Subject": func(t *testing.T) {
			if len(op.Subjects) != 1 || op.Subjects[0].Text != "Ahoy" {
				t.Error(op.Subjects)
			}
		},
		"Request-URI or To": func(t *testing.T) {
			if op.To != (adapters.Party{Address: im("juliet@example.com")}) {
				t.Error(op.To)
			}
		},
		"body of MESSAGE": func(t *testing.T) {
			if string(op.Content.Octets) != "Nic z obého" {
				t.Errorf("%q", op.Content.Octets)
			}
		},
		"transaction identifier": func(t *testing.T) {
			if op.TransID != "z9hG4bKeskdgs677" {
				t.Error(op.TransID)
			}
		},
	})
}

const everything = `<?xml version='1.0' encoding='UTF-8'?>
<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:WHO'>
<tuple id='ID-balcony'><status><basic>open</basic><show xmlns='jabber:client'>away</show></status><contact priority='0.102'>im:WHO</contact>
<note xml:lang='cs'>u okna</note><note xml:lang='en'>at the window</note></tuple>
<tuple id='ID-garden'><status><basic>closed</basic></status><note xml:lang='cs'>pryč</note></tuple>
</presence>`

func TestEveryRowOfRFC8048Table1(t *testing.T) {
	// "The mapping of XMPP syntax elements to SIP syntax elements MUST be as shown in the following table." (RFC 8048 §6.2)
	doc, err := pidf.Parse([]byte(strings.ReplaceAll(everything, "WHO", "juliet@example.com")))
	if err != nil {
		t.Fatal(err)
	}
	d := romeoWatchesJuliet()
	req, err := WriteNotify(d, &adapters.NotifyOp{State: adapters.WatchActive, Presence: doc}, now)
	if err != nil {
		t.Fatal(err)
	}
	m := parsed(t, req)
	back, err := pidf.Parse(m.Body())
	if err != nil {
		t.Fatal(err)
	}
	inBody := func(part string) func(*testing.T) {
		return func(t *testing.T) {
			if !back.Equal(doc) || !strings.Contains(string(m.Body()), part) {
				t.Errorf("no %s in %s", part, m.Body())
			}
		}
	}
	everyRow(t, "rfc8048-table1.txt", map[string]func(*testing.T){
		"<presence/> stanza":       func(t *testing.T) { header(t, m, "Event", "presence") },
		"XMPP resource identifier": inBody("ID-balcony"),
		"from":                     func(t *testing.T) { header(t, m, "From", "<sip:juliet@example.com>;tag=ur93") },
		"id":                       func(t *testing.T) { header(t, m, "Call-ID", d.CallID) },
		"to":                       func(t *testing.T) { header(t, m, "To", "<sip:romeo@example.net>;tag=xfg9") },
		"type":                     inBody("<basic>closed</basic>"),
		"xml:lang":                 func(t *testing.T) { header(t, m, "Content-Language", "cs, en") },
		"<priority/>":              inBody("0.102"),
		"<show/>":                  inBody("away"),
		"<status/>":                inBody("u okna"),
	})
	t.Run("no language, no header field", func(t *testing.T) {
		for _, op := range []adapters.NotifyOp{
			{State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")},
			{State: adapters.WatchPending, Presence: doc},
			{State: adapters.WatchActive},
		} {
			req, err := WriteNotify(d, &op, now)
			if err != nil {
				t.Fatal(err)
			}
			header(t, parsed(t, req), "Content-Language", "")
		}
	})
}

func TestEveryRowOfRFC8048Table2(t *testing.T) {
	// "The mapping of SIP syntax elements to XMPP syntax elements MUST be as shown in the following table." (RFC 8048 §6.3)
	text := func(body string) string {
		return `
NOTIFY sip:juliet@192.0.2.1 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx
From: <sip:romeo@example.net>;tag=yt66
To: <sip:juliet@example.com>;tag=bi54
Call-ID: c
Event: presence
Subscription-State: active;expires=599
Max-Forwards: 70
CSeq: 3 NOTIFY
Contact: <sip:romeo@192.0.2.2>
Content-Language: de
Content-Type: application/pidf+xml

` + body
	}
	body := strings.Replace(strings.ReplaceAll(everything, "WHO", "romeo@example.net"), "<note xml:lang='en'>", "<note>", 1)
	op, ref := ReadNotify(request(t, text(body)), julietsWatch, ReadOptions{Now: now})
	if ref != nil {
		t.Fatal(ref)
	}
	tuple := op.Presence.Tuples[0]
	everyRow(t, "rfc8048-table2.txt", map[string]func(*testing.T){
		"basic status": func(t *testing.T) {
			if tuple.Status.Basic != pidf.BasicOpen || op.Presence.Tuples[1].Status.Basic != pidf.BasicClosed {
				t.Errorf("%+v", op.Presence)
			}
		},
		"Content-Language": func(t *testing.T) {
			if tuple.Notes[1].Lang != "de" || tuple.Notes[0].Lang != "cs" {
				t.Errorf("%+v", tuple.Notes)
			}
		},
		"From": func(t *testing.T) {
			if op.Watch.Presentity != pres("romeo@example.net") {
				t.Error(op.Watch)
			}
		},
		"priority for tuple": func(t *testing.T) {
			if !strings.Contains(printed(t, op.Presence), "0.102") {
				t.Errorf("%+v", tuple)
			}
		},
		"To": func(t *testing.T) {
			if op.Watch.Watcher != pres("juliet@example.com") {
				t.Error(op.Watch)
			}
		},
		"<note/>": func(t *testing.T) {
			if tuple.Notes[0].Text != "u okna" {
				t.Errorf("%+v", tuple.Notes)
			}
		},
		"<show/>": func(t *testing.T) {
			if !strings.Contains(printed(t, op.Presence), "away") {
				t.Errorf("%+v", tuple)
			}
		},
	})
}

func hopsTo(g *agent) []resolver.Target { return []resolver.Target{g.hop()} }

func printed(t *testing.T, p *pidf.Presence) string {
	t.Helper()
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
