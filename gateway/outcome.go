package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// A message gets one terminal notice at most, over restarts too (I3). An outcome has a key: what the message is called on the far side,
// with the sealed token in it. A notice of it that is in the journal carries the key, and as long as it is there no other outcome of
// that key is told. When it has been told, the key is written to the facts first, and the notice forgotten then. So whatever the process
// dies between, the outcome is told, and no second one is.

// bucketSettled holds the keys of outcomes that were told.
const bucketSettled = "settled"

// outcomeKey is the key of an outcome of the message that side to knows as transID, "" if that has no token: without one, no outcome finds
// the message's sender after a restart.
func (j *journal) outcomeKey(transID string, kind adapters.ReportKind) string {
	if j == nil || kind == adapters.ReportDelayed || !strings.Contains(transID, tokenMark) {
		return ""
	}
	sum := sha256.Sum256([]byte(transID))
	key := hex.EncodeToString(sum[:16])
	if kind == adapters.ReportDisplayed {
		key += "d" // it may come beside a terminal one
	}
	return key
}

// outcomeKeyOf is outcomeKey for the end of op.
func (j *journal) outcomeKeyOf(op *adapters.MessageOp) string {
	// A sender's own identifier may have a dot in it too; only ours opens, and for the side that it was made for, which no route may lead to
	// any more.
	for _, s := range j.gateway.order {
		if j.tokens.open(j.gateway, s, &adapters.Report{TransID: op.TransID, Sender: op.From, Recipient: op.To}) != nil {
			return j.outcomeKey(op.TransID, adapters.ReportFailed)
		}
	}
	return ""
}

// reportID is the name of a report that tells of something which this key, or the ID of its entry, names: it is the same each time it is
// told, and nobody can guess it.
func (t *tokens) reportID(what string) string {
	room := takeHashRoom()
	defer room.free()
	room.octets = append(append(slices.Grow(room.octets[:0], sha256.BlockSize)[:sha256.BlockSize], "report\x00"...), what...)
	return hex.EncodeToString(t.nonces.sum(room, room.octets)[:16])
}

// told tells whether an outcome with this key was told, or is being told. It may wait for the disk. Not sure: the disk does not say; then it is
// taken for told.
func (j *journal) told(ctx context.Context, key string) (yes, sure bool) {
	if key == "" {
		return false, true
	}
	j.mu.Lock()
	_, pending := j.pending[key]
	j.mu.Unlock()
	if pending || j.recent.has(outcomeRecord(key)) {
		return true, true
	}
	ctx, cancel := context.WithTimeout(ctx, markWait)
	defer cancel()
	_, _, err := j.disk.Get(ctx, bucketSettled, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		j.gateway.log.Error().Str("fault", clip(err.Error())).Msg("a late outcome is not passed on: the store does not say whether one was")
		return true, false
	}
	return err == nil, true
}

// settle writes that the outcome of an entry was told. It is called before the entry is forgotten.
func (j *journal) settle(e *entry) {
	if e.settles == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	failpoint.Hit("settle-before")
	err := j.disk.Put(ctx, bucketSettled, e.settles, nil, j.gateway.limits().Life+j.gateway.limits().NoticeLife)
	failpoint.Hit("settle-after")
	if err != nil {
		j.gateway.log.Error().Str("entry", string(e.id)).Str("fault", clip(err.Error())).Msg("the store does not take that an outcome was told: another one may be told after a restart")
	}
}

// told is an outcome in the words of the message's sender.
func (o *origin) told(r *adapters.Report) *adapters.Report {
	out := *r
	out.Sender, out.TransID, out.Thread = o.sender, o.transID, o.thread
	out.Recipient.Address = o.recipient.Address
	out.Wants, out.Sent = o.wants, o.sent
	return &out
}

// recalled is a Report whose message only its token knows: whether it was told already the disk knows, so that is looked up in its lane.
type recalled struct {
	reporting
	origin *origin
	given  adapters.Report
}

// run implements task.
func (t *recalled) run(ctx context.Context) {
	t.report = t.origin.told(&t.given)
	t.durable = true
	t.reporting.run(ctx)
}

// reportLane is the lane of a report to side.
func reportLane(to *side, r *adapters.Report) laneKey {
	return laneKey{kind: laneReports, side: to.index, from: r.Recipient.Address, to: r.Sender.Address}
}

