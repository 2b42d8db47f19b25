package gateway

import (
	"context"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
)

// Presence among several gateways: all of a pair of watcher and presentity is at the owner of the pair's part, the core's state and what
// the adapters have for it. What comes to another gateway is handed to that one. An operation of presence that may have been taken is
// said again: none does anything when it comes twice.

// pairHere begins something for a pair that is this node's. Whoever got true calls exit.
func (n *node) pairHere(p pair) (part int, epoch uint64, ok bool) {
	part, _ = pairHash(p)
	epoch, ok = n.parts.Enter(part)
	return part, epoch, ok
}

// laneOf is the lane of what one pair's side says.
func (h *handler) laneOf(from, to adapters.WatchID) laneKey {
	return laneKey{kind: laneForward, side: h.side.index, from: from.Watcher, to: to.Presentity}
}

// offer takes a watch operation here if its pair is this node's, and hands it to the pair's owner if not.
func (h *handler) offer(op *adapters.WatchOp, to *route, end func(adapters.WatchStatus)) {
	g := h.gateway
	n, p := g.node, pairOf(op.Watch)
	if n == nil {
		g.watches.offer(p, op, time.Time{}, to, end)
		return
	}
	if op.Verb == adapters.WatchCancel && h.side.homed == nil && h.decide(&decision{pair: p, watch: op, end: end}) {
		return
	}
	key := h.laneOf(op.Watch, op.Watch)
	if !g.onward.has(key) { // else those before it are still on their way
		if part, _, ok := n.pairHere(p); ok {
			defer n.parts.Exit(part)
			g.watches.offer(p, op, time.Time{}, to, end)
			return
		}
	}
	if h.side.homed != nil { // its dialog is another gateway's by now
		end(adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")})
		return
	}
	if !g.onward.add(key, &watchForward{handler: h, op: op, to: to, end: end, began: time.Now()}) {
		end(adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "Too many watches")})
	}
}

// offer brings a watch operation to its state, and answers it where there is no room for one. taken is when it was taken, zero for now: one that is said
// again because the answer took long is the same wish.
func (w *watches) offer(p pair, op *adapters.WatchOp, taken time.Time, to *route, end func(adapters.WatchStatus)) {
	if full := w.step(p, stepInput{event: watch.Event{Asked: op, Taken: taken}, presentity: to, respond: end}); full != boundNone {
		w.gateway.metrics.watchesRefused.WithLabelValues(string(full)).Inc()
		end(adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "Too many watches")})
	}
}

// watchForward is a watch operation on its way to the owner of its pair.
type watchForward struct {
	handler *handler
	op      *adapters.WatchOp
	to      *route
	end     func(adapters.WatchStatus)
	began   time.Time
}

// run implements task.
func (t *watchForward) run(ctx context.Context) {
	g := t.handler.gateway
	ctx, cancel := context.WithDeadline(ctx, t.began.Add(g.limits().DirectWait))
	defer cancel()
	a, how := g.node.askAgain(ctx, pairOf(t.op.Watch), func() ([]byte, error) {
		c := watchCarried(t.handler.side, t.op, false)
		c.Taken = t.began
		return encodeCall(&call{Version: forwardVersion, Watch: c})
	}, unheard, func() { g.watches.offer(pairOf(t.op.Watch), t.op, t.began, t.to, t.end) })
	switch how {
	case forwardMine:
	case forwardDone:
		t.end(a.Watch.status())
	case forwardRefused:
		t.end(adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "")})
	default:
		t.end(adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")})
	}
}

// ownerWait is how long an owner is waited for before it is looked whether there is another by now: one that hangs, or is cut off, must not
// hold up what comes behind.
const ownerWait = 3 * time.Second

