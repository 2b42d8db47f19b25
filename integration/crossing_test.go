// Package integration_test holds the scenarios end to end: real servers and clients on both sides of a running Isthmus.
package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

const patience = time.Minute

func p(s string) *string { return &s }

// strait is an XMPP server with juliet logged in, Isthmus, and a port for a SIP user.
type strait struct {
	way     way
	server  *lab.XMPPServer
	juliet  *lab.XMPPUser
	gateway *lab.Gateway
	agent   int  // the SIP user's port
	tcp     bool // the scenario's SIP user speaks TCP
}

func cross(t *testing.T, nextHop func(agent int) string) *strait {
	t.Helper()
	return crossWith(t, nextHop, lab.GatewayConfig{})
}

func crossWith(t *testing.T, nextHop func(agent int) string, c lab.GatewayConfig) *strait {
	t.Helper()
	return crossOn(t, way{software: lab.ProsodyServer}, nextHop, c)
}

func overUDP(agent int) string { return fmt.Sprintf("sip:127.0.0.1:%d;transport=udp", agent) }

func overTCP(agent int) string { return fmt.Sprintf("sip:127.0.0.1:%d;transport=tcp", agent) }

// bodies must arrive octet for octet.
var bodies = []struct{ name, text string }{
	{"plain", "Neither, fair saint, if either thee dislike."},
	{"beyond the BMP", "\U0001F339 by any other name \U0010FFFD"},
	{"markup", `<&>"' ]]> &lt;body&gt; <!-- --> <?pi?>`},
	{"lines", "one\r\ntwo\r\n\r\nfour\r\n"},
	{"line feed alone", "one\ntwo"},
	{"space at the ends", "  \t spaced \t  "},
	{"combining and right to left", "e\u0301 \u202bעברית\u202c \u200d\u200b"},
	{"one octet", "."},
}

// "An IM-aware SIP-to-XMPP gateway MUST process SIP messages that contain message bodies of type "text/plain" and MUST
// encapsulate such message bodies as the XML character data of the XMPP <body/> element." (RFC 7572 §7)
func TestMessageFromSIPToXMPP(t *testing.T) { overEach(t, messageFromSIPToXMPP) }

func messageFromSIPToXMPP(t *testing.T, s *strait) {
	for _, tcp := range []bool{false, true} {
		if tcp && s.way.servers {
			break // shown over the component links
		}
		for i, b := range bodies {
			t.Run(fmt.Sprintf("%s tcp=%v", b.name, tcp), func(t *testing.T) {
				callID := fmt.Sprintf("9E97FB43-85F4-4A00-8751-%d-%v@romeo.example", i, tcp)
				subject, want := "", p("")
				if i%2 == 1 {
					subject, want = `The "balcony" & <scene> `+"\U0001F339", p(`The "balcony" & <scene> `+"\U0001F339")
				}
				run := lab.StartSIPp(t, lab.SIPpRun{
					Scenario: strings.NewReplacer("ANSWER", "202", "SUBJECT", xmlText(subject)).Replace(sippSends),
					Body:     []byte(b.text), Port: lab.FreePorts(t, 1)[0], Target: s.gateway.Port, TCP: tcp, CallID: callID,
				})
				got := s.juliet.Expect(t, patience, "the message", func(m lab.Stanza) bool { return m.Event == "message" })
				run.Wait(t, patience)
				if lab.Text(got.Body) != clientSees(b.text) {
					t.Errorf("body %q, sent %q", lab.Text(got.Body), b.text)
				}
				if strings.Contains(b.text, "\r") && !strings.Contains(got.Raw, b.text) {
					t.Errorf("what the server wrote to its user has not the octets that were sent: %q", got.Raw)
				}
				if lab.Text(got.Thread) != callID {
					t.Errorf("thread %q, Call-ID %q", lab.Text(got.Thread), callID)
				}
				if lab.Text(got.From) != "romeo@example.net/dr4hcr0st3lup4c" {
					t.Errorf("from %q: the GRUU is the resource (RFC 7572 §5 note 1)", lab.Text(got.From))
				}
				// "MUST specify no XMPP 'type' attribute or, equivalently, a 'type' attribute whose value is "normal"".
				if got.Type != nil && *got.Type != "normal" {
					t.Errorf("type %q", *got.Type)
				}
				if lab.Text(got.Lang) != "cs" {
					t.Errorf("xml:lang %q, Content-Language cs (RFC 7572 §8)", lab.Text(got.Lang))
				}
				if lab.Text(got.Subject) != *want {
					t.Errorf("subject %q, sent %q", lab.Text(got.Subject), subject)
				}
				// "transaction identifier -> id" (RFC 7572 §5, Table 2).
				if branch := branchOf(run.Sent()[0]); lab.Text(got.ID) != branch {
					t.Errorf("id %q, branch %q", lab.Text(got.ID), branch)
				}
			})
		}
	}
}

