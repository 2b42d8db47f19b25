package gateway

import (
	"errors"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
	"github.com/isthmus-gateway/isthmus/internal/smime"
)

// Settings are what may be replaced while the gateway runs, all at once; see Gateway.Prepare.
type Settings struct {
	// Routes say which domain lives behind which adapter. A domain without a route is refused: default closed.
	Routes []Route
	// Resolver finds next hops for routes without static ones, and the addresses of static ones that are names; nil if every
	// route has static next hops that are addresses.
	Resolver Resolver
	Limits   Limits
	// NoTrace has the gateway leave no trace in messages: one that comes back to it is known by its hop count and by repeats alone.
	NoTrace bool
	// Policy says who may send what to whom; nil allows what the routes join. Messages that are under way or stored go on when it changes,
	// and so do watches that are open; those are asked about when their watchers ask again. Of who is blocked from then on, and between tenants,
	// nothing but ends and failures passes any more.
	Policy *policy.Policy
	// Signatures verifies signatures where the Policy asks for it; it must be there if the Policy does.
	Signatures *smime.Verifier
}

// settings are Settings that were checked. Immutable but for what the brake and the meter count: an operation reads what holds now with one atomic load,
// and one that was admitted keeps the route that it was admitted by.
type settings struct {
	limits    Limits
	routes    map[string]*route
	brake     *brake
	traceless bool
	policy    *policy.Policy
	meter     *policy.Meter
	verifier  *smime.Verifier
}

// settings are those that hold now.
func (g *Gateway) settings() *settings { return g.now.Load() }

// limits are those that hold now.
func (g *Gateway) limits() *Limits { return &g.now.Load().limits }

func (g *Gateway) newSettings(s Settings) (*settings, error) {
	n := &settings{limits: s.Limits, traceless: s.NoTrace}
	if err := n.limits.setDefaults(); err != nil {
		return nil, err
	}
	var err error
	if n.routes, err = newRoutes(s.Routes, g.sides, s.Resolver); err != nil {
		return nil, err
	}
	if old := g.now.Load(); old != nil && old.limits.PairRate == n.limits.PairRate && old.limits.PairBurst == n.limits.PairBurst {
		n.brake = old.brake // with what it has counted
	} else {
		n.brake = newBrake(float64(n.limits.PairRate), n.limits.PairBurst)
	}
	var counted *policy.Meter
	if old := g.now.Load(); old != nil {
		counted = old.meter
	}
	if s.Policy.Signatures() && s.Signatures == nil {
		return nil, errors.New("gateway: a policy that asks for signatures, and nobody to verify them")
	}
	n.verifier = s.Signatures
	n.policy, n.meter = s.Policy, policy.NewMeter(s.Policy, counted)
	return n, nil
}

// Prepare checks settings that are to replace those of New. Nothing changes before the Change is committed; from then on every operation
// that comes is treated by the new settings. Those under way end by the route that they were admitted by, and what waits in the journal
// goes by the new routes; of what is in a table that became too small, nothing is dropped for that. One change may be prepared at a time,
// after the adapters have prepared theirs and before any is committed.
//
// The adapters' changes and this one are not taken on in one moment. narrow is to be called before the first of them is, and Commit after the
// last: in between, what comes must be allowed by the routes and the policy that were and by those that will be. Else a peer that is new, and
// that a new rule holds back, would be let in for a moment.
func (g *Gateway) Prepare(s Settings) (narrow func(), change adapters.Change, err error) {
	next, err := g.newSettings(s)
	if err != nil {
		return nil, adapters.Change{}, err
	}
	return func() { g.narrowed.Store(next) }, adapters.NewChange(func() {
		for _, r := range next.routes {
			r.maxContent = r.side.adapter.Capabilities().MaxContent // the adapters have changed before
		}
		l := &next.limits
		g.lanes.bound(l.LaneMessages, l.Messages)
		g.onward.bound(l.LaneMessages, l.Messages)
		g.origins.bounds.set(l.Origins, l.OriginLife)
		g.duplicates.bounds.set(l.Duplicates, l.DuplicateLife)
		g.repeats.bound(l.Repeats)
		g.watches.bound(l)
		g.now.Store(next)
		g.narrowed.Store(nil)
	}, nil), nil
}

// sideOf is the side that a domain lives on now, nil if it has no route any more.
func (g *Gateway) sideOf(domain string) *side {
	if r := g.routeOf(domain); r != nil {
		return r.side
	}
	return nil
}
