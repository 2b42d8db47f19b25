package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// answerWait is how much longer than for the attempt the answer to a message is waited for: its owner stores what it could not hand over until the
// sender's patience with that ended, and the sender of a SIP request waits 32 s (RFC 3261 §17.1.2.2).
const answerWait = appendWait + time.Second

// forwardPause is how long a node waits before it looks again for the owner of a part that has none, or has a new one.
const forwardPause = 100 * time.Millisecond

// message does a message here if its part is this node's, and else has a lane hand it on: those of one pair stay in their order.
func (n *node) message(d *delivery) {
	g := n.gateway
	d.part = g.partOf(d.route.side, d.op.From.Address, d.op.To.Address)
	d.lane = laneKey{kind: laneForward, side: d.route.side.index, from: d.op.From.Address, to: d.op.To.Address}
	if !g.lanes.has(d.lane) { // else those before it are still on their way
		var ok bool
		if d.epoch, ok = n.parts.Enter(d.part); ok {
			d.entered = true
			g.accept(d)
			return
		}
	}
	d.away = true
	add := g.lanes.add
	if d.op.Activity != adapters.ActivityNone {
		add = g.lanes.addNewest
	}
	if !add(d.lane, d) {
		d.end(adapters.Failed(adapters.ReasonOverloaded, "Too many messages are under way"))
	}
}

// forward hands a message to the owner of its part and returns its answer; ok is false if this node became the owner and has taken it. A
// message of which nobody knows whether it was taken is handed to nobody else.
func (n *node) forward(ctx context.Context, d *delivery) (status adapters.Status, ok bool) {
	g := n.gateway
	patience := g.limits().DirectWait
	if d.op.Activity != adapters.ActivityNone {
		patience = min(patience, activityLife)
	}
	looking, cancel := context.WithDeadline(ctx, d.began.Add(patience))
	defer cancel()
	ctx, cancel = context.WithDeadline(ctx, d.began.Add(patience+answerWait))
	defer cancel()
	enter := func() bool {
		epoch, ok := n.parts.Enter(d.part)
		if ok {
			d.epoch, d.entered, d.away = epoch, true, false
		}
		return ok
	}
	a, how := n.askWithin(looking, ctx, d.part, enter, func() ([]byte, error) { return carryMessage(d, time.Now()) }, unheard)
	g.metrics.forwards.WithLabelValues(forwardNames[how]).Inc()
	switch {
	case how == forwardMine:
		g.accept(d)
		return adapters.Status{}, false
	case how == forwardUnknown:
		return adapters.Failed(adapters.ReasonOutcomeUnknown, ""), true
	case how == forwardRefused:
		return adapters.Failed(adapters.ReasonOverloaded, "Too many messages are under way"), true
	case how == forwardNobody:
		return adapters.Failed(adapters.ReasonDomainTimeout, ""), true
	case a.Status == nil:
		return adapters.Failed(adapters.ReasonInternal, ""), true
	}
	return a.Status.status(), true
}

// forwarded is how a forward ended; a fixed set, for metrics.
type forwarded uint8

const (
	forwardDone    forwarded = iota // it was done, well or not
	forwardMine                     // this node became the owner
	forwardNobody                   // there was no owner that could be reached, and nobody has taken it
	forwardUnknown                  // it may have been taken
	forwardRefused                  // the way to the owner is full
)

var forwardNames = [...]string{
	forwardDone: "done", forwardMine: "mine", forwardNobody: "nobody", forwardUnknown: "unknown", forwardRefused: "refused",
}

// ask has the owner of a part do something, whoever that is, until ctx ends. enter, which is asked first each time, tells that this node became
// the owner. It is asked again only while nobody has taken it.
func (n *node) ask(ctx context.Context, part int, enter func() bool, write func() ([]byte, error)) (*reply, forwarded) {
	return n.askWithin(ctx, ctx, part, enter, write, unheard)
}

// unheard is for who need not know what each node says.
func unheard(*reply, error) {}

