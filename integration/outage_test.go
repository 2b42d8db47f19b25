package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// T-FI-08: Prosody is killed and comes back. Traffic resumes by itself, and each message sent meanwhile is delivered, or its
// sender is told.
func TestT_FI_08_ServerKilledAndRestarted(t *testing.T) { withEach(t, serverKilledAndRestarted) }

func serverKilledAndRestarted(t *testing.T, w way) {
	s := crossOn(t, w, overUDP, lab.GatewayConfig{})
	user := newTellingUser(t, s.gateway.Port)

	before := user.send(t, "before")
	s.juliet.Expect(t, patience, "the message before", hasBody("before"))
	if code := before.wait(t, patience); code != 202 {
		t.Fatalf("before the outage: %d", code)
	}

	s.server.Kill()
	s.linkLost(t)
	var meanwhile []*pending
	for i := range 5 {
		meanwhile = append(meanwhile, user.send(t, fmt.Sprintf("meanwhile %d", i)))
	}
	s.juliet.LogOut()
	s.server.Start(t)
	s.linkBack(t)
	s.juliet = lab.LogIn(t, "juliet@example.com/balcony", s.server.Client)

	// Whoever was answered 202 has been delivered (or will be told, and no one was); whoever was not was told so.
	delivered := map[string]bool{}
	for i, m := range meanwhile {
		code := m.wait(t, patience)
		t.Logf("message %d sent in the outage was answered %d", i, code)
		if code/100 == 2 {
			text := fmt.Sprintf("meanwhile %d", i)
			s.juliet.Expect(t, patience, text, hasBody(text))
			delivered[text] = true
		}
	}
	for _, m := range s.juliet.Received() {
		if m.Event == "message" {
			t.Errorf("delivered although its sender was told that it was not: %v", m)
		}
	}

	after := user.send(t, "after")
	s.juliet.Expect(t, patience, "the message after", hasBody("after"))
	if code := after.wait(t, patience); code != 202 {
		t.Errorf("after the outage: %d", code)
	}
	// And back.
	run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: s.agent})
	s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: p("and back")})
	run.Wait(t, patience)
}

// An outage longer than a SIP transaction: the sender is told within it, and nothing arrives afterwards.
func TestOutageLongerThanATransaction(t *testing.T) {
	s := cross(t, overUDP)
	user := newTellingUser(t, s.gateway.Port)
	s.server.Kill()
	lab.Eventually(t, patience, "the gateway sees that the link is gone", func() bool { return !s.gateway.Ready() })
	code := user.send(t, "too long").wait(t, 32*time.Second)
	// Not 408, as the table of RFC 7247 §7.1 has it: RFC 4320 §4.2 forbids that to a non-INVITE request.
	if code != 504 {
		t.Errorf("answered %d, want 504", code)
	}
}

// A wrong secret ends the gateway with a clear line and exit code 1; there is no storm of attempts.
func TestWrongSecret(t *testing.T) {
	prosody := lab.StartProsody(t)
	g := lab.RunGateway(t, lab.GatewayConfig{Component: prosody.Component, NextHop: overUDP(1), Secret: "not-the-secret"})
	if code := g.ExitCode(t, patience); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	log := g.RawLog()
	if strings.Contains(log, "not-the-secret") || strings.Contains(log, lab.ComponentSecret) {
		t.Error("T-AD-02: a secret is in the log")
	}
	if !strings.Contains(log, "the server does not accept the component's secret") {
		t.Errorf("the log does not say what is wrong:\n%s", log)
	}
}

func hasBody(text string) func(lab.Stanza) bool {
	return func(m lab.Stanza) bool { return m.Event == "message" && lab.Text(m.Body) == text }
}
