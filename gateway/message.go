package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// handler is what the gateway is to one adapter.
type handler struct {
	gateway *Gateway
	side    *side
}

var (
	_ adapters.Handler  = (*handler)(nil)
	_ adapters.Crowd    = (*handler)(nil)
	_ adapters.Audience = (*handler)(nil)
)

// Crowded implements adapters.Crowd.
func (h *handler) Crowded() bool { return h.gateway.lanes.full() }

// Waiting implements adapters.Crowd.
func (h *handler) Waiting() int { return h.gateway.lanes.waitingFor(h.side.index) }

// Overrun implements adapters.Crowd.
func (h *handler) Overrun() bool { return h.gateway.lanes.overrun() }

// Message implements adapters.Handler: it admits op and puts it into its lane, or refuses it at once.
func (h *handler) Message(_ context.Context, op *adapters.MessageOp, respond func(adapters.Status)) {
	g := h.gateway
	op.ID = g.ids.operation()
	d := &delivery{gateway: g, from: h.side, op: op, respond: respond, began: time.Now()}
	refused := g.admitMessage(d)
	if refused.Outcome != 0 {
		d.end(refused)
		return
	}
	if g.node != nil {
		g.node.message(d)
		return
	}
	g.accept(d)
}

// accept takes a message that was admitted, here or by another gateway, and is this gateway's to deliver.
func (g *Gateway) accept(d *delivery) {
	op := d.op
	if identified(op) {
		known, v := g.duplicates.begin(d.began, d)
		switch v {
		case answered:
			d.end(known)
			return
		case waiting:
			return
		}
		d.identified = true
		if g.journal != nil {
			var known adapters.Status
			if known, d.record = g.journal.recent.answerOf(d.began, d.from, op); known.Outcome != 0 {
				g.duplicates.recalled()
				d.again = true
				d.end(known)
				return
			}
		}
	}
	if refused := g.often(d); refused.Outcome != 0 {
		d.end(refused)
		return
	}
	d.lane = g.messageLane(d.route, op)
	add := g.lanes.add
	if op.Activity != adapters.ActivityNone {
		add = g.lanes.addNewest
	}
	if !add(d.lane, d) {
		d.end(adapters.Failed(adapters.ReasonOverloaded, "Too many messages are under way"))
	}
}

// messageLane is the lane of a message.
func (g *Gateway) messageLane(r *route, op *adapters.MessageOp) laneKey {
	key := laneKey{kind: laneMessages, side: r.side.index, to: op.To.Address}
	if !r.side.caps.OnePerRecipient {
		key.from = op.From.Address
	}
	return key
}

// admitMessage finds the route of a message, or the reason to refuse it. It may be called from any goroutine.
func (g *Gateway) admitMessage(d *delivery) adapters.Status {
	op := d.op
	var refused adapters.Status
	if d.route, refused = g.admitAddresses(d.from, op.From.Address, op.To.Address); refused.Outcome != 0 {
		return refused
	}
	if refused = g.permit(d); refused.Outcome != 0 {
		return refused
	}
	if g.draining.Load() {
		return adapters.Failed(adapters.ReasonOverloaded, "The gateway is shutting down")
	}
	// "If a CPIM gateway receives an instant message operation that has a MaxForwards attribute of 0, it discards the
	// message and invokes a failure operation", and "When a CPIM gateway relays an instant message, it decrements the
	// value of the MaxForwards attribute" (RFC 3860 §3.4.2).
	if op.Hops <= 0 {
		g.metrics.refusedBy.WithLabelValues("hops").Inc()
		return adapters.Failed(adapters.ReasonLoop, "No hops left")
	}
	op.Hops--
	if !g.settings().traceless && !g.tracer.pass(op, &d.trace) {
		g.metrics.refusedBy.WithLabelValues("trace").Inc()
		return adapters.Failed(adapters.ReasonLoop, "The message has been here before")
	}
	if limit := d.route.maxContent; limit > 0 && len(op.Content.Octets) > limit {
		return adapters.Failed(adapters.ReasonTooLarge, fmt.Sprintf("The content is over %d octets", limit))
	}
	if !op.Expires.IsZero() && !op.Expires.After(d.began) {
		return adapters.Failed(adapters.ReasonExpired, "")
	}
	return g.secured(d)
}

