package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// A late outcome may come to any node, and is settled by the owner of its message's part. While that part has no owner, or none that can be
// reached, it is written to the journal as it came, as an entry of the part: whoever owns the part next reads it there, and settles it as if it had
// just come. Only what carries a token of ours is worth that: of anything else the next owner could not find the sender. Nothing else is
// decided by the node that it came to, because whether the sender has heard an outcome already the owner knows.

// reportPatience is for how long the owner of a message's part is looked for, before a late outcome is stored for it.
const reportPatience = 5 * time.Second

// maxOutcomesKept bounds how many late outcomes one node stores for other owners at a time: within outcomesKeptFor. The next ones wait in their
// lanes, which are bounded too.
const (
	maxOutcomesKept = 10_000
	outcomesKeptFor = time.Minute
)

// outcomesKept are the keys of outcomes that this node has stored for other owners: the same is not stored again and again.
type outcomesKept struct {
	mu         sync.Mutex
	young, old map[string]struct{}
	born       time.Time
}

// add notes a key. first: it was not there. Not ok: there are too many.
func (k *outcomesKept) add(key string, now time.Time) (first, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.born) >= outcomesKeptFor/2 {
		k.old, k.young, k.born = k.young, map[string]struct{}{}, now
	}
	_, young := k.young[key]
	_, old := k.old[key]
	switch {
	case young || old:
		return false, true
	case len(k.young) >= maxOutcomesKept/2:
		return false, false
	}
	k.young[key] = struct{}{}
	return true, true
}

// forget takes a key back that was not stored.
func (k *outcomesKept) forget(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.young, key)
	delete(k.old, key)
}

// outcomeLane is the lane of outcomes that were stored as they came through side.
func outcomeLane(from *side, r *adapters.Report) laneKey {
	return laneKey{kind: laneOutcomes, side: from.index, from: r.Recipient.Address, to: r.Sender.Address}
}

// report has the owner of its message's part deal with a late outcome.
func (n *node) report(h *handler, r *adapters.Report, res result) {
	g := n.gateway
	t := &reportForward{node: n, handler: h, report: *r, result: res, part: g.partOf(h.side, r.Sender.Address, r.Recipient.Address)}
	if epoch, ok := n.parts.Enter(t.part); ok {
		defer n.parts.Exit(t.part)
		h.settle(r, res, epoch)
		return
	}
	key := laneKey{kind: laneForward, side: h.side.index, from: r.Recipient.Address, to: r.Sender.Address}
	if g.lanes.add(key, t) {
		return
	}
	// The lane is full, or lanes drain.
	t.result.status = adapters.Failed(adapters.ReasonOverloaded, "")
	if t.worth() && t.store() {
		t.result.status = adapters.Accepted()
	}
	g.finish(&t.result)
}

// reportForward is a late outcome on its way to the owner of its message's part.
type reportForward struct {
	node    *node
	handler *handler
	report  adapters.Report
	result  result
	part    int
}

// run implements task.
func (t *reportForward) run(ctx context.Context) {
	n, g := t.node, t.node.gateway
	worth := t.worth()
	life := 6 * reportPatience
	if worth {
		life = g.limits().NoticeLife
	}
	ctx, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	for {
		if t.forward(ctx) {
			return
		}
		switch {
		case worth && t.store():
			t.result.status = adapters.Accepted()
		case ctx.Err() == nil:
			continue // nor does the store take it: it is in memory until one of them does
		default:
			if worth {
				g.log.Error().Str("id", t.result.id).Int("part", t.part).Msg("a late outcome is not told: its part had no owner, and the store did not take it")
			}
			t.result.status = adapters.Failed(adapters.ReasonDomainTimeout, "")
		}
		n.gateway.finish(&t.result)
		return
	}
}

// forward looks for the owner for a while, and hands the outcome on. False if there was none.
func (t *reportForward) forward(ctx context.Context) bool {
	n := t.node
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	var epoch uint64
	enter := func() (ok bool) {
		epoch, ok = n.parts.Enter(t.part)
		return ok
	}
	write := func() ([]byte, error) { return carryReport(&t.report, t.result.id, t.handler.side, false) }
	for {
		// What one outcome settles another of the same message does not settle again: it may be said twice.
		a, how := n.ask(ctx, t.part, enter, write)
		switch how {
		case forwardMine:
			t.handler.settle(&t.report, t.result, epoch)
			n.parts.Exit(t.part)
			return true
		case forwardDone:
			if t.result.status = adapters.Accepted(); !a.Found {
				t.result.status = adapters.Failed(adapters.ReasonInternal, "") // of another version
			}
			n.gateway.finish(&t.result)
			return true
		case forwardNobody:
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(forwardPause):
		}
	}
}

