package xmpp_test

import (
	"strings"
	"testing"

	gosrc "gosrc.io/xmpp"
	gosrcstanza "gosrc.io/xmpp/stanza"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/xmpptest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// user is a gosrc.io/xmpp client: somebody else's idea of an XMPP client.
type user struct {
	c         *gosrc.Client
	messages  chan gosrcstanza.Message
	presences chan gosrcstanza.Presence
	requests  chan *gosrcstanza.IQ // and answers
}

func login(t *testing.T, addr string) *user {
	t.Helper()
	u := &user{messages: make(chan gosrcstanza.Message, 4096), presences: make(chan gosrcstanza.Presence, 4096), requests: make(chan *gosrcstanza.IQ, 4096)}
	r := gosrc.NewRouter()
	r.HandleFunc("message", func(_ gosrc.Sender, p gosrcstanza.Packet) { u.messages <- p.(gosrcstanza.Message) })
	r.HandleFunc("presence", func(_ gosrc.Sender, p gosrcstanza.Packet) { u.presences <- p.(gosrcstanza.Presence) })
	r.HandleFunc("iq", func(_ gosrc.Sender, p gosrcstanza.Packet) { u.requests <- p.(*gosrcstanza.IQ) })
	c, err := gosrc.NewClient(&gosrc.Config{
		TransportConfiguration: gosrc.TransportConfiguration{Address: addr, ConnectTimeout: 1}, Jid: "juliet@" + xmppDomain + "/balcony",
		Credential: gosrc.Password("r0m30"), Insecure: true, ConnectTimeout: 1,
	}, r, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	u.c = c
	// Only a client that asked for its roster is told of grants (RFC 6121 §2.2).
	u.raw(t, "<iq type='get' id='roster1'><query xmlns='jabber:iq:roster'/></iq>")
	t.Cleanup(func() { c.Disconnect() })
	return u
}

func (u *user) raw(t *testing.T, s string) {
	t.Helper()
	if err := u.c.SendRaw(s); err != nil {
		t.Fatal(err)
	}
}

// odd is text that XML, CPIM and a careless gateway would each like to change.
const odd = "Art thou not Romeo,\r\nand a Montague? <&>\"' ]]> \U0001F339 \t\n e\u0301 \\27"

// TestConversation is both crossings of message and presence with an independent XMPP client.
func TestConversation(t *testing.T) {
	srv, err := xmpptest.Start(serverConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	core := newRecorder()
	cfg := quick()
	cfg.Components = []xmpp.Component{component(srv.ComponentAddr())}
	a := start(t, cfg, core)
	juliet := login(t, srv.ClientAddr())
	// The client's initial presence must have arrived before a message for its bare address can.
	conversation(t, a, core, juliet, func(s string) string { return s })
}

// conversation is the script, which a real server's test plays too. through is what a text has become when
// Juliet's client reads it.
func conversation(t *testing.T, a *xmpp.Adapter, core *recorder, juliet *user, through func(string) string) {
	ctx := t.Context()

	// Romeo asks for Juliet's presence, and gets it.
	romeo, j := cpim.MustParseAddress("pres:romeo@"+sipDomain), cpim.MustParseAddress("pres:juliet@"+xmppDomain)
	watch := adapters.WatchID{Watcher: romeo, Presentity: j}
	if st := a.Watch(ctx, nil, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: watch}); st.Outcome != adapters.Indeterminate || st.State != adapters.WatchPending {
		t.Fatalf("ask: %+v", st)
	}
	for {
		p := next(t, juliet.presences, "subscribe for Juliet")
		if p.Type == "subscribe" && p.From == "romeo@"+sipDomain {
			break
		}
	}
	juliet.raw(t, "<presence to='romeo@"+sipDomain+"' type='subscribed'/>")
	for granted, seen := false, false; !granted || !seen; {
		n := next(t, core.notifies, "the grant and Juliet's presence")
		if n.Watch != watch {
			t.Fatalf("watch is %+v", n.Watch)
		}
		granted = granted || n.Change == adapters.AuthorizationGranted
		if n.Presence != nil && n.Instance == "balcony" {
			seen = true
			if tp := n.Presence.Tuples[0]; tp.Status.Basic != pidf.BasicOpen || tp.ID != pidf.TupleID("balcony") {
				t.Fatalf("tuple %+v", tp)
			}
		}
	}
	juliet.raw(t, "<presence><show>away</show><status>in the orchard</status><priority>5</priority></presence>")
	n := next(t, core.notifies, "Juliet goes away")
	doc, err := n.Presence.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`entity="pres:juliet@example.com"`, `id="ID-balcony"`, ">open<", ">away<", ">in the orchard<", `priority="0.039"`} {
		if !strings.Contains(strings.ReplaceAll(string(doc), "'", `"`), want) {
			t.Errorf("the document has no %s: %s", want, doc)
		}
	}

	// Juliet asks for Romeo's presence.
	juliet.raw(t, "<presence to='romeo@"+sipDomain+"' type='subscribe' id='sub1'/>")
	w := next(t, core.watches, "Juliet's subscribe")
	if w.Verb != adapters.WatchAsk || w.Watch != (adapters.WatchID{Watcher: j, Presentity: romeo}) || w.TransID != "sub1" {
		t.Fatalf("watch %+v", w)
	}
	doc1 := &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@" + sipDomain), Tuples: []pidf.Tuple{{
		ID: pidf.MustParseID("ID-dr4hcr0st3lup4c"), Status: pidf.Status{Basic: pidf.BasicOpen, Show: pidf.ShowDND}, Notes: []pidf.Note{{Text: "fencing"}},
	}}}
	st := a.Notify(ctx, nil, &adapters.NotifyOp{Watch: w.Watch, State: adapters.WatchActive, Change: adapters.AuthorizationGranted, Whole: true, Presence: doc1})
	if st.Outcome != adapters.Indeterminate {
		t.Fatalf("notify: %+v", st)
	}
	// The client's library hands stanzas to a goroutine each, so their order there says nothing.
	for granted, seen := false, false; !granted || !seen; {
		switch p := next(t, juliet.presences, "the grant and Romeo's presence"); {
		case p.Type == "subscribed" && p.From == "romeo@"+sipDomain:
			granted = true
		case p.Type == "" && p.From == "romeo@"+sipDomain+"/dr4hcr0st3lup4c" && p.Show == "dnd" && p.Status == "fencing":
			seen = true
		case strings.HasPrefix(p.From, "juliet@"): // a server tells a user of her own devices
		default:
			t.Fatalf("presence %+v", p)
		}
	}

	// Messages, both ways.
	op := textOp("z9hG4bK1", odd)
	op.Subjects = []adapters.LangText{{Text: ""}}
	op.Wants = adapters.WantDelivered
	if st := a.Message(ctx, nil, op); st.Outcome != adapters.Indeterminate {
		t.Fatalf("message: %+v", st)
	}
	m := next(t, juliet.messages, "Romeo's message")
	if m.Body != through(odd) || m.Thread != op.Thread || m.Id != op.TransID || m.Type != "" || m.From != "romeo@"+sipDomain {
		t.Fatalf("message %#v", m)
	}
	juliet.raw(t, "<message to='romeo@"+sipDomain+"'><received xmlns='urn:xmpp:receipts' id='z9hG4bK1'/></message>")
	r := next(t, core.reports, "Juliet's receipt")
	if r.Kind != adapters.ReportDelivered || r.TransID != "z9hG4bK1" || r.Recipient.Instance != "balcony" {
		t.Fatalf("report %+v", r)
	}
	juliet.raw(t, "<message to='romeo@"+sipDomain+"' id='m2' type='chat'><subject/><body>Art thou not Romeo,&#13;\nand a Montague? &lt;&amp;&gt;\"' ]]&gt; \U0001F339 \t\n e\u0301 \\27</body>"+
		"<thread>t2</thread><active xmlns='http://jabber.org/protocol/chatstates'/></message>")
	in := next(t, core.messages, "Juliet's message")
	if string(in.Content.Octets) != odd || in.Thread != "t2" || in.TransID != "m2" || in.Kind != adapters.KindChat || in.From.Instance != "balcony" ||
		in.Peer != (adapters.Peer{Adapter: "xmpp", Name: "main"}) || len(in.Subjects) != 1 || in.Subjects[0].Text != "" {
		t.Fatalf("message %+v", in)
	}

	// What Romeo's side refuses, Juliet is told.
	core.say(adapters.Failed(adapters.ReasonNotFound, ""))
	juliet.raw(t, "<message to='mercutio@"+sipDomain+"' id='m3'><body>?</body></message>")
	next(t, core.messages, "the message to Mercutio")
	m = next(t, juliet.messages, "the error")
	if m.Type != "error" || m.Id != "m3" || m.From != "mercutio@"+sipDomain {
		t.Fatalf("message %#v", m)
	}
	core.say(adapters.Accepted())

	// A user who does not exist: the error overtakes the acknowledgement, or follows it.
	op = textOp("z9hG4bK2", "?")
	op.To.Address = cpim.MustParseAddress("im:nobody@" + xmppDomain)
	switch st := a.Message(ctx, []resolver.Target{}, op); {
	case st.Outcome == adapters.Failure && st.Reason == adapters.ReasonServiceUnavailable:
	case st.Outcome == adapters.Indeterminate:
		if r := next(t, core.reports, "the late error"); r.Kind != adapters.ReportFailed || r.TransID != "z9hG4bK2" {
			t.Fatalf("report %+v", r)
		}
	default:
		t.Fatalf("message to nobody: %+v", st)
	}

	// Juliet leaves.
	juliet.raw(t, "<presence type='unavailable'/>")
	n = next(t, core.notifies, "Juliet leaves")
	if n.Presence == nil || n.Presence.Tuples[0].Status.Basic != pidf.BasicClosed {
		t.Fatalf("notify %+v", n)
	}
}
