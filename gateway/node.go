package gateway

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/cluster"
	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// node is this gateway as one of several on one store. Every operation belongs to a part, by what it goes through on its way out; the owner of the
// part does it, and every other node hands it on to that one. A gateway alone has no node, and owns everything.
type node struct {
	gateway *Gateway
	bus     store.Bus
	parts   *cluster.Cluster
	life    context.Context // of what tells other nodes of entries, until stop
	end     context.CancelFunc

	mu      sync.Mutex
	tending *time.Timer
	left    bool

	heralds  heralds
	nudges   nudges
	outcomes outcomesKept
}

var _ cluster.Work = (*node)(nil)

// newNode makes the node, which is no member yet. The adapters open no place by themselves from now on.
func newNode(g *Gateway, disk store.Durable) (*node, error) {
	n := &node{gateway: g, bus: disk}
	n.life, n.end = context.WithCancel(context.Background())
	home := ""
	if h, ok := disk.(store.Housed); ok {
		home = h.Home()
	}
	var err error
	n.parts, err = cluster.New(cluster.Config{
		Facts: disk, Node: disk.Node(), Home: home, Work: n, Times: g.clusterTimes, Logger: g.log, Registerer: g.registerer,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	for _, s := range g.order {
		if s.shared != nil {
			s.shared.Share()
		}
	}
	return n, nil
}

// start makes it a member.
func (n *node) start(ctx context.Context) error {
	if n == nil {
		return nil
	}
	n.bus.Serve(n.serve)
	if err := n.parts.Start(ctx); err != nil {
		n.bus.Serve(nil)
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tending = time.AfterFunc(tendEvery, n.tend)
	return nil
}

// tendEvery is how often places are looked after.
const tendEvery = 5 * time.Second

// tend opens the places that a reload has brought, or that were still being closed when they came back.
func (n *node) tend() {
	n.places(nil, func(s adapters.Shared, place string, part int) {
		if _, ok := n.parts.Enter(part); ok {
			s.Open(place)
			n.parts.Exit(part)
		}
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.left {
		n.tending.Reset(tendEvery)
	}
}

// leave hands all parts on. The others are answered on, until stop.
func (n *node) leave(ctx context.Context) {
	if n == nil {
		return
	}
	n.mu.Lock()
	n.left = true
	if n.tending != nil {
		n.tending.Stop()
	}
	n.mu.Unlock()
	n.parts.Leave(ctx)
}

// stop ends the answers to the others.
func (n *node) stop() {
	if n != nil {
		n.end()
		n.bus.Serve(nil)
	}
}

// partOf is the part of what goes to side, from one address to another: by the place that it goes through, or else by what must stay in order
// there.
func (g *Gateway) partOf(to *side, from, recipient cpim.Address) int {
	key := to.place(from, recipient)
	if key == "" {
		if key = recipient.String(); !to.caps.OnePerRecipient {
			key = from.String() + " " + key
		}
	}
	return placePart(to, key)
}

// placePart is the part of a place of a side. Every node comes to the same one, whatever its version: it is never changed.
func placePart(s *side, place string) int {
	const prime = 1099511628211 // FNV-1a, 64 bits
	h := uint64(14695981039346656037)
	for _, text := range [...]string{s.name, "\x00", place} {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * prime
		}
	}
	return int((h ^ h>>32) % store.Parts)
}

// place is what operations from one address to another go through on this side; "" for nothing that exists once.
func (s *side) place(from, to cpim.Address) string {
	if s.shared == nil {
		return ""
	}
	return s.shared.Place(from, to)
}

// noticePart is the part of the message that a report is of; -1 if no route leads to its recipient any more.
func (g *Gateway) noticePart(r *adapters.Report) int {
	to := g.routeOf(r.Recipient.Address.Domain())
	if to == nil {
		return -1
	}
	return g.partOf(to.side, r.Sender.Address, r.Recipient.Address)
}

// enter begins work for a part: true without a cluster, and where this node owns it. Whoever got true calls exit.
func (n *node) enter(part int) (epoch uint64, ok bool) {
	if n == nil {
		return 0, true
	}
	return n.parts.Enter(part)
}

func (n *node) exit(part int) {
	if n != nil {
		n.parts.Exit(part)
	}
}

// still tells whether what was begun for a part in an epoch may be written down.
func (n *node) still(part int, epoch uint64) bool { return n == nil || n.parts.Still(part, epoch) }

// Take implements cluster.Work: what is in the journal of the parts goes into its lanes before anything new.
func (n *node) Take(ctx context.Context, parts []int) error {
	if err := n.gateway.journal.load(ctx, parts); err != nil {
		return err
	}
	return n.gateway.watches.takeUp(ctx, parts)
}

// Begun implements cluster.Work.
func (n *node) Begun(parts []int) {
	// Opened first: what is tried before its link is there waits for another time.
	n.places(parts, func(s adapters.Shared, place string, _ int) { s.Open(place) })
	n.gateway.journal.releaseAll()
}

// Leave implements cluster.Work: what waits for a place that is closed is tried by its next owner.
func (n *node) Leave(ctx context.Context, parts []int) {
	// What is on its way gets a moment to get there.
	brief, cancel := context.WithTimeout(ctx, leaveWait)
	defer cancel()
	n.places(parts, func(s adapters.Shared, place string, _ int) { s.Close(brief, place) })
}

// leaveWait is how long what has left for a place may take to be acknowledged before the place is closed.
const leaveWait = 2 * time.Second

// Lost implements cluster.Work.
func (n *node) Lost(parts []int) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	n.places(parts, func(s adapters.Shared, place string, _ int) { s.Close(over, place) })
	n.gateway.journal.forgetParts(parts)
	n.release(parts)
	n.gateway.keeper.flush(parts, flushWait)
	n.gateway.watches.giveUp(parts)
	n.gateway.keeper.drop(parts)
}

// flushWait is how long what is kept of presence may take to be written before its part is handed on.
const flushWait = 3 * time.Second

// places calls f for each place of these parts; nil: of all.
func (n *node) places(parts []int, f func(s adapters.Shared, place string, part int)) {
	for _, s := range n.gateway.order {
		if s.shared == nil {
			continue
		}
		for _, place := range s.shared.Places() {
			if part := placePart(s, place); parts == nil || slices.Contains(parts, part) {
				f(s.shared, place, part)
			}
		}
	}
}

// others are the names of the other nodes, sorted.
func (n *node) others() []string {
	if n == nil {
		return nil
	}
	all := n.parts.Nodes()
	all = slices.DeleteFunc(all, func(name string) bool { return name == n.bus.Node() })
	slices.Sort(all)
	return all
}
