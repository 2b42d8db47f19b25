package integration_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// T-FI-08: Prosody is killed and comes back. Traffic resumes by itself, and each message sent meanwhile is delivered, or its
// sender is told.
func TestT_FI_08_ServerKilledAndRestarted(t *testing.T) { withEach(t, serverKilledAndRestarted) }

func serverKilledAndRestarted(t *testing.T, software lab.Software) {
	s := crossOn(t, software, overUDP, lab.GatewayConfig{})
	user := newTellingUser(t, s.gateway.Port)

	before := user.send(t, "before")
	s.juliet.Expect(t, patience, "the message before", hasBody("before"))
	if code := before.wait(t, patience); code != 202 {
		t.Fatalf("before the outage: %d", code)
	}

	s.server.Kill()
	lab.Eventually(t, patience, "the gateway sees that the link is gone", func() bool { return !s.gateway.Ready() })
	var meanwhile []*pending
	for i := range 5 {
		meanwhile = append(meanwhile, user.send(t, fmt.Sprintf("meanwhile %d", i)))
	}
	s.juliet.LogOut()
	s.server.Start(t)
	lab.Eventually(t, patience, "the gateway has its link again by itself", s.gateway.Ready)
	s.juliet = lab.LogIn(t, "juliet@example.com/balcony", s.server.Client)

	// Whoever was answered 202 has been delivered (or will be told, and no one was); whoever was not was told so.
	delivered := map[string]bool{}
	for i, m := range meanwhile {
		code := m.wait(t, 40*time.Second)
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

// tellingUser is a SIP user over UDP that sends many messages at once and knows each one's answer. It retransmits as RFC 3261
// §17.1.2.2 says. (SIPp ends a call at the first answer it does not expect; here every answer is an outcome.)
type tellingUser struct {
	conn *net.UDPConn

	mu      sync.Mutex
	waiting map[string]*pending // by branch
	next    int
}

type pending struct {
	request  []byte
	answered chan int
}

func newTellingUser(t *testing.T, gateway int) *tellingUser {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: gateway})
	if err != nil {
		t.Fatal(err)
	}
	u := &tellingUser{conn: conn, waiting: map[string]*pending{}}
	t.Cleanup(func() { conn.Close() })
	go u.read()
	go u.retransmit()
	return u
}

func (u *tellingUser) read() {
	b := make([]byte, 65535)
	for {
		n, err := u.conn.Read(b)
		if err != nil {
			return
		}
		answer := string(b[:n])
		var code int
		if _, err := fmt.Sscanf(answer, "SIP/2.0 %d", &code); err != nil || code < 200 {
			continue
		}
		u.mu.Lock()
		if m := u.waiting[branchOf(answer)]; m != nil {
			delete(u.waiting, branchOf(answer))
			m.answered <- code
		}
		u.mu.Unlock()
	}
}

func (u *tellingUser) retransmit() {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for range tick.C {
		u.mu.Lock()
		for _, m := range u.waiting {
			if _, err := u.conn.Write(m.request); err != nil {
				u.mu.Unlock()
				return
			}
		}
		u.mu.Unlock()
	}
}

// send sends a message to Juliet.
func (u *tellingUser) send(t *testing.T, text string) *pending {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next++
	branch := fmt.Sprintf("z9hG4bK-telling-%d-%d", u.conn.LocalAddr().(*net.UDPAddr).Port, u.next)
	m := &pending{answered: make(chan int, 1)}
	m.request = fmt.Appendf(nil, "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:romeo@example.net>;tag=t%d\r\nTo: <sip:juliet@example.com>\r\nCall-ID: %s\r\nCSeq: 1 MESSAGE\r\n"+
		"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s", u.conn.LocalAddr(), branch, u.next, branch, len(text), text)
	u.waiting[branch] = m
	if _, err := u.conn.Write(m.request); err != nil {
		t.Fatal(err)
	}
	return m
}

// wait returns the final answer's code.
func (m *pending) wait(t *testing.T, patience time.Duration) int {
	t.Helper()
	select {
	case code := <-m.answered:
		return code
	case <-time.After(patience):
		t.Fatalf("no final answer within %v", patience)
		return 0
	}
}
