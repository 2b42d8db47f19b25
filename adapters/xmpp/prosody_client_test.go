package xmpp_test

import (
	"strings"
	"testing"

	gosrcstanza "gosrc.io/xmpp/stanza"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// iq is the next request or answer with the id; what comes before it is passed over.
func (u *user) iq(t *testing.T, id string) *gosrcstanza.IQ {
	t.Helper()
	for {
		if q := next(t, u.requests, "the iq "+id); q.Id == id {
			return q
		}
	}
}

// TestProsodyClient is what a client of today does behind a real server, with hosted addresses: it asks who is there, says what it can, sends
// what SIP has no element for, and reads HTML.
func TestProsodyClientTID09(t *testing.T) {
	p := newProsody(t)
	p.start(t)
	core := newRecorder()
	cfg := quick()
	cfg.Components = []xmpp.Component{component(p.components)}
	hosts(&cfg)
	software(&cfg)
	a := start(t, cfg, core)
	await(t, "the link comes up", up(a))
	juliet := login(t, p.client)
	const seen = `romeo\40example.org@example.net`
	romeo := cpim.MustParseAddress("im:romeo@example.org")

	juliet.raw(t, "<iq type='get' id='d1' to='"+sipDomain+"'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
	info, ok := juliet.iq(t, "d1").Payload.(*gosrcstanza.DiscoInfo)
	if !ok || len(info.Identity) != 1 || info.Identity[0].Category != "gateway" || info.Identity[0].Name != "Isthmus" {
		t.Errorf("the domain says %+v", info)
	}
	juliet.raw(t, "<iq type='get' id='d2' to='"+seen+"'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
	info, ok = juliet.iq(t, "d2").Payload.(*gosrcstanza.DiscoInfo)
	has := false
	for i := 0; ok && i < len(info.Features); i++ {
		has = has || info.Features[i].Var == "urn:xmpp:receipts"
	}
	if !has {
		t.Errorf("a user says %+v", info)
	}
	juliet.raw(t, "<iq type='get' id='v1' to='"+seen+"'><vCard xmlns='vcard-temp'/></iq>")
	if q := juliet.iq(t, "v1"); q.Type != "error" || q.Error == nil || q.Error.Reason != "item-not-found" {
		t.Errorf("vCard: %+v", q)
	}

	// Capabilities: asked for through the server, proven by the hash, told with the next presence.
	const caps = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://code.google.com/p/exodus' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>"
	juliet.raw(t, "<presence to='"+seen+"'>"+caps+"</presence>")
	if n := next(t, core.notifies, "presence"); n.Watch.Watcher != romeo.WithScheme(cpim.Pres) || n.Presence.Tuples[0].Rich != nil {
		t.Fatalf("%+v", n)
	}
	var q *gosrcstanza.IQ
	for q == nil || q.Type != "get" || q.From != seen {
		q = next(t, juliet.requests, "the question for the capabilities")
	}
	juliet.raw(t, "<iq type='result' id='"+q.Id+"' to='"+q.From+"'><query xmlns='http://jabber.org/protocol/disco#info'>"+exodusInfo+"</query></iq>")
	juliet.raw(t, "<presence to='"+seen+"'>"+caps+"</presence>")
	if n := next(t, core.notifies, "presence with capabilities"); n.Presence.Tuples[0].Rich == nil || n.Presence.Tuples[0].Rich.ServiceCaps.Message != pidf.FlagTrue {
		t.Fatalf("%+v", n.Presence)
	}

	// HTML from SIP, and a reply to what the client saw.
	op := textOp("h1", "")
	op.From.Address = romeo
	op.Content = adapters.Content{Type: "text/html;charset=utf-8", Octets: []byte("<p>Neither, <b>fair saint</b>.<script>alert(1)</script></p>")}
	if st := a.Message(t.Context(), nil, op); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	m := next(t, juliet.messages, "Romeo's message")
	var html gosrcstanza.HTML
	if m.From != seen || m.Body != "Neither, fair saint." || !m.Get(&html) || strings.TrimSpace(html.Body.InnerXML) != "<p>Neither, <strong>fair saint</strong>.</p>" {
		t.Fatalf("%+v, %q", m, html.Body.InnerXML)
	}
	juliet.raw(t, "<message to='"+m.From+"' id='r1' type='chat'><reactions id='h1' xmlns='urn:xmpp:reactions:0'><reaction>\U0001F44B</reaction></reactions></message>")
	if in := next(t, core.messages, "the reaction"); in.To.Address != romeo || !strings.Contains(string(in.Content.Octets), "\U0001F44B") {
		t.Errorf("%+v", in)
	}
	juliet.raw(t, "<message to='"+m.From+"' id='e1' type='chat'><encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted></message>")
	if m = next(t, juliet.messages, "the refusal"); m.Type != "error" || m.Id != "e1" || m.Error.Reason != "not-acceptable" {
		t.Errorf("%+v", m)
	}
	none(t, core.messages, "what nobody can read reached the core")
}
