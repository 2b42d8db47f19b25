package xmpp_test

import (
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

const hello = "><body>hello</body></message>"

// TestServerStanzaAddressesTID08: what a proven server may write is from its own domain and for one of ours. "The data provided in a
// 'from' attribute does not match an authorized JID or validated domain" ends the stream with invalid-from (RFC 6120 §4.9.3.9); "A stanza
// sent between two servers lacks a 'to' or 'from' attribute" with improper-addressing (RFC 6120 §4.9.3.7). Our own domains never come in
// from outside.
func TestServerStanzaAddressesTID08(t *testing.T) {
	for _, c := range []struct {
		name, stanza string
		want         stream.Condition
	}{
		{"our own domain", "<message from='tybalt@example.net' to='romeo@example.net'" + hello, stream.InvalidFrom},
		{"our own domain bare", "<presence type='subscribe' from='example.net' to='romeo@example.net'/>", stream.InvalidFrom},
		{"our other domain", "<message from='tybalt@example.org' to='romeo@example.net'" + hello, stream.InvalidFrom},
		{"another domain", "<message from='nurse@example.edu' to='romeo@example.net'" + hello, stream.InvalidFrom},
		{"a subdomain", "<message from='nurse@chat.example.com' to='romeo@example.net'" + hello, stream.InvalidFrom},
		{"a parent", "<message from='nurse@com' to='romeo@example.net'" + hello, stream.InvalidFrom},
		{"an error of another", "<message type='error' from='nurse@example.edu' to='romeo@example.net'><error type='cancel'/></message>", stream.InvalidFrom},
		{"an answer of another", "<iq type='result' id='1' from='example.edu' to='example.net'/>", stream.InvalidFrom},
		{"no from", "<message to='romeo@example.net'" + hello, stream.ImproperAddressing},
		{"no to", "<message from='juliet@example.com'" + hello, stream.ImproperAddressing},
		{"an empty from", "<message from='' to='romeo@example.net'" + hello, stream.ImproperAddressing},
		{"a malformed from", "<message from='a@b@c' to='romeo@example.net'" + hello, stream.ImproperAddressing},
		{"no stanza", "<greeting xmlns='jabber:server'/>", stream.UnsupportedStanzaType},
		{"not well-formed", "<message></presence>", stream.NotWellFormed},
		{"a comment", "<!-- x -->", stream.RestrictedXML},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFederation(t)
			cfg := f.config("example.net", "example.org")
			core := newRecorder()
			start(t, cfg, core)
			p := f.mustDial("example.com", "example.net", nil)
			p.say("<message id='1' from='juliet@example.com' to='romeo@example.net'" + hello)
			next(t, core.messages, "a message that is right")
			p.say(c.stanza)
			p.refused(c.want)
			none(t, core.messages, "it went through")
			none(t, core.watches, "it went through")
			if n := counted(t, cfg.Registerer, "isthmus_xmpp_stream_errors_total", "by=us", "condition="+c.want.String()); n != 1 {
				t.Errorf("the stream error was counted %v times", n)
			}
		})
	}
}

// TestServerHeaderOurs: nobody opens a stream as one of our own domains, whatever certificate they have.
func TestServerHeaderOurs(t *testing.T) {
	f := newFederation(t)
	start(t, f.config("example.net", "example.org"), newRecorder())
	if p, err := f.dial("example.com", "example.net", nil); err != nil || !p.offer.Authenticated {
		t.Fatalf("another's domain, for comparison: %v", err)
	}
	for _, from := range []string{"example.net", "example.org"} {
		if p, err := f.dial(from, "example.net", nil); err == nil && p.offer.Authenticated {
			t.Errorf("%s was authenticated", from)
		}
	}
}

