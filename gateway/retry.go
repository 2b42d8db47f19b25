package gateway

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// retry is the work on one backlog, in its lane.
type retry struct {
	journal *journal
	backlog *backlog
	look    bool // only look for what has expired, and for senders to be told of a delay
}

// maxRun bounds how many entries one task delivers before what waits in the lane has its turn.
const maxRun = 16

// run implements task.
func (t *retry) run(ctx context.Context) {
	j, b := t.journal, t.backlog
	for n := 0; ; n++ {
		now := time.Now()
		j.mu.Lock()
		ended, late := b.overdue(now, j.gateway.limits().DelayedAfter)
		var head *entry
		if len(b.entries) > 0 {
			head = b.entries[0]
		}
		j.mu.Unlock()
		var unended []*entry
		for _, e := range ended {
			if !j.expire(ctx, e) {
				unended = append(unended, e)
			}
		}
		if len(unended) > 0 {
			j.mu.Lock()
			unended = slices.DeleteFunc(unended, func(e *entry) bool {
				lost := !j.ours(e)
				if lost { // forgetParts did not find it
					j.stock.give(&e.held)
					delete(j.pending, e.settles)
				}
				return lost
			})
			b.entries, b.soonest = slices.Concat(unended, b.entries), now
			j.mu.Unlock()
			j.refused(b)
			break
		}
		for _, e := range late {
			j.tellDelay(e)
		}
		if t.look || head == nil || n == maxRun || n > 0 && !j.pace(b) { // the first one was reckoned with when the backlog was taken
			break
		}
		if !j.attempt(ctx, b, head) {
			break
		}
	}
	if t.look {
		j.mu.Lock()
		if len(b.entries) == 0 && !b.out && j.backlogs[b.key] == b {
			j.forget(b)
		}
		j.mu.Unlock()
		return
	}
	j.done(b)
}

// attempt tries the first entry of a backlog. It returns whether the next one may be tried.
func (j *journal) attempt(ctx context.Context, b *backlog, e *entry) (on bool) {
	g := j.gateway
	if !j.enter(e) {
		j.refused(b) // it is handed to another node, or nobody knows whose it is now
		return false
	}
	defer g.node.exit(e.part)
	if e.progress.Crashes >= maxDeaths {
		return j.condemn(b, e, "the gateway died each time that it was tried")
	}
	j.mu.Lock() // an operator may be looking at the entry
	e.progress.Trying = store.TryingAmong
	if e.suspect {
		e.progress.Trying = store.TryingAlone
	}
	j.mu.Unlock()
	defer j.alone.enter(e.suspect)()
	defer func() {
		if !g.recovered(string(e.id), "a stored entry", recover()) {
			return
		}
		// What makes the gateway panic twice would do so for ever, and those behind it would wait as long (T-FI-23).
		j.mu.Lock()
		e.progress.Trying = store.TryingNot
		e.progress.Crashes++
		j.mu.Unlock()
		if e.progress.Crashes >= maxPanics {
			on = j.condemn(b, e, "it made the gateway panic twice")
			return
		}
		j.mark(e) //nolint:errcheck // logged
		on = false
		j.refused(b)
	}()
	// Written before the attempt, so that a process that dies in it does not try for ever without a pause (THREATS.md 1.3).
	j.mu.Lock()
	e.progress.Attempts++
	e.progress.Next = time.Now().Add(retryAfter(e.progress.Attempts))
	j.mu.Unlock()
	err := j.mark(e)
	var se store.Entry
	if err == nil {
		rctx, cancel := context.WithTimeout(ctx, markWait)
		se, _, err = j.disk.Read(rctx, e.id)
		cancel()
	} else if !errors.Is(err, store.ErrNotFound) {
		j.refused(b)
		return false
	}
	if errors.Is(err, store.ErrNotFound) && g.node != nil {
		j.ended(e) // in an attempt that this node had begun before it lost the part
		j.drop(b, e)
		if e.kind == store.KindMessage {
			j.loadOne(ctx, noticeOf(e.id)) // or its notice was written, and the store did not say so
		}
		return true
	}
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		j.refused(b) // the disk is at fault, and may not be soon
		return false
	}
	if err != nil {
		j.bury(b, e, clip(err.Error())) // an operator sees it, and those behind it go on
		return true
	}
	var status adapters.Status
	asked := true // somebody at the place, who has answered
	switch e.kind {
	case store.KindNotice:
		status = j.deliverNotice(ctx, e, se)
	case store.KindOutcome:
		status = j.settleKept(ctx, e, se)
	default:
		var ended bool
		if status, asked, ended = j.deliverMessage(ctx, b, e, se); !ended {
			j.refused(b) // its end could not be written: it is told when the journal takes it
			return false
		}
	}
	j.mu.Lock()
	e.progress.Trying = store.TryingNot
	if e.suspect {
		e.suspect, e.progress.Crashes = false, 0 // it was something else
	}
	j.mu.Unlock()
	if passes(status) {
		j.mark(e) //nolint:errcheck // logged; after a restart it is a suspect
	}
	switch {
	case !passes(status):
		j.drop(b, e)
		j.mu.Lock()
		b.failures, b.next = 0, time.Time{}
		if asked {
			b.at.answered(time.Now(), g.limits().ReturnRate, g.limits().DirectWait)
		}
		j.mu.Unlock()
		return true
	case answers(status):
		j.mu.Lock()
		b.refused(time.Now(), status)
		if ownCrowd(status) {
			b.at.pressed(time.Now())
		}
		b.at.ramp.refused++
		j.mu.Unlock()
		return false
	default:
		j.mu.Lock()
		b.at.silent(time.Now())
		j.mu.Unlock()
		return false
	}
}

