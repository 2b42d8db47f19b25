package sip

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/digest"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/secret"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// What the proofs of who sends do to one another.

func network(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }

// agentAt is an agent with a UDP socket at another address of the loopback network.
func agentAt(t *testing.T, a *Adapter, ip string) *agent {
	t.Helper()
	u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return &agent{t: t, udp: u, to: a.Addrs()[0].Address}
}

// S1, S2, S15: of two peers that a source could be, with one domain, it is the one that is proven better, whatever their order: who must
// prove itself cannot be taken for a neighbour who need not.
func TestOverlappingPeers(t *testing.T) {
	users := Peer{
		Name: "phones", Networks: network("127.0.0.1/32"), Domains: []string{"example.net"},
		Users: []User{{Name: "romeo", Address: "sip:romeo@example.net", Password: secret.New("rosaline")}},
	}
	believed := Peer{Name: "trunk", Networks: network("127.0.0.0/8"), Domains: []string{"example.net"}}
	trusted := users
	trusted.Trusted = true
	for _, s := range []struct {
		name, header string
		peers        []Peer
		code         int
	}{
		{"users in a part of a network that is believed", "", []Peer{believed, users}, 401},
		{"the same, the other way round", "", []Peer{users, believed}, 401},
		{"an assertion of a foreign identity does not choose the other", "P-Asserted-Identity: <sip:x@example.org>\n", []Peer{believed, trusted}, 403},
		{"nor does one that is malformed", "P-Asserted-Identity: <sip:x@example.org\n", []Peer{believed, trusted}, 400},
	} {
		t.Run(s.name, func(t *testing.T) {
			a, c := start(t, func(cfg *Config) { cfg.Peers = s.peers })
			if m := udpAgent(t, a).ask(strings.Replace(tagged(hello, "a"), "CSeq:", s.header+"CSeq:", 1)); m.StatusCode() != s.code {
				t.Errorf("%d %s, want %d", m.StatusCode(), m.ReasonPhrase(), s.code)
			}
			c.quiet(t)
			// From elsewhere in the larger network it is the neighbour, who is believed.
			if m := agentAt(t, a, "127.0.0.3").ask(tagged(hello, "b")); m.StatusCode() != 202 {
				t.Errorf("the neighbour: %d %s", m.StatusCode(), m.ReasonPhrase())
			}
			if op := next(t, c.messages, "message"); op.Peer.Name != "trunk" {
				t.Errorf("%+v", op.Peer)
			}
		})
	}
}

// T-ID-11, S7, S3: what a request carried for one hop, credentials and the asserted identity, does not go along to the next that is tried.
func TestNothingGoesAlongToAnotherHop(t *testing.T) {
	for name, second := range map[string][]netip.Prefix{"another peer": network("127.0.0.2/32"), "nobody's": network("192.0.2.0/24")} {
		t.Run(name, func(t *testing.T) {
			a, _ := start(t, func(cfg *Config) {
				cfg.Peers = []Peer{
					{
						Name: "home", Networks: network("127.0.0.1/32"), Domains: []string{"example.net"}, Trusted: true,
						Credentials: Credentials{Username: "isthmus", Realm: "example.net", Password: secret.New("bridge")},
					},
					{Name: "other", Networks: second, Domains: []string{"example.net"}},
				}
			})
			g, h := udpAgent(t, a), agentAt(t, a, "127.0.0.2")
			op := &adapters.WatchOp{Verb: adapters.WatchOpen, Watch: julietsWatch, Duration: 3600e9, Hops: 70}
			done := make(chan adapters.WatchStatus, 1)
			go func() { done <- a.Watch(context.Background(), []resolver.Target{g.hop(), h.hop()}, op) }()
			seen := map[string]bool{}
			m := g.request("SUBSCRIBE", seen)
			if _, has := m.Header("P-Asserted-Identity"); !has {
				t.Error("nothing was asserted to the trusted peer")
			}
			g.answer(m, asking(digest.Challenge{Realm: "example.net", Nonce: "n", Algorithm: digest.SHA256, Auth: true}))
			m = g.request("SUBSCRIBE", seen)
			if _, has := m.Header("Authorization"); !has {
				t.Error("no credentials")
			}
			g.answer(m, wire.Response{Code: 503})
			m = h.request("SUBSCRIBE", map[string]bool{})
			for _, header := range []string{"Authorization", "Proxy-Authorization", "P-Asserted-Identity"} {
				if v, has := m.Header(header); has {
					t.Errorf("%s went along: %s", header, v)
				}
			}
			h.answer(m, wire.Response{Code: 403})
			next(t, done, "outcome")
		})
	}
}