// TestServerOtherDomainOfOurs: a certificate proves the sender's domain for each of ours; a domain that is none of ours is not found, and
// does not end the stream.
func TestServerOtherDomainOfOurs(t *testing.T) {
	f := newFederation(t)
	core := newRecorder()
	start(t, f.config("example.net", "example.org"), core)
	h := f.theatre("example.com", nil)
	p := f.mustDial("example.com", "example.net", nil)
	p.say("<message id='1' from='juliet@example.com' to='romeo@example.net'" + hello)
	p.say("<message id='2' from='juliet@example.com' to='romeo@example.org'" + hello)
	p.say("<message id='3' from='juliet@example.com' to='romeo@example.edu'" + hello)
	p.say("<message id='4' from='juliet@example.com' to='romeo@example.net'" + hello)
	for _, want := range []string{"im:romeo@example.net", "im:romeo@example.org", "im:romeo@example.net"} {
		if op := next(t, core.messages, want); op.To.Address.String() != want {
			t.Errorf("for %s", op.To.Address)
		}
	}
	back, _ := h.accept()
	if e := back.hear("enable"); e != nil {
		back.say("<failed xmlns='urn:xmpp:sm:3'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
	}
	if e := back.hear("message"); attr(e, "id") != "3" || attr(e, "type") != "error" || attr(e, "to") != "juliet@example.com" {
		t.Errorf("%s", e.Raw)
	}
}

// twelve is a stanza that would be delivered if an answer that says no had been taken for one that says yes.
const twelve = "<message id='12' from='juliet@example.com' to='romeo@example.net'" + hello

// TestDialbackUnsolicitedTTL09: an answer of dialback that nothing on this very stream asked for ends it, on streams that were opened to
// us (THREATS.md X10; XEP-0220 §3.1).
func TestDialbackUnsolicitedTTL09(t *testing.T) {
	for _, c := range []struct {
		name, element string
	}{
		{"a result that is valid", "<db:result from='example.com' to='example.net' type='valid'/>"},
		{"a result that is invalid", "<db:result from='example.com' to='example.net' type='invalid'/>"},
		{"a result that is an error", "<db:result from='example.com' to='example.net' type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"},
		{"a verdict that is valid", "<db:verify from='example.com' to='example.net' id='ID' type='valid'/>"},
		{"a verdict that is invalid", "<db:verify from='example.com' to='example.net' id='ID' type='invalid'/>"},
		{"a verdict with swapped names", "<db:verify from='example.net' to='example.com' id='ID' type='valid'/>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFederation(t)
			cfg := f.config("example.net")
			cfg.Servers.Dialback = true
			core := newRecorder()
			start(t, cfg, core)
			// The authoritative server takes the question and does not answer it: the attacker does, on its own stream.
			h := f.theatre("example.com", nil)
			p := f.mustDial("example.com", "example.net", func(o *stream.Outgoing) { o.External = false })
			p.say("<db:result from='example.com' to='example.net'>0123</db:result>")
			auth, _ := h.accept()
			auth.hear("verify")
			element := c.element
			for i := range len(element) - 1 {
				if element[i:i+2] == "ID" {
					element = element[:i] + p.id + element[i+2:]
					break
				}
			}
			p.say(element)
			p.refused(stream.NotAuthorized)
			none(t, core.messages, "it was believed")
		})
	}
}