// askWithin is ask, where an owner is looked for until looking ends, and answers until ctx does. heard gets what each node that is asked says.
func (n *node) askWithin(looking, ctx context.Context, part int, enter func() bool, write func() ([]byte, error), heard func(*reply, error)) (*reply, forwarded) {
	call := func(to string) (*reply, error) {
		a, err := n.call(ctx, to, write)
		heard(a, err)
		return a, err
	}
	hint := ""
	for {
		if enter() {
			return nil, forwardMine
		}
		owner := hint
		if hint = ""; owner == "" {
			owner = n.parts.Owner(part)
		}
		if owner != "" && owner != n.bus.Node() {
			a, err := call(owner)
			switch {
			case err == nil && !a.Moved:
				return a, forwardDone
			case err == nil && a.Owner != "" && a.Owner != owner:
				hint = a.Owner // at once, and then as every other
			case err == nil:
			case errors.Is(err, store.ErrUnknown):
				return nil, forwardUnknown
			case errors.Is(err, store.ErrFull):
				return nil, forwardRefused
			}
			if hint != "" && hint != n.bus.Node() {
				if a, err = call(hint); err == nil && !a.Moved {
					return a, forwardDone
				} else if errors.Is(err, store.ErrUnknown) {
					return nil, forwardUnknown
				}
				hint = ""
			}
		}
		select {
		case <-looking.Done():
			return nil, forwardNobody
		case <-time.After(forwardPause):
		}
	}
}

// call asks one node.
func (n *node) call(ctx context.Context, to string, write func() ([]byte, error)) (*reply, error) {
	octets, err := write()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	answer, err := n.bus.Call(ctx, to, octets)
	if err != nil {
		return nil, err
	}
	a := &reply{}
	if err := json.Unmarshal(answer, a); err != nil {
		return nil, fmt.Errorf("%w: the answer cannot be read", store.ErrUnknown)
	}
	if a.Late {
		return nil, fmt.Errorf("%w: there was no answer in time", store.ErrUnknown)
	}
	return a, nil
}

// serve answers another node.
func (n *node) serve(ctx context.Context, from string, octets []byte) []byte {
	a := n.answer(ctx, from, octets)
	answer, err := json.Marshal(&a)
	if err != nil { // it cannot be
		return nil
	}
	return answer
}

// answer does what another node asks. What makes this one panic is refused: it must end neither the process, nor then the next owner's.
func (n *node) answer(ctx context.Context, from string, octets []byte) (a reply) {
	defer func() {
		if n.gateway.recovered(from, "a call of another gateway", recover()) {
			a = reply{Status: carryStatus(adapters.Failed(adapters.ReasonInternal, "")), Fault: "it made the gateway panic"}
		}
	}()
	var c call
	switch err := json.Unmarshal(octets, &c); {
	case err != nil || c.Version != forwardVersion:
		n.gateway.log.Error().Str("node", from).Msg("another gateway asks what this one does not understand: it is of another version")
		a.Status, a.Fault = carryStatus(adapters.Failed(adapters.ReasonInternal, "")), "another version"
	case c.Message != nil:
		a = n.serveMessage(ctx, c.Message)
	case c.Report != nil:
		a = n.serveReport(c.Report)
	case c.Tell != nil:
		a = n.serveTell(ctx, c.Tell)
	case c.Entry != nil:
		a = n.serveEntry(ctx, c.Entry)
	case c.Queue != nil:
		a = n.serveQueue(ctx, c.Queue)
	default:
		a = n.servePresence(ctx, &c)
	}
	return a
}

// moved answers for a part that is not this node's.
func (n *node) moved(part int) reply { return reply{Moved: true, Owner: n.parts.Owner(part)} }

func (n *node) serveMessage(ctx context.Context, c *carriedMessage) reply {
	g := n.gateway
	m, op, err := c.message()
	if err != nil {
		return reply{Status: carryStatus(adapters.Failed(adapters.ReasonInternal, "")), Fault: "it cannot be read"}
	}
	done := make(chan adapters.Status, 1)
	d := &delivery{
		gateway: g, from: g.sides[m.Side], op: op, began: time.Now().Add(-c.Waited), respond: func(s adapters.Status) { done <- s },
		route: g.routeOf(op.To.Address.Domain()),
	}
	if d.from == nil || d.route == nil || d.route.side == d.from {
		return reply{Status: carryStatus(adapters.Failed(adapters.ReasonDomainNotFound, "")), Fault: "the nodes have different routes"}
	}
	if refused := g.permit(d); refused.Outcome != 0 { // what it costs of the policy's bounds is counted where it is delivered
		return reply{Status: carryStatus(refused)}
	}
	d.part = g.partOf(d.route.side, op.From.Address, op.To.Address)
	var ok bool
	if d.epoch, ok = n.parts.Enter(d.part); !ok {
		return n.moved(d.part)
	}
	d.entered = true
	g.accept(d)
	select {
	case s := <-done:
		return reply{Status: carryStatus(s)}
	case <-ctx.Done(): // nobody hears it
		return reply{Status: carryStatus(adapters.Failed(adapters.ReasonOutcomeUnknown, ""))}
	}
}

