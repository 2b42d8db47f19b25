package xmpp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// software is what the tests tell.
func software(c *xmpp.Config) { c.Software = xmpp.Software{Name: "Isthmus", Version: "1.2"} }

// TestIQAnswers: "An entity that receives an IQ request of type "get" or "set" MUST reply with an IQ response of type "result" or "error""
// (RFC 6120 §8.2.3), and what users are asked is answered the same whether they exist or not.
func TestIQAnswers(t *testing.T) {
	s := listen(t)
	_, p := started(t, s, newRecorder(), software)
	const domain, user = "example.net", "romeo@example.net"
	for _, c := range []struct{ name, to, kind, payload, want string }{
		{"info of the domain", domain, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "<identity category='gateway' type='simple' name='Isthmus'/>"},
		{"info of a user", user, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "<feature var='urn:xmpp:receipts'/>"},
		{"info of a node", domain, "get", "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>", "item-not-found"},
		{"setting info", domain, "set", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "service-unavailable"},
		{"items", domain, "get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", "<query xmlns='http://jabber.org/protocol/disco#items'/>"},
		{"items of a user", user, "get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", "<query xmlns='http://jabber.org/protocol/disco#items'/>"},
		{"ping", domain, "get", "<ping xmlns='urn:xmpp:ping'/>", "type='result'/>"},
		{"ping of a user", user, "get", "<ping xmlns='urn:xmpp:ping'/>", "service-unavailable"},
		{"version", domain, "get", "<query xmlns='jabber:iq:version'/>", "<query xmlns='jabber:iq:version'><name>Isthmus</name><version>1.2</version></query>"},
		{"version of a user", user, "get", "<query xmlns='jabber:iq:version'/>", "service-unavailable"},
		{"last activity", domain, "get", "<query xmlns='jabber:iq:last'/>", "<query xmlns='jabber:iq:last' seconds='0'/>"},
		{"last activity of a user", user, "get", "<query xmlns='jabber:iq:last'/>", "service-unavailable"},
		{"vCard", user, "get", "<vCard xmlns='vcard-temp'/>", "item-not-found"},
		{"setting a vCard", user, "set", "<vCard xmlns='vcard-temp'/>", "forbidden"},
		{"something else", user, "get", "<x xmlns='urn:x'/>", "service-unavailable"},
		{"an element of the stream's namespace", user, "set", "<query/>", "service-unavailable"},
		{"no child", user, "get", "", "bad-request"},
		{"two children", user, "set", "<x xmlns='urn:x'/><x xmlns='urn:x'/>", "bad-request"},
		{"no such type", user, "ask", "<x xmlns='urn:x'/>", "bad-request"},
	} {
		p.say(fmt.Sprintf("<iq from='juliet@example.com/x' to='%s' id='q1' type='%s'>%s</iq>", c.to, c.kind, c.payload))
		e := p.stanza()
		if attr(e, "id") != "q1" || attr(e, "from") != c.to || attr(e, "to") != "juliet@example.com/x" || !strings.Contains(e.Raw, c.want) {
			t.Errorf("%s: %s", c.name, e.Raw)
		}
		if c.to != user {
			continue
		}
		// Nobody learns who exists.
		p.say(fmt.Sprintf("<iq from='juliet@example.com/x' to='%s' id='q1' type='%s'>%s</iq>", "nobody@example.net", c.kind, c.payload))
		if other := p.stanza(); strings.ReplaceAll(other.Raw, "nobody@", "romeo@") != e.Raw {
			t.Errorf("%s: %s\nand of somebody else %s", c.name, e.Raw, other.Raw)
		}
	}
}

// TestSilentAboutSoftware: an operator may tell nothing.
func TestSilentAboutSoftware(t *testing.T) {
	s := listen(t)
	_, p := started(t, s, newRecorder(), nil)
	p.say("<iq from='juliet@example.com/x' to='example.net' id='q1' type='get'><query xmlns='jabber:iq:version'/></iq>")
	if e := p.stanza(); !strings.Contains(e.Raw, "service-unavailable") {
		t.Errorf("%s", e.Raw)
	}
	p.say("<iq from='juliet@example.com/x' to='example.net' id='q2' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
	if e := p.stanza(); strings.Contains(e.Raw, "Isthmus") || strings.Contains(e.Raw, "jabber:iq:version") {
		t.Errorf("%s", e.Raw)
	}
}

const juliet = "juliet@example.com/x"

const exodusInfo = "<identity category='client' name='Exodus 0.9.1' type='pc'/><feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>" +
	"<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>"

// present sends a presence with the capabilities of XEP-0115 §5.2 and returns what the core was told of them.
func present(t *testing.T, p *peer, core *recorder, from string) *pidf.ServiceCaps {
	t.Helper()
	p.say("<presence from='" + from + "' to='romeo@example.net'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://code.google.com/p/exodus' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>")
	op := next(t, core.notifies, "presence")
	if r := op.Presence.Tuples[0].Rich; r != nil {
		return r.ServiceCaps
	}
	return nil
}

// TestCapabilitiesTID04: an answer counts if its id, its sender and its recipient are those of the question (THREATS.md X13), and if it is
// what the hash stands for (XEP-0115 §5.4).
func TestCapabilitiesTID04(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	_, p := started(t, s, core, nil)
	if present(t, p, core, juliet) != nil {
		t.Fatal("unknown capabilities were told")
	}
	q := p.stanza()
	if query := q.Child("http://jabber.org/protocol/disco#info", "query"); attr(q, "to") != juliet || attr(q, "from") != "romeo@example.net" || query == nil ||
		attr(query, "node") != "http://code.google.com/p/exodus#QgayPKawpkPSDYmwT/WM94uAlu0=" || len(attr(q, "id")) < 16 {
		t.Fatalf("%s", q.Raw)
	}
	answer := func(from, to, id, kind, info string) {
		p.say("<iq type='" + kind + "' from='" + from + "' to='" + to + "' id='" + id + "'><query xmlns='http://jabber.org/protocol/disco#info'>" + info + "</query></iq>")
	}
	answer("mercutio@example.com/x", "romeo@example.net", attr(q, "id"), "result", exodusInfo)
	answer(juliet, "tybalt@example.net", attr(q, "id"), "result", exodusInfo)
	answer(juliet, "romeo@example.net", attr(q, "id")+"0", "result", exodusInfo)
	if present(t, p, core, juliet) != nil {
		t.Fatal("somebody else's answer was taken")
	}
	answer(juliet, "romeo@example.net", attr(q, "id"), "result", exodusInfo+"<feature var='urn:x'/>")
	if present(t, p, core, "mercutio@example.com/y") != nil {
		t.Fatal("an answer was taken that is not what the hash stands for")
	}
	// Another device that says the same is asked, since the first one lied.
	q = p.stanza()
	if attr(q, "to") != "mercutio@example.com/y" {
		t.Fatalf("%s", q.Raw)
	}
	answer("mercutio@example.com/y", "romeo@example.net", attr(q, "id"), "result", exodusInfo)
	got := present(t, p, core, juliet)
	if got == nil || got.Message != pidf.FlagTrue {
		t.Fatalf("%+v", got)
	}
	// It is known now, of everybody.
	if present(t, p, core, "benvolio@example.com/z") == nil {
		t.Error("a known hash was asked for again")
	}
	p.say("<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
	if e := p.stanza(); attr(e, "id") != "after" {
		t.Errorf("heard %s", e.Raw)
	}
}
