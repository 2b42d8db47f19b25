package xmpp_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// hear reads stanzas until one that is no ping of the adapter, answers those, and returns it.
func (p *peer) stanza() *strictxml.Element {
	p.t.Helper()
	for {
		e := p.hear()
		if e.Name.Local == "iq" && attr(e, "type") == "get" && e.Child("urn:xmpp:ping", "ping") != nil {
			p.pong(e)
			continue
		}
		return e
	}
}

// hosts has the users of another domain written at the component's.
func hosts(c *xmpp.Config) { c.Components[0].Hosts = []string{"example.org"} }

// TestHostedReplyTID09: "reply round trip" (THREATS.md T-ID-09): what an XMPP user sees as the sender is whom a reply reaches, in messages,
// presence and reports.
func TestHostedReplyTID09(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	a, p := started(t, s, core, hosts)
	romeo, juliet := cpim.MustParseAddress("im:o'romeo@example.org"), cpim.MustParseAddress("im:juliet@example.com")
	const seen = `o\27romeo\40example.org@example.net`

	out := textOp("m1", "Neither, fair saint")
	out.From.Address = romeo
	go a.Message(t.Context(), nil, out)
	m := p.stanza()
	if attr(m, "from") != seen || attr(m, "to") != "juliet@example.com" {
		t.Fatalf("%s", m.Raw)
	}
	if out.From.Address != romeo {
		t.Error("the operation was changed")
	}
	p.say("<message from='juliet@example.com/balcony' to='" + attr(m, "from") + "' id='r1'><body>Wherefore?</body></message>")
	if got := next(t, core.messages, "the reply"); got.To.Address != romeo || got.From.Address != juliet {
		t.Errorf("%v to %v", got.From, got.To)
	}
	p.say("<message from='juliet@example.com/balcony' to='" + attr(m, "from") + "'><received xmlns='urn:xmpp:receipts' id='m1'/></message>")
	if got := next(t, core.reports, "the receipt"); got.Sender.Address != romeo || got.TransID != "m1" {
		t.Errorf("%+v", got)
	}
	go a.Report(t.Context(), nil, &adapters.Report{Kind: adapters.ReportDelivered, Sender: adapters.Party{Address: juliet}, Recipient: adapters.Party{Address: romeo}, TransID: "r1"})
	if e := p.stanza(); attr(e, "from") != seen {
		t.Errorf("%s", e.Raw)
	}

	watch := adapters.WatchID{Watcher: romeo.WithScheme(cpim.Pres), Presentity: juliet.WithScheme(cpim.Pres)}
	go a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: watch})
	if e := p.stanza(); attr(e, "from") != seen || attr(e, "type") != "subscribe" {
		t.Errorf("%s", e.Raw)
	}
	p.say("<presence from='juliet@example.com/x' to='" + seen + "'/>")
	if got := next(t, core.notifies, "presence"); got.Watch != watch {
		t.Errorf("%+v", got.Watch)
	}
	back := adapters.WatchID{Watcher: watch.Presentity, Presentity: watch.Watcher}
	p.say("<presence from='juliet@example.com' to='" + seen + "' type='subscribe'/>")
	if got := next(t, core.watches, "a request"); got.Watch != back {
		t.Errorf("%+v", got.Watch)
	}
	doc := &pidf.Presence{Entity: pidf.MustParseURI("pres:o'romeo@example.org"), Tuples: []pidf.Tuple{{ID: pidf.MustParseID("a"), Status: pidf.Status{Basic: pidf.BasicOpen}}}}
	go a.Notify(t.Context(), nil, &adapters.NotifyOp{Watch: back, State: adapters.WatchActive, Presence: doc, Whole: true})
	if e := p.stanza(); attr(e, "from") != seen+"/a" {
		t.Errorf("%s", e.Raw)
	}
}

// TestHostedRefused: nobody else is written at the host, and the hosted domain itself is ours: from outside it is forged (T-ID-08).
func TestHostedRefusedTID08(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	a, p := started(t, s, core, hosts)
	for _, c := range []struct{ to, want string }{
		{"romeo@example.net", "item-not-found"}, {`romeo\40example.com@example.net`, "item-not-found"}, {"romeo@example.org", "item-not-found"}, {"example.net", "item-not-found"},
	} {
		p.say("<message from='juliet@example.com/x' to='" + c.to + "' id='1'><body>x</body></message>")
		if e := p.stanza(); attr(e, "type") != "error" || !strings.Contains(e.Raw, c.want) {
			t.Errorf("%s: %s", c.to, e.Raw)
		}
	}
	p.say("<message from='tybalt@example.org' to='romeo\\40example.org@example.net' id='2'><body>x</body></message>")
	p.say("<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
	if e := p.stanza(); attr(e, "id") != "after" {
		t.Errorf("%s", e.Raw)
	}
	none(t, core.messages, "a refused message reached the core")
	// The host has no users of its own: a reply could not reach them.
	if st := a.Message(t.Context(), nil, textOp("m1", "x")); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonAddressMalformed {
		t.Errorf("%+v", st)
	}
}

// TestHostedConfig: what cannot work is said at the start.
func TestHostedConfig(t *testing.T) {
	for _, h := range []string{sipDomain, xmppDomain, "not a domain", ""} {
		cfg := quick()
		cfg.Components = []xmpp.Component{component("127.0.0.1:5347")}
		cfg.Components[0].Hosts = []string{h}
		if _, err := xmpp.New(cfg); err == nil {
			t.Errorf("%q was taken", h)
		}
	}
}

// TestHostedOpaque: what is signed opaquely is for whom the gateway alone can compare: it is given the address that the sender wrote beside the one that the
// message is for, and with a plain message only the latter.
func TestHostedOpaque(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	_, p := started(t, s, core, hosts)
	const signed = "MAsGCSqGSIb3DQEHAg==" // a ContentInfo of SignedData, and nothing in it
	for _, c := range []struct{ payload, known string }{
		{"<body>x</body>", ""},
		{
			"<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>Content-Type: application/pkcs7-mime; smime-type=signed-data\nContent-Transfer-Encoding: base64\n\n" + signed + "\n</e2e>",
			`im:romeo%40example.org@example.net`,
		},
	} {
		p.say(`<message from='juliet@example.com/x' to='romeo\40example.org@example.net' id='1'>` + c.payload + "</message>")
		got := next(t, core.messages, "the message")
		if got.To.Address != cpim.MustParseAddress("im:romeo@example.org") || got.Known.String() != c.known {
			t.Errorf("to %v, known as %q", got.To.Address, got.Known)
		}
	}
}
