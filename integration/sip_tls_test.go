package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// secureStrait is a crossing whose SIP side is Kamailio over TLS: the gateway knows it by its certificate alone.
type secureStrait struct {
	*strait
	proxy lab.KamailioTLS
}

// crossSecurely starts one. The certificates of Kamailio and of the gateway are the one's and the other's; each trusts ours.
func crossSecurely(t *testing.T, ours, kamailio, gateway *certstest.CA) *secureStrait {
	t.Helper()
	ports := lab.FreePorts(t, 3)
	dir := t.TempDir()
	f := gateway.Issue(certstest.Spec{DNS: []string{"example.com"}}).WriteFiles(dir)
	s := &secureStrait{proxy: lab.KamailioTLS{UDP: ports[0], TLS: ports[1], Gateway: ports[2], Trust: ours}}
	s.proxy.Identity = kamailio.Issue(certstest.Spec{DNS: []string{"example.net"}})
	s.strait = crossWith(t, func(int) string { return fmt.Sprintf("sip:127.0.0.1:%d;transport=tls", s.proxy.TLS) }, lab.GatewayConfig{
		TLSPort: ports[2],
		Peers:   "192.0.2.1/32", Peer: ", certificates: [example.net]", // no address of loopback is believed
		Extra: fmt.Sprintf("tls:\n  roots_file: %q\n  certificates:\n    - {name: ours, chain_file: %q, key_file: %q}\n", ours.WriteRoot(dir), f.Chain, f.Key),
	})
	s.proxy.Agent = s.agent
	lab.StartKamailioTLS(t, s.proxy)
	return s
}

// says sends a message of Romeo to Kamailio, which must come back with this code.
func (s *secureStrait) says(t *testing.T, text, answer string) {
	t.Helper()
	lab.StartSIPp(t, lab.SIPpRun{
		Scenario: strings.NewReplacer("ANSWER", answer, "SUBJECT", "").Replace(sippSends), Body: []byte(text), Port: lab.FreePorts(t, 1)[0], Target: s.proxy.UDP,
	}).Wait(t, patience)
}

// A real proxy over mutual TLS: messages both ways, each side known by its certificate (RFC 5922 §7.3, §7.4).
func TestKamailioOverTLS(t *testing.T) {
	ca := certstest.NewCA(t)
	s := crossSecurely(t, ca, ca, ca)
	for i := range 3 {
		text := fmt.Sprintf("it is the east, %d", i)
		s.says(t, text, "202")
		got := s.juliet.Expect(t, patience, "the message", func(m lab.Stanza) bool { return m.Event == "message" })
		if lab.Text(got.Body) != text || !strings.HasPrefix(lab.Text(got.From), "romeo@example.net/") {
			t.Errorf("%v", got)
		}
		run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: s.agent})
		s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: p(text)})
		run.Wait(t, patience)
		if m := run.Received(); len(m) != 1 || lab.BodyOf(m[0]) != text || !strings.Contains(m[0], "SIP/2.0/TLS ") {
			t.Errorf("received %q", m)
		}
	}
	if n := metric(t, s.gateway, `isthmus_sip_connections{opened="here"}`) + metric(t, s.gateway, `isthmus_sip_connections{opened="there"}`); n < 1 || n > 2 {
		t.Errorf("%g connections for six messages, should be one each way at most", n)
	}
}

// T-TL-04: a certificate of an authority that the other side does not trust: nothing crosses, and both senders are told.
func TestKamailioOverTLSWithAnotherAuthority(t *testing.T) {
	for _, v := range []struct{ name, answer string }{{"Kamailio's", "403"}, {"the gateway's", "408"}} {
		t.Run(v.name, func(t *testing.T) {
			ours, other := certstest.NewCA(t), certstest.NewCA(t)
			kamailio, gateway := other, ours
			if v.answer == "408" {
				kamailio, gateway = ours, other
			}
			s := crossSecurely(t, ours, kamailio, gateway)
			s.says(t, "call me but love", v.answer)
			s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), ID: p("m1"), Body: p("what man art thou")})
			s.juliet.Expect(t, patience, "the error", func(m lab.Stanza) bool {
				if m.Event == "message" && lab.Text(m.Type) != "error" {
					t.Errorf("delivered: %v", m)
				}
				return m.Event == "message" && lab.Text(m.Type) == "error"
			})
		})
	}
}
