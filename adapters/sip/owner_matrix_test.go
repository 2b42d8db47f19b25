package sip

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// T-ID-07: whose presence a document is. The state agent "SHOULD apply its authorization policies ... to all requests" (RFC 3903 §14.1): here a user speaks for itself and
// about itself, whatever From, the Request-URI and the document's entity are combined to.
func TestT_ID_07_OwnerMatrix(t *testing.T) {
	a, _ := start(t, publishes)
	g := udpAgent(t, a)
	n := 0
	whose := []string{"romeo@example.net", "tybalt@example.net", "romeo@example.org"}
	for _, from := range whose {
		for _, target := range whose {
			for _, entity := range whose {
				n++
				t.Run(fmt.Sprintf("from %s for %s about %s", from, target, entity), func(t *testing.T) {
					want := 403
					switch {
					case strings.HasSuffix(from, ".org"): // not the peer's domain
					case strings.HasSuffix(target, ".org"):
						want = 404
					case from == target && target == entity:
						want = 200
					}
					text := publishAs(n, "600", "", documentText(entity, "open"))
					text = strings.Replace(text, "PUBLISH sip:romeo@example.net", "PUBLISH sip:"+target, 1)
					text = strings.Replace(text, "To: <sip:romeo@example.net>", "To: <sip:"+target+">", 1)
					text = strings.Replace(text, "From: <sip:romeo@example.net>", "From: <sip:"+from+">", 1)
					before := a.compositor.count()
					if r := g.ask(text); r.StatusCode() != want {
						t.Errorf("%d %s, want %d", r.StatusCode(), r.ReasonPhrase(), want)
					}
					if kept := a.compositor.count() - before; kept != 0 != (want == 200) {
						t.Errorf("%d publications more", kept)
					}
				})
			}
		}
	}
	if n != 27 {
		t.Errorf("%d cases", n)
	}
}

// T-ID-07, T-PR-02: the forms of one address are one owner, and what only looks like it is another.
func TestT_ID_07_FormsOfTheOwner(t *testing.T) {
	a, _ := start(t, publishes)
	g := udpAgent(t, a)
	for i, s := range []struct {
		name, from, target, entity string
		code                       int
	}{
		{"pres entity", "sip:romeo@example.net", "sip:romeo@example.net", "pres:romeo@example.net", 200},
		{"sip entity", "sip:romeo@example.net", "sip:romeo@example.net", "sip:romeo@example.net", 200},
		{"pres Request-URI", "sip:romeo@example.net", "pres:romeo@example.net", "pres:romeo@example.net", 200},
		{"pres everywhere", "pres:romeo@example.net", "pres:romeo@example.net", "pres:romeo@example.net", 200},
		{"the domain in capitals", "sip:romeo@EXAMPLE.net", "sip:romeo@Example.NET", "pres:romeo@example.NET", 200},
		{"escaped", "sip:romeo@example.net", "sip:%72omeo@example.net", "pres:%72omeo@example.net", 200},
		{"a port in the Request-URI", "sip:romeo@example.net", "sip:romeo@example.net:5060", "pres:romeo@example.net", 200},
		{"a device", "sip:romeo@example.net", "sip:romeo@example.net;gr=orchard", "pres:romeo@example.net", 200},
		{"the user in capitals", "sip:ROMEO@example.net", "sip:romeo@example.net", "pres:romeo@example.net", 400},
		{"entity with the user in capitals", "sip:romeo@example.net", "sip:romeo@example.net", "pres:Romeo@example.net", 403},
		{"im entity", "sip:romeo@example.net", "sip:romeo@example.net", "im:romeo@example.net", 200},
		{"SIPS entity", "sip:romeo@example.net", "sip:romeo@example.net", "sips:romeo@example.net", 403},
		{"SIPS Request-URI", "sip:romeo@example.net", "sips:romeo@example.net", "pres:romeo@example.net", 480},
		{"xmpp entity", "sip:romeo@example.net", "sip:romeo@example.net", "xmpp:romeo@example.net", 403},
		{"entity of the domain", "sip:romeo@example.net", "sip:romeo@example.net", "pres:example.net", 403},
		{"entity of a domain below", "sip:romeo@example.net", "sip:romeo@example.net", "pres:romeo@a.example.net", 403},
		{"a password", "sip:romeo@example.net", "sip:romeo@example.net", "sip:romeo:x@example.net", 403},
		{"a domain below", "sip:romeo@a.example.net", "sip:romeo@a.example.net", "pres:romeo@a.example.net", 403},
		{"the domain alone", "sip:romeo@example.net", "sip:example.net", "pres:romeo@example.net", 404},
	} {
		t.Run(s.name, func(t *testing.T) {
			text := publishAs(i+1, "600", "", strings.Replace(documentText("romeo@example.net", "open"), "pres:romeo@example.net", s.entity, 1))
			text = strings.Replace(text, "PUBLISH sip:romeo@example.net", "PUBLISH "+s.target, 1)
			text = strings.Replace(text, "From: <sip:romeo@example.net>", "From: <"+s.from+">", 1)
			if r := g.ask(text); r.StatusCode() != s.code {
				t.Errorf("%d %s, want %d", r.StatusCode(), r.ReasonPhrase(), s.code)
			}
		})
	}
}

