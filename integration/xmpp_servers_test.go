package integration_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// The gateway as the XMPP server of example.net: everything that crosses over a component link crosses over streams between servers,
// found by SRV records of a real name server, proven by certificates or by dialback.
func TestBetweenServers(t *testing.T) {
	withWays(t, federations(), func(t *testing.T, w way) {
		s := crossOn(t, w, overUDP, lab.GatewayConfig{})
		for _, c := range []struct {
			name     string
			scenario func(t *testing.T, s *strait)
		}{
			{"messages from SIP", messageFromSIPToXMPP},
			{"messages to SIP", func(t *testing.T, s *strait) { messageFromXMPPToSIP(t, s, false) }},
			{"SIP failures", sipFailureBecomesXMPPError},
			{"XMPP errors", xmppErrorBecomesSIPFailure},
			{"presence to SIP", sipUserWatchesXMPPUser},
			{"presence from SIP", xmppUserWatchesSIPUser},
		} {
			t.Run(c.name, func(t *testing.T) { c.scenario(t, s) })
		}
		s.provenAs(t)
	})
}

// xmppErrorIsReported is xmppErrorBecomesSIPFailure where the acknowledgement (XEP-0198) and the error take two streams: whichever comes
// first, the SIP user hears of the error, at once or in a report.
func xmppErrorIsReported(t *testing.T, s *strait) {
	newCountingAgent(t, s.agent)
	user := newTellingUser(t, s.gateway.Port)
	for _, to := range []string{"tybalt@example.com", "nurse@example.com"} {
		m := user.offer(t, "romeo", to, "x")
		switch code := m.wait(t, patience); code {
		case 403:
		case 202:
			lab.Eventually(t, patience, "the sender gets a report of the error", func() bool {
				return slices.ContainsFunc(s.gateway.Log(t), func(line map[string]any) bool {
					return line["operation"] == "report" && line["kind"] == "failed" && line["trans_id"] == m.branch && line["outcome"] != "failure"
				})
			})
		default:
			t.Errorf("to %s: answered %d", to, code)
		}
	}
}

// provenAs checks by the server's own log how the two proved themselves, and what they agreed on.
func (s *strait) provenAs(t *testing.T) {
	t.Helper()
	said := map[lab.Software]map[string][]string{
		lab.ProsodyServer: {
			"EXTERNAL": {"SASL EXTERNAL with example.net succeeded", "Accepting SASL EXTERNAL identity from example.net"},
			"dialback": {"verified dialback key... it is valid", "asking example.net if key"},
		},
		lab.EjabberdServer: {
			"EXTERNAL": {"Accepted inbound s2s EXTERNAL authentication example.net -> example.com", "Accepted outbound s2s EXTERNAL authentication example.com -> example.net"},
			"dialback": {"Accepted inbound s2s dialback authentication example.net -> example.com", "Accepted outbound s2s dialback authentication example.com -> example.net"},
		},
	}[s.way.software]
	lines := said["EXTERNAL"]
	if s.way.dialback {
		lines = said["dialback"]
	}
	if s.way.bidirectional {
		// The gateway has opened the stream, and it carries both ways; Prosody opens none.
		lines = []string{"Requested bidirectional stream", "Accepting SASL EXTERNAL identity from example.net"}
		if strings.Contains(s.server.Log(), "Outgoing s2s connection example.com->example.net complete") {
			t.Error("XEP-0288 was agreed on, and Prosody has opened a stream of its own")
		}
	}
	if s.way.acknowledged {
		lines = append(lines, "xmlns='urn:xmpp:sm:3'")
	}
	for _, line := range lines {
		lab.Eventually(t, patience, fmt.Sprintf("the server logs %q", line), func() bool { return strings.Contains(s.server.Log(), line) })
	}
}

// badCertificates are three that prove nothing. The common name is no name: Isthmus and Prosody do not look at it.
//
// COMPAT(ejabberd, 23.01): it takes the common name for a DNS name also where subjectAltName has others, so the one that Isthmus shows
// it has the wrong one there too.
func badCertificates(t *testing.T, r *realm, domain string) map[string]*certstest.Leaf {
	common := domain
	if domain == "example.net" {
		common = "tybalt.example"
	}
	return map[string]*certstest.Leaf{
		"expired": r.trusted.Issue(certstest.Spec{
			CommonName: domain, DNS: []string{domain}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		}),
		"wrong name":        r.trusted.Issue(certstest.Spec{CommonName: common, DNS: []string{"tybalt.example"}}),
		"unknown authority": certstest.NewCA(t).Issue(certstest.Spec{CommonName: domain, DNS: []string{domain}}),
	}
}