// worth tells whether the next owner could do anything with it.
func (t *reportForward) worth() bool {
	j := t.node.gateway.journal
	return j.outcomeKey(t.report.TransID, t.report.Kind) != "" && j.recall(t.handler.side, &t.report) != nil
}

// store writes the outcome for the next owner of its part. False if the store does not take it now.
func (t *reportForward) store() bool {
	n, j := t.node, t.node.gateway.journal
	key := j.outcomeKey(t.report.TransID, t.report.Kind)
	// Two terminal outcomes of one message have one key, and the first to come is the one that is told.
	first, ok := n.outcomes.add(key, time.Now())
	if !ok || !first {
		return ok
	}
	e := j.newNotice(j.disk.NewID())
	e.kind, e.part = store.KindOutcome, t.part
	octets, err := encodeNotice(&t.report, t.result.id, t.handler.side.name, "")
	if err == nil {
		err = j.append(e, outcomeLane(t.handler.side, &t.report), octets)
	}
	if err != nil {
		n.outcomes.forget(key)
		j.gateway.log.Warn().Str("id", t.result.id).Str("fault", clip(err.Error())).Msg("a late outcome could not be stored for the owner of its part")
		return false
	}
	failpoint.Hit("outcome-kept")
	n.nudge(t.part, e.id)
	return true
}

// settleKept settles an outcome that was stored as it came. The entry is forgotten when the sender was told, or a notice is stored. It is
// called in the entry's lane, and done in that of the sender's notices.
func (j *journal) settleKept(ctx context.Context, e *entry, se store.Entry) adapters.Status {
	n, r, err := decodeNotice(se.Octets)
	from := (*side)(nil)
	if err == nil {
		from = j.gateway.sides[n.Side]
	}
	if from == nil {
		j.bury(nil, e, "it cannot be read, or came through an adapter that there is not any more")
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	o := j.recall(from, r)
	if o == nil {
		j.remove(e) // too old by now, or its side is gone
		return adapters.Failed(adapters.ReasonUnexpectedRequest, "")
	}
	t := &keptOutcome{journal: j, origin: o, entry: e, from: from, report: r, id: n.Op, done: make(chan bool, 1)}
	if !j.gateway.lanes.add(reportLane(o.side, r), t) {
		return adapters.Failed(adapters.ReasonOverloaded, "")
	}
	if !<-t.done {
		return adapters.Failed(adapters.ReasonOverloaded, "")
	}
	j.remove(e)
	return adapters.Accepted()
}

// keptOutcome is a stored outcome in the lane of its sender's notices.
type keptOutcome struct {
	journal *journal
	entry   *entry
	origin  *origin
	from    *side
	report  *adapters.Report
	id      string
	done    chan bool // has room for one: it is settled
}

// run implements task.
func (t *keptOutcome) run(ctx context.Context) {
	g, r := t.journal.gateway, t.report
	settled := true // what panics is not tried for ever
	defer func() { t.done <- settled }()
	defer func() { g.recovered(t.id, "a late outcome", recover()) }()
	res := result{
		operation: opReport, id: t.id, from: t.from, began: time.Now(), sender: r.Recipient.Address, recipient: r.Sender.Address, transID: r.TransID, report: r.Kind,
	}
	o := t.origin
	if !t.entry.noted {
		// The table of this process may know more of it: that it was told, and what its sender may repeat. It is asked once, because it notes that.
		known, found := g.origins.settle(res.began, t.from, r, t.entry.epoch)
		switch {
		case known == nil && found:
			o = nil
		case known != nil && r.Kind == adapters.ReportFailed:
			if g.duplicates.forgetKey(known.copyKey); known.record != (recollected{}) {
				t.journal.recent.note(known.record, true)
			}
		}
	}
	if o == nil {
		res.status = adapters.Failed(adapters.ReasonUnexpectedRequest, "")
		g.finish(&res)
		return
	}
	t.entry.noted = true
	res.to = o.side
	key := t.journal.outcomeKey(r.TransID, r.Kind)
	x := &recalled{reporting: reporting{gateway: g, to: o.side, result: res, key: key, epoch: t.entry.epoch}, origin: o, given: *r}
	x.given.ID = t.journal.tokens.reportID(key)
	x.run(ctx)
	settled = !x.lost
}
