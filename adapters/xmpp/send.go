package xmpp

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
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
	if envelope.ID = id; !op.Sent.IsZero() { // else there is no delay to tell
		envelope.Now = time.Now()
	}
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
	if st = l.send(ctx, it, op.Deadline); st.Outcome == adapters.Failure && events > 0 {
		a.personal.unheard(told.Watch)
	}
	return st
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
		w = &waiter{done: make(chan adapters.Status, 3)}
	}
	return &item{octets: octets, stanzas: 1, sender: from, recipient: to, done: w.done, waiter: w}
}

// waiter is what an operation waits for its outcome with: for one channel, in which either that comes, or given up, once for the deadline and once for
// the end of the caller's context, at most. It has room for all three. It is used again by another operation only after the outcome has come out of it, when
// neither of the others can come any more.
type waiter struct {
	done  chan adapters.Status
	timer *time.Timer // stopped while nobody waits
}

// givenUp is no outcome, but that nobody waits for one any more.
func givenUp() adapters.Status { return adapters.Status{} }

// giveUp tells who waits that it is no use.
func (w *waiter) giveUp() {
	select {
	case w.done <- givenUp():
	default: // it has been told enough
	}
}

// within has it give up after d.
func (w *waiter) within(d time.Duration) {
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.giveUp)
	} else {
		w.timer.Reset(d)
	}
}

// await returns the outcome, or givenUp.
func (w *waiter) await(ctx context.Context, l *path) adapters.Status {
	if l.callers.watch(ctx, l.box) {
		return <-w.done
	}
	select {
	case st := <-w.done:
		return st
	case <-ctx.Done():
		return givenUp()
	}
}

// callers watches the end of one context for all who wait with it: nearly all have the core's, and to wait for a second channel costs more than
// all else of the wait. The context knows it, and all that it belongs to, until forget.
type callers struct {
	watched atomic.Pointer[watched]
	mu      sync.Mutex // who changes watched has it
}

type watched struct {
	done <-chan struct{}
	stop func() bool
}

// watch tells whether the end of ctx gives up what is in box and was added before. False: ctx is another one than that which is watched.
func (c *callers) watch(ctx context.Context, box *outbox) bool {
	done := ctx.Done()
	if done == nil {
		return true // it never ends
	}
	if w := c.watched.Load(); w != nil {
		// One that has ended may have given up all before this one was added.
		return w.done == done && ctx.Err() == nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched.Load() == nil {
		w := &watched{done: done}
		w.stop = context.AfterFunc(ctx, func() {
			box.giveUp(done)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.watched.CompareAndSwap(w, nil)
		})
		c.watched.Store(w)
	}
	return false // the next ones
}

// forget ends the watch, for what is given up while the context goes on. Nobody may wait.
func (c *callers) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.watched.Swap(nil); w != nil {
		w.stop()
	}
}

// giveUp tells those whose context has ended, and who wait for what is there. It tells each once: what is on its way stays there when nobody waits for it any
// more, and its waiter, which nobody reads then, has no room for more.
func (b *outbox) giveUp(caller <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tell := func(all []*item) {
		for _, it := range all {
			if it.caller == caller && it.waiter != nil && !it.settled {
				it.waiter.giveUp()
				it.caller = nil
			}
		}
	}
	tell(b.queue)
	for _, f := range b.flights {
		tell(f.items)
	}
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
	w := it.waiter
	if w == nil {
		w = &waiter{done: make(chan adapters.Status, 3)}
		it.waiter, it.done = w, w.done
	}
	it.caller = ctx.Done()
	if st, ok := l.box.add(it); !ok {
		return st
	}
	w.within(wait)
	if st := w.await(ctx, l); st.Outcome != 0 {
		if w.timer.Stop() && len(w.done) == 0 {
			l.a.waiters.Put(w)
		}
		return st
	}
	w.timer.Stop()
	if l.box.cancel(it) {
		return adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	for {
		select {
		case st := <-it.done:
			if st.Outcome != 0 {
				return st // it was settled meanwhile
			}
		default:
			return adapters.Failed(adapters.ReasonOutcomeUnknown, "")
		}
	}
}
