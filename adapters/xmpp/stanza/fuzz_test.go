package stanza_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// FuzzMessageOutTFZ13: one operation in is one stanza out, for the strict reader and for encoding/xml, with the same addresses, id,
// thread and text; or it is a refusal and nothing.
func FuzzMessageOutTFZ13(f *testing.F) {
	f.Add("romeo", "juliet", "gr", "id", "thread", "subject", "body", "en")
	f.Add("o'malley", `a\5cb`, "/'&", "'/><message>", "</thread>", "]]>", "</body></message><message to='x@y'><body>\r\n", "x' from='z")
	f.Add("a b", "\u00e9", "\u265a", "&amp;", "<![CDATA[", "\U0001F339", "\ufffe", "\x00")
	f.Fuzz(func(t *testing.T, from, to, instance, id, thread, subject, body, lang string) {
		a, err1 := cpim.NewAddress(cpim.IM, from, "example.net")
		b, err2 := cpim.NewAddress(cpim.IM, to, "example.com")
		if err1 != nil || err2 != nil {
			return
		}
		op := &adapters.MessageOp{
			From: adapters.Party{Address: a, Instance: instance}, To: adapters.Party{Address: b}, TransID: id, Thread: thread,
			Subjects: []adapters.LangText{{Lang: lang, Text: subject}}, Content: adapters.Content{Type: "text/plain", Language: lang, Octets: []byte(body)},
		}
		out, err := stanza.AppendMessage(nil, op, stanza.Envelope{})
		if err != nil {
			if len(out) != 0 {
				t.Fatalf("refused, but wrote %q", out)
			}
			return
		}
		wantFrom, err1 := jid.FromAddress(a, instance)
		wantTo, err2 := jid.FromAddress(b, "")
		if err1 != nil || err2 != nil {
			t.Fatalf("wrote addresses that do not map: %v, %v", err1, err2)
		}
		s, err := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{Bytes: 1 << 22}).Read(out, componentScope(t))
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if s.Fault != nil || s.Kind != stanza.Message || s.From != wantFrom || s.To != wantTo || s.ID != id || s.Thread != thread || string(s.Body) != body ||
			len(s.Subjects) != 1 || s.Subjects[0].Text != subject {
			t.Fatalf("%q\nwas read as %+v (fault %v)", out, s, s.Fault)
		}
		d := xml.NewDecoder(bytes.NewReader(out))
		var m struct {
			XMLName xml.Name
			From    string   `xml:"from,attr"`
			To      string   `xml:"to,attr"`
			Bodies  []string `xml:"body"`
			Threads []string `xml:"thread"`
		}
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%q: encoding/xml: %v", out, err)
		}
		if m.XMLName.Local != "message" || m.From != wantFrom.String() || m.To != wantTo.String() || len(m.Bodies) != 1 || m.Bodies[0] != body {
			t.Fatalf("%q\nencoding/xml read %+v", out, m)
		}
		if _, err := d.Token(); err != io.EOF {
			t.Fatalf("%q: something follows: %v", out, err)
		}
	})
}

// FuzzReadTFZ19: whatever comes is a stanza or an error, and what crosses can be written and read again.
func FuzzReadTFZ19(f *testing.F) {
	f.Add([]byte(benchStanza))
	f.Add([]byte(`<presence from='a@b.example/c' to='d@e.example'><show>xa</show><status xml:lang='cs'>x</status><priority>-5</priority></presence>`))
	f.Add([]byte(`<iq from='a@b.example/c' to='e.example' id='1' type='get'><query xmlns='http://jabber.org/protocol/disco#info' node='n'/></iq>`))
	f.Add([]byte(`<message from='a@b.example' to='c@d.example' type='error' id='x'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:x@y</gone></error></message>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{})
		s, err := r.Read(raw, componentScope(t))
		if err != nil {
			if _, ok := err.(*strictxml.SyntaxError); !ok {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		stanza.ToReport(s, time.Time{})
		if answer := stanza.AppendAnswer(nil, s, stanza.About{Software: "Isthmus"}); len(answer) > 0 && !s.From.IsZero() && !s.To.IsZero() {
			if a, err := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{Bytes: 1 << 22}).Read(answer, componentScope(t)); err != nil || a.From != s.To || a.To != s.From || a.ID != s.ID {
				t.Fatalf("%q was answered %q: %v", raw, answer, err)
			}
		}
		if n, e := stanza.ToNotify(s, time.Time{}); n != nil && e == nil && n.Presence != nil {
			if _, err := n.Presence.Append(nil); err != nil {
				t.Fatalf("%q makes a document that cannot be printed: %v", raw, err)
			}
		}
		stanza.ToWatch(s)
		if s.Kind != stanza.Message {
			return
		}
		op, e := stanza.ToMessage(s)
		if op == nil || e != nil {
			return
		}
		out, err := stanza.AppendMessage(nil, op, stanza.Envelope{})
		if err != nil {
			t.Fatalf("%q crossed, but cannot be written: %v", raw, err)
		}
		s2, err := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{Bytes: 1 << 22}).Read(out, componentScope(t))
		if err != nil || s2.Fault != nil || string(s2.Body) != string(op.Content.Octets) || s2.Thread != op.Thread || s2.ID != op.TransID {
			t.Fatalf("%q\nwas written %q\n%v", raw, out, err)
		}
	})
}