// "The mapping of XMPP syntax to SIP syntax MUST be as shown in the following table." (RFC 7572 §4)
func TestMessageFromXMPPToSIP(t *testing.T) {
	overEach(t, func(t *testing.T, s *strait) { messageFromXMPPToSIP(t, s, false) })
}

func TestMessageFromXMPPToSIPOverTCP(t *testing.T) {
	withEach(t, func(t *testing.T, w way) { messageFromXMPPToSIP(t, crossOn(t, w, overTCP, lab.GatewayConfig{}), true) })
}

func messageFromXMPPToSIP(t *testing.T, s *strait, tcp bool) {
	for i, b := range bodies {
		t.Run(fmt.Sprintf("%s tcp=%v", b.name, tcp), func(t *testing.T) {
			run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: s.agent, TCP: tcp})
			thread := fmt.Sprintf("0E97FB43-85F4-4A00-8751-%d", i)
			s.juliet.Send(t, lab.Stanza{
				Stanza: "message", To: p("romeo@example.net"), Type: p("chat"), ID: p(fmt.Sprintf("m%d", i)), Lang: p("cs"),
				Subject: p("Art & <thou> \"not\" Romeo"), Body: p(b.text), Thread: p(thread),
			})
			run.Wait(t, patience)
			got := run.Received()
			if len(got) != 1 {
				t.Fatalf("%d requests received", len(got))
			}
			m := got[0]
			if lab.BodyOf(m) != b.text {
				t.Errorf("body %q, sent %q", lab.BodyOf(m), b.text)
			}
			if !strings.HasPrefix(m, "MESSAGE sip:romeo@example.net SIP/2.0\r\n") {
				t.Errorf("request line of %q", m)
			}
			if lab.HeaderOf(m, "Call-ID") != thread {
				t.Errorf("Call-ID %q, thread %q", lab.HeaderOf(m, "Call-ID"), thread)
			}
			// "MUST map the bare JID of the XMPP sender to the SIP From header and include the resourcepart ... as the ...
			// (GRUU) portion of the SIP URI" (RFC 7572 §4 note 1).
			if from := lab.HeaderOf(m, "From"); !strings.HasPrefix(from, "<sip:juliet@example.com;gr=balcony>;tag=") {
				t.Errorf("From %q", from)
			}
			if lang := lab.HeaderOf(m, "Content-Language"); lang != "cs" {
				t.Errorf("Content-Language %q", lang)
			}
			if subject := lab.HeaderOf(m, "Subject"); subject != "Art & <thou> \"not\" Romeo" {
				t.Errorf("Subject %q", subject)
			}
			if contact := lab.HeaderOf(m, "Contact"); contact != "(none)" {
				t.Errorf("Contact %q: \"MUST NOT insert a Contact header field\" (RFC 3428 §4)", contact)
			}
			s.quiet(t)
		})
	}
}

// quiet fails the test if Juliet has received a message, such as an error.
func (s *strait) quiet(t *testing.T) {
	t.Helper()
	for _, m := range s.juliet.Received() {
		if m.Event == "message" {
			t.Errorf("juliet received %v", m)
		}
	}
}

// The outcome comes back (RFC 7247 §7.2): a SIP failure becomes an XMPP error stanza to the sender, with its identifier.
func TestSIPFailureBecomesXMPPError(t *testing.T) { overEach(t, sipFailureBecomesXMPPError) }

func sipFailureBecomesXMPPError(t *testing.T, s *strait) {
	for _, c := range []struct{ status, condition string }{
		{"404 Not Found", "item-not-found"},
		{"403 Forbidden", "forbidden"},
		{"480 Temporarily Unavailable", "recipient-unavailable"},
		{"486 Busy Here", "recipient-unavailable"},
		{"503 Service Unavailable", "internal-server-error"},
		{"603 Decline", "recipient-unavailable"},
		{"499 Made Up", "bad-request"},
	} {
		t.Run(c.status, func(t *testing.T) {
			run := lab.StartSIPp(t, lab.SIPpRun{Scenario: strings.ReplaceAll(sippRefuses, "STATUS", c.status), Port: s.agent})
			s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), ID: p("e-" + c.status[:3]), Body: p("x")})
			got := s.juliet.Expect(t, patience, "the error", func(m lab.Stanza) bool { return lab.Text(m.Type) == "error" })
			run.Wait(t, patience)
			if lab.Text(got.Condition) != c.condition || lab.Text(got.ID) != "e-"+c.status[:3] {
				t.Errorf("%v, want condition %s", got, c.condition)
			}
		})
	}
}

// An XMPP error becomes a SIP failure while the SIP user still waits (RFC 7247 §7.1): Prosody refuses a message to a user that
// is not there, before it answers the ping that follows the message.
func TestXMPPErrorBecomesSIPFailure(t *testing.T) { overEach(t, xmppErrorBecomesSIPFailure) }