// askAgain is ask for the owner of a pair, also where it may have been done already. heard gets what each node says; mine is called where this node has
// become the owner.
func (n *node) askAgain(ctx context.Context, p pair, write func() ([]byte, error), heard func(*reply, error), mine func()) (*reply, forwarded) {
	part, _ := pairHash(p)
	enter := func() bool {
		_, ok := n.parts.Enter(part)
		return ok
	}
	for {
		once, cancel := context.WithTimeout(ctx, ownerWait)
		a, how := n.askWithin(once, once, part, enter, write, heard)
		cancel()
		if how == forwardMine {
			mine()
			n.parts.Exit(part)
		}
		if how != forwardUnknown && how != forwardNobody || ctx.Err() != nil {
			n.gateway.metrics.forwards.WithLabelValues(forwardNames[how]).Inc()
			return a, how
		}
		select {
		case <-ctx.Done():
		case <-time.After(forwardPause):
		}
	}
}

// say takes what a presentity's side says here if the pair is this node's, and hands it to the pair's owner if not. leaving: it only tells that
// the watcher of p may have gone.
func (h *handler) say(op *adapters.NotifyOp, p pair, leaving bool) {
	g := h.gateway
	here := func() {
		if leaving {
			g.watches.step(p, stepInput{event: watch.Event{Leaving: true}})
			return
		}
		g.watches.tell(p, op)
	}
	n := g.node
	if n == nil {
		here()
		return
	}
	if !leaving && watch.Decides(op) && h.decide(&decision{pair: p, notify: op}) {
		return // else there is no room for it, but it may be done at once
	}
	t := &notifyForward{handler: h, op: op, pair: p, leaving: leaving, here: here, began: time.Now()}
	key := h.laneOf(adapters.WatchID{Watcher: p.watcher}, adapters.WatchID{Presentity: p.presentity})
	if !g.onward.has(key) {
		if part, _, ok := n.pairHere(p); ok {
			defer n.parts.Exit(part)
			here()
			return
		}
	}
	part, _ := pairHash(p)
	if h.side.homed != nil && !n.parts.Mine(part) || !g.onward.addNewest(key, t) { // the dialog of one that is not here is another gateway's by now
		t.lost()
	}
}

// notifyForward is a notification on its way to the owner of its pair.
type notifyForward struct {
	handler *handler
	op      *adapters.NotifyOp
	pair    pair
	leaving bool
	here    func()
	began   time.Time
}

// supersededBy implements replaceable: of what one device says of itself the newest is kept, and nothing overtakes what tells of the watch.
func (t *notifyForward) supersededBy(newer task) (yes, stop bool) {
	n, ok := newer.(*notifyForward)
	if !ok || !t.plain() || !n.plain() {
		return false, true
	}
	return n.op.Instance == t.op.Instance, false
}

// plain tells whether it is what a device says of itself, and no more.
func (t *notifyForward) plain() bool {
	op := t.op
	return !t.leaving && op.State == adapters.WatchNeutral && op.Change == adapters.AuthorizationUnchanged && op.Failure.Outcome == 0 &&
		op.Presence != nil && len(op.Withdrawn) == 0
}

// superseded implements replaceable: nobody waits for it any more.
func (t *notifyForward) superseded() { t.kept() }

// presencePatience is for how long the owner of a pair is looked for, to have it told what a presentity says.
const presencePatience = 30 * time.Second

// endPatience is presencePatience for what tells of the watch itself.
const endPatience = 2 * time.Minute

// run implements task.
func (t *notifyForward) run(ctx context.Context) {
	n, wait := t.handler.gateway.node, presencePatience
	if t.op.State != adapters.WatchNeutral {
		wait = endPatience
	}
	ctx, cancel := context.WithDeadline(ctx, t.began.Add(wait))
	defer cancel()
	_, how := n.askAgain(ctx, t.pair, func() ([]byte, error) { return carryNotify(t.handler.side, t.op, false, t.leaving) }, unheard, t.here)
	switch {
	case how == forwardMine:
	case how == forwardDone:
		t.kept()
	default:
		t.lost()
	}
}

func (t *notifyForward) kept() {
	if t.op.Kept != nil && !t.leaving {
		t.handler.gateway.watches.nowKept(t.op.Kept)
	}
}

// lost counts one that reached nobody.
func (t *notifyForward) lost() {
	t.handler.gateway.metrics.dropped.WithLabelValues("unowned").Inc()
	t.kept()
}

