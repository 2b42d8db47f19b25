package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Route says where a domain lives.
type Route struct {
	// Domain is the domain in A-labels, compared without case. The route is for this domain alone, not for names under it.
	// AnyDomain stands for all domains without a route of their own.
	Domain string
	// Adapter is the name of the adapter that serves it.
	Adapter string
	// NextHops are tried in this order. Empty: the resolver finds them.
	NextHops []resolver.Static
}

// AnyDomain is the Domain of the one Route for whatever has no other.
const AnyDomain = "*"

type route struct {
	domain string
	side   *side
	static []resolver.Static
	hops   []resolver.Target // what static stands for, when all of it is addresses; else nil
	// lookup is what finds the others, nil if there is nothing to find; maxContent what the side carries, 0 for no bound.
	lookup     Resolver
	maxContent int
}

func newRoutes(list []Route, sides map[string]*side, lookup Resolver) (map[string]*route, error) {
	routes, canResolve := make(map[string]*route, len(list)), lookup != nil
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
		x := &route{domain: domain, side: s, static: append([]resolver.Static(nil), r.NextHops...), lookup: lookup, maxContent: s.adapter.Capabilities().MaxContent}
		named := false
		for _, st := range x.static {
			target, isAddress := st.Target(domain)
			named = named || !isAddress
			x.hops = append(x.hops, target)
		}
		if named || domain == AnyDomain { // a target says which domain it is for
			x.hops = nil
		}
		if named && !canResolve {
			return nil, fmt.Errorf("gateway: the route of %s has a next hop that is a name, and there is no resolver", domain)
		}
		routes[domain] = x
	}
	return routes, nil
}

// routeOf returns the route of a domain, nil if it has none: default closed.
func (g *Gateway) routeOf(domain string) *route {
	return g.settings().routeOf(domain)
}

func (n *settings) routeOf(domain string) *route {
	if r := n.routes[domain]; r != nil {
		return r
	}
	return n.routes[AnyDomain]
}

// admitAddresses finds the recipient's route and checks that the sender may use the link it came over: its domain must
// live behind the adapter that it came through, so that no link can speak for a domain of the other side (T-ID-06,
// T-ID-08). Which of the adapter's peers speaks for which domain was the adapter's to check, before it called.
func (g *Gateway) admitAddresses(from *side, sender, recipient cpim.Address) (*route, adapters.Status) {
	narrowed := g.narrowed.Load() // see decide
	to, refused := g.settings().admitAddresses(from, sender, recipient)
	if refused.Outcome == 0 && narrowed != nil {
		_, refused = narrowed.admitAddresses(from, sender, recipient)
	}
	return to, refused
}

func (n *settings) admitAddresses(from *side, sender, recipient cpim.Address) (*route, adapters.Status) {
	if sender.IsZero() || recipient.IsZero() {
		return nil, adapters.Failed(adapters.ReasonAddressMalformed, "")
	}
	home := n.routeOf(sender.Domain())
	if home == nil || home.side != from {
		return nil, adapters.Failed(adapters.ReasonForbidden, "The sender's domain is not served over this link")
	}
	to := n.routeOf(recipient.Domain())
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

// NextHops returns where traffic for an address goes now, for an adapter that has to send without having been asked to: a refresh. It may
// wait for DNS. The error is the resolver's, or that there is no route.
func (g *Gateway) NextHops(ctx context.Context, to cpim.Address) ([]resolver.Target, error) {
	r := g.routeOf(to.Domain())
	switch {
	case r == nil:
		return nil, errNoRoute
	case len(r.hops) > 0:
		return r.hops, nil
	}
	return g.resolve(ctx, r, to)
}

var errNoRoute = errors.New("gateway: the domain has no route")

// nextHops returns where r's traffic for to goes: its static next hops, or what the resolver finds before deadline.
func (g *Gateway) nextHops(ctx context.Context, r *route, to cpim.Address, deadline time.Time) ([]resolver.Target, adapters.Status) {
	if r == nil {
		return nil, adapters.Failed(adapters.ReasonDomainNotFound, "") // it was there when the operation was admitted
	}
	if len(r.hops) > 0 {
		return r.hops, adapters.Status{}
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	hops, err := g.resolve(ctx, r, to)
	if len(hops) > 0 {
		return hops, adapters.Status{}
	}
	s := adapters.Failed(adapters.ReasonDomainNotFound, "")
	if err != nil {
		s.Remote = clip(err.Error())
		var why *resolver.Error
		if ctx.Err() != nil || errors.As(err, &why) && why.Temporary() {
			// RFC 7247 §7.1 note 4: a domain that cannot be resolved is not one that does not exist.
			s.Reason = adapters.ReasonDomainTimeout
		}
	}
	return nil, s
}

func (g *Gateway) resolve(ctx context.Context, r *route, to cpim.Address) ([]resolver.Target, error) {
	var hops []resolver.Target
	var errs []error
	for _, st := range r.static {
		if target, isAddress := st.Target(to.Domain()); isAddress {
			hops = append(hops, target)
			continue
		}
		found, err := r.lookup.Static(ctx, st, to.Domain())
		hops = append(hops, found...)
		errs = append(errs, err)
	}
	if len(r.static) > 0 {
		return hops, errors.Join(errs...)
	}
	q := resolver.QueryFor(to)
	q.Only = r.side.caps.Protocol // the records of other protocols would take the place of the addresses that this one may use
	found, err := r.lookup.Resolve(ctx, q)
	for _, t := range found {
		// The route says which side serves the domain; what its DNS offers for other protocols is not asked for.
		if t.Protocol() == r.side.caps.Protocol {
			hops = append(hops, t)
		}
	}
	return hops, err
}
