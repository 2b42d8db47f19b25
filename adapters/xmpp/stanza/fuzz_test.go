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

// FuzzHTMLOutTCP12: whatever content a SIP user sends, what leaves is one stanza with one body and at most one XHTML-IM beside it, or nothing.
func FuzzHTMLOutTCP12(f *testing.F) {
	f.Add("text/html;charset=utf-8", []byte("<p>a <b>b</b><script>x</script></p>"), "Romeo", "https://example.com/")
	f.Add("multipart/mixed;boundary=b", []byte("--b\r\nContent-Type: text/html\r\n\r\n<i>x</i></body></html></message><message to='x@y'>\r\n--b--\r\n"), "</nick>", "x")
	f.Add("text/plain;charset=iso-8859-1", []byte("\xe9\x00"), "\x00", "http://a@b/")
	f.Fuzz(func(t *testing.T, kind string, octets []byte, name, url string) {
		op := &adapters.MessageOp{
			From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: kind, Octets: octets}, SenderName: name,
			Links: []adapters.Link{{URL: url, Name: name}}, OriginID: name, Wants: adapters.WantDelivered, TransID: "1",
		}
		out, err := stanza.AppendMessage(nil, op, stanza.Envelope{Nick: true, State: adapters.ActivityActive})
		if err != nil {
			if len(out) != 0 {
				t.Fatalf("refused, but wrote %q", out)
			}
			return
		}
		e, err := strictxml.ParseElement(out, componentScope(t), strictxml.Limits{Bytes: 1 << 22, Depth: 200, Children: 1 << 20})
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		count := map[string]int{}
		for c := range e.Children() {
			count[c.Name.Space+" "+c.Name.Local]++
			if c.Name.Space == stanza.SpaceXHTMLIM && c.Child(stanza.SpaceXHTML, "body") == nil {
				t.Fatalf("%q", out)
			}
		}
		if count[stanza.SpaceComponent+" body"] < 1 || count[stanza.SpaceXHTMLIM+" html"] > 1 || count[stanza.SpaceNick+" nick"] > 1 || count[stanza.SpaceStates+" active"] != 1 {
			t.Fatalf("%q holds %v", out, count)
		}
	})
}

// FuzzReadTFZ19: whatever comes is a stanza or an error, and what crosses can be written and read again.
func FuzzReadTFZ19(f *testing.F) {
	f.Add([]byte(benchStanza))
	f.Add([]byte(`<presence from='a@b.example/c' to='d@e.example'><show>xa</show><status xml:lang='cs'>x</status><priority>-5</priority></presence>`))
	f.Add([]byte(`<iq from='a@b.example/c' to='e.example' id='1' type='get'><query xmlns='http://jabber.org/protocol/disco#info' node='n'/></iq>`))
	f.Add([]byte(`<message from='a@b.example' to='c@d.example' type='error' id='x'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:x@y</gone></error></message>`))
	f.Add([]byte(message("<active xmlns='http://jabber.org/protocol/chatstates'/><markable xmlns='urn:xmpp:chat-markers:0'/><replace id='a' xmlns='urn:xmpp:message-correct:0'/><body>x</body>")))
	f.Add([]byte(message("<reactions id='m0' xmlns='urn:xmpp:reactions:0'><reaction>\U0001F44B</reaction></reactions><x xmlns='jabber:x:oob'><url>https://example.com/a</url><desc>d</desc></x><nick xmlns='http://jabber.org/protocol/nick'>n</nick>")))
	f.Add([]byte(message("<body>x</body><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reactions:0'/><no-store xmlns='urn:xmpp:hints'/><origin-id xmlns='urn:xmpp:sid:0' id='o'/><encrypted xmlns='urn:xmpp:omemo:2'/>")))
	f.Add([]byte(`<presence from='a@b.example/c' to='d@e.example' xml:lang='cs'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/><nick xmlns='http://jabber.org/protocol/nick'>n</nick></presence>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{})
		s, err := r.Read(raw, componentScope(t))
		if err != nil {
			if _, ok := err.(*strictxml.SyntaxError); !ok {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		// Who it is from, for whom and by which id is found in the start tag alone, too.
		head := *s
		if h, err := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{}).ReadHead(raw, componentScope(t)); err != nil || h.Kind != head.Kind || h.From != head.From || h.To != head.To ||
			h.ID != head.ID || h.Type != head.Type || h.Kind != 0 && h.Fault == nil {
			t.Fatalf("%q has the head %+v, %v", raw, h, err)
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
		if err != nil || s2.Fault != nil || string(s2.Body) != string(op.Content.Octets) || s2.Thread != op.Thread || s2.ID != op.TransID ||
			s2.OriginID != op.OriginID || s2.NoStore != op.NoStore || len(s2.Links) != len(op.Links) || s2.State != op.Activity || s2.WantsReceipt != (op.Wants&adapters.WantDelivered != 0) {
			t.Fatalf("%q\nwas written %q\n%v", raw, out, err)
		}
	})
}