// often refuses a message that comes too often, or whose sender sends too many; copies of one that is known have been answered before.
// What only tells of its sender's activity is left out and not refused, since its loss is nobody's loss.
func (g *Gateway) often(d *delivery) adapters.Status {
	op, now := d.op, d.began
	if op.Activity != adapters.ActivityNone {
		if !g.activities.allow(now, op.From.Address, op.To.Address) {
			g.metrics.refusedBy.WithLabelValues("rate").Inc()
			return adapters.Accepted()
		}
		return adapters.Status{}
	}
	counted, ok := g.repeats.allow(now, op)
	if !ok {
		g.metrics.refusedBy.WithLabelValues("repeats").Inc()
		return adapters.Failed(adapters.ReasonLoop, "The same message came too often")
	}
	d.counted = counted
	if !g.settings().brake.allow(now, op.From.Address, op.To.Address) {
		g.metrics.refusedBy.WithLabelValues("rate").Inc()
		return adapters.Failed(adapters.ReasonOverloaded, "Too many messages to one recipient")
	}
	return g.charge(d)
}

// delivery is one message on its way. The lane's goroutine owns it once it has been added to the lane.
type delivery struct {
	gateway *Gateway
	from    *side
	route   *route
	op      *adapters.MessageOp
	respond func(adapters.Status)
	began   time.Time
	lane    laneKey
	trace   [1]string // room for op's, where it has passed nobody before

	meter   *policy.Meter  // of the policy by which it was admitted
	verdict policy.Verdict // of that
	release func()         // gives back what it took of the policy's bounds; nil: nothing

	part    int    // with several gateways: the part it belongs to
	epoch   uint64 // and since when that is this one's
	entered bool   // the part was entered; end leaves it
	away    bool   // it is on its way to another gateway, or to who that is

	identified bool        // its copies can be known
	stored     bool        // it is in the journal
	again      bool        // an earlier process handed over a copy
	copyKey    originKey   // among duplicates, where it was looked for
	record     recollected // among what earlier processes handed over, likewise
	counted    originKey   // among repeats
	copies     []*delivery // that wait for its answer; guarded by duplicates
}

// activityLife is for how long it is worth telling that somebody is composing.
const activityLife = 5 * time.Second

// supersededBy implements replaceable: of what one sender does, only the newest is worth telling. A message between the two
// ends the search, because what the newer one tells comes after it.
func (d *delivery) supersededBy(newer task) (yes, stop bool) {
	n, ok := newer.(*delivery)
	if !ok || n.op.From.Address != d.op.From.Address {
		return false, false
	}
	if d.op.Activity == adapters.ActivityNone {
		return false, true
	}
	return true, true
}

// superseded implements replaceable.
func (d *delivery) superseded() { d.end(adapters.Accepted()) }

// run implements task: it hands the message to the recipient's adapter and answers.
func (d *delivery) run(ctx context.Context) {
	if d.away {
		if status, ok := d.gateway.node.forward(ctx, d); ok {
			d.end(status)
		}
		return
	}
	d.end(d.deliver(ctx))
}