// TestDialbackMisdirectedTTL09: the same on streams that we opened, and for questions against their direction.
func TestDialbackMisdirectedTTL09(t *testing.T) {
	for _, c := range []struct {
		name, element string
	}{
		{"a result of another domain", "<db:result from='example.edu' to='example.net' type='valid'/>"},
		{"a result for another domain", "<db:result from='example.com' to='example.org' type='valid'/>"},
		{"a result with swapped names", "<db:result from='example.net' to='example.com' type='valid'/>"},
		{"a verdict instead of a result", "<db:verify from='example.com' to='example.net' id='1' type='valid'/>"},
		{"a key on a stream of one direction", "<db:result from='example.com' to='example.net'>0123</db:result>"},
		{"a question on a stream of one direction", "<db:verify from='example.com' to='example.net' id='1'>0123</db:verify>"},
		{"a result twice", "<db:result from='example.com' to='example.net' type='valid'/><db:result from='example.com' to='example.net' type='valid'/>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFederation(t)
			cfg := f.config("example.net", "example.org")
			cfg.Servers.Dialback = true
			core := newRecorder()
			a := start(t, cfg, core)
			h := f.theatre("example.com", func(in *stream.Incoming) { in.Authorize, in.Management = nil, false })
			done := post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
			p, _ := h.accept()
			p.hear("result")
			p.say(c.element)
			p.refused(stream.NotAuthorized)
			if st := next(t, done, "the outcome"); st.Outcome != adapters.Failure {
				t.Errorf("%+v", st)
			}
			none(t, core.messages, "it was believed")
		})
	}
}

// TestDialbackWrongVerdictTTL09: only the authoritative server's answer to our own question, on the stream that it was asked on, counts.
func TestDialbackWrongVerdictTTL09(t *testing.T) {
	for _, c := range []struct {
		name, element string
		ends          bool // the authoritative stream
	}{
		{"another id", "<db:verify from='example.com' to='example.net' id='x' type='valid'/>", true},
		{"another domain", "<db:verify from='example.edu' to='example.net' id='ID' type='valid'/>", true},
		{"invalid", "<db:verify from='example.com' to='example.net' id='ID' type='invalid'/>", false},
		{"an error", "<db:verify from='example.com' to='example.net' id='ID' type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFederation(t)
			cfg := f.config("example.net")
			cfg.Servers.Dialback = true
			core := newRecorder()
			start(t, cfg, core)
			h := f.theatre("example.com", nil)
			p := f.mustDial("example.com", "example.net", func(o *stream.Outgoing) { o.External = false })
			p.say("<db:result from='example.com' to='example.net'>0123</db:result>")
			auth, _ := h.accept()
			q := auth.hear("verify")
			if attr(q, "id") != p.id || attr(q, "from") != "example.net" || attr(q, "to") != "example.com" || q.Text() != "0123" {
				t.Fatalf("%s", q.Raw)
			}
			element := c.element
			for i := range len(element) - 1 {
				if element[i:i+2] == "ID" {
					element = element[:i] + p.id + element[i+2:]
					break
				}
			}
			auth.say(element)
			if c.ends {
				auth.refused(stream.NotAuthorized)
			}
			if e := p.hear("result"); attr(e, "type") == "valid" {
				t.Fatalf("%s", e.Raw)
			}
			if c.name == "invalid" {
				p.refused(stream.NotAuthorized)
			} else {
				p.say(twelve)
				p.refused(stream.NotAuthorized)
			}
			none(t, core.messages, "it was believed")
		})
	}
}

// TestDialbackOff: without the policy nothing of dialback is done, dialback without dialback (XEP-0344) above all.
func TestDialbackOff(t *testing.T) {
	f := newFederation(t)
	core := newRecorder()
	start(t, f.config("example.net"), core)
	p := f.mustDial("example.com", "example.net", nil)
	p.say("<db:result from='chat.example.com' to='example.net'>0123</db:result>")
	p.refused(stream.PolicyViolation)
	p = f.mustDial("example.edu", "example.net", func(o *stream.Outgoing) { o.External = false })
	p.say("<db:result from='example.edu' to='example.net'>0123</db:result>")
	p.refused(stream.PolicyViolation)
}

// TestDialbackOfPeers: a peer's own entry goes before the policy.
func TestDialbackOfPeers(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Servers.Dialback = true
	cfg.Servers.Peers = []xmpp.ServerPeer{{Domain: "example.com", Proof: xmpp.ProofCertificate}}
	start(t, cfg, newRecorder())
	p := f.mustDial("example.com", "example.net", func(o *stream.Outgoing) { o.External = false })
	p.say("<db:result from='example.com' to='example.net'>0123</db:result>")
	if e := p.hear("result"); attr(e, "type") != "error" || e.Child(stream.SpaceServer, "error").Child(stream.SpaceStanzas, "not-authorized") == nil {
		t.Fatalf("%s", e.Raw)
	}
}

