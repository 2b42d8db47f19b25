package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// One gateway is the component example.net of a Prosody (example.com) and of an ejabberd (example.org) at once: the users of both talk
// with the same SIP user, each under their own address, and each gets only what is meant for them.
func TestComponentOfTwoServers(t *testing.T) {
	agent := lab.FreePorts(t, 1)[0]
	prosody := lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: lab.ProsodyServer})
	ejabberd := lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: lab.EjabberdServer, Domain: "example.org"})
	gateway := lab.StartGateway(t, lab.GatewayConfig{
		Component: prosody.Component, Components: map[string]int{"example.org": ejabberd.Component}, NextHop: overUDP(agent),
	})
	users := map[string]*lab.XMPPUser{
		"juliet@example.com": prosody.LogIn(t, "juliet", "balcony"), "juliet@example.org": ejabberd.LogIn(t, "juliet", "balcony"),
	}
	other := map[string]string{"juliet@example.com": "juliet@example.org", "juliet@example.org": "juliet@example.com"}
	quiet := func(t *testing.T, user string) {
		t.Helper()
		if got := users[user].Received(); len(got) > 0 {
			t.Errorf("%s received what was not meant for her: %v", user, got)
		}
	}
	for _, user := range []string{"juliet@example.com", "juliet@example.org"} {
		t.Run("message to SIP from "+user, func(t *testing.T) {
			run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: agent})
			users[user].Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: p("I am " + user)})
			run.Wait(t, patience)
			m := run.Received()[0]
			if from := lab.HeaderOf(m, "From"); lab.BodyOf(m) != "I am "+user || !strings.HasPrefix(from, "<sip:"+user+";gr=balcony>") {
				t.Errorf("%q", m)
			}
		})
		t.Run("message from SIP to "+user, func(t *testing.T) {
			run := lab.StartSIPp(t, lab.SIPpRun{
				Scenario: strings.NewReplacer("ANSWER", "202", "SUBJECT", "", "juliet@example.com", user).Replace(sippSends),
				Body:     []byte("You are " + user), Port: lab.FreePorts(t, 1)[0], Target: gateway.Port,
			})
			users[user].Expect(t, patience, "the message", hasBody("You are "+user))
			run.Wait(t, patience)
			quiet(t, other[user])
		})
		t.Run("presence to SIP of "+user, func(t *testing.T) {
			run := lab.StartSIPp(t, lab.SIPpRun{
				Scenario: strings.ReplaceAll(watchScenario(3), "juliet@example.com", user), Port: agent, Target: gateway.Port,
			})
			users[user].Expect(t, patience, "the request", isPresence("subscribe"))
			approve(t, run, users[user], "romeo@example.net")
			run.Wait(t, patience)
			users[user].Expect(t, patience, "that Romeo has stopped watching", isPresence("unavailable"))
			documents := 0
			for _, m := range run.Received() {
				if b := lab.BodyOf(m); strings.HasPrefix(m, "NOTIFY ") && b != "" {
					documents++
					if !strings.Contains(b, "entity='pres:"+user+"'") {
						t.Errorf("a document of somebody else: %s", b)
					}
				}
			}
			if documents != 2 {
				t.Errorf("%d documents, want one while watching and one at the end", documents)
			}
			quiet(t, other[user])
		})
		t.Run("presence of SIP to "+user, func(t *testing.T) {
			run := lab.StartSIPp(t, lab.SIPpRun{Scenario: strings.ReplaceAll(isWatchedScenario(), "juliet@example.com", user), Port: agent})
			users[user].Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribe")})
			users[user].Expect(t, patience, "the approval", isPresence("subscribed"))
			users[user].Expect(t, patience, "Romeo's presence", isPresence(""))
			users[user].Expect(t, patience, "Romeo's leaving", isPresence("unavailable"))
			users[user].Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("unsubscribe")})
			users[user].Expect(t, patience, "the end", isPresence("unavailable"))
			run.Wait(t, patience)
			quiet(t, other[user])
		})
	}
	// What went astray over the first server has arrived by now.
	quiet(t, "juliet@example.com")
	// One server's outage does not touch the other's users.
	prosody.Kill()
	lab.Eventually(t, patience, "the gateway sees that the link is gone", func() bool { return !gateway.Ready() })
	run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: agent})
	users["juliet@example.org"].Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: p("I am still here")})
	run.Wait(t, patience)
	quiet(t, "juliet@example.org")
}

