package integration_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

func isPresence(kind string) func(lab.Stanza) bool {
	return func(s lab.Stanza) bool {
		if kind == "" {
			return s.Event == "presence" && s.Type == nil
		}
		return s.Event == "presence" && lab.Text(s.Type) == kind
	}
}

// watchScenario is sippWatches with that many notifications before it ends the watch.
func watchScenario(notifications int) string {
	s := strings.Replace(sippWatches, "NOTIFIES\n", strings.Repeat(sippNotified, notifications), 1)
	return strings.Replace(s, "NOTIFY\n</scenario>", sippNotified+"</scenario>", 1)
}

// isWatchedScenario expands the NOTIFY and BODY lines of sippIsWatched.
func isWatchedScenario() string {
	var out strings.Builder
	cseq := 0
	state := ""
	for line := range strings.Lines(sippIsWatched) {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "NOTIFY "):
			state = strings.TrimPrefix(trimmed, "NOTIFY ")
		case strings.HasPrefix(trimmed, "BODY"):
			cseq++
			body := strings.TrimSpace(strings.TrimPrefix(trimmed, "BODY"))
			content := "Content-Length: 0\n"
			if body != "" {
				content = "Content-Type: application/pidf+xml\nContent-Length: [len]\n\n" + body
			}
			out.WriteString(strings.NewReplacer("STATE", state, "CSEQ", string(rune('0'+cseq)), "CONTENT", content).Replace(
				`<pause milliseconds="300"/>
<send retrans="500"><![CDATA[

NOTIFY [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:romeo@example.net>;tag=[pid]s[call_number]
To: <sip:juliet@example.com>[$1]
Call-ID: [call_id]
CSeq: CSEQ NOTIFY
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
Event: presence
Subscription-State: STATE
CONTENT
]]></send>
<recv response="200"/>
`))
		default:
			out.WriteString(line)
		}
	}
	return out.String()
}

// RFC 8048 §5.3 and §6.2: Romeo (SIP) watches Juliet (XMPP).
func TestSIPUserWatchesXMPPUser(t *testing.T) { overEach(t, sipUserWatchesXMPPUser) }

func sipUserWatchesXMPPUser(t *testing.T, s *strait) {
	// Romeo sends: SUBSCRIBE. Romeo receives: pending, then empty and active, then Juliet's presence.
	run := lab.StartSIPp(t, lab.SIPpRun{Scenario: watchScenario(3), Port: s.agent, Target: s.gateway.Port, TCP: s.tcp, CallID: "watch-1"})
	ask := s.juliet.Expect(t, patience, "the request", isPresence("subscribe"))
	if lab.Text(ask.From) != "romeo@example.net" {
		t.Errorf("the request is from %q", lab.Text(ask.From))
	}
	approve(t, run, s.juliet, "romeo@example.net")
	run.Wait(t, patience)
	var states, bodies []string
	for _, m := range run.Received() {
		if strings.HasPrefix(m, "NOTIFY ") {
			state, _, _ := strings.Cut(lab.HeaderOf(m, "Subscription-State"), ";expires=")
			states = append(states, state)
			bodies = append(bodies, lab.BodyOf(m))
		}
	}
	if got := strings.Join(states, ", "); got != "pending, active, active, terminated;reason=timeout" {
		t.Fatalf("states: %s", got)
	}
	// "the SIP-to-XMPP gateway generates an empty SIP NOTIFY message with a Subscription-State header ... of "active"" (RFC 8048
	// §5.3.1).
	if bodies[0] != "" || bodies[1] != "" {
		t.Errorf("pending with %q, approval with %q", bodies[0], bodies[1])
	}
	for i, want := range []string{"<basic>open</basic>", "<basic>closed</basic>"} {
		b := bodies[2+i]
		if !strings.Contains(b, want) || !strings.Contains(b, "entity='pres:juliet@example.com'") || !strings.Contains(b, "id='ID-balcony'") {
			t.Errorf("document %d: %s", i, b)
		}
	}
	s.juliet.Expect(t, patience, "that Romeo has stopped watching", isPresence("unavailable"))
}

