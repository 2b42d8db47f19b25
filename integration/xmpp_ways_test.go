package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// way is how Isthmus and an XMPP server are connected in a scenario. The zero value but for the software is a component link.
type way struct {
	software lab.Software
	// servers: by server-to-server streams; the rest is of them.
	servers bool
	// direct: TLS comes first (XEP-0368); else STARTTLS.
	direct bool
	// dialback: nobody trusts anybody's certificate, and both prove themselves by dialback; else by SASL EXTERNAL.
	dialback bool
	// acknowledged and bidirectional: with XEP-0198, and with XEP-0288.
	acknowledged, bidirectional bool
}

// String is its name in the names of tests. It has no hyphen, because SIPp does not read a file with a hyphen and a number in its path.
func (w way) String() string {
	name := string(w.software)
	if !w.servers {
		return name + " component"
	}
	name += " server"
	for _, f := range []struct {
		is   bool
		name string
	}{
		{!w.dialback, "EXTERNAL"},
		{w.dialback, "dialback"},
		{!w.direct, "STARTTLS"},
		{w.direct, "direct TLS"},
		{w.acknowledged, "acknowledged"},
		{w.bidirectional, "bidirectional"},
	} {
		if f.is {
			name += " " + f.name
		}
	}
	return name
}

// components are the ways over the component link.
func components() []way {
	return []way{{software: lab.ProsodyServer}, {software: lab.EjabberdServer}}
}

// federations are the ways between servers, all that each server knows.
func federations() []way {
	return []way{
		{software: lab.ProsodyServer, servers: true},
		{software: lab.ProsodyServer, servers: true, acknowledged: true},
		{software: lab.ProsodyServer, servers: true, direct: true, acknowledged: true, bidirectional: true},
		{software: lab.ProsodyServer, servers: true, dialback: true},
		{software: lab.EjabberdServer, servers: true},
		{software: lab.EjabberdServer, servers: true, direct: true},
		{software: lab.EjabberdServer, servers: true, dialback: true},
	}
}

// faultyWays are those that are tried with faults: each link, and streams between servers with and without acknowledgement.
func faultyWays() []way {
	return append(components(),
		way{software: lab.ProsodyServer, servers: true, acknowledged: true, bidirectional: true},
		way{software: lab.EjabberdServer, servers: true})
}

// withEach runs a scenario over the component link of each XMPP server.
func withEach(t *testing.T, scenario func(t *testing.T, w way)) {
	t.Helper()
	withWays(t, components(), scenario)
}

// overEach does it with messages to SIP over UDP.
func overEach(t *testing.T, scenario func(t *testing.T, s *strait)) {
	t.Helper()
	withEach(t, func(t *testing.T, w way) { scenario(t, crossOn(t, w, overUDP, lab.GatewayConfig{})) })
}

func withWays(t *testing.T, ways []way, scenario func(t *testing.T, w way)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.String(), func(t *testing.T) { scenario(t, w) })
	}
}

// between is what is put between the gateway and the XMPP servers: relays of the two directions in which connections are made.
type between struct{ toServer, toGateway *lab.Relay }

// realm is one small internet: a name server and an authority, with the gateway as the server of example.net.
type realm struct {
	w       way
	dns     *lab.DNS
	trusted *certstest.CA // whom everybody believes
	issuer  *certstest.CA // who issues everybody's certificates
	ports   map[string][2]int
	relays  between
	own     []string // the gateway's domains, with the ports of the first
	hosting string   // the domain at which users of example.net are written, if it is not their own
}

// newRealm lays out the domains: example.net is the gateway's.
func newRealm(t *testing.T, w way, relays between, domains ...string) *realm {
	t.Helper()
	return newRealmWith(t, w, relays, []string{"example.net"}, domains...)
}

// newRealmWith does it for a gateway with those domains of its own, the first of them example.net.
func newRealmWith(t *testing.T, w way, relays between, own []string, domains ...string) *realm {
	t.Helper()
	r := &realm{w: w, relays: relays, own: own, trusted: certstest.NewCA(t), ports: map[string][2]int{}}
	r.issuer = r.trusted
	if w.dialback {
		r.issuer = certstest.NewCA(t)
	}
	zones := map[string]string{}
	for _, d := range append([]string{"example.net"}, domains...) {
		ports := lab.FreePorts(t, 2)
		r.ports[d] = [2]int{ports[0], ports[1]}
		relay := relays.toServer
		if d == "example.net" {
			relay = relays.toGateway
		}
		at := ports[0]
		if w.direct {
			at = ports[1]
		}
		if relay != nil && d != "example.org" {
			relay.To(at)
			at = relay.Port
		}
		zones[d] = lab.ServerRecords(at, 0)
		if w.direct {
			zones[d] = lab.ServerRecords(0, at)
		}
	}
	for _, d := range own[1:] {
		zones[d] = zones["example.net"]
	}
	r.dns = lab.StartDNS(t, zones)
	return r
}