func (d *delivery) deliver(ctx context.Context) (status adapters.Status) {
	g, op, to := d.gateway, d.op, d.route.side
	defer func() {
		if g.recovered(op.ID, "a message", recover()) {
			status = adapters.Failed(adapters.ReasonInternal, "")
		}
	}()
	now := time.Now()
	op.Deadline = d.began.Add(g.limits().DirectWait)
	if op.Activity != adapters.ActivityNone {
		op.Deadline = d.began.Add(min(activityLife, g.limits().DirectWait))
	}
	if !op.Expires.IsZero() && op.Expires.Before(op.Deadline) {
		op.Deadline = op.Expires
	}
	if !op.Deadline.After(now) {
		// It waited in its lane behind others to the same recipient until its sender's patience ended.
		if !op.Expires.IsZero() && !op.Expires.After(now) {
			return adapters.Failed(adapters.ReasonExpired, "")
		}
		return adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	given := op.TransID
	stored := g.journal != nil && op.Activity == adapters.ActivityNone
	switch {
	case stored && (op.Wants != 0 || !to.caps.PositiveAnswer):
		op.TransID = g.journal.tokens.make(now, d.from, to, op, given)
	case op.TransID == "":
		op.TransID = g.ids.transaction()
	}
	if stored && g.journal.behind(d.lane) {
		if op.NoStore {
			// It may neither overtake what waits nor wait with it (XEP-0334, no-store).
			return adapters.Failed(adapters.ReasonDomainTimeout, "")
		}
		return d.keep(given, adapters.Status{})
	}
	if stored {
		probed, ok := g.journal.probe(place{to.index, op.To.Address.Domain()})
		switch {
		case probed != nil:
			defer probed()
		case !ok && op.NoStore:
			return adapters.Failed(adapters.ReasonDomainTimeout, "")
		case !ok:
			return d.keep(given, adapters.Status{})
		}
	}
	hops, status := g.nextHops(ctx, d.route, op.To.Address, op.Deadline)
	if d.entered && !g.node.still(d.part, d.epoch) {
		// It waited in its lane, or for the resolver, until its part was another's; what has not been handed to anybody may be sent again.
		return adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	if status.Outcome == 0 {
		status = g.hand(ctx, now, d.from, to, hops, op, given, d.epoch)
	}
	switch {
	case !stored, passes(status) && op.NoStore:
	case passes(status):
		status = d.keep(given, status)
	default:
		g.journal.heard(place{to.index, op.To.Address.Domain()})
	}
	return status
}

// keep stores the message; see journal.keep.
func (d *delivery) keep(given string, failed adapters.Status) adapters.Status {
	status := d.gateway.journal.keep(d, d.lane, given, failed)
	d.stored = status.Outcome != adapters.Failure
	return status
}

// hand gives a message to the adapter of its recipient, and remembers where a late outcome belongs. now is about when, given is what its sender calls
// it, epoch since when its part is this node's.
func (g *Gateway) hand(ctx context.Context, now time.Time, from, to *side, hops []resolver.Target, op *adapters.MessageOp, given string, epoch uint64) adapters.Status {
	// Kept before the message leaves: a late outcome may overtake the adapter's own answer.
	late := (op.Wants != 0 || !to.caps.PositiveAnswer) && op.Activity == adapters.ActivityNone
	if late = late && from != nil; late {
		var copyKey originKey
		var record recollected
		if op.OriginID != "" {
			copyKey = g.duplicates.key(from, op)
			if g.journal != nil {
				record = copyRecord(recollectFailed, from, op)
			}
		}
		g.origins.remember(now, from, to, op, given, copyKey, record, epoch)
	}
	if g.observe != nil && from != nil {
		g.observe(Observation{From: from.name, To: to.name, Message: op})
	}
	status := to.adapter.Message(ctx, hops, op)
	if status.Outcome == 0 {
		status = adapters.Failed(adapters.ReasonInternal, "")
	}
	switch {
	case !late || status.Outcome != adapters.Failure:
	case status.Reason == adapters.ReasonOutcomeUnknown:
		g.origins.doubt(to, op)
	case g.journal != nil:
		g.origins.end(to, op) // forgotten, its token would be believed
	default:
		g.origins.forget(to, op)
	}
	return status
}

// end answers the sender, once, and those of copies, and writes the operation's line.
func (d *delivery) end(s adapters.Status) {
	g, op := d.gateway, d.op
	var copies []*delivery
	if d.identified && (op.OriginID != "" || d.stored) { // else there is nothing to note
		copies = g.duplicates.settle(time.Now(), d, s)
	}
	if s.Outcome == adapters.Failure {
		g.repeats.forgive(d.counted)
	}
	if d.release != nil {
		d.release()
	}
	if d.identified && !d.stored && !d.again && g.journal != nil {
		g.journal.recent.handedOver(d.from, op, d.record, s)
	}
	if d.stored {
		failpoint.Hit("answer-before")
	}
	d.answer(s)
	if d.stored {
		failpoint.Hit("answer-after")
	}
	if d.entered {
		g.node.exit(d.part)
	}
	r := result{
		operation: opMessage, id: op.ID, from: d.from, began: d.began, status: s,
		sender: op.From.Address, recipient: op.To.Address, transID: op.TransID, peer: op.Peer.Name,
	}
	if d.route != nil {
		r.to = d.route.side
	}
	g.finish(&r)
	for _, again := range copies {
		again.end(s)
	}
}

// answer calls respond. A panic of the adapter in it must end neither the lane, which is the process, nor what is given back afterwards.
func (d *delivery) answer(s adapters.Status) {
	defer func() { d.gateway.recovered(d.op.ID, "an answer", recover()) }()
	d.respond(s)
}

// Report implements adapters.Handler: a late outcome goes to the sender of its message, if that is known, and only once.
func (h *handler) Report(_ context.Context, r *adapters.Report) {
	g := h.gateway
	res := result{
		operation: opReport, id: g.ids.operation(), from: h.side, began: time.Now(),
		sender: r.Recipient.Address, recipient: r.Sender.Address, transID: r.TransID, report: r.Kind,
	}
	if refused := g.permitReport(r); refused.Outcome != 0 {
		res.status = refused
		g.finish(&res)
		return
	}
	if g.node != nil {
		// By who owns the message: what settles it is in one place.
		g.node.report(h, r, res)
		return
	}
	h.settle(r, res, 0)
}

// settle finds whom a late outcome is for, and has them told once. epoch is since when the message's part is this node's. part and epoch are those of its message, with several gateways.
func (h *handler) settle(r *adapters.Report, res result, epoch uint64) {
	g, now := h.gateway, res.began
	o, known := g.origins.settle(now, h.side, r, epoch)
	key := g.journal.outcomeKey(r.TransID, r.Kind)
	if o == nil && !known && key != "" {
		if o = g.journal.recall(h.side, r); o != nil {
			// Of a message from before a restart, or forgotten: whether it was told already the disk knows.
			t := &recalled{reporting: reporting{gateway: g, to: o.side, result: res, key: key, epoch: epoch}, origin: o, given: *r}
			t.given.ID = g.journal.tokens.reportID(key)
			t.result.to = o.side
			if !g.lanes.add(reportLane(o.side, r), t) {
				res.status = adapters.Failed(adapters.ReasonOverloaded, "")
				g.finish(&res)
			}
			return
		}
	}
	if o == nil {
		// Unknown, already settled, or not asked for: nothing leaves (T-LP-06), and it is counted.
		res.status = adapters.Failed(adapters.ReasonUnexpectedRequest, "")
		g.finish(&res)
		return
	}
	if r.Kind == adapters.ReportFailed {
		if g.duplicates.forgetKey(o.copyKey); o.record != (recollected{}) {
			g.journal.recent.note(o.record, true)
		}
	}
	res.to = o.side
	t := &reporting{
		gateway: g, to: o.side, report: o.told(r), result: res, key: key, epoch: epoch, durable: g.journal != nil && r.Kind == adapters.ReportFailed,
	}
	if key != "" {
		t.report.ID = g.journal.tokens.reportID(key)
	}
	if !g.lanes.add(reportLane(o.side, t.report), t) {
		// It is settled: nobody tells it a second time. Without room in its lane, or while lanes drain, it is told later.
		if g.journal != nil && r.Kind != adapters.ReportDelayed && g.journal.keepNotice(t) {
			return
		}
		t.result.status = adapters.Failed(adapters.ReasonOverloaded, "")
		g.finish(&t.result)
	}
}