// T-ID-11, S7: "never in response to inbound-triggered dialogs": a NOTIFY goes where the other side wanted it, and proves nothing there.
func TestNotifyHasNoCredentials(t *testing.T) {
	a, c := start(t, credentialed(nil))
	g := udpAgent(t, a)
	seen := map[string]bool{}
	ch := digest.Challenge{Realm: "example.net", Nonce: "n", Algorithm: digest.SHA256, Auth: true}
	sent := make(chan adapters.Status, 1)
	go func() { sent <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
	g.answer(g.request("MESSAGE", seen), asking(ch))
	g.answer(g.request("MESSAGE", seen), wire.Response{Code: 200})
	next(t, sent, "outcome")

	_, watch := establish(t, g, c, seen)
	done := notify(a, g, adapters.NotifyOp{Watch: watch, State: adapters.WatchActive})
	m := g.request("NOTIFY", seen)
	if v, has := m.Header("Authorization"); has {
		t.Errorf("Authorization: %s", v)
	}
	g.answer(m, asking(ch))
	if st := next(t, done, "outcome"); st.Reason != adapters.ReasonNotAuthenticated {
		t.Errorf("%+v", st)
	}
	if m := g.readWithin(100 * 1e6); m != nil && m.IsRequest() && !seen[m.TopVia().Branch()] {
		t.Errorf("one more:\n%s", m.Raw())
	}
}

// T-LP-04, S17: a request that was sent again after a challenge has another CSeq, and so another mark.
func TestLoopAfterAChallenge(t *testing.T) {
	a, c := start(t, credentialed(nil))
	g := udpAgent(t, a)
	done := make(chan adapters.Status, 1)
	go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
	seen := map[string]bool{}
	g.answer(g.request("MESSAGE", seen), asking(digest.Challenge{Realm: "example.net", Nonce: "n", Algorithm: digest.SHA256, Auth: true}))
	m := g.request("MESSAGE", seen)
	cseq, _ := m.CSeq()
	got := g.ask("MESSAGE " + m.RequestURIText() + " SIP/2.0\nVia: " + m.TopVia().String() + "\nTo: <sip:romeo@example.net>\nFrom: <sip:romeo@example.net>;tag=" +
		m.From().Tag() + "\nCall-ID: " + m.CallID() + "\nCSeq: " + itoa(int64(cseq)) + " MESSAGE\nMax-Forwards: 60\nContent-Type: text/plain\n\nx")
	if got.StatusCode() != 482 {
		t.Errorf("%d %s, want 482", got.StatusCode(), got.ReasonPhrase())
	}
	c.quiet(t)
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
}

// T-LP-04: each listener writes a Via of its own, and all of them are ours.
func TestViaOfEveryListener(t *testing.T) {
	a, _ := start(t, func(cfg *Config) {
		cfg.Listeners = append(cfg.Listeners, transaction.Listener{Transport: resolver.UDP, Address: "127.0.0.2:0"},
			transaction.Listener{Transport: resolver.WS, Address: "127.0.0.1:0"})
	})
	for _, b := range a.Addrs() {
		via, err := wire.ParseVia("SIP/2.0/UDP " + b.Address.String() + ";branch=z9hG4bKx")
		if err != nil {
			t.Fatal(err)
		}
		if !a.viaOurs(via) {
			t.Errorf("the Via of %s %s is not known", b.Transport, b.Address)
		}
	}
	via, err := wire.ParseVia("SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bKx")
	if err != nil || a.viaOurs(via) {
		t.Errorf("%v: another's Via is taken for ours", err)
	}
}

// S2: credentials are for one target: of a URI whose parts are not known that is the same text.
func TestDigestOfAnotherTarget(t *testing.T) {
	a, c := start(t, provenPeer(nil))
	g := udpAgent(t, a)
	for i, s := range []struct {
		target, uri string
		code        int
	}{
		{"im:juliet@example.com", "im:nurse@example.com", 400},
		{"im:juliet@example.com", "im:juliet@example.com", 202},
		{"sip:juliet@example.com", "im:juliet@example.com", 400},
		{"sip:juliet@example.com", "sip:juliet@example.com;transport=udp", 202},
		{"sip:juliet@example.com", "sips:juliet@example.com", 400},
	} {
		text := strings.ReplaceAll(tagged(hello, "u"+itoa(int64(i))), "MESSAGE sip:juliet@example.com", "MESSAGE "+s.target)
		ch := challenges(t, g.ask(strings.Replace(text, "tag=u", "tag=v", 1)))[0]
		if m := g.ask(authorized(t, text, ch, "romeo", "rosaline", s.uri, 1, "MESSAGE")); m.StatusCode() != s.code {
			t.Errorf("%s with a digest of %s: %d %s, want %d", s.target, s.uri, m.StatusCode(), m.ReasonPhrase(), s.code)
		}
		if s.code == 202 {
			next(t, c.messages, "message")
		}
	}
	c.quiet(t)
}

// S12, S15: who cannot read what is sent to an address cannot use up the tries of who is there: it has no nonce of ours.
func TestTriesNeedANonceOfOurs(t *testing.T) {
	a, c := start(t, provenPeer(nil))
	g := udpAgent(t, a)
	const target = "sip:juliet@example.com"
	forged := digest.Challenge{Realm: "example.net", Nonce: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Algorithm: digest.SHA256, Auth: true}
	for i := range maxTries + 2 {
		if m := g.ask(authorized(t, tagged(hello, "f"+itoa(int64(i))), forged, "romeo", "wrong", target, 1, "MESSAGE")); m.StatusCode() != 401 {
			t.Fatalf("%d %s", m.StatusCode(), m.ReasonPhrase())
		}
	}
	ch := challenges(t, g.ask(tagged(hello, "g")))[0]
	if m := g.ask(authorized(t, tagged(hello, "h"), ch, "romeo", "rosaline", target, 1, "MESSAGE")); m.StatusCode() != 202 {
		t.Errorf("locked out by another: %d %s", m.StatusCode(), m.ReasonPhrase())
	}
	next(t, c.messages, "message")
}

// A trusted peer's assertion is whom each request of a dialog is from, and not only the first (RFC 3325 §5).
func TestAssertedWatcher(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		p := loopback
		p.Trusted = true
		cfg.Peers = []Peer{p}
	})
	g := udpAgent(t, a)
	seen := map[string]bool{}
	line := func(text, asserted string) string {
		return strings.Replace(strings.Replace(text, "From: <sip:romeo@", "From: <sip:anybody@", 1), "CSeq:", "P-Asserted-Identity: <sip:"+asserted+">\nCSeq:", 1)
	}
	r := g.ask(line(subscribeText, "romeo@example.net"))
	if r.StatusCode() != 200 {
		t.Fatalf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	if op := next(t, c.watches, "watch"); op.Watch.Watcher != pres("romeo@example.net") {
		t.Errorf("%+v", op.Watch)
	}
	g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
	if r := g.ask(line(within(r, "8", "500"), "tybalt@example.net")); r.StatusCode() != 403 {
		t.Errorf("another's refresh: %d %s", r.StatusCode(), r.ReasonPhrase())
	}
	c.quiet(t)
	if r := g.ask(line(within(r, "9", "500"), "romeo@example.net")); r.StatusCode() != 200 {
		t.Errorf("refresh: %d %s", r.StatusCode(), r.ReasonPhrase())
	}
	next(t, c.watches, "watch")
	g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
}