func xmppErrorBecomesSIPFailure(t *testing.T, s *strait) {
	if s.way.acknowledged && !s.way.bidirectional {
		xmppErrorIsReported(t, s)
		return
	}
	for _, c := range []struct{ name, user, answer string }{
		{"nobody of that name", "tybalt", "403"},
		{"offline and no storage", "nurse", "403"},
	} {
		t.Run(c.name, func(t *testing.T) {
			scenario := strings.NewReplacer("ANSWER", c.answer, "SUBJECT", "", "juliet", c.user).Replace(sippSends)
			lab.StartSIPp(t, lab.SIPpRun{
				Scenario: scenario, Body: []byte("x"), Port: lab.FreePorts(t, 1)[0], Target: s.gateway.Port,
			}).Wait(t, patience)
		})
	}
}

// "an XMPP-to-SIP gateway SHOULD return a <policy-violation/> stanza error if an XMPP user attempts to send an XMPP message stanza
// that would result in a SIP MESSAGE greater than 1300 bytes" (RFC 7572 §6), unless the configuration says that the way to that
// peer is congestion-safe all along (RFC 3428 §8); then it goes over a stream.
func TestLargeMessage(t *testing.T) {
	long := strings.Repeat("0123456789", 200)
	t.Run("refused", func(t *testing.T) {
		s := cross(t, overUDP)
		s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), ID: p("large"), Body: &long})
		got := s.juliet.Expect(t, patience, "the error", func(m lab.Stanza) bool { return lab.Text(m.Type) == "error" })
		if lab.Text(got.Condition) != "policy-violation" || lab.Text(got.ID) != "large" {
			t.Errorf("%v", got)
		}
	})
	t.Run("over a stream, where that is allowed", func(t *testing.T) {
		s := crossWith(t, overUDP, lab.GatewayConfig{Peer: ", large_messages: true"})
		run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: s.agent, TCP: true})
		s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: &long})
		run.Wait(t, patience)
		if got := lab.BodyOf(run.Received()[0]); got != long {
			t.Errorf("%d octets arrived", len(got))
		}
	})
}

// One scenario through a real proxy: Kamailio is the SIP domain, between SIPp and Isthmus, both ways.
// T-TL-02: messages and a watch through a proxy that records its route.
func TestThroughKamailio(t *testing.T) {
	agent := lab.FreePorts(t, 1)[0]
	prosody := lab.StartProsody(t)
	ports := lab.FreePorts(t, 1)
	kamailio := lab.StartKamailio(t, ports[0], agent)
	gateway := lab.StartGateway(t, lab.GatewayConfig{Component: prosody.Component, NextHop: kamailio.URI(), Port: ports[0]})
	juliet := lab.LogIn(t, "juliet@example.com/balcony", prosody.Client)
	s := &strait{way: way{software: lab.ProsodyServer}, server: prosody, juliet: juliet, gateway: gateway, agent: agent}

	out := lab.StartSIPp(t, lab.SIPpRun{
		Scenario: strings.NewReplacer("ANSWER", "202", "SUBJECT", "").Replace(sippSends),
		Body:     []byte("through a proxy"), Port: lab.FreePorts(t, 1)[0], Target: kamailio.Port, CallID: "proxied-1",
	})
	got := juliet.Expect(t, patience, "the message", func(m lab.Stanza) bool { return m.Event == "message" })
	out.Wait(t, patience)
	if lab.Text(got.Body) != "through a proxy" || lab.Text(got.Thread) != "proxied-1" {
		t.Errorf("%v", got)
	}

	in := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: agent})
	juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: p("and back"), Thread: p("proxied-2")})
	in.Wait(t, patience)
	if m := in.Received()[0]; lab.BodyOf(m) != "and back" || lab.HeaderOf(m, "Call-ID") != "proxied-2" {
		t.Errorf("%q", m)
	}
	s.quiet(t)

	// A watch through the proxy follows its Record-Route (T-TL-02).
	watch := lab.StartSIPp(t, lab.SIPpRun{Scenario: watchScenario(3), Port: agent, Target: kamailio.Port})
	juliet.Expect(t, patience, "the request", isPresence("subscribe"))
	approve(t, watch, juliet, "romeo@example.net")
	watch.Wait(t, patience)
}

func branchOf(message string) string {
	via := lab.HeaderOf(message, "Via")
	_, rest, _ := strings.Cut(via, "branch=")
	branch, _, _ := strings.Cut(rest, ";")
	return branch
}

// xmlText is text inside a SIPp scenario's CDATA, which has no escapes but may not end early.
func xmlText(s string) string { return strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>") }

// clientSees is what an XML parser makes of text that Prosody or ejabberd wrote.
//
// COMPAT(Prosody, 0.12.3; ejabberd, 23.01): they write a carriage return as itself and not as the character reference that Isthmus gave them, and
// every XML parser turns CR LF into LF (XML 1.0 §2.11). That the octets reached the user's socket is checked beside it.
func clientSees(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