// TestServersSharing: several pairs of domains share a stream where the peer knows dialback errors: our second domain, and a second
// domain at the same server (XEP-0220 §2.6).
func TestServersSharing(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net", "example.org")
	cfg.Servers.Dialback = true
	a := start(t, cfg, newRecorder())
	h := f.theatre("example.com", func(in *stream.Incoming) { in.Management = false })
	f.at("chat.example.com", resolver.TCP, h.l.Addr().String())
	first := post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
	p, _ := h.accept()
	p.hear("message")
	for _, pair := range [][2]string{{"example.org", "example.com"}, {"example.net", "chat.example.com"}} {
		done := post(t, a, f.message("romeo@"+pair[0], "juliet@"+pair[1], "2"))
		q := p.hear("result")
		if attr(q, "from") != pair[0] || attr(q, "to") != pair[1] || len(q.Text()) != 64 {
			t.Fatalf("%s", q.Raw)
		}
		p.say("<db:result from='" + pair[1] + "' to='" + pair[0] + "' type='valid'/>")
		if m := p.hear("message"); attr(m, "to") != "juliet@"+pair[1] {
			t.Fatalf("%s", m.Raw)
		}
		none(t, done, "it was acknowledged by nothing")
	}
	none(t, first, "it was acknowledged by nothing")
	if n := counted(t, cfg.Registerer, "isthmus_xmpp_server_shared_total"); n != 2 {
		t.Errorf("%v pairs were added", n)
	}
}

// TestServerReceivesSharing: a stream that was opened to us may prove more domains by dialback, and brings stanzas of each.
func TestServerReceivesSharing(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Servers.Dialback = true
	core := newRecorder()
	start(t, cfg, core)
	h := f.theatre("chat.example.com", nil)
	p := f.mustDial("example.com", "example.net", nil)
	p.say("<message id='1' from='juliet@example.com' to='romeo@example.net'" + hello)
	next(t, core.messages, "the message of the first domain")
	p.say("<db:result from='chat.example.com' to='example.net'>0123</db:result>")
	auth, _ := h.accept()
	q := auth.hear("verify")
	auth.say("<db:verify from='chat.example.com' to='example.net' id='" + attr(q, "id") + "' type='valid'/>")
	if e := p.hear("result"); attr(e, "type") != "valid" {
		t.Fatalf("%s", e.Raw)
	}
	p.say("<message id='2' from='room@chat.example.com' to='romeo@example.net'" + hello)
	if op := next(t, core.messages, "the message of the second"); op.From.Address.String() != "im:room@chat.example.com" {
		t.Fatalf("%+v", op)
	}
}

// TestServersGate: connections that prove nothing are bounded by address.
func TestServersGate(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Servers.Limits.OpeningPerAddress = 2
	cfg.Servers.Limits.OpenTime = time.Hour // so that only the bound turns anybody away
	core := newRecorder()
	start(t, cfg, core)
	opening := func() float64 { return counted(t, cfg.Registerer, "isthmus_xmpp_server_opening") }
	p := f.mustDial("example.com", "example.net", nil)
	await(t, "what is proven is not counted", func() bool { return opening() == 0 })
	for range 2 {
		conn := f.connect("example.net")
		defer conn.Close()
	}
	await(t, "both are let in", func() bool { return opening() == 2 })
	third := f.connect("example.net")
	defer third.Close()
	if !closed(third, patience) {
		t.Error("the third was not turned away")
	}
	if n := opening(); n != 2 {
		t.Errorf("%v are opening", n)
	}
	p.say("<message id='1' from='juliet@example.com' to='romeo@example.net'" + hello)
	next(t, core.messages, "a message on the proven stream")
}

