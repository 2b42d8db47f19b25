package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// T-FI-08: the XMPP server is killed while messages go both ways, and comes back. Each message from SIP has exactly one outcome, and it
// is true; none arrives twice in either direction.
func TestT_FI_08_ServerKilledMidLoad(t *testing.T) { withWays(t, faultyWays(), serverKilledMidLoad) }

func serverKilledMidLoad(t *testing.T, w way) {
	s := crossOn(t, w, overUDP, lab.GatewayConfig{})
	l := &ledger{user: newTellingUser(t, s.gateway.Port)}
	agent := newCountingAgent(t, s.agent)
	load := func(phase string, n int) {
		for i := range n {
			text := fmt.Sprintf("%s %d", phase, i)
			l.offer(t, 60, fmt.Sprintf("romeo%d", i%20), "juliet@example.com", text)
			s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Type: p("chat"), ID: p(text), Body: p("answer " + text)})
		}
	}
	load("before", 200)
	s.server.Kill()
	s.linkLost(t)
	before := s.juliet
	// Her client reads to the end what the server had written to her.
	before.Expect(t, patience, "the end of her connection", func(m lab.Stanza) bool { return m.Event == "disconnected" })
	for i := range 40 {
		l.offer(t, 1000, fmt.Sprintf("romeo%d", i%20), "juliet@example.com", fmt.Sprintf("meanwhile %d", i))
	}
	s.server.Start(t)
	s.linkBack(t)
	s.juliet = s.server.LogIn(t, "juliet", "balcony")
	load("after", 100)

	codes := l.settled(t)
	lab.Eventually(t, patience, "all that was taken afterwards has arrived", func() bool {
		all := copies(s.juliet)
		for i := range 100 {
			if all[fmt.Sprintf("after %d", i)] == 0 || agent.of(fmt.Sprintf("answer after %d", i)) == 0 {
				return false
			}
		}
		return true
	})
	unknown, arrived, vanished := l.balance(t, s.gateway, copies(before, s.juliet))
	t.Logf("answers: %v; %d with an outcome that nobody can know, %d of them arrived; taken by the server, then lost with it: %q", codes, unknown, arrived, vanished)
	for _, text := range vanished {
		if !strings.HasPrefix(text, "before ") {
			t.Errorf("%s: its sender was told that it has arrived, and no server was killed since", text)
		}
	}
	if codes[202] < 100 {
		t.Errorf("answers: %v", codes)
	}
	for _, phase := range []struct {
		name string
		n    int
	}{{"before", 200}, {"after", 100}} {
		for i := range phase.n {
			if text := fmt.Sprintf("answer %s %d", phase.name, i); agent.of(text) > 1 {
				t.Errorf("%q arrived %d times", text, agent.of(text))
			}
		}
	}
}

// impatient makes a gateway notice within seconds what it would take a minute to notice, and takes no machine that stands still for two or three
// of them for a dead server.
const impatient = "  keep_alive: 1s\n  ping_timeout: 6s\n  connect_timeout: 5s\n"

// T-FI-27: the XMPP server vanishes without closing its connection. The gateway finds out by itself, tells the senders of what was
// under way, and sends what waited over the next connection.
func TestT_FI_27_HalfOpen(t *testing.T) { withWays(t, faultyWays(), halfOpen) }