// servePresence answers another node what it asks about presence.
func (n *node) servePresence(ctx context.Context, c *call) reply {
	switch {
	case c.Watch != nil && c.Watch.Out:
		return n.serveWatchOut(ctx, c.Watch)
	case c.Watch != nil:
		return n.serveWatch(ctx, c.Watch)
	case c.Notify != nil && c.Notify.Out:
		return n.serveNotifyOut(ctx, c.Notify)
	case c.Notify != nil:
		return n.serveNotify(ctx, c.Notify)
	case c.Attend != nil:
		return n.serveAttend(ctx, c.Attend)
	case c.Native != nil:
		return n.serveNative(ctx, c.Native)
	case c.Way != nil:
		n.gateway.wayHere(adapters.Way{Ours: c.Way.Ours, Theirs: c.Way.Theirs}, c.Way.Back)
		return reply{Found: true}
	}
	return reply{}
}

func (n *node) serveWatch(ctx context.Context, c *carriedWatch) reply {
	g := n.gateway
	op, err := c.operation()
	from := g.sides[c.Side]
	if err != nil || from == nil {
		return reply{Watch: carryWatchStatus(adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonInternal, "")}), Fault: "it cannot be read"}
	}
	to, refused := g.admitAddresses(from, op.Watch.Watcher, op.Watch.Presentity)
	if refused.Outcome != 0 {
		return reply{Watch: carryWatchStatus(adapters.WatchStatus{Status: refused})}
	}
	if op.Verb == adapters.WatchCancel && !c.Taken.IsZero() {
		return n.serveDecision(ctx, pairOf(op.Watch), watch.Event{Asked: op, Taken: c.Taken, Again: c.Again}, reply{Watch: carryWatchStatus(adapters.WatchStatus{
			Status: adapters.Succeeded(), State: adapters.WatchTerminated,
		})})
	}
	part, epoch, ok := n.pairHere(pairOf(op.Watch))
	if !ok {
		return n.moved(part)
	}
	done := make(chan adapters.WatchStatus, 1)
	g.watches.offer(pairOf(op.Watch), op, c.Taken, to, func(s adapters.WatchStatus) { done <- s })
	n.parts.Exit(part)
	select {
	case s := <-done:
		if s.Outcome == adapters.Failure && !n.parts.Still(part, epoch) {
			return n.moved(part)
		}
		return reply{Watch: carryWatchStatus(s)}
	case <-ctx.Done(): // it is asked again, and may still hear this
		return reply{Late: true}
	}
}

func (n *node) serveNotify(ctx context.Context, c *carriedNotify) reply {
	g := n.gateway
	op, err := c.operation()
	from := g.sides[c.Side]
	if err != nil || from == nil {
		return reply{Fault: "it cannot be read"}
	}
	p := pairOf(op.Watch)
	if c.Leaving {
		p = pair{watcher: op.Watch.Presentity, presentity: op.Watch.Watcher}
	} else if _, refused := g.admitAddresses(from, op.Watch.Presentity, op.Watch.Watcher); refused.Outcome != 0 {
		return reply{Fault: "the nodes have different routes"}
	}
	if !c.Taken.IsZero() {
		return n.serveDecision(ctx, p, watch.Event{Told: op, Taken: c.Taken, Again: c.Again}, reply{Found: true})
	}
	part, epoch, ok := n.pairHere(p)
	if !ok {
		return n.moved(part)
	}
	if c.Leaving {
		g.watches.step(p, stepInput{event: watch.Event{Leaving: true}})
		n.parts.Exit(part)
		return reply{Found: true}
	}
	kept := make(chan struct{}, 1)
	op.Kept = func() { kept <- struct{}{} }
	g.watches.tell(p, op)
	n.parts.Exit(part)
	select {
	case <-kept:
		if !n.parts.Still(part, epoch) {
			return n.moved(part)
		}
	case <-ctx.Done(): // it is not safe yet
		return reply{Late: true}
	}
	return reply{Found: true}
}
