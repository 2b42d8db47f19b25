package sip

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/passport"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

const signerInfo = "https://cert.example.net/passport.cer"

// notary signs for the users of example.net, and for numbers that begin with 1215.
type notary struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	keys passport.KeySet
}

func newNotary(t *testing.T) *notary {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := certstest.NewCA(t)
	keys, err := passport.NewKeySet([]passport.Credential{
		{Info: signerInfo, Certificate: ca.Issue(certstest.Spec{DNS: []string{"example.net"}, Key: key}).Certificate, Numbers: []string{"1215"}},
		{Info: "https://other.example/", Certificate: ca.Issue(certstest.Spec{DNS: []string{"example.org"}, Key: key}).Certificate},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &notary{t, key, keys}
}

// signature is an Identity value, full or compact, for what from and to say at a time.
func (n *notary) signature(info, from, to string, at time.Time, full bool) string {
	n.t.Helper()
	orig, ok1 := passport.Canonical(wire.MustParseURI(from))
	dest, ok2 := passport.Canonical(wire.MustParseURI(to))
	if !ok1 || !ok2 {
		n.t.Fatal("no identities")
	}
	header, payload := passport.Compose(info, orig, dest, at)
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, n.key, digest[:])
	if err != nil {
		n.t.Fatal(err)
	}
	var octets [64]byte
	r.FillBytes(octets[:32])
	s.FillBytes(octets[32:])
	if !full {
		input = "."
	}
	return input + "." + b64(octets[:]) + ";info=<" + info + ">"
}

const romeoURI, julietURI = "sip:romeo@example.net", "sip:juliet@example.com"

// signing is an adapter whose peer is loopback, with a policy.
func (n *notary) signing(policy IdentityPolicy, change func(*Peer)) (*Adapter, *core) {
	return start(n.t, func(cfg *Config) {
		p := loopback
		p.Identity = policy
		if change != nil {
			change(&p)
		}
		cfg.Peers, cfg.Signers = []Peer{p}, n.keys
	})
}

func headed(text string, headers ...string) string {
	return strings.Replace(text, "CSeq:", strings.Join(append(headers, "CSeq:"), "\n"), 1)
}

func dated(at time.Time) string { return "Date: " + at.UTC().Format(sipDate) }

// RFC 8224 §6.2.2, a row for each answer and policy. "If an Identity header field ... is required by local policy ..., then a 428 "Use Identity
// Header" response MUST be sent in the backwards direction." (RFC 8224 §6.2)
func TestIdentityPolicies(t *testing.T) {
	n := newNotary(t)
	now := time.Now().Truncate(time.Second)
	good := "Identity: " + n.signature(signerInfo, romeoURI, julietURI, now, true)
	short := "Identity: " + n.signature(signerInfo, romeoURI, julietURI, now, false)
	forOther := "Identity: " + n.signature(signerInfo, "sip:tybalt@example.net", julietURI, now, true)
	toOther := "Identity: " + n.signature(signerInfo, romeoURI, "sip:nurse@example.com", now, true)
	old := "Identity: " + n.signature(signerInfo, romeoURI, julietURI, now.Add(-2*time.Minute), true)
	unknown := "Identity: " + n.signature("https://unknown.example/", romeoURI, julietURI, now, true)
	authority := "Identity: " + n.signature("https://other.example/", romeoURI, julietURI, now, true)
	for i, s := range []struct {
		name            string
		headers         []string
		verify, require int
	}{
		{"nothing", nil, 202, 428},
		{"full", []string{good}, 202, 202},
		{"full with its Date", []string{good, dated(now)}, 202, 202},
		{"compact", []string{short, dated(now)}, 202, 202},
		{"compact, in the compact form of the name", []string{"y" + strings.TrimPrefix(short, "Identity"), dated(now)}, 202, 202},
		{"compact without a Date", []string{short}, 438, 438},
		{"for somebody else", []string{forOther}, 438, 438},
		{"to somebody else", []string{toOther}, 438, 438},
		{"changed", []string{strings.Replace(good, ".", ".e", 1)}, 438, 438},
		{"malformed", []string{"Identity: x"}, 438, 438},
		{"stale", []string{old}, 403, 403},
		{"a stale Date", []string{good, dated(now.Add(-2 * time.Minute))}, 403, 403},
		{"a Date ahead", []string{good, dated(now.Add(2 * time.Minute))}, 403, 403},
		{"a Date that is none", []string{good, "Date: yesterday"}, 403, 403},
		{"nobody knows whose", []string{unknown}, 202, 436},
		{"nobody knows whose, of a message that waited", []string{unknown, dated(now.Add(-time.Hour))}, 202, 403},
		{"not for this domain", []string{authority}, 437, 437},
		{"an extension", []string{good + ";ppt=shaken"}, 202, 428},
		{"one of two is good", []string{forOther, good}, 202, 202},
		{"one of two is good, on one line", []string{unknown + ", " + strings.TrimPrefix(good, "Identity: ")}, 202, 202},
		{"one of two is known, and bad", []string{unknown, forOther}, 438, 438},
	} {
		for policy, code := range map[IdentityPolicy]int{IgnoreIdentity: 202, VerifyIdentity: s.verify, RequireIdentity: s.require} {
			t.Run(fmt.Sprintf("%s/%d", s.name, policy), func(t *testing.T) {
				n.t = t
				a, c := n.signing(policy, nil)
				m := udpAgent(t, a).ask(headed(tagged(hello, fmt.Sprintf("i%d-%d", i, policy)), s.headers...))
				if m.StatusCode() != code {
					t.Fatalf("%d %s, want %d", m.StatusCode(), m.ReasonPhrase(), code)
				}
				if code == 403 && m.ReasonPhrase() != "Stale Date" {
					t.Errorf("%s", m.ReasonPhrase())
				}
				if code == 202 {
					if op := next(t, c.messages, "message"); op.From.Address != im("romeo@example.net") {
						t.Errorf("%v", op.From)
					}
				}
				c.quiet(t)
			})
		}
	}
}

// A signature is a proof of From and no more: whose domains a peer may send as, who must prove itself by digest, and what a peer may assert
// are asked all the same (S1, S2).
func TestIdentityIsNoPass(t *testing.T) {
	n := newNotary(t)
	now := time.Now()
	good := "Identity: " + n.signature(signerInfo, romeoURI, julietURI, now, true)
	for _, s := range []struct {
		name    string
		policy  IdentityPolicy
		change  func(*Peer)
		headers []string
		code    int
		from    string
	}{
		{"a domain that is not the peer's", VerifyIdentity, func(p *Peer) { p.Domains = []string{"example.org"} }, []string{good}, 403, ""},
		{"a user without a password", VerifyIdentity, func(p *Peer) { provenUsers(p) }, []string{good}, 401, ""},
		{"required, and another is asserted", RequireIdentity, trust, []string{good, "P-Asserted-Identity: <sip:tybalt@example.net>"}, 403, ""},
		{"required, and the same is asserted", RequireIdentity, trust, []string{good, "P-Asserted-Identity: \"Romeo\" <sip:romeo@example.net;x=y>"}, 202, "romeo@example.net"},
		{"verified, and the trusted peer asserts another", VerifyIdentity, trust, []string{good, "P-Asserted-Identity: <sip:tybalt@example.net>"}, 202, "tybalt@example.net"},
		{"required, and asserted by who is not trusted", RequireIdentity, nil, []string{good, "P-Asserted-Identity: <sip:tybalt@example.net>"}, 202, "romeo@example.net"},
	} {
		t.Run(s.name, func(t *testing.T) {
			n.t = t
			a, c := n.signing(s.policy, s.change)
			m := udpAgent(t, a).ask(headed(tagged(hello, "a"), s.headers...))
			if m.StatusCode() != s.code {
				t.Fatalf("%d %s, want %d", m.StatusCode(), m.ReasonPhrase(), s.code)
			}
			if s.code == 202 {
				if op := next(t, c.messages, "message"); op.From.Address != im(s.from) {
					t.Errorf("%v", op.From)
				}
			}
			c.quiet(t)
		})
	}
}

func trust(p *Peer) { p.Trusted = true }

func provenUsers(p *Peer) {
	var cfg Config
	provenPeer(nil)(&cfg)
	p.Users = cfg.Peers[0].Users
}

// The body is not signed, so that two messages within a second may have the same signature: both are honest, and both arrive.
func TestEqualSignaturesAreNoReplay(t *testing.T) {
	n := newNotary(t)
	a, c := n.signing(RequireIdentity, nil)
	g := udpAgent(t, a)
	good := "Identity: " + n.signature(signerInfo, romeoURI, julietURI, time.Now(), true)
	for i, text := range []string{"But soft!", "What light through yonder window breaks?"} {
		m := g.ask(strings.Replace(headed(strings.Replace(hello, "Neither, fair saint, if either thee dislike.", text, 1), good), "TAG", "e"+itoa(int64(i)), 1))
		if m.StatusCode() != 202 {
			t.Fatalf("%d %s", m.StatusCode(), m.ReasonPhrase())
		}
		if op := next(t, c.messages, "message"); string(op.Content.Octets) != text {
			t.Errorf("%q", op.Content.Octets)
		}
	}
}

// "the endpoint will need to override the default UAS behavior (in particular, the SHOULD in [RFC3261], Section 8.2.2.2) to accept this
// request as a spiral rather than a loop." (RFC 8224 §6.2.3) The authentication service signs it anew, in another branch.
func TestRetryAfterAnInvalidSignature(t *testing.T) {
	n := newNotary(t)
	a, c := n.signing(RequireIdentity, nil)
	g := udpAgent(t, a)
	now := time.Now()
	short := "Identity: " + n.signature(signerInfo, romeoURI, julietURI, now, false)
	full := "Identity: " + n.signature(signerInfo, romeoURI, julietURI, now, true)
	for _, text := range []string{tagged(hello, "r"), subscribeText} {
		if m := g.ask(headed(text, short)); m.StatusCode() != 438 {
			t.Fatalf("%d %s", m.StatusCode(), m.ReasonPhrase())
		}
		if m := g.ask(headed(text, full)); m.StatusCode()/100 != 2 {
			t.Errorf("the retry: %d %s", m.StatusCode(), m.ReasonPhrase())
		}
	}
	next(t, c.messages, "message")
	next(t, c.watches, "watch")
}

// SUBSCRIBE and PUBLISH must be signed where it is required; a NOTIFY is proven by its dialog, and OPTIONS tells what everybody may know.
func TestWhatMustBeSigned(t *testing.T) {
	n := newNotary(t)
	a, c := start(t, func(cfg *Config) {
		p := loopback
		p.Identity = RequireIdentity
		cfg.Peers, cfg.Signers, cfg.Published = []Peer{p}, n.keys, []Published{{Domain: "example.net", Everyone: true}}
	})
	g := udpAgent(t, a)
	for method, code := range map[string]int{"SUBSCRIBE": 428, "PUBLISH": 428, "MESSAGE": 428, "NOTIFY": 481, "OPTIONS": 200} {
		text := strings.ReplaceAll(subscribeText, "SUBSCRIBE", method)
		if method == "NOTIFY" {
			text = strings.Replace(text, "To: <sip:juliet@example.com>", "To: <sip:juliet@example.com>;tag=none", 1)
		}
		if m := g.ask(strings.Replace(text, "tag=romeo", "tag=romeo"+method, 1)); m.StatusCode() != code {
			t.Errorf("%s: %d %s, want %d", method, m.StatusCode(), m.ReasonPhrase(), code)
		}
	}
	c.quiet(t)
}

func TestIdentityConfiguration(t *testing.T) {
	p := loopback
	p.Identity = RequireIdentity
	if _, err := New(Config{Peers: []Peer{p}}); err == nil || !strings.Contains(err.Error(), "nobody's are known") {
		t.Errorf("required without signers: %v", err)
	}
	p.Identity = RequireIdentity + 1
	if _, err := New(Config{Peers: []Peer{p}}); err == nil || !strings.Contains(err.Error(), "no policy") {
		t.Errorf("a policy that is none: %v", err)
	}
}
