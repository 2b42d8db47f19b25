package sip

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/digest"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Requests and responses are in memory that is used again: of many messages at a time each says of itself what it is, in all its parts and each
// time it is sent, and each sender is told what became of his.
func TestManyMessagesKeepApart(t *testing.T) {
	const senders, rounds = 24, 12
	a, _ := start(t, func(cfg *Config) {
		credentialed(func(p *Peer) { p.Trusted = true })(cfg)
		cfg.T1 = time.Second
	})
	g := udpAgent(t, a)
	hops := []resolver.Target{g.hop()}
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			// Names of several lengths, so that what is left of one would be seen in another.
			name := strings.Repeat(string(rune('a'+i)), 1+5*(i%6))
			for round := range rounds {
				s := a.Message(context.Background(), hops, outgoing(func(op *adapters.MessageOp) {
					op.From, op.To = adapters.Party{Address: im(name + "@example.com")}, adapters.Party{Address: im(name + "@example.net")}
					op.Thread, op.TransID, op.Content.Octets = "", name+"-"+itoa(int64(round)), []byte(name)
					if i%2 == 0 {
						op.To.Instance = name
					}
				}))
				if want := "im:" + name + "@example.org"; s.Outcome != adapters.Success && (s.Code != 302 || s.NewAddress != want || s.Remote != "302 "+name) {
					t.Errorf("%s: %+v", name, s)
				}
			}
		})
	}
	seen := map[string]bool{}
	for n := 0; n < senders*rounds; {
		m := g.request("MESSAGE", seen)
		u := wire.MustParseURI(m.RequestURIText())
		name, host := u.User(), u.Host()
		asserted, _ := m.Header("P-Asserted-Identity")
		gr, _ := u.Param("gr")
		if host != "example.net" || m.To().String() != "<sip:"+name+"@example.net>" || m.From().URI().String() != "sip:"+name+"@example.com" ||
			asserted != "<sip:"+name+"@example.com>" || string(m.Body()) != name || gr != "" && gr != name || !strings.Contains(m.TopVia().Branch(), "-"+name+"-") {
			t.Errorf("mixed up:\n%s", m.Raw())
		}
		proof, ok := m.Header("Authorization")
		switch {
		case !ok:
			g.answer(m, asking(digest.Challenge{Realm: "example.net", Nonce: "n-" + name, Algorithm: digest.SHA256, Auth: true}))
			continue
		case !strings.Contains(proof, `uri="`+m.RequestURIText()+`"`):
			t.Errorf("%s proves another request: %s", m.RequestURIText(), proof)
		}
		if n++; n%3 == 0 {
			g.answer(m, wire.Response{Code: 302, Reason: name, Headers: []wire.Header{{Name: "Contact", Value: "<sip:" + name + "@example.org>"}}})
		} else {
			g.answer(m, wire.Response{Code: 200})
		}
	}
	all.Wait()
}