// T-ID-12, S15: a NOTIFY is believed by its From, which must be the peer's that sends it, even if it asserts what it may; and nothing that
// is refused moves the dialog.
func TestT_ID_12_NotifyOfAnotherPeer(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		cfg.Peers = []Peer{
			{Name: "home", Networks: network("127.0.0.1/32"), Domains: []string{"example.net"}},
			{Name: "other", Networks: network("127.0.0.2/32"), Domains: []string{"example.org"}, Trusted: true},
		}
	})
	g, h := udpAgent(t, a), agentAt(t, a, "127.0.0.2")
	seen := map[string]bool{}
	sub := open(t, a, c, g, seen, "600")
	forged := notifyText(sub, "agent", "2", "terminated;reason=rejected", "")
	for name, text := range map[string]string{
		"From alone": forged, "with an assertion": strings.Replace(forged, "CSeq:", "P-Asserted-Identity: <sip:mallory@example.org>\nCSeq:", 1),
	} {
		if m := h.ask(text); m.StatusCode() != 403 {
			t.Errorf("%s: %d %s", name, m.StatusCode(), m.ReasonPhrase())
		}
	}
	c.quiet(t)
	done := watchRomeo(a, g, adapters.WatchClose)
	g.answer(g.request("SUBSCRIBE", seen), wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "0"}}})
	next(t, done, "outcome")
}

