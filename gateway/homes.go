package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// homes is where pairs live, as one adapter sees it.
type homes struct {
	node *node
	side *side
}

var _ adapters.Homes = homes{}

// Here implements adapters.Homes.
func (h homes) Here(of adapters.WatchID) bool {
	part, _, ok := h.node.pairHere(pairOf(of))
	if ok {
		h.node.parts.Exit(part)
	}
	return ok
}

// Mine implements adapters.Homes.
func (h homes) Mine(of adapters.WatchID) bool {
	part, _ := pairHash(pairOf(of))
	return h.node.parts.Mine(part)
}

// Carry implements adapters.Homes.
func (h homes) Carry(ctx context.Context, of adapters.WatchID, octets []byte, done func([]byte, error)) {
	t := &nativeForward{homes: h, of: of, octets: octets, done: done, end: deadlineOf(ctx, h.node.gateway.limits().DirectWait)}
	key := laneKey{kind: laneForward, side: h.side.index, from: of.Watcher, to: of.Presentity}
	if !h.node.gateway.onward.add(key, t) {
		done(nil, errCarried)
	}
}

var errCarried = errors.New("gateway: no other gateway has answered")

// nativeForward is a request of an adapter's on its way to the owner of its pair.
type nativeForward struct {
	homes
	of     adapters.WatchID
	octets []byte
	done   func([]byte, error)
	end    time.Time
}

// run implements task. One that may have been taken is not handed over again: the far side sends it again with a number of its own.
func (t *nativeForward) run(ctx context.Context) {
	n := t.node
	ctx, cancel := context.WithDeadline(ctx, t.end)
	defer cancel()
	part, _ := pairHash(pairOf(t.of))
	enter := func() bool {
		_, ok := n.parts.Enter(part)
		return ok
	}
	a, how := n.ask(ctx, part, enter, func() ([]byte, error) {
		return encodeCall(&call{Version: forwardVersion, Native: &carriedNative{t.side.name, carryID(t.of), t.octets}})
	})
	n.gateway.metrics.forwards.WithLabelValues(forwardNames[how]).Inc()
	switch {
	case how == forwardMine:
		t.done(nil, adapters.ErrHome)
		n.parts.Exit(part)
	case how == forwardDone && a.Octets != nil:
		t.done(a.Octets, nil)
	default:
		t.done(nil, errCarried)
	}
}

func (n *node) serveNative(ctx context.Context, c *carriedNative) reply {
	id, err := c.Watch.id()
	s := n.gateway.sides[c.Side]
	if err != nil || s == nil || s.homed == nil {
		return reply{Fault: "it cannot be read"}
	}
	part, _, ok := n.pairHere(pairOf(id))
	if !ok {
		return n.moved(part)
	}
	n.parts.Exit(part) // what it begins asks for itself
	return reply{Octets: s.homed.Carried(ctx, c.Octets)}
}

// house gives the adapters their homes. It is called before they are given anything else.
func (n *node) house() {
	for _, s := range n.gateway.order {
		if s.homed != nil {
			s.homed.House(homes{n, s})
		}
	}
}

// release has the adapters drop what they have for the pairs of these parts.
func (n *node) release(parts []int) {
	for _, s := range n.gateway.order {
		if s.homed != nil {
			s.homed.Release(func(of adapters.WatchID) bool {
				part, _ := pairHash(pairOf(of))
				return slices.Contains(parts, part)
			})
		}
	}
}

func encodeCall(c *call) ([]byte, error) { return json.Marshal(c) }
