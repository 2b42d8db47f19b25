package main

import (
	"context"
	"errors"
	"runtime"
	"strconv"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/resolver"
)

func xmppConfig(cfg *configs.Config, with surroundings) xmpp.Config {
	l, x := cfg.Limits.XMPP, cfg.XMPP
	c := xmpp.Config{
		Limits: xmpp.Limits{
			XML: strictxml.Limits{
				Bytes: l.Stanza.Octets(), Depth: l.Depth.Int(), Attributes: l.Attributes.Int(), NameBytes: l.Name.Octets(), Children: l.Children.Int(),
			},
			StanzaBytes: l.Written.Octets(), QueueBytes: l.QueueSize.Octets(), QueueStanzas: l.Queue.Int(), Window: l.Window.Int(),
			ConnectTimeout: x.ConnectTimeout.Std(), WriteTimeout: l.Write.Std(), KeepAlive: x.KeepAlive.Std(), PingTimeout: x.PingTimeout.Std(),
		},
		Backoff:    xmpp.Backoff{Base: x.BackoffFirst.Std(), Max: x.BackoffLongest.Std(), Stable: x.BackoffStable.Std()},
		Logger:     with.part(xmpp.Name),
		Registerer: with.registry,
		Tap:        with.tap,
	}
	if x.Software != "nothing" {
		c.Software = xmpp.Software{Name: "Isthmus", Version: readVersion().Version}
	}
	if x.Software == "system" {
		c.Software.OS = runtime.GOOS
	}
	for _, m := range x.Components {
		component := xmpp.Component{
			Name: string(m.Name), Server: string(m.Server), Domain: string(m.Domain), Secret: xmpp.NewSecret(m.Secret.Reveal()),
		}
		for _, d := range m.Serves {
			component.Serves = append(component.Serves, string(d))
		}
		for _, d := range m.Hosts {
			component.Hosts = append(component.Hosts, string(d))
		}
		c.Components = append(c.Components, component)
	}
	return c
}

// componentHop is the next hop of a route to a component. The XMPP adapter finds the link by the two domains of an operation, and
// dials the server itself; the hop only tells the core that there is one. So it is an address also where the server is a name.
func componentHop(m configs.Component) (resolver.Static, error) {
	static, err := m.Server.Static()
	if err != nil || !named(static) {
		return static, err
	}
	return resolver.ParseStatic("component:[::1]:" + strconv.Itoa(int(static.Port())))
}

// unproven is the domains of ours that no certificate proves to other servers: without dialback, nobody takes a stream from them.
func unproven(cfg *configs.Config, store *certs.Store) (domains []string) {
	for _, d := range cfg.XMPP.Server.All() {
		if cfg.XMPP.Server.Dialback == "never" && (store == nil || !store.Has(string(d))) {
			domains = append(domains, string(d))
		}
	}
	return domains
}

// serverConfig is the gateway as a server among servers.
func serverConfig(cfg *configs.Config, a *assembly) *xmpp.Servers {
	x, l := cfg.XMPP.Server, cfg.Limits.XMPP
	s := &xmpp.Servers{
		Dialback: x.Dialback == "tls", DialbackSecret: xmpp.NewSecret(x.DialbackSecret.Reveal()), Certificates: a.certs,
		Resolve: a.serversOf(cfg), AllowAddr: a.guard.AllowAddr, DialControl: a.guard.Control, Reached: a.reached,
		Limits: xmpp.ServerLimits{
			QueueBytes: l.QueueAll.Octets(), Pairs: l.Pairs.Int(), Streams: l.Streams.Int(), StreamsPerAddress: l.StreamsPerAddress.Int(), PairsPerStream: l.PairsPerStream.Int(), Opening: l.Strangers.Int(),
			OpeningPerAddress: l.StrangersPerAddress.Int(), OpenTime: l.StrangerTime.Std(), Idle: x.Idle.Std(), Resume: x.Resume.Std(),
		},
	}
	for _, d := range x.Domains {
		s.Domains = append(s.Domains, string(d))
	}
	s.Gateway = string(x.Gateway)
	for _, d := range x.Hosts {
		s.Hosts = append(s.Hosts, string(d))
	}
	for _, n := range x.Listeners {
		s.Listeners = append(s.Listeners, xmpp.Listener{Address: n.Address.String(), Direct: n.TLS == "direct"})
	}
	for _, p := range x.Peers {
		peer := xmpp.ServerPeer{Domain: string(p.Domain)}
		switch p.Authentication {
		case "certificate":
			peer.Proof = xmpp.ProofCertificate
		case "dialback":
			peer.Proof = xmpp.ProofDialback
		}
		for _, n := range p.Cleartext {
			peer.Cleartext = append(peer.Cleartext, n.Prefix)
		}
		s.Peers = append(s.Peers, peer)
	}
	return s
}

// errNoRoute is when a domain is reached through no XMPP server.
type errNoRoute struct{ domain string }

func (e errNoRoute) Error() string   { return "no route via xmpp leads to " + e.domain }
func (e errNoRoute) Temporary() bool { return false }

// serversOf finds the servers of a remote domain as its route says.
func (a *assembly) serversOf(cfg *configs.Config) func(context.Context, string) ([]resolver.Target, error) {
	routes := make(map[string]configs.Route, len(cfg.Routes))
	for _, r := range cfg.Routes {
		routes[string(r.Domain)] = r
	}
	return func(ctx context.Context, domain string) ([]resolver.Target, error) {
		r, ok := routes[domain]
		if !ok {
			r, ok = routes[configs.AnyDomain]
		}
		if !ok || r.Via != xmpp.Name {
			return nil, errNoRoute{domain}
		}
		if len(r.NextHops) == 0 {
			return a.names.Load().Resolve(ctx, resolver.Query{Service: resolver.XMPPServer, Domain: domain})
		}
		var hops []resolver.Target
		var errs []error
		for _, h := range r.NextHops {
			if h.Component != "" {
				continue
			}
			found, err := a.names.Load().Static(ctx, h.Static, domain)
			hops = append(hops, found...)
			errs = append(errs, err)
		}
		if len(hops) > 0 {
			return hops, nil
		}
		return nil, errors.Join(errs...)
	}
}