// approve lets a watcher see a user who was asked, when he has answered that it is pending: of notifications that wait for the answer to one before
// only the newest goes, and he may wait for each.
func approve(t *testing.T, watcher *lab.SIPp, user *lab.XMPPUser, jid string) {
	t.Helper()
	lab.Eventually(t, patience, "the watcher has answered the first notification", func() bool { return len(watcher.Sent()) >= 2 })
	user.Send(t, lab.Stanza{Stanza: "presence", To: &jid, Type: p("subscribed")})
}

// RFC 8048 §5.2 and §6.3: Juliet (XMPP) watches Romeo (SIP).
func TestXMPPUserWatchesSIPUser(t *testing.T) { overEach(t, xmppUserWatchesSIPUser) }

func xmppUserWatchesSIPUser(t *testing.T, s *strait) {
	run := lab.StartSIPp(t, lab.SIPpRun{Scenario: isWatchedScenario(), Port: s.agent, TCP: s.tcp})
	s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribe")})
	s.juliet.Expect(t, patience, "the approval", isPresence("subscribed"))
	open := s.juliet.Expect(t, patience, "Romeo's presence", isPresence(""))
	if lab.Text(open.From) != "romeo@example.net/dr4hcr0st3lup4c" || lab.Text(open.Show) != "away" || lab.Text(open.Status) != "gone to the balcony" {
		t.Errorf("presence %v", open)
	}
	closed := s.juliet.Expect(t, patience, "Romeo's leaving", isPresence("unavailable"))
	if lab.Text(closed.From) != "romeo@example.net/dr4hcr0st3lup4c" {
		t.Errorf("presence %v", closed)
	}
	s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("unsubscribe")})
	// Her server keeps the "unsubscribed" that follows to itself, because her roster does not have Romeo as "to" any more (RFC 6121
	// §3.2.3); what it delivers is that he is gone.
	s.juliet.Expect(t, patience, "the end", isPresence("unavailable"))
	run.Wait(t, patience)
	var expires []string
	for _, m := range run.Received() {
		if strings.HasPrefix(m, "SUBSCRIBE ") {
			expires = append(expires, lab.HeaderOf(m, "Expires"))
		}
	}
	if got := strings.Join(expires, ", "); got != "3600, 0" {
		t.Errorf("SUBSCRIBE with Expires %s", got)
	}
}

// T-PR-07: a refusal on the XMPP side reaches the SIP user.
func TestT_PR_07_XMPPRefusal(t *testing.T) { overEach(t, xmppRefusal) }

func xmppRefusal(t *testing.T, s *strait) {
	scenario := strings.Replace(sippWatches, "NOTIFIES\n", strings.Repeat(sippNotified, 2), 1)
	scenario = scenario[:strings.LastIndex(scenario, `<send retrans="500">`)] + "</scenario>"
	run := lab.StartSIPp(t, lab.SIPpRun{Scenario: scenario, Port: s.agent, Target: s.gateway.Port})
	s.juliet.Expect(t, patience, "the request", isPresence("subscribe"))
	s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("unsubscribed")})
	run.Wait(t, patience)
	got := run.Received()
	last := got[len(got)-1]
	if state := lab.HeaderOf(last, "Subscription-State"); state != "terminated;reason=rejected" {
		t.Errorf("the last NOTIFY says %q", state)
	}
}

// The same with TCP on the SIP side.
func TestPresenceOverTCP(t *testing.T) {
	for name, scenario := range map[string]func(*testing.T, *strait){
		"a SIP user watches": sipUserWatchesXMPPUser, "an XMPP user watches": xmppUserWatchesSIPUser,
	} {
		t.Run(name, func(t *testing.T) {
			s := cross(t, overTCP)
			s.tcp = true
			scenario(t, s)
		})
	}
}
