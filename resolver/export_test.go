package resolver

import "net/netip"

// SetRoute replaces the question to the routing table.
func (r *Resolver) SetRoute(f func(netip.Addr) bool) { r.route = f }