// refused makes one backlog wait.
func (j *journal) refused(b *backlog) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b.failures++
	b.next = time.Now().Add(retryAfter(b.failures))
}

// deliverMessage tries a stored message, and tells its sender of an end that is bad. Not asked: it was given to nobody. Not ended: its end could not be written.
func (j *journal) deliverMessage(ctx context.Context, b *backlog, e *entry, se store.Entry) (status adapters.Status, asked, ended bool) {
	g := j.gateway
	m, op, err := decodeMessage(se.Octets)
	if err != nil {
		j.bury(b, e, clip(err.Error()))
		return adapters.Failed(adapters.ReasonInternal, ""), false, true
	}
	began := time.Now()
	from := g.sides[m.Side]
	r := g.routeOf(op.To.Address.Domain())
	status = adapters.Failed(adapters.ReasonDomainNotFound, "")
	if refused := g.follow(op.From.Address, op.To.Address); refused.Outcome != 0 {
		status = refused // while it waited one of the two was blocked, or they were parted
	} else if r != nil && r.side.index == b.key.side {
		op.Deadline = began.Add(g.limits().DirectWait)
		if e.expires.Before(op.Deadline) {
			op.Deadline = e.expires
		}
		hops, failed := g.nextHops(ctx, r, op.To.Address, op.Deadline)
		status = failed
		if failed.Outcome == 0 && !j.ours(e) {
			return status, false, false // the journal or the resolver took so long that its part may be another's by now, who tries it too
		}
		if failed.Outcome == 0 {
			status, asked = g.hand(ctx, time.Now(), from, r.side, hops, op, m.Given, e.epoch), true
		}
	}
	res := result{
		operation: opMessage, id: op.ID, from: from, to: g.order[b.key.side], began: began, status: status,
		sender: op.From.Address, recipient: op.To.Address, transID: op.TransID, peer: op.Peer.Name,
	}
	if from != nil {
		g.finish(&res)
	}
	switch {
	case passes(status):
	case status.Outcome != adapters.Failure:
		failpoint.Hit("delivered")
		if from != nil && identified(op) {
			j.recent.handedOver(from, op, recollected{}, status)
		}
		j.remove(e)
	case from == nil:
		j.bury(b, e, "it was refused, and there is no adapter for its sender any more")
	default:
		return status, asked, j.tellEnd(e, from, m, op, status)
	}
	return status, asked, true
}

// noticeOf is the ID of the notice of a message's end: there can be one at most.
func noticeOf(id store.ID) store.ID { return id + "n" }

// tellEnd replaces a message by the notice of its end, and has that tried. Nothing is tried before the message is gone: a process that
// died after the notice was told, and before the message was forgotten, would deliver it. False if the journal does not take it: then the
// message is still there, and its end must be told later.
func (j *journal) tellEnd(e *entry, from *side, m *storedMessage, op *adapters.MessageOp, status adapters.Status) bool {
	if !j.ours(e) {
		return false
	}
	j.gateway.duplicates.forget(from, op)
	n, r := j.endOf(e, m, op, status)
	if yes, _ := j.told(context.Background(), n.settles); yes {
		j.remove(e) // the far side told an outcome of an earlier attempt
		return true
	}
	key := reportLane(from, r)
	octets, err := encodeNotice(r, op.ID, from.name, n.settles)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), markWait)
		failpoint.Hit("notice-before")
		err = j.disk.Exchange(ctx, e.id, j.stored(n, key, octets))
		failpoint.Hit("notice-after")
		cancel()
	}
	if err != nil {
		j.gateway.log.Error().Str("entry", string(e.id)).Str("fault", clip(err.Error())).Msg("the end of a message cannot be told yet: the journal does not take the notice")
		return false
	}
	j.gone(e)
	if !j.ours(n) {
		j.gateway.node.nudge(n.part, n.id)
		return true
	}
	j.await(n)
	j.added(n, key, r)
	return true
}

