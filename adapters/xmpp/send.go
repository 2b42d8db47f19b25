package xmpp

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Message implements adapters.Adapter. The way is the component link that the two domains name, and then hops is not looked at, or a
// stream to one of hops. See the package comment for what each outcome means.
func (a *Adapter) Message(ctx context.Context, hops []resolver.Target, op *adapters.MessageOp) adapters.Status {
	if !a.lapses.follow(op, hops, a.lapsed) {
		return adapters.Accepted() // as one that nobody wants to know
	}
	envelope, wanted := a.talks.tell(op)
	if !wanted {
		return adapters.Accepted() // an activity that their client does not want to know
	}
	return a.carry(ctx, hops, op, envelope)
}

// messageRoom is what most stanzas take beside their content, in octets.
const messageRoom = 512

// carry writes a message with this envelope.
func (a *Adapter) carry(ctx context.Context, hops []resolver.Target, op *adapters.MessageOp, envelope stanza.Envelope) adapters.Status {
	op, err := a.hosting(op.From.Address, op.To.Address).sent(op)
	if err != nil {
		return refusal(err)
	}
	l, st := a.route(op.From.Address.Domain(), op.To.Address.Domain(), hops)
	if l == nil {
		return st
	}
	id := op.TransID
	if id == "" {
		id = randomID()
	}
	envelope.ID, envelope.Now = id, time.Now()
	octets, err := stanza.AppendMessage(make([]byte, 0, messageRoom+len(op.Content.Octets)), op, envelope)
	if err != nil {
		return refusal(err)
	}
	it := a.newItem(octets, op.From.Address, op.To.Address)
	it.kind, it.id = stanza.Message, id
	return l.send(ctx, it, op.Deadline)
}

// watchID begins the id of each presence stanza that asks for something, so that an error that comes late is known to answer one. What
// tells of presence has no id.
const watchID = "watch-"

// Watch implements adapters.Adapter. The answer is that the server took the request; what the presentity says comes as a
// notification.
func (a *Adapter) Watch(ctx context.Context, hops []resolver.Target, op *adapters.WatchOp) adapters.WatchStatus {
	if op.Verb == adapters.WatchClose || op.Verb == adapters.WatchCancel {
		a.personal.unwatched(talkers{ours: op.Watch.Watcher, theirs: op.Watch.Presentity})
	}
	op, err := a.hosting(op.Watch.Watcher, op.Watch.Presentity).asking(op)
	if err != nil {
		return adapters.WatchStatus{Status: refusal(err)}
	}
	l, st := a.route(op.Watch.Watcher.Domain(), op.Watch.Presentity.Domain(), hops)
	if l == nil {
		return adapters.WatchStatus{Status: st}
	}
	id := watchID + randomID()
	octets, err := stanza.AppendWatch(nil, op, id)
	if err != nil {
		return adapters.WatchStatus{Status: refusal(err)}
	}
	it := a.newItem(octets, op.Watch.Watcher, op.Watch.Presentity)
	it.kind, it.id = stanza.Presence, id
	answer := adapters.WatchStatus{Status: l.send(ctx, it, op.Deadline)}
	if answer.Outcome == adapters.Failure {
		return answer
	}
	switch op.Verb {
	case adapters.WatchAsk:
		answer.State = adapters.WatchPending
	case adapters.WatchClose, adapters.WatchCancel:
		answer.State = adapters.WatchTerminated
	}
	return answer
}

