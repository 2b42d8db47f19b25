package main

import (
	"fmt"
	"net/netip"

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
func newResolver(cfg *configs.Config, logger zerolog.Logger) (*resolver.Resolver, error) {
	c := resolver.Config{Guard: newGuard(cfg), Logger: logger}
	for _, s := range cfg.DNS.Servers {
		c.Servers = append(c.Servers, s.Server)
	}
	for _, l := range cfg.SIP.Listeners {
		// The order is a preference (RFC 3263 §4.1): a connection does not lose what it carries.
		if l.Transport == "tcp" {
			c.Policy.SIPTransports = append([]resolver.Transport{resolver.TCP}, c.Policy.SIPTransports...)
		} else {
			c.Policy.SIPTransports = append(c.Policy.SIPTransports, resolver.UDP)
		}
	}
	r, err := resolver.New(c)
	if err != nil {
		return nil, fmt.Errorf("look up names: %w", err)
	}
	return r, nil
}