func (n *node) serveReport(c *carriedReport) reply {
	g := n.gateway
	m, r, err := decodeNotice(c.Octets)
	from := g.sides[c.Side]
	if err != nil || from == nil {
		return reply{Fault: "it cannot be read"}
	}
	part := g.partOf(from, r.Sender.Address, r.Recipient.Address)
	epoch, ok := n.parts.Enter(part)
	if !ok {
		return n.moved(part)
	}
	defer n.parts.Exit(part)
	h := &handler{gateway: g, side: from}
	h.settle(r, result{
		operation: opReport, id: m.Op, from: from, began: time.Now(), sender: r.Recipient.Address, recipient: r.Sender.Address, transID: r.TransID, report: r.Kind,
	}, epoch)
	return reply{Found: true}
}

// tell has a report told to the sender of its message, by the node that owns the place that leads there.
func (g *Gateway) tell(ctx context.Context, r *route, report *adapters.Report, op string) adapters.Status {
	place := ""
	if g.node != nil {
		place = r.side.place(report.Recipient.Address, report.Sender.Address)
	}
	if place == "" {
		return g.tellHere(ctx, r, report)
	}
	n, part := g.node, placePart(r.side, place)
	ctx, cancel := context.WithTimeout(ctx, g.limits().DirectWait)
	defer cancel()
	enter := func() bool {
		_, ok := n.parts.Enter(part)
		return ok
	}
	a, how := n.ask(ctx, part, enter, func() ([]byte, error) { return carryReport(report, op, r.side, true) })
	g.metrics.forwards.WithLabelValues(forwardNames[how]).Inc()
	switch {
	case how == forwardMine:
		defer n.parts.Exit(part)
		return g.tellHere(ctx, r, report)
	case how == forwardDone && a.Status != nil:
		return a.Status.status()
	}
	// It may have been told, and is told again then: a notice too many is better than none.
	return adapters.Failed(adapters.ReasonDomainTimeout, "")
}

// tellHere tells a report by this node's adapter.
func (g *Gateway) tellHere(ctx context.Context, r *route, report *adapters.Report) adapters.Status {
	hops, failed := g.nextHops(ctx, r, report.Sender.Address, time.Now().Add(g.limits().DirectWait))
	if failed.Outcome != 0 {
		return failed
	}
	failpoint.Hit("tell-before")
	defer failpoint.Hit("tell-after")
	return r.side.adapter.Report(ctx, hops, report)
}

func (n *node) serveTell(ctx context.Context, c *carriedReport) reply {
	g := n.gateway
	_, r, err := decodeNotice(c.Octets)
	if err != nil {
		return reply{Status: carryStatus(adapters.Failed(adapters.ReasonInternal, "")), Fault: "it cannot be read"}
	}
	route := g.routeOf(r.Sender.Address.Domain())
	if route == nil || route.side.name != c.Side {
		return reply{Status: carryStatus(adapters.Failed(adapters.ReasonDomainNotFound, ""))}
	}
	part := placePart(route.side, route.side.place(r.Recipient.Address, r.Sender.Address))
	if _, ok := n.parts.Enter(part); !ok {
		return n.moved(part)
	}
	defer n.parts.Exit(part)
	return reply{Status: carryStatus(g.tellHere(ctx, route, r))}
}

func (n *node) serveEntry(ctx context.Context, c *carriedEntry) reply {
	se, _, err := n.gateway.journal.disk.Read(ctx, store.ID(c.ID))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return reply{Found: false} // it has come to its end
	case err != nil:
		return reply{Moved: true} // later
	}
	if _, ok := n.parts.Enter(se.Part); !ok {
		return n.moved(se.Part)
	}
	defer n.parts.Exit(se.Part)
	n.gateway.journal.loadOne(ctx, se.ID)
	return reply{Found: true}
}
