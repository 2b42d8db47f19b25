package integration_test

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	siplib "github.com/emiago/sipgo/sip"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// pidfEntity is what is signed and encrypted of presence: a document with its content type.
func pidfEntity(user, basic, note string) string {
	return "Content-Type: application/pidf+xml\r\n\r\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"pres:" + user +
		"\">\r\n  <tuple id=\"hr0zny\"><status><basic>" + basic + "</basic></status><note>" + note + "</note></tuple>\r\n</presence>\r\n"
}

// e2eElement is <e2e/> with an object, as a client sends it.
func e2eElement(object string) string {
	return "<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'><![CDATA[" + strings.ReplaceAll(strings.ReplaceAll(object, "\r\n", "\n"), "]]>", "]]]]><![CDATA[>") + "]]></e2e>"
}

// notifyOf is a NOTIFY of a SIPp scenario, with this content type and the scenario's file, or with no body.
func notifyOf(cseq int, state, kind string) string {
	content := "Content-Length: 0\n\n"
	if kind != "" {
		content = "Content-Type: " + kind + "\nContent-Length: [len]\n\n[file name=\"BODYFILE\"]"
	}
	return fmt.Sprintf(`<send retrans="500"><![CDATA[

NOTIFY [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:romeo@example.net>;tag=[pid]s[call_number]
To: <sip:juliet@example.com>[$1]
Call-ID: [call_id]
CSeq: %d NOTIFY
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
Event: presence
Subscription-State: %s
%s]]></send>
<recv response="200"/>
`, cseq, state, content)
}

// sipgoAnswers is a user agent on sipgo that takes the one MESSAGE which do makes come.
func sipgoAnswers(t *testing.T, port int, do func()) *siplib.Request {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	agent, err := sipgo.NewUA(sipgo.WithUserAgentTransportLayerOptions(siplib.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(siplib.WithTransactionLayerLogger(quiet)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Close() }) // its sockets are the test's
	server, err := sipgo.NewServer(agent, sipgo.WithServerLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan *siplib.Request, 8)
	server.OnMessage(func(req *siplib.Request, tx siplib.ServerTransaction) {
		came <- req
		if err := tx.Respond(siplib.NewResponseFromRequest(req, 200, "OK", nil)); err != nil {
			t.Error(err)
		}
	})
	socket, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.ServeTCP(socket) }() // until the socket is closed
	defer socket.Close()
	do()
	select {
	case req := <-came:
		return req
	case <-time.After(patience):
		t.Fatal("no MESSAGE came")
		return nil
	}
}