// Notify implements adapters.Adapter. One that tells of presence alone replaces an unsent one of the same watch.
func (a *Adapter) Notify(ctx context.Context, hops []resolver.Target, op *adapters.NotifyOp) adapters.Status {
	told := op
	op, err := a.hosting(op.Watch.Presentity, op.Watch.Watcher).telling(op)
	if err != nil {
		return refusal(err)
	}
	l, st := a.route(op.Watch.Presentity.Domain(), op.Watch.Watcher.Domain(), hops)
	if l == nil {
		return st
	}
	if !stanza.CanSeal(op) {
		a.log.Warn().Str("id", op.ID).Msg("xmpp: a signed or encrypted presence holds octets that XMPP cannot carry unchanged; what is not signed of it is told")
	}
	now := time.Now()
	octets, n, err := stanza.AppendNotifyWithCaps(nil, op, now)
	if err != nil {
		return refusal(err)
	}
	octets, events := a.personal.tell(octets, told, now)
	if n += events; n == 0 {
		return adapters.Accepted() // nothing to tell in XMPP
	}
	it := a.newItem(octets, op.Watch.Presentity, op.Watch.Watcher)
	it.kind, it.stanzas = stanza.Presence, n
	it.watch = op.Watch
	it.replaceable = events == 0 && op.Change == adapters.AuthorizationUnchanged && len(op.Withdrawn) == 0 && op.Failure.Outcome == 0 &&
		op.Whole && op.Presence != nil && op.State != adapters.WatchTerminated
	return l.send(ctx, it, op.Deadline)
}

// Report implements adapters.Adapter.
func (a *Adapter) Report(ctx context.Context, hops []resolver.Target, r *adapters.Report) adapters.Status {
	r, err := a.hosting(r.Recipient.Address, r.Sender.Address).reporting(r)
	if err != nil {
		return refusal(err)
	}
	l, st := a.route(r.Recipient.Address.Domain(), r.Sender.Address.Domain(), hops)
	if l == nil {
		return st
	}
	id := cmp.Or(r.ID, randomID())
	octets, err := stanza.AppendReport(nil, r, id)
	if err != nil {
		return refusal(err)
	}
	it := a.newItem(octets, r.Recipient.Address, r.Sender.Address)
	if it.kind = stanza.Message; r.Kind != adapters.ReportFailed { // that is an error, which nothing answers
		it.id = id
	}
	return l.send(ctx, it, time.Time{})
}

func noRoute() adapters.Status {
	return adapters.Failed(adapters.ReasonDomainNotFound, "No link leads to this domain")
}

func refusal(err error) adapters.Status {
	var r *stanza.Refusal
	if errors.As(err, &r) {
		return r.Status()
	}
	return adapters.Failed(adapters.ReasonAddressMalformed, "")
}

// newItem makes the item of an operation between two addresses, which have been written as JIDs in octets.
func (a *Adapter) newItem(octets []byte, from, to cpim.Address) *item {
	w, _ := a.waiters.Get().(*waiter)
	if w == nil {
		w = &waiter{done: make(chan adapters.Status, 1)}
	}
	return &item{octets: octets, stanzas: 1, sender: from, recipient: to, done: w.done, waiter: w}
}

// waiter is what an operation waits for its outcome with. It is used again by another one only after the outcome has come out of done: nothing
// comes a second time.
type waiter struct {
	done  chan adapters.Status
	timer *time.Timer // stopped while nobody waits
}

// within returns the channel of a timer.
func (w *waiter) within(d time.Duration) <-chan time.Time {
	if w.timer == nil {
		w.timer = time.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	return w.timer.C
}

// send queues it and waits for its outcome, until the deadline (zero: the default) or the end of ctx.
func (l *path) send(ctx context.Context, it *item, deadline time.Time) adapters.Status {
	if len(it.octets) > l.a.lim().StanzaBytes*max(1, it.stanzas) {
		return adapters.Failed(adapters.ReasonTooLarge, "")
	}
	wait := l.a.lim().Deadline
	if !deadline.IsZero() {
		wait = time.Until(deadline)
	}
	if wait <= 0 {
		return adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	if st, ok := l.box.add(it); !ok {
		return st
	}
	w := it.waiter
	if w == nil {
		w = &waiter{done: it.done}
	}
	expired := w.within(wait)
	select {
	case st := <-w.done:
		w.timer.Stop()
		l.a.waiters.Put(w)
		return st
	case <-expired:
	case <-ctx.Done():
	}
	w.timer.Stop()
	if l.box.cancel(it) {
		return adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	select {
	case st := <-it.done: // it was settled meanwhile
		return st
	default:
		return adapters.Failed(adapters.ReasonOutcomeUnknown, "")
	}
}
