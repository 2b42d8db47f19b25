package sip

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/digest"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/secret"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// provenPeer is loopback with two users.
func provenPeer(change func(*Peer)) func(*Config) {
	return func(cfg *Config) {
		p := loopback
		p.Users = []User{
			{Name: "romeo", Address: "sip:romeo@example.net", Password: secret.New("rosaline")},
			{Name: "tybalt", Address: "sip:tybalt@example.net", Password: secret.New("cats")},
		}
		if change != nil {
			change(&p)
		}
		cfg.Peers = []Peer{p}
	}
}

// challenges are the challenges of a response, in their order.
func challenges(t *testing.T, m *wire.Message) (all []digest.Challenge) {
	t.Helper()
	for v := range m.Headers("WWW-Authenticate") {
		c, err := digest.ParseChallenge(v)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// authorized is text with credentials.
func authorized(t *testing.T, text string, c digest.Challenge, user, password, uri string, count uint32, method string) string {
	t.Helper()
	_, body, _ := strings.Cut(text, "\n\n")
	got, err := digest.Answer(c, user, password, uri, "0a4f113b", count, digest.Request{Method: method, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(text, "\nCSeq:", "\nAuthorization: "+got.String()+"\nCSeq:", 1)
}

// "The UAS MUST add these header fields to the response in the order in which it would prefer to see them used, starting with the most
// preferred algorithm at the top." (RFC 8760 §2.3) SHA-256 first, MD5 only where the peer's entry allows it.
func TestChallengesAreInOrder(t *testing.T) {
	for _, md5 := range []bool{false, true} {
		a, c := start(t, provenPeer(func(p *Peer) { p.AllowMD5 = md5 }))
		m := udpAgent(t, a).ask(strings.Replace(tagged(hello, "a"), "CSeq:", roomFor, 1))
		all := challenges(t, m)
		want := []digest.Algorithm{digest.SHA256}
		if md5 {
			want = append(want, digest.MD5)
		}
		if m.StatusCode() != 401 || len(all) != len(want) {
			t.Fatalf("%d with %+v", m.StatusCode(), all)
		}
		for i, w := range want {
			// "A UAS MUST always send a "qop" parameter" (RFC 8760 §2.6).
			if all[i].Algorithm != w || all[i].Realm != "example.net" || !all[i].Auth || all[i].Stale {
				t.Errorf("challenge %d: %+v", i, all[i])
			}
		}
		c.quiet(t)
	}
}

func TestDigestIn(t *testing.T) { // T-ID-02, S2
	a, c := start(t, provenPeer(nil))
	g := udpAgent(t, a)
	const target = "sip:juliet@example.com"
	n := 0
	fresh := func() string { n++; return tagged(hello, "t"+itoa(int64(n))) }
	challenge := func() digest.Challenge { return challenges(t, g.ask(fresh()))[0] }
	for _, s := range []struct {
		name string
		make func() string
		code int
	}{
		{"right", func() string { return authorized(t, fresh(), challenge(), "romeo", "rosaline", target, 1, "MESSAGE") }, 202},
		{"wrong password", func() string { return authorized(t, fresh(), challenge(), "romeo", "juliet", target, 1, "MESSAGE") }, 401},
		{"nobody's name", func() string { return authorized(t, fresh(), challenge(), "paris", "rosaline", target, 1, "MESSAGE") }, 401},
		{"somebody else's From", func() string { return authorized(t, fresh(), challenge(), "tybalt", "cats", target, 1, "MESSAGE") }, 403},
		{"of another method", func() string {
			return authorized(t, fresh(), challenge(), "romeo", "rosaline", target, 1, "SUBSCRIBE")
		}, 401},
		{"of another target", func() string {
			return authorized(t, fresh(), challenge(), "romeo", "rosaline", "sip:nurse@example.com", 1, "MESSAGE")
		}, 400},
		{"an algorithm that was not offered", func() string {
			c := challenge()
			c.Algorithm = digest.MD5
			return authorized(t, fresh(), c, "romeo", "rosaline", target, 1, "MESSAGE")
		}, 401},
		{"a nonce of our own making", func() string {
			c := challenge()
			c.Nonce = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			return authorized(t, fresh(), c, "romeo", "rosaline", target, 1, "MESSAGE")
		}, 401},
		{"another realm", func() string {
			c := challenge()
			c.Realm = "example.com"
			return authorized(t, fresh(), c, "romeo", "rosaline", target, 1, "MESSAGE")
		}, 401},
		{"auth-int over the body", func() string {
			c := challenge()
			c.Auth, c.AuthInt = false, true
			return authorized(t, fresh(), c, "romeo", "rosaline", target, 1, "MESSAGE")
		}, 202},
		{"auth-int over another body", func() string {
			c := challenge()
			c.Auth, c.AuthInt = false, true
			return authorized(t, fresh(), c, "romeo", "rosaline", target, 1, "MESSAGE") + "!"
		}, 401},
		{"Basic", func() string {
			return strings.Replace(fresh(), "\nCSeq:", "\nAuthorization: Basic cm9tZW86cm9zYWxpbmU=\nCSeq:", 1)
		}, 401},
	} {
		t.Run(s.name, func(t *testing.T) {
			if m := g.ask(s.make()); m.StatusCode() != s.code {
				t.Errorf("%d %s, want %d", m.StatusCode(), m.ReasonPhrase(), s.code)
			}
			if s.code == 202 {
				next(t, c.messages, "message")
			}
			c.quiet(t)
		})
	}
	t.Run("a replay with a new branch", func(t *testing.T) {
		text := authorized(t, fresh(), challenge(), "romeo", "rosaline", target, 1, "MESSAGE")
		if m := g.ask(text); m.StatusCode() != 202 {
			t.Fatalf("%d", m.StatusCode())
		}
		next(t, c.messages, "message")
		// As an eavesdropper would send it: what it carries is known, what decides is not.
		if m := g.ask(strings.Replace(text, "tag=t", "tag=u", 1)); m.StatusCode() != 401 {
			t.Errorf("%d: a request was taken twice", m.StatusCode())
		}
		c.quiet(t)
	})
	t.Run("the next count of the same nonce", func(t *testing.T) {
		ch := challenge()
		for count := uint32(1); count <= 3; count++ {
			if m := g.ask(authorized(t, fresh(), ch, "romeo", "rosaline", target, count, "MESSAGE")); m.StatusCode() != 202 {
				t.Errorf("count %d: %d", count, m.StatusCode())
			}
			next(t, c.messages, "message")
		}
	})
	t.Run("guessing ends", func(t *testing.T) {
		ch := challenge()
		codes := map[int]int{}
		for range maxTries + 5 {
			codes[g.ask(authorized(t, fresh(), ch, "tybalt", "wrong", target, 1, "MESSAGE")).StatusCode()]++
		}
		if codes[401] > maxTries || codes[403] < 5 {
			t.Errorf("%v", codes)
		}
	})
}

// Nothing is kept of a request without credentials: its copy is challenged anew (RFC 3261 §26.3.2.4).
func TestAChallengeCostsNoState(t *testing.T) {
	a, _ := start(t, provenPeer(nil))
	g := udpAgent(t, a)
	text := strings.Replace(tagged(hello, "a"), "\nCSeq:", "\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKsame\nCSeq:", 1)
	first := challenges(t, g.ask(text))[0].Nonce
	if second := challenges(t, g.ask(text))[0].Nonce; second == first {
		t.Error("the copy was answered from memory")
	}
}

// T-ID-02: whom a MESSAGE is from, over who proved what: 64 cases of who is authenticated, From, P-Asserted-Identity and the CPIM From.
func TestT_ID_02_Matrix(t *testing.T) {
	const romeo, tybalt, foreign = "romeo@example.net", "tybalt@example.net", "mercutio@example.org"
	type world struct {
		name    string
		trusted bool
		user    string // proves itself with digest
	}
	cases := 0
	for _, w := range []world{{"believed by address", false, ""}, {"trusted to assert", true, ""}, {"digest user", false, romeo}, {"digest user of another", false, tybalt}} {
		a, c := start(t, func(cfg *Config) {
			p := loopback
			p.Trusted = w.trusted
			if w.user != "" {
				provenPeer(nil)(cfg)
				return
			}
			cfg.Peers = []Peer{p}
		})
		g := udpAgent(t, a)
		for _, from := range []string{romeo, foreign} {
			for _, asserted := range []string{"", romeo, tybalt, foreign} {
				for _, inner := range []string{"", romeo} {
					cases++
					name := fmt.Sprintf("%s/From %s/PAI %s/CPIM %s", w.name, from, asserted, inner)
					text := strings.Replace(tagged(hello, "c"+itoa(int64(cases))), romeo, from, 1)
					// What a stranger would like to be is never looked at.
					text = strings.Replace(text, "\nCSeq:", "\nP-Preferred-Identity: <sip:"+romeo+">\nCSeq:", 1)
					if asserted != "" {
						text = strings.Replace(text, "\nCSeq:", "\nP-Asserted-Identity: <sip:"+asserted+">\nCSeq:", 1)
					}
					if inner != "" {
						head, _, _ := strings.Cut(text, "\n\n")
						text = strings.Replace(head, "text/plain", "message/cpim", 1) + "\n\nFrom: <im:" + inner + ">\r\nTo: <im:juliet@example.com>\r\n\r\nContent-Type: text/plain\r\n\r\nhi"
					}
					if w.user != "" {
						ch := challenges(t, g.ask(strings.Replace(text, "tag=c", "tag=d", 1)))
						if len(ch) == 0 { // refused before that: From is of no domain of the peer's
							if from != foreign {
								t.Errorf("%s: not challenged", name)
							}
							c.quiet(t)
							continue
						}
						user, _, _ := strings.Cut(w.user, "@")
						text = authorized(t, text, ch[0], user, map[string]string{romeo: "rosaline", tybalt: "cats"}[w.user], "sip:juliet@example.com", 1, "MESSAGE")
					}
					// The one identity that counts.
					identity := from
					if w.trusted && asserted != "" {
						identity = asserted
					}
					taken := identity != foreign && (inner == "" || inner == identity) && (w.user == "" || w.user == identity)
					m := g.ask(text)
					if !taken {
						if m.StatusCode() != 403 {
							t.Errorf("%s: %d %s, want 403", name, m.StatusCode(), m.ReasonPhrase())
						}
						c.quiet(t)
						continue
					}
					if m.StatusCode() != 202 {
						t.Errorf("%s: %d %s, want 202", name, m.StatusCode(), m.ReasonPhrase())
						continue
					}
					if op := next(t, c.messages, "message"); op.From.Address != im(identity) {
						t.Errorf("%s: from %v, want %s", name, op.From.Address, identity)
					}
				}
			}
		}
	}
	if cases != 64 {
		t.Errorf("%d cases, want 64", cases)
	}
}

// T-ID-03, S3: "There may be one or two P-Asserted-Identity values ..." (RFC 3325 §9.1); "If this token is present, proxies MUST remove all
// the P-Asserted-Identity header fields before forwarding messages to elements that are not trusted" (RFC 3325 §7).
func TestT_ID_03_AssertedIdentity(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		p := loopback
		p.Trusted = true
		cfg.Peers = []Peer{p}
	})
	g := udpAgent(t, a)
	for i, s := range []struct {
		name, from, headers string
		code                int
		identity            string
	}{
		{"none", "romeo@example.net", "", 202, "romeo@example.net"},
		{"one", "romeo@example.net", "P-Asserted-Identity: \"Tybalt\" <sip:tybalt@example.net>\n", 202, "tybalt@example.net"},
		{"without brackets", "romeo@example.net", "P-Asserted-Identity: sip:tybalt@example.net\n", 202, "tybalt@example.net"},
		{"with a telephone", "romeo@example.net", "P-Asserted-Identity: tel:+14085264000, <sip:tybalt@example.net>\n", 202, "tybalt@example.net"},
		{"a telephone alone", "romeo@example.net", "P-Asserted-Identity: tel:+14085264000\n", 202, "romeo@example.net"},
		{"two addresses", "romeo@example.net", "P-Asserted-Identity: <sip:romeo@example.net>, <sip:tybalt@example.net>\n", 400, ""},
		{"two on two lines", "romeo@example.net", "P-Asserted-Identity: <sip:romeo@example.net>\nP-Asserted-Identity: <sip:tybalt@example.net>\n", 400, ""},
		{"three", "romeo@example.net", "P-Asserted-Identity: tel:+1, <sip:romeo@example.net>, tel:+2\n", 400, ""},
		{"another scheme", "romeo@example.net", "P-Asserted-Identity: <http://example.net>\n", 400, ""},
		{"malformed", "romeo@example.net", "P-Asserted-Identity: <sip:romeo@example.net\n", 400, ""},
		{"of a domain that is not the peer's", "romeo@example.net", "P-Asserted-Identity: <sip:911@example.com>\n", 403, ""},
		{"SIPS", "romeo@example.net", "P-Asserted-Identity: <sips:romeo@example.net>\n", 480, ""},
		{"privacy", "anonymous@anonymous.invalid", "P-Asserted-Identity: <sip:romeo@example.net>\nPrivacy: id\n", 433, ""},
		{"privacy among others", "tybalt@example.net", "P-Asserted-Identity: <sip:romeo@example.net>\nPrivacy: session; id\n", 433, ""},
		{"anonymous without Privacy", "anonymous@anonymous.invalid", "P-Asserted-Identity: <sip:romeo@example.net>\n", 433, ""},
		{"privacy of what From says openly", "romeo@example.net", "P-Asserted-Identity: <sip:romeo@example.net>\nPrivacy: id\n", 202, "romeo@example.net"},
		{"no privacy", "romeo@example.net", "P-Asserted-Identity: <sip:tybalt@example.net>\nPrivacy: none\n", 202, "tybalt@example.net"},
	} {
		t.Run(s.name, func(t *testing.T) {
			text := strings.Replace(tagged(hello, "p"+itoa(int64(i))), "romeo@example.net", s.from, 1)
			m := g.ask(strings.Replace(text, "CSeq:", s.headers+"CSeq:", 1))
			if m.StatusCode() != s.code {
				t.Fatalf("%d %s, want %d", m.StatusCode(), m.ReasonPhrase(), s.code)
			}
			if s.code == 202 {
				if op := next(t, c.messages, "message"); op.From.Address != im(s.identity) {
					t.Errorf("from %v", op.From.Address)
				}
			}
			c.quiet(t)
		})
	}
}

// What this gateway asserts goes to peers of its trust domain and to no others (RFC 3325 §5).
func TestAssertedIdentityOut(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		a, _ := start(t, func(cfg *Config) {
			p := loopback
			p.Trusted = trusted
			cfg.Peers = []Peer{p}
		})
		g := udpAgent(t, a)
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
		m := g.request("MESSAGE", map[string]bool{})
		v, has := m.Header("P-Asserted-Identity")
		if has != trusted || trusted && !strings.HasPrefix(v, "<sip:juliet@example.com") {
			t.Errorf("trusted %v: %q", trusted, v)
		}
		g.answer(m, wire.Response{Code: 200})
		next(t, done, "outcome")
	}
}

// credentialed is loopback as a peer that knows us.
func credentialed(change func(*Peer)) func(*Config) {
	return func(cfg *Config) {
		p := loopback
		p.Credentials = Credentials{Username: "isthmus", Realm: "example.net", Password: secret.New("bridge")}
		if change != nil {
			change(&p)
		}
		cfg.Peers = []Peer{p}
	}
}

func asking(c digest.Challenge) wire.Response {
	return wire.Response{Code: 401, Headers: []wire.Header{{Name: "WWW-Authenticate", Value: c.String()}}}
}

// "it MUST increment the CSeq header field value as it would normally when sending an updated request" (RFC 3261 §22.2).
func TestDigestOut(t *testing.T) {
	ours := digest.Challenge{Realm: "example.net", Nonce: "n1", Algorithm: digest.SHA256, Auth: true, Opaque: "o"}
	a, _ := start(t, credentialed(nil))
	g := udpAgent(t, a)
	seen := map[string]bool{}
	send := func() chan adapters.Status {
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
		return done
	}
	proof := func(m *wire.Message, header string) digest.Credentials {
		t.Helper()
		v, ok := m.Header(header)
		if !ok {
			t.Fatalf("no %s in\n%s", header, m.Raw())
		}
		c, err := digest.ParseCredentials(v)
		if err != nil || !c.Proves("bridge", digest.Request{Method: "MESSAGE", Body: m.Body()}) || c.URI != m.RequestURIText() || c.Username != "isthmus" {
			t.Errorf("%+v, %v", c, err)
		}
		return c
	}
	done := send()
	m := g.request("MESSAGE", seen)
	if _, has := m.Header("Authorization"); has {
		t.Error("credentials before a challenge")
	}
	g.answer(m, asking(ours))
	again := g.request("MESSAGE", seen)
	was, _ := m.CSeq()
	is, _ := again.CSeq()
	if is != was+1 || again.CallID() != m.CallID() || again.From().Tag() != m.From().Tag() || string(again.Body()) != string(m.Body()) {
		t.Errorf("CSeq %d after %d, %s", is, was, again.Raw())
	}
	if c := proof(again, "Authorization"); c.Count != 1 || c.Nonce != "n1" || c.Opaque != "o" {
		t.Errorf("%+v", c)
	}
	g.answer(again, wire.Response{Code: 200})
	if st := next(t, done, "outcome"); st.Outcome != adapters.Success {
		t.Errorf("%+v", st)
	}
	// The next request carries them at once, with the next count.
	done = send()
	m = g.request("MESSAGE", seen)
	if c := proof(m, "Authorization"); c.Count != 2 {
		t.Errorf("%+v", c)
	}
	// A nonce that has become stale is replaced by the one that comes with the refusal, once.
	stale := ours
	stale.Nonce, stale.Stale = "n2", true
	g.answer(m, asking(stale))
	m = g.request("MESSAGE", seen)
	if c := proof(m, "Authorization"); c.Nonce != "n2" || c.Count != 1 {
		t.Errorf("%+v", c)
	}
	// A proxy's challenge is answered in the proxy's header.
	g.answer(m, wire.Response{Code: 407, Headers: []wire.Header{{Name: "Proxy-Authenticate", Value: stale.String()}}})
	m = g.request("MESSAGE", seen)
	proof(m, "Proxy-Authorization")
	g.answer(m, wire.Response{Code: 202})
	if st := next(t, done, "outcome"); st.Outcome != adapters.Indeterminate {
		t.Errorf("%+v", st)
	}
}

// T-LP-07, S8: a peer whose nonce changes for ever is answered twice and no more; T-ID-11, S7: nobody but the configured realm gets an answer.
func TestChallengeLoopsAndStrangers(t *testing.T) {
	for _, s := range []struct {
		name  string
		ask   func(round int) digest.Challenge
		tries int
	}{
		{"T-LP-07 a new nonce for ever", func(r int) digest.Challenge {
			return digest.Challenge{Realm: "example.net", Nonce: "n" + itoa(int64(r)), Algorithm: digest.SHA256, Auth: true}
		}, 2},
		{"T-LP-07 stale for ever", func(r int) digest.Challenge {
			return digest.Challenge{Realm: "example.net", Nonce: "n" + itoa(int64(r)), Algorithm: digest.SHA256, Auth: true, Stale: true}
		}, 3},
		{"T-ID-11 another realm", func(int) digest.Challenge {
			return digest.Challenge{Realm: "example.com", Nonce: "n", Algorithm: digest.SHA256, Auth: true}
		}, 1},
		{"T-ID-11 MD5", func(int) digest.Challenge {
			return digest.Challenge{Realm: "example.net", Nonce: "n", Algorithm: digest.MD5, Auth: true}
		}, 1},
	} {
		t.Run(s.name, func(t *testing.T) {
			a, _ := start(t, credentialed(nil))
			g := udpAgent(t, a)
			done := make(chan adapters.Status, 1)
			go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
			seen := map[string]bool{}
			for round := range s.tries {
				g.answer(g.request("MESSAGE", seen), asking(s.ask(round)))
			}
			st := next(t, done, "outcome")
			if st.Reason != adapters.ReasonNotAuthenticated || st.Code != 401 {
				t.Errorf("%+v", st)
			}
			if m := g.readWithin(100 * 1e6); m != nil && m.IsRequest() && !seen[m.TopVia().Branch()] {
				t.Errorf("one more:\n%s", m.Raw())
			}
		})
	}
	t.Run("T-ID-11 a hop outside of the peer's networks", func(t *testing.T) {
		a, _ := start(t, credentialed(func(p *Peer) { p.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }))
		g := udpAgent(t, a)
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
		g.answer(g.request("MESSAGE", map[string]bool{}), asking(digest.Challenge{Realm: "example.net", Nonce: "n", Algorithm: digest.SHA256, Auth: true}))
		if st := next(t, done, "outcome"); st.Reason != adapters.ReasonNotAuthenticated {
			t.Errorf("%+v", st)
		}
	})
}

// A challenge to a request within a dialog uses up a sequence number: the next one is higher still.
func TestDigestWithinADialog(t *testing.T) {
	a, _ := start(t, credentialed(nil))
	g := udpAgent(t, a)
	watch := adapters.WatchID{Watcher: cpim.MustParseAddress("pres:juliet@example.com"), Presentity: cpim.MustParseAddress("pres:romeo@example.net")}
	done := make(chan adapters.WatchStatus, 1)
	op := &adapters.WatchOp{Verb: adapters.WatchOpen, Watch: watch, Duration: 3600e9, Hops: 70}
	go func() { done <- a.Watch(context.Background(), []resolver.Target{g.hop()}, op) }()
	seen := map[string]bool{}
	first := g.request("SUBSCRIBE", seen)
	g.answer(first, asking(digest.Challenge{Realm: "example.net", Nonce: "n", Algorithm: digest.SHA256, Auth: true}))
	second := g.request("SUBSCRIBE", seen)
	contact := []wire.Header{{Name: "Contact", Value: "<sip:romeo@" + g.addr().String() + ">"}, {Name: "Expires", Value: "3600"}}
	g.answer(second, wire.Response{Code: 200, ToTag: "romeo-tag", Headers: contact})
	next(t, done, "outcome")
	closing := *op
	closing.Verb, closing.Duration = adapters.WatchClose, 0
	go func() { done <- a.Watch(context.Background(), []resolver.Target{g.hop()}, &closing) }()
	third := g.request("SUBSCRIBE", seen)
	one, _ := first.CSeq()
	two, _ := second.CSeq()
	three, _ := third.CSeq()
	if two != one+1 || three != two+1 {
		t.Errorf("CSeq %d, %d, %d", one, two, three)
	}
	g.answer(third, wire.Response{Code: 200, ToTag: "romeo-tag", Headers: contact})
	next(t, done, "outcome")
}

// T-LP-04, S17: a request of ours that comes back as it was has looped; one that was sent on to somebody else meanwhile is a spiral.
func TestT_LP_04_OwnVia(t *testing.T) {
	for _, s := range []struct {
		name string
		code int
		// what comes back for what was sent: the Request-URI, the Via values and the From tag
		back func(m *wire.Message) (uri, via, tag string)
	}{
		{"loop", 482, func(m *wire.Message) (string, string, string) {
			return m.RequestURIText(), m.TopVia().String(), m.From().Tag()
		}},
		{"loop, behind another Via", 482, func(m *wire.Message) (string, string, string) {
			return m.RequestURIText(), "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx, " + m.TopVia().String(), m.From().Tag()
		}},
		{"spiral", 202, func(m *wire.Message) (string, string, string) {
			return "sip:nurse@example.com", m.TopVia().String(), m.From().Tag()
		}},
		{"another request with our Via", 202, func(m *wire.Message) (string, string, string) {
			return m.RequestURIText(), m.TopVia().String(), "other"
		}},
		{"another host's Via", 202, func(m *wire.Message) (string, string, string) {
			return m.RequestURIText(), strings.Replace(m.TopVia().String(), "127.0.0.1", "192.0.2.1", 1), m.From().Tag()
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			a, c := start(t, nil)
			g := udpAgent(t, a)
			done := make(chan adapters.Status, 1)
			go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
			m := g.request("MESSAGE", map[string]bool{})
			cseq, _ := m.CSeq()
			uri, via, tag := s.back(m)
			got := g.ask("MESSAGE " + uri + " SIP/2.0\nVia: " + via + "\nTo: <sip:romeo@example.net>\nFrom: <sip:romeo@example.net>;tag=" + tag +
				"\nCall-ID: " + m.CallID() + "\nCSeq: " + itoa(int64(cseq)) + " MESSAGE\nMax-Forwards: 60\nContent-Type: text/plain\n\nx")
			if got.StatusCode() != s.code {
				t.Errorf("%d %s, want %d", got.StatusCode(), got.ReasonPhrase(), s.code)
			}
			if s.code == 202 {
				next(t, c.messages, "message")
			}
			c.quiet(t)
			g.answer(m, wire.Response{Code: 200})
			next(t, done, "outcome")
		})
	}
}