func halfOpen(t *testing.T, w way) {
	relays := between{lab.StartRelay(t, 0), lab.StartRelay(t, 0)}
	s := crossThrough(t, w, overUDP, lab.GatewayConfig{XMPP: impatient}, relays)
	l := &ledger{user: newTellingUser(t, s.gateway.Port)}
	l.offer(t, 0, "romeo", "juliet@example.com", "before")
	relays.toServer.Cut()
	relays.toGateway.Cut()
	began := time.Now()
	l.offer(t, 10, "romeo", "juliet@example.com", "into the void")
	code := l.offered[1].wait(t, patience)
	if code != 504 {
		t.Errorf("what left before the gateway knew was answered %d", code)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v to find out, with keep_alive 1s and ping_timeout 6s", took)
	}
	s.linkLost(t)
	l.offer(t, 10, "romeo", "juliet@example.com", "meanwhile")
	relays.toServer.Restore()
	relays.toGateway.Restore()
	if code := l.offered[2].wait(t, patience); code != 202 {
		t.Errorf("what waited for the next connection was answered %d", code)
	}
	l.offer(t, 0, "romeo", "juliet@example.com", "after")
	s.juliet.Expect(t, patience, "the message after", func(m lab.Stanza) bool { return lab.Text(m.Body) == "after" })
	got := copies(s.juliet)
	got["after"]++
	if _, _, vanished := l.balance(t, s.gateway, got); len(vanished) > 0 {
		t.Errorf("answered 202, and never arrived: %q", vanished)
	}
}

// T-FI-09: one XMPP server stops reading and keeps its connections. What waits for it is bounded, each sender is told, the users of
// another server notice nothing, and when it goes on so does the traffic.
func TestT_FI_09_FrozenServer(t *testing.T) { withWays(t, faultyWays(), frozenServer) }

func frozenServer(t *testing.T, w way) {
	c := lab.GatewayConfig{XMPP: impatient, Extra: "limits: {messages: {direct_wait: 9s}}\n"}
	s, other := crossWithNeighbour(t, w, overUDP, c)
	nurse := other.LogIn(t, "nurse", "chamber")
	l, neighbour := &ledger{user: newTellingUser(t, s.gateway.Port)}, &ledger{user: newTellingUser(t, s.gateway.Port)}
	l.offer(t, 0, "romeo", "juliet@example.com", "before")
	neighbour.offer(t, 0, "romeo", "nurse@example.org", "before")

	s.server.Freeze(t)
	memory := s.gateway.Memory(t)
	slow, slowest := 0, time.Duration(0)
	const n = 1000
	filling := strings.Repeat("x", 8000)
	for i := range n {
		l.offer(t, n, fmt.Sprintf("romeo%d", i%50), "juliet@example.com", fmt.Sprintf("%d %s", i, filling))
		if i%20 == 0 {
			began := time.Now()
			neighbour.offer(t, 0, "romeo", "nurse@example.org", fmt.Sprintf("neighbour %d", i))
			took := time.Since(began)
			if slowest = max(slowest, took); took > 2*time.Second {
				slow++
			}
		}
	}
	codes := l.settled(t)
	grown := s.gateway.Memory(t) - memory
	t.Logf("answers: %v; memory grew by %d KiB; the slowest answer for the other server's user took %v", codes, grown>>10, slowest)
	if codes[202] > 1 || codes[503]+codes[504] < n {
		t.Errorf("answers for a server that stands still: %v", codes)
	}
	// 8 MB were offered; the queue of one link holds 4 MiB.
	if grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	// Who waited for the server that stands still would wait with each of them; a machine that does so holds up one or two.
	if slow > 3 {
		t.Errorf("%d messages to the other server's user took over 2 s, up to %v", slow, slowest)
	}
	for code, n := range neighbour.settled(t) {
		if code != 202 {
			t.Errorf("%d messages to the other server's user were answered %d", n, code)
		}
	}

	lab.Eventually(t, patience, "everything has arrived there", func() bool { return len(copies(nurse)) == len(neighbour.offered) })
	neighbour.balance(t, s.gateway, copies(nurse))

	s.linkLost(t)
	s.server.Thaw(t)
	s.linkBack(t)
	lab.Eventually(t, 2*patience, "messages get through again", func() bool {
		return l.user.send(t, "after").wait(t, patience) == 202
	})
	s.juliet.Expect(t, patience, "the message after", hasBody("after"))
	if _, _, vanished := l.balance(t, s.gateway, copies(s.juliet)); len(vanished) > 0 {
		t.Errorf("answered 202, and never arrived: %.40q", vanished)
	}
}
