package integration_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// T-PR-02: SIP users whose addresses are written otherwise on the XMPP side watch and are watched as anybody is, with real servers.
func TestT_PR_02_UnusualAddresses(t *testing.T) {
	for _, w := range components() {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			s := crossOn(t, w, overUDP, lab.GatewayConfig{})
			for _, c := range []struct{ name, sip, jid, entity string }{
				{"escaped", "d'artagnan", `d\27artagnan`, "d'artagnan"},
				{"percent", "le%20comte", `le\20comte`, "le%20comte"},
				{"a telephone number", "+12125550100", "+12125550100", "+12125550100"},
				{"beyond ASCII", "%E4%B8%AD", "中", "%E4%B8%AD"},
			} {
				t.Run(c.name, func(t *testing.T) {
					as := strings.NewReplacer("romeo@", c.sip+"@", "pres:romeo@", "pres:"+c.entity+"@")
					jid := c.jid + "@example.net"
					run := lab.StartSIPp(t, lab.SIPpRun{Scenario: as.Replace(watchScenario(3)), Port: s.agent, Target: s.gateway.Port})
					ask := s.juliet.Expect(t, patience, "the request", isPresence("subscribe"))
					if lab.Text(ask.From) != jid {
						t.Errorf("the request is from %q, want %q", lab.Text(ask.From), jid)
					}
					approve(t, run, s.juliet, jid)
					run.Wait(t, patience)
					open := 0
					for _, m := range run.Received() {
						if strings.Contains(lab.BodyOf(m), "<basic>open</basic>") && strings.Contains(lab.HeaderOf(m, "To"), "<sip:"+c.sip+"@example.net>") {
							open++
						}
					}
					if open == 0 {
						t.Errorf("no notification for that address: %q", run.Received())
					}
					s.juliet.Expect(t, patience, "that the watch is over", isPresence("unavailable"))

					run = lab.StartSIPp(t, lab.SIPpRun{Scenario: as.Replace(isWatchedScenario()), Port: s.agent})
					s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p(jid), Type: p("subscribe")})
					s.juliet.Expect(t, patience, "the approval", isPresence("subscribed"))
					shown := s.juliet.Expect(t, patience, "the presence", isPresence(""))
					if lab.Text(shown.From) != jid+"/dr4hcr0st3lup4c" {
						t.Errorf("presence from %q", lab.Text(shown.From))
					}
					s.juliet.Expect(t, patience, "the leaving", isPresence("unavailable"))
					s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p(jid), Type: p("unsubscribe")})
					s.juliet.Expect(t, patience, "the end", isPresence("unavailable"))
					run.Wait(t, patience)
					if line, _, _ := strings.Cut(run.Received()[0], "\r\n"); line != "SUBSCRIBE sip:"+c.sip+"@example.net SIP/2.0" {
						t.Errorf("asked of %q", line)
					}
				})
			}
		})
	}
}
