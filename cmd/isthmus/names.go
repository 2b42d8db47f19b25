package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// newGuard lets the gateway reach public addresses, the networks under dns.allow, and what the configuration itself names by
// address: next hops, XMPP servers, and the networks of SIP peers.
func newGuard(cfg *configs.Config) *resolver.Guard {
	var g resolver.GuardConfig
	for _, n := range cfg.DNS.Allow {
		g.Allow = append(g.Allow, n.Prefix)
	}
	for _, p := range cfg.SIP.Peers {
		for _, n := range p.Networks {
			g.Allow = append(g.Allow, n.Prefix)
		}
	}
	static := func(s resolver.Static) {
		if a, err := netip.ParseAddr(s.Host()); err == nil {
			g.Allow = append(g.Allow, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, r := range cfg.Routes {
		for _, h := range r.NextHops {
			static(h.Static)
		}
	}
	for _, p := range cfg.SIP.PublishTo {
		static(p.To.Static)
	}
	for _, m := range cfg.XMPP.Components {
		if s, err := m.Server.Static(); err == nil {
			static(s)
		}
	}
	return resolver.NewGuard(g)
}

// newResolver makes the resolver that the configuration describes. It asks nobody before it is asked.
func newResolver(cfg *configs.Config, guard *resolver.Guard, logger zerolog.Logger) (*resolver.Resolver, error) {
	c := resolver.Config{Guard: guard, Logger: logger}
	for _, s := range cfg.DNS.Servers {
		c.Servers = append(c.Servers, s.Server)
	}
	c.Policy.SIPTransports = transportsOf(cfg)
	r, err := resolver.New(c)
	if err != nil {
		return nil, fmt.Errorf("look up names: %w", err)
	}
	return r, nil
}

// transportsOf are those that a SIP next hop may be reached by. The order is a preference (RFC 3263 §4.1): who is there proves itself over TLS,
// and a connection does not lose what it carries. Nobody is called over WebSocket (RFC 7118 §4.1: its client opens it).
func transportsOf(cfg *configs.Config) (list []resolver.Transport) {
	for _, t := range []resolver.Transport{resolver.TLS, resolver.TCP, resolver.UDP} {
		speaks := func(l configs.Listener) bool { return sipTransport(l.Transport) == t }
		if slices.ContainsFunc(cfg.SIP.Listeners, speaks) {
			list = append(list, t)
		}
	}
	return list
}