// T-ID-12, S15, CVE-2019-18790: a SUBSCRIBE within a dialog from where its peer is not is refused, and does not move the dialog.
func TestT_ID_12_Refresh(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		cfg.Peers = []Peer{
			{Name: "home", Networks: network("127.0.0.1/32"), Domains: []string{"example.net"}},
			{Name: "other", Networks: network("127.0.0.2/32"), Domains: []string{"example.net"}},
		}
	})
	g, h := udpAgent(t, a), agentAt(t, a, "127.0.0.2")
	seen := map[string]bool{}
	r, watch := establish(t, g, c, seen)
	if m := h.ask(within(r, "8", "600")); m.StatusCode() != 403 {
		t.Errorf("%d %s", m.StatusCode(), m.ReasonPhrase())
	}
	c.quiet(t)
	done := make(chan adapters.Status, 1)
	go func() {
		done <- a.Notify(context.Background(), nil, &adapters.NotifyOp{Watch: watch, State: adapters.WatchActive})
	}()
	g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
	if st := next(t, done, "outcome"); st.Outcome != adapters.Success {
		t.Errorf("%+v", st)
	}
}

// The name that goes with an asserted identity is the one that was asserted with it: From may call itself anything (S3).
func TestAssertedName(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		p := loopback
		p.Trusted = true
		cfg.Peers = []Peer{p}
	})
	text := strings.Replace(tagged(hello, "n"), "From: <", "From: \"911 Department\" <", 1)
	if m := udpAgent(t, a).ask(strings.Replace(text, "CSeq:", "P-Asserted-Identity: \"Tybalt\" <sip:tybalt@example.net>\nCSeq:", 1)); m.StatusCode() != 202 {
		t.Fatalf("%d", m.StatusCode())
	}
	if op := next(t, c.messages, "message"); op.SenderName != "Tybalt" {
		t.Errorf("%q", op.SenderName)
	}
}

// T-OV-06, S11: two challenges may be more than a short request over UDP may get: then the stronger is sent, and not nothing.
func TestChallengeWithoutRoom(t *testing.T) {
	a, c := start(t, provenPeer(func(p *Peer) { p.AllowMD5 = true }))
	g := udpAgent(t, a)
	m := g.ask(tagged(hello, "a"))
	if all := challenges(t, m); m.StatusCode() != 401 || len(all) != 1 || all[0].Algorithm != digest.SHA256 || len(m.Raw())*5 > g.sent*6 {
		t.Errorf("%d octets for %d:\n%s", len(m.Raw()), g.sent, m.Raw())
	}
	c.quiet(t)
}