// What one end has signed or encrypted the other end verifies and opens, with OpenSSL on both, through real servers: messages and presence, both ways
// (RFC 3923 §8, RFC 3862 §6). Nobody in between has a key.
func TestT_CP_01_T_CP_03_EndToEnd(t *testing.T) {
	for _, software := range lab.XMPPServers() {
		t.Run(string(software), func(t *testing.T) {
			t.Parallel()
			o := newOpenSSL(t)
			s := crossOn(t, way{software: software}, overTCP, lab.GatewayConfig{Peer: ", large_messages: true"})
			now := func() time.Time { return time.Now().Truncate(time.Second) }
			verifies := func(t *testing.T, who string, object, want string) {
				t.Helper()
				if got, err := o.verify(who, []byte(object)); err != nil || got != want {
					t.Errorf("verified %q, %v; was %q\n%s", got, err, want, object)
				}
				if _, err := o.verify(who, []byte(strings.Replace(object, "Content-Type: ", "Content-type: ", 2))); err == nil {
					t.Error("tampered with, it is still valid")
				}
			}
			opens := func(t *testing.T, who, form, object, want string) {
				t.Helper()
				if got, err := o.decrypt(who, form, []byte(object)); err != nil || got != want {
					t.Errorf("opened %q, %v; was %q\n%q", got, err, want, object)
				}
			}
			sends := func(t *testing.T, kind, more, body string) lab.Stanza {
				t.Helper()
				run := lab.StartSIPp(t, lab.SIPpRun{
					Scenario: strings.NewReplacer("ANSWER", "202", "Subject: SUBJECT\n", more, "text/plain;charset=UTF-8", kind).Replace(sippSends),
					Body:     []byte(body), Port: lab.FreePorts(t, 1)[0], Target: s.gateway.Port, TCP: true,
				})
				got := s.juliet.Expect(t, patience, "the message", func(m lab.Stanza) bool { return m.Event == "message" })
				run.Wait(t, patience)
				return got
			}
			answers := func(t *testing.T, object string) (head, body string) {
				t.Helper()
				run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: s.agent, TCP: true})
				s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Children: e2eElement(object)})
				run.Wait(t, patience)
				m := run.Received()[0]
				return "Content-Type: " + lab.HeaderOf(m, "Content-Type") + "\r\n\r\n", lab.BodyOf(m)
			}
			t.Run("a signed message from SIP", func(t *testing.T) {
				entity := cpimEntity("romeo@example.net", "juliet@example.com", now())
				kind, body := o.signed("romeo", entity)
				object, _ := e2eOf(t, sends(t, kind, "", body).XML)
				verifies(t, "romeo", object, entity)
			})
			t.Run("an encrypted message from SIP", func(t *testing.T) {
				entity := cpimEntity("romeo@example.net", "juliet@example.com", now())
				kind := "application/pkcs7-mime; smime-type=enveloped-data"
				got := sends(t, kind, "Content-Transfer-Encoding: base64\n", string(o.must(o.encrypted("juliet", entity), "base64")))
				object, _ := e2eOf(t, got.XML)
				opens(t, "juliet", "SMIME", object, entity)
			})
			t.Run("a signed message from XMPP", func(t *testing.T) {
				entity := cpimEntity("juliet@example.com", "romeo@example.net", now())
				kind, body := o.signed("juliet", entity)
				head, got := answers(t, "Content-Type: "+kind+"\r\n\r\n"+body)
				verifies(t, "juliet", head+got, entity)
				if got != body {
					t.Errorf("%q, was %q", got, body)
				}
			})
			t.Run("an encrypted message from XMPP", func(t *testing.T) {
				entity := cpimEntity("juliet@example.com", "romeo@example.net", now())
				der := o.encrypted("romeo", entity)
				// SIPp's trace ends at the first zero.
				req := sipgoAnswers(t, s.agent, func() {
					s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Children: e2eElement(string(o.must(der, "cms", "-cmsout", "-inform", "DER", "-outform", "SMIME")))})
				})
				head, got := req.ContentType().Value(), string(req.Body())
				if !strings.Contains(head, "enveloped-data") {
					t.Error(head)
				}
				opens(t, "romeo", "DER", got, entity)
			})
			t.Run("signed presence from XMPP", func(t *testing.T) {
				run := lab.StartSIPp(t, lab.SIPpRun{
					Scenario: strings.ReplaceAll(watchScenario(4), "Accept: application/pidf+xml", "Accept: application/pidf+xml, multipart/signed"),
					Port:     s.agent, Target: s.gateway.Port, TCP: true,
				})
				s.juliet.Expect(t, patience, "the request", isPresence("subscribe"))
				approve(t, run, s.juliet, "romeo@example.net")
				lab.Eventually(t, patience, "Romeo sees her", func() bool {
					got := run.Received()
					return len(got) > 0 && strings.Contains(got[len(got)-1], "<basic>open</basic>")
				})
				entity := pidfEntity("juliet@example.com", "open", "retired to the chamber")
				kind, body := o.signed("juliet", entity)
				s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Children: e2eElement("Content-Type: " + kind + "\r\n\r\n" + body)})
				run.Wait(t, 2*patience)
				found := false
				for _, m := range run.Received() {
					if kind := lab.HeaderOf(m, "Content-Type"); strings.HasPrefix(m, "NOTIFY ") && strings.HasPrefix(kind, "multipart/signed") {
						found = true
						verifies(t, "juliet", "Content-Type: "+kind+"\r\n\r\n"+lab.BodyOf(m), entity)
					}
				}
				if !found {
					t.Errorf("nothing signed in %s", run.Received())
				}
				s.juliet.Expect(t, patience, "that Romeo has stopped watching", isPresence("unavailable"))
			})
			t.Run("presence from SIP", func(t *testing.T) {
				entity := pidfEntity("romeo@example.net", "open", "in the orchard")
				kind, body := o.signed("romeo", entity)
				begin, _, _ := strings.Cut(sippIsWatched, "NOTIFY pending")
				run := lab.StartSIPp(t, lab.SIPpRun{
					Scenario: begin + notifyOf(1, "active;expires=3600", kind) + "<pause milliseconds=\"300\"/>\n" + notifyOf(2, "terminated;reason=noresource", "") + "</scenario>",
					Body:     []byte(body), Port: s.agent, TCP: true,
				})
				s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribe")})
				got := s.juliet.Expect(t, patience, "Romeo's presence", isPresence(""))
				run.Wait(t, patience)
				object, _ := e2eOf(t, got.XML)
				verifies(t, "romeo", object, entity)
				if lab.Text(got.From) != "romeo@example.net/hr0zny" || lab.Text(got.Status) != "in the orchard" {
					t.Errorf("who does not know of <e2e/> sees %s", got)
				}
				if accept := lab.HeaderOf(run.Received()[0], "Accept"); !strings.Contains(accept, "multipart/signed") {
					t.Errorf("Accept: %s", accept)
				}
			})
		})
	}
}
