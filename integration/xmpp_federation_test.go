package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// T-TL-01: two domains that know of each other by DNS alone.
// The fixture without Isthmus: Prosody and ejabberd find each other in the lab's DNS and let each other in, by certificate and, with
// certificates that the other does not trust, by dialback. What fails here is no fault of ours.
func TestServersFederateInTheLab(t *testing.T) {
	for _, c := range []struct {
		name               string
		trusted, directTLS bool
	}{
		{"SASL EXTERNAL over STARTTLS", true, false},
		{"SASL EXTERNAL over direct TLS", true, true},
		{"dialback over STARTTLS", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ports := lab.FreePorts(t, 4)
			records := func(at []int) string {
				if c.directTLS {
					return lab.ServerRecords(0, at[1])
				}
				return lab.ServerRecords(at[0], 0)
			}
			dns := lab.StartDNS(t, map[string]string{"example.com": records(ports[:2]), "example.org": records(ports[2:])})
			ours, other := certstest.NewCA(t), certstest.NewCA(t)
			issuer := ours
			if !c.trusted {
				issuer = other
			}
			prosody := lab.StartXMPPServer(t, lab.XMPPServerConfig{
				Software: lab.ProsodyServer, Domain: "example.com", Users: []string{"juliet"},
				Federation: &lab.Federation{
					DNS: dns, Port: ports[0], DirectTLS: ports[1], Identity: issuer.Issue(certstest.Spec{DNS: []string{"example.com"}}), Trust: ours, Dialback: !c.trusted,
				},
			})
			ejabberd := lab.StartXMPPServer(t, lab.XMPPServerConfig{
				Software: lab.EjabberdServer, Domain: "example.org", Users: []string{"nurse"},
				Federation: &lab.Federation{
					DNS: dns, Port: ports[2], DirectTLS: ports[3], Identity: issuer.Issue(certstest.Spec{DNS: []string{"example.org"}}), Trust: ours, Dialback: !c.trusted,
				},
			})
			juliet, nurse := prosody.LogIn(t, "juliet", "balcony"), ejabberd.LogIn(t, "nurse", "chamber")
			juliet.Send(t, lab.Stanza{Stanza: "message", To: p("nurse@example.org"), Body: p("What says he of our marriage?")})
			got := nurse.Expect(t, patience, "the message", func(m lab.Stanza) bool { return m.Event == "message" })
			if lab.Text(got.Type) == "error" || lab.Text(got.From) != "juliet@example.com/balcony" {
				t.Errorf("%v", got)
			}
			nurse.Send(t, lab.Stanza{Stanza: "message", To: p("juliet@example.com"), Body: p("Lord, how my head aches!")})
			got = juliet.Expect(t, patience, "the answer", func(m lab.Stanza) bool { return m.Event == "message" })
			if lab.Text(got.Type) == "error" || lab.Text(got.From) != "nurse@example.org/chamber" {
				t.Errorf("%v", got)
			}
			said := []string{"SASL EXTERNAL with example.org succeeded", "Accepting SASL EXTERNAL identity from example.org"}
			if !c.trusted {
				said = []string{"verified dialback key... it is valid", "asking example.org if key"}
			}
			for _, line := range said {
				lab.Eventually(t, patience, fmt.Sprintf("Prosody says %q", line), func() bool { return strings.Contains(prosody.Log(), line) })
			}
		})
	}
}

// Prosody knows stream management (XEP-0198) and streams for both directions (XEP-0288) between servers, and uses them with another
// Prosody. (It does not resume such streams. ejabberd 23.01 offers neither to servers.)
func TestProsodyAcknowledgesAndAnswersInTheLab(t *testing.T) {
	ports := lab.FreePorts(t, 2)
	dns := lab.StartDNS(t, map[string]string{"example.com": lab.ServerRecords(ports[0], 0), "example.org": lab.ServerRecords(ports[1], 0)})
	ca := certstest.NewCA(t)
	server := func(domain string, port int) *lab.XMPPServer {
		return lab.StartXMPPServer(t, lab.XMPPServerConfig{
			Software: lab.ProsodyServer, Domain: domain, Users: []string{"juliet"},
			Federation: &lab.Federation{
				DNS: dns, Port: port, Identity: ca.Issue(certstest.Spec{DNS: []string{domain}}), Trust: ca, Acknowledged: true, Bidirectional: true,
			},
		})
	}
	first, second := server("example.com", ports[0]), server("example.org", ports[1])
	one, two := first.LogIn(t, "juliet", "balcony"), second.LogIn(t, "juliet", "balcony")
	one.Send(t, lab.Stanza{Stanza: "message", To: p("juliet@example.org"), Body: p("to you")})
	two.Expect(t, patience, "the message", hasBody("to you"))
	two.Send(t, lab.Stanza{Stanza: "message", To: p("juliet@example.com"), Body: p("and back")})
	one.Expect(t, patience, "the answer", hasBody("and back"))
	for _, line := range []string{"Requesting bidirectional stream", "xmlns='urn:xmpp:sm:3'"} {
		lab.Eventually(t, patience, fmt.Sprintf("Prosody says %q", line), func() bool { return strings.Contains(first.Log(), line) })
	}
	if strings.Contains(first.Log(), "Incoming s2s connection example.org->example.com complete") {
		t.Error("the answer came over a stream of its own")
	}
}