// RFC 6120 §13.7.2: a certificate that is expired, for another domain, or from an unknown authority proves nothing, in neither
// direction and whichever side has it. The sender is told, and nothing arrives.
func TestBadCertificateIsRefused(t *testing.T) {
	for _, software := range lab.XMPPServers() {
		for _, bad := range []string{"expired", "wrong name", "unknown authority"} {
			for _, whose := range []string{"the server's", "the gateway's"} {
				t.Run(string(software)+" "+whose+" "+bad, func(t *testing.T) {
					w := way{software: software, servers: true}
					r := newRealm(t, w, between{}, "example.com")
					theirs, ours := r.identity("example.com"), r.identity("example.net")
					if whose == "the server's" {
						theirs = badCertificates(t, r, "example.com")[bad]
					} else {
						ours = badCertificates(t, r, "example.net")[bad]
					}
					s := &strait{way: w, agent: lab.FreePorts(t, 1)[0]}
					s.server = r.server(t, software, "example.com", theirs)
					s.gateway = lab.StartGateway(t, r.gateway(t, lab.GatewayConfig{NextHop: overUDP(s.agent)}, ours, "example.com"))
					s.juliet = s.server.LogIn(t, "juliet", "balcony")
					agent := newCountingAgent(t, s.agent)

					user := newTellingUser(t, s.gateway.Port)
					from := user.send(t, "to you")
					s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), ID: p("m1"), Body: p("and back")})
					if code := from.wait(t, patience); code/100 == 2 || code/100 == 1 {
						t.Errorf("the SIP user was answered %d", code)
					} else {
						t.Logf("the SIP user was answered %d", code)
					}
					got := s.juliet.Expect(t, patience, "that her message is lost", func(m lab.Stanza) bool { return lab.Text(m.Type) == "error" })
					t.Logf("the XMPP user was told %s", lab.Text(got.Condition))
					if n := agent.of("and back"); n > 0 {
						t.Errorf("her message arrived %d times", n)
					}
					for _, m := range s.juliet.Received() {
						if m.Event == "message" {
							t.Errorf("she received %v", m)
						}
					}
				})
			}
		}
	}
}

// XEP-0220 §2.6: the second domain of ours that writes to a domain is proven on the stream of the first, where the other server says
// that a refusal would not end it. ejabberd does; both domains are reached in return.
func TestTwoDomainsOnOneStream(t *testing.T) {
	w := way{software: lab.EjabberdServer, servers: true, dialback: true}
	r := newRealmWith(t, w, between{}, []string{"example.net", "example.edu"}, "example.com")
	agents := lab.FreePorts(t, 2)
	server := r.server(t, w.software, "example.com", r.identity("example.com"))
	c := r.gateway(t, lab.GatewayConfig{
		NextHop: overUDP(agents[0]), Peer: "}\n    - {name: edu, networks: [\"127.0.0.1/32\"], domains: [example.edu]",
		Routes: fmt.Sprintf("  - {domain: example.edu, via: sip, next_hops: [%q]}\n", overUDP(agents[1])),
	}, r.identity("example.net"), "example.com")
	gateway := lab.StartGateway(t, c)
	juliet := server.LogIn(t, "juliet", "balcony")
	for i, domain := range []string{"example.net", "example.edu"} {
		run := lab.StartSIPp(t, lab.SIPpRun{
			Scenario: strings.NewReplacer("ANSWER", "202", "SUBJECT", "", "romeo@example.net", "romeo@"+domain).Replace(sippSends),
			Body:     []byte("from " + domain), Port: lab.FreePorts(t, 1)[0], Target: gateway.Port,
		})
		got := juliet.Expect(t, patience, "the message", hasBody("from "+domain))
		run.Wait(t, patience)
		if lab.Text(got.From) != "romeo@"+domain+"/dr4hcr0st3lup4c" {
			t.Errorf("from %q", lab.Text(got.From))
		}
		agent := newCountingAgent(t, agents[i])
		juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@" + domain), Body: p("to " + domain)})
		lab.Eventually(t, patience, "the answer has arrived", func() bool { return agent.of("to "+domain) == 1 })
	}
	if _, metrics := gateway.Get("/metrics"); !strings.Contains(metrics, "\nisthmus_xmpp_server_shared_total 1\n") {
		t.Error("the second domain was not proven on the first one's stream")
	}
}

// The same as under a component, between servers: the gateway has a domain of its own, at which XMPP servers reach the users of one that
// they cannot find.
func TestHostedBetweenServers(t *testing.T) {
	for _, software := range lab.XMPPServers() {
		t.Run(string(software), func(t *testing.T) {
			const host = "gw.example.net"
			s := &strait{way: way{software: software, servers: true}, agent: lab.FreePorts(t, 1)[0]}
			r := newRealmWith(t, s.way, between{}, []string{"example.net", host}, "example.com")
			r.hosting = host
			s.server = r.server(t, software, "example.com", r.identity("example.com"))
			s.gateway = lab.StartGateway(t, r.gateway(t, lab.GatewayConfig{NextHop: overUDP(s.agent)}, r.identity(host), "example.com"))
			s.juliet = s.server.LogIn(t, "juliet", "balcony")
			hosted(t, s, host)
		})
	}
}