// identity is a good certificate of a domain.
func (r *realm) identity(domain string) *certstest.Leaf {
	return r.issuer.Issue(certstest.Spec{CommonName: domain, DNS: []string{domain}})
}

// server starts the XMPP server of a domain.
func (r *realm) server(t *testing.T, software lab.Software, domain string, identity *certstest.Leaf) *lab.XMPPServer {
	t.Helper()
	f := &lab.Federation{
		DNS: r.dns, Port: r.ports[domain][0], Identity: identity, Trust: r.trusted, Dialback: r.w.dialback,
		Acknowledged: r.w.acknowledged, Bidirectional: r.w.bidirectional,
	}
	if r.w.direct {
		f.DirectTLS = r.ports[domain][1]
	}
	return lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: software, Domain: domain, Federation: f})
}

// gateway completes the configuration of a gateway that is the server of example.net for the domains, which DNS finds.
func (r *realm) gateway(t *testing.T, c lab.GatewayConfig, identity *certstest.Leaf, domains ...string) lab.GatewayConfig {
	t.Helper()
	dir := t.TempDir()
	files := identity.WriteFiles(dir)
	dialback := "never"
	if r.w.dialback {
		dialback = "tls"
	}
	names := "domains: [" + strings.Join(r.own, ", ") + "]"
	if r.hosting != "" {
		names = "gateway: " + r.hosting + "\n    hosts: [example.net]"
	}
	c.XMPP += fmt.Sprintf(gatewayServer, names, r.ports["example.net"][0], r.ports["example.net"][1], dialback)
	for _, d := range domains {
		c.Routes += fmt.Sprintf("  - {domain: %s, via: xmpp}\n", d)
	}
	c.Extra += fmt.Sprintf("dns: {servers: [\"127.0.0.1:%d\"], allow: [127.0.0.0/8]}\n", r.dns.Port)
	c.Extra += fmt.Sprintf("tls:\n  certificates:\n    - {name: own, chain_file: %q, key_file: %q}\n  roots_file: %q\n", files.Chain, files.Key, r.trusted.WriteRoot(dir))
	return c
}

const gatewayServer = `  server:
    %s
    listeners:
      - {address: "127.0.0.1:%d", tls: starttls}
      - {address: "127.0.0.1:%d", tls: direct}
    dialback: %s
`

// crossOn starts an XMPP server for example.com, and a gateway that is connected with it.
func crossOn(t *testing.T, w way, nextHop func(agent int) string, c lab.GatewayConfig) *strait {
	t.Helper()
	return crossThrough(t, w, nextHop, c, between{})
}

// crossThrough does it with the relays between the two.
func crossThrough(t *testing.T, w way, nextHop func(agent int) string, c lab.GatewayConfig, relays between) *strait {
	t.Helper()
	s := &strait{way: w, agent: lab.FreePorts(t, 1)[0]}
	c.NextHop = nextHop(s.agent)
	if w.servers {
		r := newRealm(t, w, relays, "example.com")
		s.server = r.server(t, w.software, "example.com", r.identity("example.com"))
		c = r.gateway(t, c, r.identity("example.net"), "example.com")
	} else {
		s.server = lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: w.software})
		c.Component = s.server.Component
		if relays.toServer != nil {
			relays.toServer.To(s.server.Component)
			c.Component = relays.toServer.Port
		}
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
	s = &strait{way: w, agent: lab.FreePorts(t, 1)[0]}
	c.NextHop = nextHop(s.agent)
	if w.servers {
		r := newRealm(t, w, between{}, "example.com", "example.org")
		s.server = r.server(t, w.software, "example.com", r.identity("example.com"))
		other = r.server(t, neighbour, "example.org", r.identity("example.org"))
		c = r.gateway(t, c, r.identity("example.net"), "example.com", "example.org")
	} else {
		s.server = lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: w.software})
		other = lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: neighbour, Domain: "example.org"})
		c.Component, c.Components = s.server.Component, map[string]int{"example.org": other.Component}
	}
	s.gateway = lab.StartGateway(t, c)
	s.juliet = s.server.LogIn(t, "juliet", "balcony")
	return s, other
}

// linkLost waits until the gateway has noticed that its component link is gone. Streams between servers come and go, and nobody waits
// for them.
func (s *strait) linkLost(t *testing.T) {
	t.Helper()
	if !s.way.servers {
		lab.Eventually(t, patience, "the gateway sees that the link is gone", func() bool { return !s.gateway.Ready() })
	}
}

// linkBack waits until it has made it again.
func (s *strait) linkBack(t *testing.T) {
	t.Helper()
	lab.Eventually(t, 2*patience, "the gateway has its link again by itself", s.gateway.Ready)
}