// T-ID-07: whoever proves by digest who it is, or is asserted to be somebody by a peer of the same trust domain, publishes for that one only.
func TestT_ID_07_ProvenOwner(t *testing.T) {
	a, _ := start(t, func(cfg *Config) {
		provenPeer(nil)(cfg)
		publishes(cfg)
	})
	g := tcpAgent(t, a)
	n := 0
	for _, user := range []string{"romeo", "tybalt"} {
		for _, from := range []string{"romeo", "tybalt"} {
			for _, target := range []string{"romeo", "tybalt"} {
				n++
				text := publishAs(n, "600", "", documentText(target+"@example.net", "open"))
				text = strings.Replace(text, "PUBLISH sip:romeo", "PUBLISH sip:"+target, 1)
				text = strings.Replace(text, "From: <sip:romeo", "From: <sip:"+from, 1)
				c := challenges(t, g.ask(text))
				password := map[string]string{"romeo": "rosaline", "tybalt": "cats"}[user]
				r := g.ask(authorized(t, text, c[0], user, password, "sip:"+target+"@example.net", 1, "PUBLISH"))
				want := 403
				if user == from && from == target {
					want = 200
				}
				if r.StatusCode() != want {
					t.Errorf("%s as %s for %s: %d %s, want %d", user, from, target, r.StatusCode(), r.ReasonPhrase(), want)
				}
			}
		}
	}

	trusted, _ := start(t, func(cfg *Config) {
		p := loopback
		p.Trusted = true
		cfg.Peers = []Peer{p}
		publishes(cfg)
	})
	g = udpAgent(t, trusted)
	for _, asserted := range []string{"romeo", "tybalt"} {
		for _, target := range []string{"romeo", "tybalt"} {
			n++
			text := publishAs(n, "600", "", documentText(target+"@example.net", "open"))
			text = strings.Replace(text, "PUBLISH sip:romeo", "PUBLISH sip:"+target, 1)
			text = strings.Replace(text, "\nCSeq:", "\nP-Asserted-Identity: <sip:"+asserted+"@example.net>\nCSeq:", 1)
			want := 403
			if asserted == target {
				want = 200
			}
			if r := g.ask(text); r.StatusCode() != want {
				t.Errorf("asserted %s for %s: %d, want %d", asserted, target, r.StatusCode(), want)
			}
		}
	}
}

// T-ID-07: a refresh of a watch is from whom the first SUBSCRIBE was: of a trusted peer, whom it asserts (RFC 3325 §5), not From.
func TestT_ID_07_AssertedWatcherRefreshes(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		p := loopback
		p.Trusted = true
		cfg.Peers = []Peer{p}
	})
	g := udpAgent(t, a)
	as := func(text, who string) string {
		return strings.Replace(text, "\nCSeq:", "\nP-Asserted-Identity: <sip:"+who+"@example.net>\nCSeq:", 1)
	}
	r := g.ask(as(subscribeText, "tybalt"))
	if op := next(t, c.watches, "watch"); op.Watch.Watcher != pres("tybalt@example.net") {
		t.Fatalf("%+v", op)
	}
	if m := g.ask(as(within(r, "8", "600"), "romeo")); m.StatusCode() != 403 {
		t.Errorf("a refresh of somebody else: %d", m.StatusCode())
	}
	c.quiet(t)
	if m := g.ask(as(within(r, "9", "600"), "tybalt")); m.StatusCode() != 200 {
		t.Errorf("the watcher's own refresh: %d %s", m.StatusCode(), m.ReasonPhrase())
	}
	if op := next(t, c.watches, "refresh"); op.Verb != adapters.WatchOpen || op.Watch.Watcher != pres("tybalt@example.net") {
		t.Errorf("%+v", op)
	}
}