// A SIP domain that XMPP servers cannot reach by its name: its users are under the component's own host, escaped (XEP-0106), and on SIP
// nobody notices.
func TestHostedUnderAComponent(t *testing.T) {
	withEach(t, func(t *testing.T, w way) {
		s := &strait{way: w, agent: lab.FreePorts(t, 1)[0]}
		s.server = lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: w.software, Components: []string{"sip.example.com"}})
		s.gateway = lab.StartGateway(t, lab.GatewayConfig{
			NextHop: overUDP(s.agent),
			XMPP: fmt.Sprintf("  components:\n    - {name: hosting, server: \"127.0.0.1:%d\", domain: sip.example.com, hosts: [example.net], "+
				"serves: [example.com], secret_file: secret}\n", s.server.Component),
			Routes: "  - {domain: example.com, via: xmpp, next_hops: [\"component:hosting\"]}\n",
		})
		s.juliet = s.server.LogIn(t, "juliet", "balcony")

		hosted(t, s, "sip.example.com")
	})
}

// hosted has romeo@example.net and juliet talk and see each other while XMPP knows him at host.
func hosted(t *testing.T, s *strait, host string) {
	t.Helper()
	romeo := `romeo\40example.net@` + host
	run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: s.agent})
	s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p(romeo), Body: p("to SIP")})
	run.Wait(t, patience)
	if m := run.Received()[0]; !strings.HasPrefix(m, "MESSAGE sip:romeo@example.net SIP/2.0\r\n") || !strings.HasPrefix(lab.HeaderOf(m, "From"), "<sip:juliet@example.com;gr=balcony>") {
		t.Errorf("%q", m)
	}
	run = lab.StartSIPp(t, lab.SIPpRun{
		Scenario: strings.NewReplacer("ANSWER", "202", "SUBJECT", "").Replace(sippSends),
		Body:     []byte("from SIP"), Port: lab.FreePorts(t, 1)[0], Target: s.gateway.Port,
	})
	got := s.juliet.Expect(t, patience, "the message", hasBody("from SIP"))
	run.Wait(t, patience)
	if lab.Text(got.From) != romeo+"/dr4hcr0st3lup4c" {
		t.Errorf("from %q", lab.Text(got.From))
	}
	run = lab.StartSIPp(t, lab.SIPpRun{Scenario: isWatchedScenario(), Port: s.agent})
	s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p(romeo), Type: p("subscribe")})
	s.juliet.Expect(t, patience, "the approval", isPresence("subscribed"))
	if open := s.juliet.Expect(t, patience, "Romeo's presence", isPresence("")); lab.Text(open.From) != romeo+"/dr4hcr0st3lup4c" {
		t.Errorf("presence %v", open)
	}
	s.juliet.Expect(t, patience, "Romeo's leaving", isPresence("unavailable"))
	s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p(romeo), Type: p("unsubscribe")})
	s.juliet.Expect(t, patience, "the end", isPresence("unavailable"))
	run.Wait(t, patience)
	for _, m := range run.Received() {
		if strings.Contains(m, "40example.net") || strings.Contains(m, host) {
			t.Errorf("the SIP side sees the host: %q", m)
		}
	}
	// An XMPP error comes back to whom it belongs.
	s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@" + host), ID: p("bare"), Body: p("nobody is called so")})
	if e := s.juliet.Expect(t, patience, "the error", func(m lab.Stanza) bool { return lab.Text(m.Type) == "error" }); lab.Text(e.ID) != "bare" {
		t.Errorf("%v", e)
	}
}
