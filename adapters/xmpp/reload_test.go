package xmpp_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// renew takes a configuration on.
func renew(t *testing.T, a *xmpp.Adapter, cfg xmpp.Config) {
	t.Helper()
	c, err := a.Prepare(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Commit()
}

// takes reads one message and its ping, answers it, and expects that this is the end of st.
func (p *peer) takes(st <-chan adapters.Status) {
	p.t.Helper()
	if e := p.hear(); e.Name.Local != "message" {
		p.t.Fatalf("%s", e.Raw)
	}
	p.pong(p.hear())
	if got := next(p.t, st, "the outcome"); got.Outcome != adapters.Indeterminate {
		p.t.Errorf("%+v", got)
	}
}

// T-FI-22: whom a link serves, and its secret, change while its stream stays; the secret is for the next one. A configuration that is wrong, or
// was not committed, changes nothing.
func TestT_FI_22_LinkStays(t *testing.T) {
	s := listen(t)
	a, p := started(t, s, newRecorder(), nil)
	cfg := quick()
	cfg.Components = []xmpp.Component{component(s.l.Addr().String())}
	bad := cfg
	bad.Components = []xmpp.Component{cfg.Components[0], cfg.Components[0]}
	if _, err := a.Prepare(t.Context(), bad); err == nil {
		t.Error("two links of a name were taken")
	}
	one := cfg.Components[0]
	one.Serves, one.Secret = []string{xmppDomain, "more.example"}, xmpp.NewSecret("another")
	cfg.Components = []xmpp.Component{one}
	change, err := a.Prepare(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	change.Discard()
	p.takes(send(t, a, textOp("m1", "x")))
	renew(t, a, cfg)
	p.takes(send(t, a, textOp("m2", "x")))
	p.conn.Close()
	again := s.accept(t)
	again.say(head)
	if e := again.hear(); e.Name.Local != "handshake" || !stream.CheckHandshake(e.Text(), "3BF96D32", []byte("another")) {
		t.Errorf("handshake %s", e.Raw)
	}
}

// T-FI-22: a link that is taken out is drained: what was written is still acknowledged, and only then its stream ends; what comes for the one that
// takes its place, on the same server with the same domain, waits for that and is not lost.
func TestT_FI_22_LinkIsReplaced(t *testing.T) {
	s := listen(t)
	a, p := started(t, s, newRecorder(), nil)
	before := send(t, a, textOp("m1", "x"))
	p.hear()
	ping := p.hear()
	cfg := quick()
	one := component(s.l.Addr().String())
	one.Name = "renamed"
	cfg.Components = []xmpp.Component{one}
	renew(t, a, cfg)
	if l := a.Links(); len(l) != 1 || l[0].Component != "renamed" {
		t.Fatalf("%+v", l)
	}
	after := send(t, a, textOp("m2", "x"))
	await(t, "it waits for its link", func() bool { return a.Links()[0].Queued == 1 })
	p.pong(ping)
	if st := next(t, before, "the outcome of what was under way"); st.Outcome != adapters.Indeterminate {
		t.Errorf("%+v", st)
	}
	s.welcome(t).takes(after)
	await(t, "it is up", up(a))
}

// T-FI-22: a side that was not there cannot come by a reload.
func TestT_FI_22_NoServersByReload(t *testing.T) {
	s := listen(t)
	a, _ := started(t, s, newRecorder(), nil)
	cfg := quick()
	if _, err := a.Prepare(t.Context(), cfg); err == nil {
		t.Error("a configuration of nothing was taken")
	}
}

// A policy knows a server by its entry under xmpp.server.peers, or as one of the strangers (the name of configs.Strangers): what comes on a
// stream that was there before a reload is by what holds now, or a rule that refuses a server would wait for its next stream.
func TestT_ID_06_AServerIsKnownByItsEntryAfterAReload(t *testing.T) {
	f := newFederation(t)
	netCfg, comCfg := f.config("example.net"), f.config("example.com")
	netCore := newRecorder()
	a, b := start(t, netCfg, netCore), start(t, comCfg, newRecorder())
	from := func(id, want string) {
		t.Helper()
		if st := b.Message(t.Context(), f.hops("example.net"), between("juliet@example.com", "romeo@example.net", id, "hello")); st.Outcome != adapters.Indeterminate {
			t.Fatalf("%+v", st)
		}
		if op := next(t, netCore.messages, "the message"); op.Peer.Name != want {
			t.Errorf("%s is from %q, want %q", id, op.Peer.Name, want)
		}
	}
	from("1", "strangers")
	next := netCfg
	servers := *netCfg.Servers
	servers.Peers = []xmpp.ServerPeer{{Domain: "example.com"}}
	next.Servers = &servers
	renew(t, a, next)
	from("2", "example.com")
	renew(t, a, netCfg)
	from("3", "strangers")
	if n := counted(t, netCfg.Registerer, "isthmus_xmpp_server_authenticated_total", "direction=in"); n != 1 {
		t.Errorf("%v streams", n)
	}
}

// T-FI-22: a domain that was taken out and brought back is there again, both ways, also with those servers whose streams have stayed.
func TestT_FI_22_ADomainComesBack(t *testing.T) {
	f := newFederation(t)
	netCfg, comCfg := f.config("example.net"), f.config("example.com")
	netCore := newRecorder()
	a, b := start(t, netCfg, netCore), start(t, comCfg, newRecorder())
	out := func() adapters.Status {
		return a.Message(t.Context(), f.hops("example.com"), between("romeo@example.net", "juliet@example.com", "1", "hi"))
	}
	if st := out(); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	without := netCfg
	servers := *netCfg.Servers
	servers.Domains = []string{"example.edu"}
	without.Servers = &servers
	renew(t, a, without)
	if st := out(); st.Outcome != adapters.Failure {
		t.Fatalf("without the domain: %+v", st)
	}
	renew(t, a, netCfg)
	if st := out(); st.Outcome != adapters.Indeterminate {
		t.Errorf("out: %+v", st)
	}
	if st := b.Message(t.Context(), f.hops("example.net"), between("juliet@example.com", "romeo@example.net", "2", "hello")); st.Outcome != adapters.Indeterminate {
		t.Errorf("in: %+v", st)
	}
}

// T-FI-22: a link that was stopped because its server refused the secret begins again by a reload; what comes meanwhile may be sent again.
func TestT_FI_22_AStoppedLinkBeginsAgain(t *testing.T) {
	s1, s2 := listen(t), listen(t)
	cfg := quick()
	other := component(s2.l.Addr().String())
	other.Name, other.Domain, other.Serves = "other", "other.example", []string{"example.org"}
	cfg.Components = []xmpp.Component{component(s1.l.Addr().String()), other}
	peers, others := make(chan *peer, 1), make(chan *peer, 1)
	go func() { peers <- s1.welcome(t) }()
	go func() { others <- s2.welcome(t) }()
	a := start(t, cfg, newRecorder())
	next(t, others, "the other stream")
	next(t, peers, "a stream").conn.Close()
	s1.accept(t).say(head + "<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
	await(t, "the link is stopped", func() bool { return a.Links()[0].Phase == xmpp.LinkStopped })
	if st := next(t, send(t, a, textOp("m1", "x")), "the outcome"); st.Reason != adapters.ReasonDomainTimeout {
		t.Errorf("meanwhile: %+v", st)
	}
	cfg.Components = append([]xmpp.Component(nil), cfg.Components...)
	cfg.Components[0].Secret = xmpp.NewSecret("another")
	renew(t, a, cfg)
	after := send(t, a, textOp("m2", "x"))
	p := s1.accept(t)
	p.say(head)
	p.hear()
	p.say("<handshake/>")
	p.takes(after)
}
