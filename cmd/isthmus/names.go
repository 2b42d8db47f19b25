package main

import (
	"net/netip"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// newResolver makes the resolver for the hosts that the configuration names. Those are the operator's own words, so that private and
// loopback addresses are as good as any: only what a stranger's DNS could choose is guarded, and without lookups of strangers'
// domains there is none of that.
func newResolver() (*resolver.Resolver, error) {
	return resolver.New(resolver.Config{Guard: resolver.NewGuard(resolver.GuardConfig{
		Allow: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)},
	})})
}
