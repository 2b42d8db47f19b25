package gateway

import (
	"fmt"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Route says where a domain lives.
type Route struct {
	// Domain is the domain in A-labels, compared without case. The route is for this domain alone, not for names under it.
	Domain string
	// Adapter is the name of the adapter that serves it.
	Adapter string
	// NextHops are tried in this order. Empty: the resolver finds them.
	NextHops []resolver.Target
}

type route struct {
	domain string
	side   *side
	hops   []resolver.Target
}

func newRoutes(list []Route, sides map[string]*side, canResolve bool) (map[string]*route, error) {
	routes := make(map[string]*route, len(list))
	for _, r := range list {
		domain := strings.ToLower(strings.TrimSuffix(r.Domain, "."))
		s := sides[r.Adapter]
		switch {
		case domain == "":
			return nil, fmt.Errorf("gateway: a route to adapter %q names no domain", r.Adapter)
		case s == nil:
			return nil, fmt.Errorf("gateway: the route of %s names adapter %q, which there is not", domain, r.Adapter)
		case routes[domain] != nil:
			return nil, fmt.Errorf("gateway: two routes for %s", domain)
		case len(r.NextHops) == 0 && !canResolve:
			return nil, fmt.Errorf("gateway: the route of %s has no next hop, and there is no resolver", domain)
		}
		routes[domain] = &route{domain: domain, side: s, hops: append([]resolver.Target(nil), r.NextHops...)}
	}
	return routes, nil
}

// admitAddresses finds the recipient's route and checks that the sender may use the link it came over: its domain must
// live behind the adapter that it came through, so that no link can speak for a domain of the other side (T-ID-06,
// T-ID-08). Which of the adapter's peers speaks for which domain was the adapter's to check, before it called.
func (g *Gateway) admitAddresses(from *side, sender, recipient cpim.Address) (*route, adapters.Status) {
	if sender.IsZero() || recipient.IsZero() {
		return nil, adapters.Failed(adapters.ReasonAddressMalformed, "")
	}
	home := g.routes[sender.Domain()]
	if home == nil || home.side != from {
		return nil, adapters.Failed(adapters.ReasonForbidden, "The sender's domain is not served over this link")
	}
	to := g.routes[recipient.Domain()]
	if to == nil {
		return nil, adapters.Failed(adapters.ReasonDomainNotFound, "")
	}
	if to.side == from {
		// Sender and recipient are on the same network: whoever sent this here has its routing wrong, and sending it
		// back would make a loop (RFC 7247 §8, T-LP-01).
		return nil, adapters.Failed(adapters.ReasonLoop, "The recipient's domain is on the sender's own network")
	}
	return to, adapters.Status{}
}
