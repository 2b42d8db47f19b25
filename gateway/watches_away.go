package gateway

import (
	"context"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// What the owner of a pair wants said to one of its sides goes through the gateway that has the side's place (a component's link), and is said
// by the owner itself where any gateway may say it (SIP: its dialogs are at the owner).

// through has here done where side is reached for what goes between two addresses: at this node, or, written by write, at another one,
// whose answer is returned. ok is false if it was not done, or nobody knows.
func (n *node) through(ctx context.Context, s *side, place string, write func() ([]byte, error), here func()) (a *reply, ok bool) {
	part := placePart(s, place)
	enter := func() bool {
		_, ok := n.parts.Enter(part)
		return ok
	}
	a, how := n.ask(ctx, part, enter, write)
	n.gateway.metrics.forwards.WithLabelValues(forwardNames[how]).Inc()
	if how == forwardMine {
		defer n.parts.Exit(part)
		here()
		return nil, true
	}
	return a, how == forwardDone
}

// askSide asks the presentity's side.
func (g *Gateway) askSide(ctx context.Context, r *route, op *adapters.WatchOp) (status adapters.WatchStatus) {
	place := g.placeFor(r, op.Watch.Watcher, op.Watch.Presentity)
	if place == "" {
		return g.askHere(ctx, r, op)
	}
	ctx, cancel := context.WithDeadline(ctx, op.Deadline)
	defer cancel()
	a, ok := g.node.through(ctx, r.side, place, func() ([]byte, error) { return carryWatch(r.side, op, true) }, func() { status = g.askHere(ctx, r, op) })
	switch {
	case !ok:
		return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")}
	case a != nil:
		return a.Watch.status()
	}
	return status
}

// placeFor is what goes to r's side from one address to another goes through; "" where this node says it.
func (g *Gateway) placeFor(r *route, from, to cpim.Address) string {
	if g.node == nil || r == nil {
		return ""
	}
	return r.side.place(from, to)
}

func (g *Gateway) askHere(ctx context.Context, r *route, op *adapters.WatchOp) adapters.WatchStatus {
	hops, failed := g.nextHops(ctx, r, op.Watch.Presentity, op.Deadline)
	// An adapter that has a dialog for the watch needs no next hop, and one that was not told of the end of a watch would keep it up for ever.
	status := r.side.adapter.Watch(ctx, hops, op)
	if failed.Outcome != 0 && status.Outcome == adapters.Failure && status.Reason == adapters.ReasonDomainNotFound {
		status.Status = failed // which knows why
	}
	return status
}

// tellSide tells the watcher's side.
func (g *Gateway) tellSide(ctx context.Context, r *route, op *adapters.NotifyOp) (status adapters.Status) {
	place := g.placeFor(r, op.Watch.Presentity, op.Watch.Watcher)
	if place == "" {
		return g.notifyHere(ctx, r, op)
	}
	ctx, cancel := context.WithDeadline(ctx, op.Deadline)
	defer cancel()
	a, ok := g.node.through(ctx, r.side, place, func() ([]byte, error) { return carryNotify(r.side, op, true, false) }, func() { status = g.notifyHere(ctx, r, op) })
	switch {
	case !ok || a != nil && a.Status == nil:
		return adapters.Failed(adapters.ReasonDomainTimeout, "")
	case a != nil:
		return a.Status.status()
	}
	return status
}

func (g *Gateway) notifyHere(ctx context.Context, r *route, op *adapters.NotifyOp) adapters.Status {
	hops, failed := g.nextHops(ctx, r, op.Watch.Watcher, op.Deadline)
	if failed.Outcome != 0 && op.Watch.Session == "" {
		return failed
	}
	// A session is a dialog, which knows its own way: the topmost route or the remote target (RFC 3261 §12.2.1.1), whatever DNS says of the domain now.
	return r.side.adapter.Notify(ctx, hops, op)
}

// attendSide asks the watcher's side whether she is online.
func (g *Gateway) attendSide(ctx context.Context, r *route, op *adapters.AttendOp) (answer adapters.Attendance) {
	place := g.placeFor(r, op.Watch.Presentity, op.Watch.Watcher)
	if place == "" {
		return g.attendHere(ctx, r, op)
	}
	a, ok := g.node.through(ctx, r.side, place, func() ([]byte, error) { return carryAttend(r.side, op) }, func() { answer = g.attendHere(ctx, r, op) })
	if ok && a != nil {
		return adapters.Attendance(a.Attend)
	}
	return answer
}

func (g *Gateway) attendHere(ctx context.Context, r *route, op *adapters.AttendOp) adapters.Attendance {
	hops, failed := g.nextHops(ctx, r, op.Watch.Watcher, op.Deadline)
	if failed.Outcome != 0 {
		return adapters.AttendanceUnknown
	}
	return r.side.attendant.Attends(ctx, hops, op)
}

// placed finds the route of what another node wants said to a side, and begins it; whoever got true calls exit.
func (n *node) placed(side string, from, to cpim.Address) (r *route, part int, moved reply, ok bool) {
	r = n.gateway.routeOf(to.Domain())
	if r == nil || r.side.name != side {
		return nil, 0, reply{
			Status: carryStatus(adapters.Failed(adapters.ReasonDomainNotFound, "")), Fault: "the nodes have different routes",
			Watch: carryWatchStatus(adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainNotFound, "")}),
		}, false
	}
	part = placePart(r.side, r.side.place(from, to))
	if _, ok = n.parts.Enter(part); !ok {
		moved = n.moved(part)
	}
	return r, part, moved, ok
}

func (n *node) serveWatchOut(ctx context.Context, c *carriedWatch) reply {
	op, err := c.operation()
	if err != nil {
		return reply{Fault: "it cannot be read"}
	}
	r, part, moved, ok := n.placed(c.Side, op.Watch.Watcher, op.Watch.Presentity)
	if !ok {
		return moved
	}
	defer n.parts.Exit(part)
	op.Peer, op.Deadline = adapters.Peer{}, deadlineOf(ctx, n.gateway.limits().DirectWait)
	return reply{Watch: carryWatchStatus(n.gateway.askHere(ctx, r, op))}
}

func (n *node) serveNotifyOut(ctx context.Context, c *carriedNotify) reply {
	op, err := c.operation()
	if err != nil {
		return reply{Fault: "it cannot be read"}
	}
	r, part, moved, ok := n.placed(c.Side, op.Watch.Presentity, op.Watch.Watcher)
	if !ok {
		return moved
	}
	defer n.parts.Exit(part)
	op.Peer, op.Deadline = adapters.Peer{}, deadlineOf(ctx, n.gateway.limits().DirectWait)
	return reply{Status: carryStatus(n.gateway.notifyHere(ctx, r, op))}
}

func (n *node) serveAttend(ctx context.Context, c *carriedAttend) reply {
	id, err := c.Watch.id()
	if err != nil {
		return reply{Fault: "it cannot be read"}
	}
	r, part, moved, ok := n.placed(c.Side, id.Presentity, id.Watcher)
	if !ok {
		return moved
	}
	defer n.parts.Exit(part)
	if r.side.attendant == nil {
		return reply{}
	}
	op := &adapters.AttendOp{ID: c.ID, Watch: id, Deadline: deadlineOf(ctx, attendWait)}
	return reply{Attend: uint8(n.gateway.attendHere(ctx, r, op))}
}

// deadlineOf is when ctx ends, or in most at the latest.
func deadlineOf(ctx context.Context, most time.Duration) time.Time {
	at := time.Now().Add(most)
	if end, ok := ctx.Deadline(); ok && end.Before(at) {
		return end
	}
	return at
}
