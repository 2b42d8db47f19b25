package integration_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// A deployed SIP user agent: baresip and an XMPP user exchange messages and presence, with Isthmus as all the SIP server there is.
func TestBaresip(t *testing.T) {
	s := crossWith(t, overUDP, lab.GatewayConfig{
		SIP:  "  published: [{domain: example.net, authorize: everyone}]\n",
		Peer: ", lenient_presence: true, ignore_port: true",
	})
	romeo := lab.StartBaresip(t, "romeo@example.net", "juliet@example.com", s.agent, s.gateway.Port)

	// It watches its contact: Juliet is asked, and it is told.
	s.juliet.Expect(t, patience, "the request", isPresence("subscribe"))
	s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribed")})
	romeo.Answers(t, patience, "contacts", "Online")

	// It publishes its own presence, and Juliet watches it.
	s.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribe")})
	s.juliet.Expect(t, patience, "the approval", isPresence("subscribed"))
	romeo.Command(t, "presence_online", "")
	s.juliet.Expect(t, patience, "Romeo online", isPresence(""))
	romeo.Command(t, "presence_offline", "")
	s.juliet.Expect(t, patience, "Romeo offline", isPresence("unavailable"))

	romeo.Command(t, "message", "good night, good night")
	got := s.juliet.Expect(t, patience, "the message", func(m lab.Stanza) bool { return m.Event == "message" })
	if lab.Text(got.Body) != "good night, good night" {
		t.Errorf("%v", got)
	}
	s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: p("parting is such sweet sorrow")})
	romeo.Expect(t, patience, "parting is such sweet sorrow")
}
