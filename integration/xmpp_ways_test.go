package integration_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// way is how Isthmus and an XMPP server are connected in a scenario.
type way struct {
	software lab.Software
}

func (w way) String() string { return string(w.software) }

// withEach runs a scenario with each XMPP server, as its component.
func withEach(t *testing.T, scenario func(t *testing.T, w way)) {
	t.Helper()
	for _, software := range lab.XMPPServers() {
		w := way{software: software}
		t.Run(w.String(), func(t *testing.T) { scenario(t, w) })
	}
}

// crossOn starts an XMPP server for example.com, and a gateway that is connected with it.
func crossOn(t *testing.T, w way, nextHop func(agent int) string, c lab.GatewayConfig) *strait {
	t.Helper()
	return crossThrough(t, w, nextHop, c, nil)
}

// crossThrough does it with the relay between the two; nil for none.
func crossThrough(t *testing.T, w way, nextHop func(agent int) string, c lab.GatewayConfig, relay *lab.Relay) *strait {
	t.Helper()
	s := &strait{agent: lab.FreePorts(t, 1)[0]}
	s.server = lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: w.software})
	c.Component, c.NextHop = s.server.Component, nextHop(s.agent)
	if relay != nil {
		relay.To(s.server.Component)
		c.Component = relay.Port
	}
	s.gateway = lab.StartGateway(t, c)
	s.juliet = s.server.LogIn(t, "juliet", "balcony")
	return s
}

// crossWithNeighbour does it with another server beside it, for example.org.
func crossWithNeighbour(t *testing.T, w way, nextHop func(agent int) string, c lab.GatewayConfig) (s *strait, other *lab.XMPPServer) {
	t.Helper()
	neighbour := lab.ProsodyServer
	if w.software == neighbour {
		neighbour = lab.EjabberdServer
	}
	other = lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: neighbour, Domain: "example.org"})
	c.Components = map[string]int{"example.org": other.Component}
	return crossOn(t, w, nextHop, c), other
}
