package integration_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

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
				if !strings.Contains(prosody.Log(), line) {
					t.Errorf("Prosody did not say %q", line)
				}
			}
		})
	}
}