// endOf is the notice of a message's end.
func (j *journal) endOf(e *entry, m *storedMessage, op *adapters.MessageOp, status adapters.Status) (*entry, *adapters.Report) {
	r := &adapters.Report{
		Kind: adapters.ReportFailed, Sender: op.From, Recipient: op.To, TransID: m.Given, Thread: op.Thread, Wants: op.Wants, Sent: op.Sent,
		Status: status, Time: time.Now(),
	}
	if r.Sent.IsZero() {
		r.Sent = e.accepted
	}
	n := j.newNotice(noticeOf(e.id))
	n.part, n.epoch = e.part, e.epoch
	n.settles = j.outcomeKeyOf(op)
	r.ID = j.tokens.reportID(cmp.Or(n.settles, string(n.id)))
	return n, r
}

// newNotice begins the entry of a notice.
func (j *journal) newNotice(id store.ID) *entry {
	now := time.Now()
	return &entry{id: id, kind: store.KindNotice, accepted: now, expires: now.Add(j.gateway.limits().NoticeLife)}
}

// added has a notice tried that has been stored.
func (j *journal) added(n *entry, key laneKey, r *adapters.Report) {
	j.mu.Lock()
	b, _ := j.enlist(key, r.Sender.Address.Domain(), n)
	j.mu.Unlock()
	j.release(b.at)
}

// deliverNotice tries a stored notice. Nothing answers a notice: one that is refused is forgotten (T-LP-06).
func (j *journal) deliverNotice(ctx context.Context, e *entry, se store.Entry) adapters.Status {
	g := j.gateway
	n, r, err := decodeNotice(se.Octets)
	if err != nil {
		j.bury(nil, e, clip(err.Error()))
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	to := g.sides[n.Side]
	began := time.Now()
	status := adapters.Failed(adapters.ReasonDomainNotFound, "")
	tried := false
	if route := g.routeOf(r.Sender.Address.Domain()); to != nil && route != nil && route.side == to {
		status, tried = g.tell(ctx, route, r, n.Op), true
	}
	if to != nil {
		g.finish(&result{
			operation: opReport, id: n.Op, from: to, to: to, began: began, status: status,
			sender: r.Recipient.Address, recipient: r.Sender.Address, transID: r.TransID, report: r.Kind,
		})
	}
	switch {
	case !tried:
		j.bury(nil, e, "no route leads to the sender any more") // nobody refused it
	case !passes(status):
		j.remove(e)
	}
	return status
}

// expire ends an entry whose life is over: the sender of a message is told, a notice that nobody took is a dead letter. False if the
// journal does not take it now.
func (j *journal) expire(ctx context.Context, e *entry) bool {
	if !j.enter(e) {
		return false
	}
	defer j.gateway.node.exit(e.part)
	switch e.kind {
	case store.KindNotice:
		j.bury(nil, e, "nobody took it in its life")
		return true
	case store.KindOutcome:
		j.bury(nil, e, "it could not be told in its life")
		return true
	}
	return j.giveUp(ctx, e, adapters.Failed(adapters.ReasonExpired, ""))
}

// giveUp ends a message that is not tried any more, and has its sender told. False if the journal does not take that now.
func (j *journal) giveUp(ctx context.Context, e *entry, status adapters.Status) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markWait)
	se, _, err := j.disk.Read(ctx, e.id)
	cancel()
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if err != nil {
		j.bury(nil, e, clip(err.Error()))
		return true
	}
	m, op, err := decodeMessage(se.Octets)
	from := (*side)(nil)
	if err == nil {
		from = j.gateway.sides[m.Side]
	}
	if err != nil || from == nil {
		j.bury(nil, e, "it was given up, and its sender cannot be told")
		return true
	}
	j.gateway.finish(&result{
		operation: opMessage, id: op.ID, from: from, began: e.accepted, status: status,
		sender: op.From.Address, recipient: op.To.Address, transID: op.TransID, peer: op.Peer.Name,
	})
	return j.tellEnd(e, from, m, op, status)
}

// tellDelay tells the sender once that it takes long. A notice of delay is not stored: the end will be told in any case.
func (j *journal) tellDelay(e *entry) {
	if !j.enter(e) {
		return
	}
	defer j.gateway.node.exit(e.part)
	j.mu.Lock()
	e.progress.Delayed = true
	j.mu.Unlock()
	if j.mark(e) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	se, _, err := j.disk.Read(ctx, e.id)
	if err != nil {
		return
	}
	m, op, err := decodeMessage(se.Octets)
	if err != nil {
		return
	}
	from := j.gateway.sides[m.Side]
	if from == nil {
		return
	}
	r := &adapters.Report{
		Kind: adapters.ReportDelayed, Sender: op.From, Recipient: op.To, TransID: m.Given, Thread: op.Thread, Wants: op.Wants, Sent: op.Sent, Time: time.Now(),
	}
	if r.Sent.IsZero() {
		r.Sent = e.accepted
	}
	t := &reporting{gateway: j.gateway, to: from, report: r, result: result{
		operation: opReport, id: op.ID, from: from, to: from, began: time.Now(), sender: op.To.Address, recipient: op.From.Address, transID: m.Given, report: r.Kind,
	}}
	j.gateway.lanes.add(reportLane(from, r), t)
}
