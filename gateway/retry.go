package gateway

import (
	"context"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
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
		ended := b.expired(now)
		var late []*entry
		for _, e := range b.entries {
			if e.kind == store.KindMessage && !e.progress.Delayed && now.Sub(e.accepted) >= j.limits.DelayedAfter {
				late = append(late, e)
			}
		}
		var head *entry
		if len(b.entries) > 0 {
			head = b.entries[0]
		}
		j.mu.Unlock()
		for _, e := range ended {
			j.expire(ctx, e)
		}
		for _, e := range late {
			j.tellDelay(e)
		}
		if t.look || head == nil || n == maxRun {
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
	defer func() {
		if !g.recovered(string(e.id), "a stored entry", recover()) {
			return
		}
		// What makes the gateway panic twice would do so for ever, and those behind it would wait as long (T-FI-23).
		e.progress.Crashes++
		if on = true; e.progress.Crashes >= 2 {
			j.bury(b, e, "it made the gateway panic twice")
			return
		}
		j.mark(e) //nolint:errcheck // logged
		on = false
		j.refused(b)
	}()
	// Written before the attempt, so that a process that dies in it does not try for ever without a pause (THREATS.md 1.3).
	e.progress.Attempts++
	e.progress.Next = time.Now().Add(retryAfter(e.progress.Attempts))
	if err := j.mark(e); err != nil {
		j.refused(b)
		return false
	}
	rctx, cancel := context.WithTimeout(ctx, markWait)
	se, _, err := j.disk.Read(rctx, e.id)
	cancel()
	if err != nil {
		g.log.Error().Str("entry", string(e.id)).Str("fault", clip(err.Error())).Msg("an entry of the journal cannot be read: it is kept and not touched")
		j.drop(b, e)
		return true
	}
	var status adapters.Status
	if e.kind == store.KindNotice {
		status = j.deliverNotice(ctx, e, se)
	} else {
		status = j.deliverMessage(ctx, b, e, se)
	}
	switch {
	case !passes(status):
		j.drop(b, e)
		j.mu.Lock()
		b.failures, b.next = 0, time.Time{}
		b.at.answered()
		j.mu.Unlock()
		return true
	case status.Code != 0:
		j.refused(b) // somebody answered: the place is there
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

// deliverMessage tries a stored message, and tells its sender of an end that is bad.
func (j *journal) deliverMessage(ctx context.Context, b *backlog, e *entry, se store.Entry) adapters.Status {
	g := j.gateway
	m, op, err := decodeMessage(se.Octets)
	if err != nil {
		j.bury(b, e, clip(err.Error()))
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	began := time.Now()
	from := g.sides[m.Side]
	r := g.routeOf(op.To.Address.Domain())
	status := adapters.Failed(adapters.ReasonDomainNotFound, "")
	if r != nil && r.side.index == b.key.side {
		op.Deadline = began.Add(g.limits.DirectWait)
		if e.expires.Before(op.Deadline) {
			op.Deadline = e.expires
		}
		hops, failed := g.nextHops(ctx, r, op.To.Address, op.Deadline)
		status = failed
		if failed.Outcome == 0 {
			status = g.hand(ctx, from, r.side, hops, op, m.Given)
		}
	}
	res := result{
		operation: opMessage, id: op.ID, from: from, to: g.order[b.key.side], began: began, status: status,
		sender: op.From.Address, recipient: op.To.Address, transID: op.TransID, peer: op.Peer.Name,
	}
	if from != nil {
		g.finish(&res)
	}
	if passes(status) {
		return status
	}
	if status.Outcome == adapters.Failure && from != nil {
		j.tellEnd(e, from, m, op, status)
		return status
	}
	j.remove(e)
	return status
}

// noticeOf is the ID of the notice of a message's end: there can be one at most.
func noticeOf(id store.ID) store.ID { return id + "n" }

// tellEnd writes the notice of a message's end, then forgets the message. A process that dies between the two finds both, and forgets
// the message (see start).
func (j *journal) tellEnd(e *entry, from *side, m *storedMessage, op *adapters.MessageOp, status adapters.Status) {
	r := &adapters.Report{
		Kind: adapters.ReportFailed, Sender: op.From, Recipient: op.To, TransID: m.Given, Thread: op.Thread, Wants: op.Wants, Sent: op.Sent,
		Status: status, Time: time.Now(),
	}
	if r.Sent.IsZero() {
		r.Sent = e.accepted
	}
	if !j.keepNotice(noticeOf(e.id), op.ID, from, r) {
		e.progress.Dead = "its end could not be told: " + status.Reason.String()
		j.bury(nil, e, e.progress.Dead)
		return
	}
	j.remove(e)
}

// keepNotice stores a report on its way to side, and has it tried. False if the journal does not take it.
func (j *journal) keepNotice(id store.ID, op string, to *side, r *adapters.Report) bool {
	now := time.Now()
	n := &entry{id: id, kind: store.KindNotice, accepted: now, expires: now.Add(j.limits.NoticeLife)}
	key := reportLane(to, r)
	octets, err := encodeNotice(r, op, to.name)
	if err == nil {
		err = j.append(n, key, octets)
	}
	if err != nil {
		j.gateway.log.Error().Str("id", op).Str("fault", clip(err.Error())).Msg("a notice could not be stored")
		return false
	}
	j.mu.Lock()
	b, _ := j.enlist(key, r.Sender.Address.Domain(), n)
	j.mu.Unlock()
	j.release(b.at)
	return true
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
	if route := g.routeOf(r.Sender.Address.Domain()); to != nil && route != nil && route.side == to {
		hops, failed := g.nextHops(ctx, route, r.Sender.Address, began.Add(g.limits.DirectWait))
		status = failed
		if failed.Outcome == 0 {
			status = to.adapter.Report(ctx, hops, r)
		}
	}
	if to != nil {
		g.finish(&result{
			operation: opReport, id: n.Op, from: to, to: to, began: began, status: status,
			sender: r.Recipient.Address, recipient: r.Sender.Address, transID: r.TransID, report: r.Kind,
		})
	}
	if !passes(status) {
		j.remove(e)
	}
	return status
}

// expire ends an entry whose life is over: the sender of a message is told, a notice that nobody took is a dead letter.
func (j *journal) expire(ctx context.Context, e *entry) {
	if e.kind == store.KindNotice {
		j.bury(nil, e, "nobody took it in its life")
		return
	}
	j.giveUp(ctx, e, adapters.Failed(adapters.ReasonExpired, ""))
}

// giveUp ends a message that is not tried any more, and has its sender told.
func (j *journal) giveUp(ctx context.Context, e *entry, status adapters.Status) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markWait)
	se, _, err := j.disk.Read(ctx, e.id)
	cancel()
	if err != nil {
		j.bury(nil, e, clip(err.Error()))
		return
	}
	m, op, err := decodeMessage(se.Octets)
	from := (*side)(nil)
	if err == nil {
		from = j.gateway.sides[m.Side]
	}
	if err != nil || from == nil {
		j.bury(nil, e, "it was given up, and its sender cannot be told")
		return
	}
	j.gateway.finish(&result{
		operation: opMessage, id: op.ID, from: from, began: e.accepted, status: status,
		sender: op.From.Address, recipient: op.To.Address, transID: op.TransID, peer: op.Peer.Name,
	})
	j.tellEnd(e, from, m, op, status)
}

// tellDelay tells the sender once that it takes long. A notice of delay is not stored: the end will be told in any case.
func (j *journal) tellDelay(e *entry) {
	e.progress.Delayed = true
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