// S12: a flood of requests without proof takes no place in the table of transactions, over UDP, where each would stay for Timer J, and over
// TCP; who proves itself is served meanwhile.
func TestFloodWithoutProof(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		provenPeer(nil)(cfg)
		cfg.Transactions.ServerTransactions = 4
		cfg.T1 = 500 * 1e6 // Timer J is 32 s
	})
	const target = "sip:juliet@example.com"
	for _, g := range []*agent{udpAgent(t, a), tcpAgent(t, a)} {
		for i := range 100 {
			if m := g.ask(tagged(hello, "x"+itoa(int64(i)))); m.StatusCode() != 401 {
				t.Fatalf("request %d: %d %s", i, m.StatusCode(), m.ReasonPhrase())
			}
		}
		ch := challenges(t, g.ask(tagged(hello, "y")))[0]
		text := strings.Replace(tagged(hello, "z"+g.addr().String()[10:]), "Call-ID: ", "Call-ID: "+g.addr().String()[10:], 1)
		if m := g.ask(authorized(t, text, ch, "romeo", "rosaline", target, 1, "MESSAGE")); m.StatusCode() != 202 {
			t.Errorf("%d %s", m.StatusCode(), m.ReasonPhrase())
		}
		next(t, c.messages, "message")
	}
}

// T-ID-11, S7, S3: what is sent to a part of a network with a peer of its own is sent to that peer, and not to the trusted one around it.
func TestOverlappingPeersOut(t *testing.T) {
	around := Peer{
		Name: "home", Networks: network("127.0.0.0/8"), Domains: []string{"example.net"}, Trusted: true,
		Credentials: Credentials{Username: "isthmus", Realm: "example.net", Password: secret.New("bridge")},
	}
	inside := Peer{Name: "phones", Networks: network("127.0.0.1/32"), Domains: []string{"example.net"}}
	for _, list := range [][]Peer{{around, inside}, {inside, around}} {
		a, _ := start(t, func(cfg *Config) { cfg.Peers = list })
		g := udpAgent(t, a)
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
		m := g.request("MESSAGE", map[string]bool{})
		if v, has := m.Header("P-Asserted-Identity"); has {
			t.Errorf("%s first: P-Asserted-Identity: %s", list[0].Name, v)
		}
		g.answer(m, asking(digest.Challenge{Realm: "example.net", Nonce: "n", Algorithm: digest.SHA256, Auth: true}))
		if st := next(t, done, "outcome"); st.Reason != adapters.ReasonNotAuthenticated {
			t.Errorf("%s first: %+v", list[0].Name, st)
		}
	}
}

// S2: a connection proves nobody: on the one that Romeo has proven himself on, others are asked, and who refreshes his watch must be he.
func TestConnectionOfSeveral(t *testing.T) {
	a, c := start(t, provenPeer(nil))
	g := tcpAgent(t, a)
	const target = "sip:juliet@example.com"
	ask := func(text, user, password, method string) *wire.Message {
		ch := challenges(t, g.ask(strings.Replace(text, "tag=", "tag=x", 1)))[0]
		return g.ask(authorized(t, text, ch, user, password, target, 1, method))
	}
	r := ask(subscribeText, "romeo", "rosaline", "SUBSCRIBE")
	if r.StatusCode() != 200 {
		t.Fatalf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	next(t, c.watches, "watch")
	if m := g.ask(strings.Replace(tagged(hello, "a"), "romeo@", "tybalt@", 1)); m.StatusCode() != 401 {
		t.Errorf("another without proof: %d", m.StatusCode())
	}
	refresh := within(r, "9", "0")
	if m := g.ask(refresh); m.StatusCode() != 401 {
		t.Errorf("a refresh without proof: %d", m.StatusCode())
	}
	if m := ask(within(r, "10", "0"), "tybalt", "cats", "SUBSCRIBE"); m.StatusCode() != 403 {
		t.Errorf("a refresh by another in his name: %d", m.StatusCode())
	}
	if m := ask(strings.Replace(within(r, "11", "0"), "romeo@example.net", "tybalt@example.net", 1), "tybalt", "cats", "SUBSCRIBE"); m.StatusCode() != 403 {
		t.Errorf("a refresh by another in his own name: %d", m.StatusCode())
	}
	c.quiet(t)
}
