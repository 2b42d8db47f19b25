package integration_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// sippPublishes sends one PUBLISH of WHO, with the header fields MORE, and expects ANSWER.
const sippPublishes = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="a SIP user publishes its presence">
<send retrans="500"><![CDATA[

PUBLISH sip:WHO SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:WHO>;tag=[pid]t[call_number]
To: <sip:WHO>
Call-ID: [call_id]
CSeq: 1 PUBLISH
Event: presence
Expires: EXPIRES
MOREContent-Length: [len]

[file name="BODYFILE"]]]></send>
<recv response="ANSWER"/>
</scenario>`

// publication is what a SIP user agent publishes.
type publication struct {
	who, etag, expires, body, answer string
	tcp                              bool
}

// publish sends one PUBLISH with SIPp and returns the entity-tag.
func publish(t *testing.T, port int, x publication) string {
	t.Helper()
	more := ""
	if x.etag != "" {
		more += "SIP-If-Match: " + x.etag + "\n"
	}
	if x.body != "" {
		more += "Content-Type: application/pidf+xml\n"
	}
	if x.answer == "" {
		x.answer = "200"
	}
	run := lab.StartSIPp(t, lab.SIPpRun{
		Scenario: strings.NewReplacer("WHO", x.who, "EXPIRES", x.expires, "MORE", more, "ANSWER", x.answer).Replace(sippPublishes),
		Body:     []byte(x.body), Port: lab.FreePorts(t, 1)[0], Target: port, TCP: x.tcp,
	})
	run.Wait(t, patience)
	got := run.Received()
	return lab.HeaderOf(got[len(got)-1], "SIP-ETag")
}

// romeoIs is Romeo's presence document.
func romeoIs(basic, note string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:romeo@example.net"><tuple id="ID-orchard">` +
		`<status><basic>` + basic + `</basic></status><note>` + note + `</note></tuple></presence>`
}

// says matches presence with this status text.
func says(note string) func(lab.Stanza) bool {
	return func(s lab.Stanza) bool { return s.Event == "presence" && s.Type == nil && lab.Text(s.Status) == note }
}

// A real presence server on the SIP side: subscribe, publish, notify, terminate (RFC 8048 §5.2, §6.3; RFC 3903).
func TestXMPPUserWatchesThroughPresenceServer(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			server := lab.StartPresenceServer(t)
			s := cross(t, func(int) string { return server.URI(transport) })
			etag := publish(t, server.Port, publication{who: "romeo@example.net", expires: "600", body: romeoIs("open", "in the orchard")})
			s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribe")})
			s.juliet.Expect(t, patience, "the approval", isPresence("subscribed"))
			got := s.juliet.Expect(t, patience, "Romeo's presence", says("in the orchard"))
			if lab.Text(got.From) != "romeo@example.net/orchard" {
				t.Errorf("from %q", lab.Text(got.From))
			}
			etag = publish(t, server.Port, publication{who: "romeo@example.net", etag: etag, expires: "600", body: romeoIs("open", "under the balcony")})
			s.juliet.Expect(t, patience, "the change", says("under the balcony"))
			publish(t, server.Port, publication{who: "romeo@example.net", etag: etag, expires: "600", body: romeoIs("closed", "gone")})
			s.juliet.Expect(t, patience, "the end", isPresence("unavailable"))
			s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("unsubscribe")})
			lab.Eventually(t, patience, "the dialog has ended", func() bool { return metric(t, s.gateway, "isthmus_sip_dialogs_subscriber") == 0 })
		})
	}
}

// metric is the value of a metric, which is named with its labels.
func metric(t *testing.T, g *lab.Gateway, name string) float64 {
	t.Helper()
	_, text := g.Get("/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// A SIP user without a presence server publishes to Isthmus (RFC 3903), which answers the watch itself.
func TestSIPUserPublishesToIsthmus(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(fmt.Sprintf("tcp=%v", tcp), func(t *testing.T) {
			s := crossWith(t, overUDP, lab.GatewayConfig{SIP: "  published: [{domain: example.net, authorize: everyone}]\n"})
			s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribe")})
			s.juliet.Expect(t, patience, "the approval", isPresence("subscribed"))
			port := s.gateway.Port
			etag := publish(t, port, publication{who: "romeo@example.net", expires: "600", body: romeoIs("open", "in the orchard"), tcp: tcp})
			got := s.juliet.Expect(t, patience, "Romeo's presence", says("in the orchard"))
			if lab.Text(got.From) != "romeo@example.net/orchard" {
				t.Errorf("from %q", lab.Text(got.From))
			}
			etag = publish(t, port, publication{who: "romeo@example.net", expires: "600", etag: etag, tcp: tcp})
			etag = publish(t, port, publication{who: "romeo@example.net", expires: "600", etag: etag, body: romeoIs("open", "banished"), tcp: tcp})
			s.juliet.Expect(t, patience, "the change", says("banished"))
			publish(t, port, publication{who: "romeo@example.net", expires: "0", etag: etag, tcp: tcp})
			s.juliet.Expect(t, patience, "the end", isPresence("unavailable"))
			publish(t, port, publication{who: "romeo@example.net", expires: "600", etag: etag, answer: "412", tcp: tcp})
			publish(t, port, publication{who: "romeo@example.org", expires: "600", body: romeoIs("open", "x"), answer: "403", tcp: tcp})
		})
	}
}

// Isthmus publishes an XMPP user's presence to a real presence server, which tells its own watcher (RFC 3903, RFC 6665).
func TestXMPPUserIsPublished(t *testing.T) {
	server := lab.StartPresenceServer(t)
	s := crossWith(t, overUDP, lab.GatewayConfig{SIP: fmt.Sprintf(
		"  publish_to: [{peer: lab, to: %q, as: presence@example.net, users: [juliet@example.com]}]\n", server.URI("tcp"))})
	ask := s.juliet.Expect(t, patience, "the request", isPresence("subscribe"))
	if lab.Text(ask.From) != "presence@example.net" {
		t.Errorf("the request is from %q", lab.Text(ask.From))
	}
	s.juliet.Send(t, lab.Stanza{Stanza: "presence", Show: p("away"), Status: p("on the balcony")})
	s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("presence@example.net"), Type: p("subscribed")})
	lab.Eventually(t, patience, "the presence is at the server", func() bool {
		return metric(t, s.gateway, `isthmus_sip_requests_total{direction="out",method="PUBLISH"}`) > 0 &&
			metric(t, s.gateway, `isthmus_sip_responses_total{class="2xx",direction="in"}`) > 0
	})
	scenario := strings.Replace(sippWatches, "NOTIFIES\n", sippNotified, 1)
	scenario = strings.Replace(scenario, "NOTIFY\n</scenario>", sippNotified+"</scenario>", 1)
	// The first PUBLISH may be of the time before she was asked.
	lab.Eventually(t, patience, "a watcher is told of her", func() bool {
		run := lab.StartSIPp(t, lab.SIPpRun{Scenario: scenario, Port: s.agent, Target: server.Port})
		run.Wait(t, patience)
		return slices.ContainsFunc(run.Received(), func(m string) bool {
			b := lab.BodyOf(m)
			return strings.Contains(b, "on the balcony") && strings.Contains(b, "pres:juliet@example.com")
		})
	})
}