// reporting is one Report on its way to the sender of its message.
type reporting struct {
	gateway *Gateway
	to      *side
	report  *adapters.Report
	result  result
	key     string // of the outcome, "" for none
	// durable tells that the report is written before it is told: that a message failed must be heard whatever happens to the process. That
	// it was delivered or displayed is told at once, as the message was.
	durable bool

	epoch uint64 // since when its message's part is this node's
	lost  bool   // it was neither told nor stored, and may be another time

	stored *entry // its entry in the journal
}

// run implements task.
func (t *reporting) run(ctx context.Context) {
	g := t.gateway
	t.result.status = adapters.Failed(adapters.ReasonInternal, "")
	defer func() {
		if g.recovered(t.result.id, "a report", recover()) && t.stored != nil {
			g.journal.added(t.stored, reportLane(t.to, t.report), t.report) // there its attempts are counted
		}
		g.finish(&t.result)
	}()
	j := g.journal
	if j == nil || t.report.Kind == adapters.ReportDelayed {
		t.result.status, _ = t.tell(ctx)
		return
	}
	if t.durable {
		if yes, sure := j.told(ctx, t.key); yes {
			t.lost = !sure
			t.result.status = adapters.Failed(adapters.ReasonUnexpectedRequest, "")
			return
		}
		t.stored = j.storeNotice(t)
		if t.stored != nil && !j.ours(t.stored) {
			t.stored = nil // its part has another owner, who has been told of it
			t.result.status = adapters.Accepted()
			return
		}
		if t.stored != nil && j.behind(reportLane(t.to, t.report)) {
			n := t.stored
			t.stored = nil
			j.added(n, reportLane(t.to, t.report), t.report)
			t.result.status = adapters.Accepted()
			return
		}
	}
	status, tried := t.tell(ctx)
	t.result.status = status
	again := passes(t.result.status)
	n := t.stored
	t.stored = nil
	switch {
	case !tried && n != nil:
		j.added(n, reportLane(t.to, t.report), t.report) // nobody refused it: if no route leads there by then either, it is a dead letter
	case again && n != nil:
		j.add(reportLane(t.to, t.report), t.report.Sender.Address.Domain(), n, t.result.status)
	case again:
		t.lost = !j.keepNotice(t)
	case n != nil:
		j.remove(n)
	case t.key != "":
		j.recent.note(outcomeRecord(t.key), true)
	}
}

// tell tries to tell it once; not tried: no route leads to its sender any more.
func (t *reporting) tell(ctx context.Context) (status adapters.Status, tried bool) {
	g := t.gateway
	r := g.routeOf(t.report.Sender.Address.Domain())
	if r == nil || r.side != t.to {
		return adapters.Failed(adapters.ReasonDomainNotFound, ""), false
	}
	if g.observe != nil {
		g.observe(Observation{From: t.result.from.name, To: t.to.name, Report: t.report})
	}
	return g.tell(ctx, r, t.report, t.result.id), true
}

// storeNotice writes a report on its way. nil if the journal does not take it. If its part is not this node's any more, the owner is told of it.
func (j *journal) storeNotice(t *reporting) *entry {
	n := j.newNotice(j.disk.NewID())
	n.settles, n.part, n.epoch = t.key, max(0, j.gateway.noticePart(t.report)), t.epoch
	octets, err := encodeNotice(t.report, t.result.id, t.to.name, t.key)
	if err == nil {
		err = j.append(n, reportLane(t.to, t.report), octets)
	}
	if err != nil {
		j.gateway.log.Error().Str("id", t.result.id).Str("fault", clip(err.Error())).Msg("a notice could not be stored")
		return nil
	}
	if !j.ours(n) {
		j.gateway.node.nudge(n.part, n.id)
		return n
	}
	j.await(n)
	return n
}

// keepNotice stores a report that could not be told now, and has it tried. False if the journal does not take it.
func (j *journal) keepNotice(t *reporting) bool {
	n := j.storeNotice(t)
	if n == nil {
		return false
	}
	if j.ours(n) {
		j.added(n, reportLane(t.to, t.report), t.report)
	}
	return true
}

// await notes that the outcome of an entry is being told.
func (j *journal) await(e *entry) {
	if e.settles == "" {
		return
	}
	j.mu.Lock()
	j.pending[e.settles] = struct{}{}
	j.mu.Unlock()
}