// TestServersOpenTime: connections that prove nothing are bounded by time.
func TestServersOpenTime(t *testing.T) {
	// On a slow machine a server that does its best needs more of it.
	for open := 100 * time.Millisecond; ; open *= 4 {
		f := newFederation(t)
		cfg := f.config("example.net")
		cfg.Servers.Limits.OpenTime = open
		core := newRecorder()
		start(t, cfg, core)
		p, err := f.dial("example.com", "example.net", nil)
		if err != nil {
			if open > patience {
				t.Fatal(err)
			}
			continue
		}
		conn := f.connect("example.net")
		defer conn.Close()
		if !closed(conn, open+patience) {
			t.Error("it was not closed in time")
		}
		await(t, "it is not counted any more", func() bool { return counted(t, cfg.Registerer, "isthmus_xmpp_server_opening") == 0 })
		p.say("<message id='1' from='juliet@example.com' to='romeo@example.net'" + hello) // whose time would have been over before
		next(t, core.messages, "a message on the proven stream")
		return
	}
}

// TestServersHostedTID09: users of a domain that no server can reach by name are written at the gateway's, and a reply finds them.
func TestServersHostedTID09(t *testing.T) {
	f := newFederation(t)
	cfg, comCfg := f.config("gw.example.com"), f.config("example.com")
	cfg.Servers.Domains, cfg.Servers.Gateway, cfg.Servers.Hosts = nil, "gw.example.com", []string{"example.org"}
	core, comCore := newRecorder(), newRecorder()
	a, b := start(t, cfg, core), start(t, comCfg, comCore)
	const seen = "romeo%40example.org@gw.example.com"
	if st := a.Message(t.Context(), f.hops("example.com"), between("romeo@example.org", "juliet@example.com", "1", "hi")); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	op := next(t, comCore.messages, "the message")
	if op.From.Address.String() != "im:"+seen {
		t.Fatalf("from %s", op.From.Address)
	}
	if st := b.Message(t.Context(), f.hops("gw.example.com"), between(seen, "juliet@example.com", "2", "hi")); st.Outcome != adapters.Failure {
		t.Errorf("%+v", st)
	}
	if st := b.Message(t.Context(), f.hops("gw.example.com"), between("juliet@example.com", seen, "3", "hi")); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	if op := next(t, core.messages, "the reply"); op.To.Address.String() != "im:romeo@example.org" || op.From.Address.String() != "im:juliet@example.com" {
		t.Fatalf("%s to %s", op.From.Address, op.To.Address)
	}
}

// TestAuthorityIsTakenOut: a certificate below an authority that is no longer trusted proves nothing, neither on streams that are opened from then
// on nor on those that are up, whoever opened them.
func TestAuthorityIsTakenOut(t *testing.T) {
	f := newFederation(t)
	cfg, comCfg := f.config("example.net"), f.config("example.com")
	a := start(t, cfg, newRecorder())
	start(t, comCfg, newRecorder())
	if st := a.Message(t.Context(), f.hops("example.com"), between("romeo@example.net", "juliet@example.com", "1", "hi")); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	p := f.mustDial("example.com", "example.net", nil)
	p.say("<message id='1' from='juliet@example.com' to='romeo@example.net'" + hello)
	streams := func(direction string) float64 {
		return counted(t, cfg.Registerer, "isthmus_xmpp_server_streams", "direction="+direction)
	}
	await(t, "a stream each way", func() bool { return streams("in") == 1 && streams("out") == 1 })
	take, err := cfg.Servers.Certificates.Prepare(certs.Config{RootsFile: certstest.NewCA(t).WriteRoot(t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	take()
	p.refused(stream.Reset)
	await(t, "the end of the stream that we opened", func() bool { return streams("out") == 0 })
}
