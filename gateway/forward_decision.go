package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
)

// What a user decides (an approval, a refusal, a cancellation) her server says once, and most protocols give it no answer. So the gateway that has taken it
// keeps it until the owner of the pair has written it down, whoever that is by then: while the store has no leader nothing can be written, and an owner
// whose lease ends forgets what it could not write. Only then what came behind it goes on; and what comes late is not believed against what was decided
// after it was taken (watch.Event). It is kept in memory, and no longer than decisionWait: a gateway that is killed in an election forgets it.

// decision is one on its way to the owner of its pair. One of notify and watch is set.
type decision struct {
	handler *handler
	pair    pair
	notify  *adapters.NotifyOp
	watch   *adapters.WatchOp
	end     func(adapters.WatchStatus) // with watch
	once    sync.Once
	taken   time.Time
	tried   bool                            // a gateway may have done it
	refusal atomic.Pointer[adapters.Status] // of the last owner that was asked; nil: none has refused it
}

// decisionWait is for how long a decision is kept that cannot be written down.
const decisionWait = 2 * time.Minute

// decisionLate is when another gateway may have taken a newer one: it has the link by then.
const decisionLate = time.Second

// decide has a decision kept until it is written down. False: there is no room.
func (h *handler) decide(t *decision) bool {
	t.handler, t.taken = h, time.Now()
	return h.gateway.onward.add(h.laneOf(adapters.WatchID{Watcher: t.pair.watcher}, adapters.WatchID{Presentity: t.pair.presentity}), t)
}

// again tells whether it is said again, or late.
func (t *decision) again() bool { return t.tried || time.Since(t.taken) > decisionLate }

// heard notes what a gateway that it was said to has answered: one that only knows of another owner has not done it, nor one that was not reached.
func (t *decision) heard(a *reply, err error) {
	if err == nil && !a.Untouched || errors.Is(err, store.ErrUnknown) {
		t.tried = true
	}
}

// supersededBy implements replaceable: presence that comes behind it stays behind it.
func (t *decision) supersededBy(task) (yes, stop bool) { return false, true }

// superseded implements replaceable; it never is.
func (t *decision) superseded() {}

// refusedPause is how long it takes until an owner that cannot do it is asked again: its routes, or its version, are others until somebody changes that.
const refusedPause = 5 * time.Second

// run implements task.
func (t *decision) run(ctx context.Context) {
	g := t.handler.gateway
	ctx, cancel := context.WithDeadline(ctx, t.taken.Add(decisionWait))
	defer cancel()
	// Who waits for an answer waits no longer than for any other watch operation; the decision is kept all the same.
	answered := time.AfterFunc(g.limits().DirectWait, func() { t.answer(t.refusedOr(adapters.Accepted())) })
	defer answered.Stop()
	for ctx.Err() == nil {
		written, pause := t.say(ctx)
		if written {
			t.answer(adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchTerminated})
			t.kept()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	g.metrics.dropped.WithLabelValues("unowned").Inc()
	t.answer(t.refusedOr(adapters.Failed(adapters.ReasonDomainTimeout, "")))
	t.kept()
}

// say says it to the owner of its pair, and tells whether it is written down, or else when to say it again.
func (t *decision) say(ctx context.Context) (written bool, pause time.Duration) {
	n := t.handler.gateway.node
	kept := make(chan error, 1)
	here := func() {
		e := watch.Event{Told: t.notify, Asked: t.watch, Taken: t.taken, Again: t.again()}
		t.tried = true
		n.decideHere(t.pair, e, func(err error) { kept <- err })
	}
	a, how := (*reply)(nil), forwardMine
	if part, _, ok := n.pairHere(t.pair); ok {
		here()
		n.parts.Exit(part)
	} else {
		a, how = n.askAgain(ctx, t.pair, t.carry, t.heard, here)
	}
	switch how {
	case forwardMine:
		select {
		case err := <-kept:
			return err == nil, forwardPause // if not, another gateway goes on with the pair, from what was written before
		case <-ctx.Done():
		}
	case forwardDone:
		if status, refused := a.refused(); refused {
			t.refusal.Store(&status)
			return false, refusedPause
		}
		return true, 0
	}
	return false, forwardPause // the way to the owner is full
}

// refused tells whether an owner that was asked about presence has not done it, and why.
func (r *reply) refused() (s adapters.Status, refused bool) {
	switch {
	case r.Watch != nil:
		s = r.Watch.status().Status
		return s, s.Outcome == adapters.Failure
	case r.Fault != "":
		return adapters.Failed(adapters.ReasonInternal, ""), true
	}
	return adapters.Status{}, false
}

// refusedOr is why the last owner that was asked has not done it; s if none has said so.
func (t *decision) refusedOr(s adapters.Status) adapters.WatchStatus {
	if why := t.refusal.Load(); why != nil {
		s = *why
	}
	return adapters.WatchStatus{Status: s}
}

// kept is the end: it is written down, or is kept no longer.
func (t *decision) kept() {
	if t.notify != nil && t.notify.Kept != nil {
		t.handler.gateway.watches.nowKept(t.notify.Kept)
	}
}

// answer answers a cancellation, the first time that it is called.
func (t *decision) answer(s adapters.WatchStatus) {
	if t.end != nil {
		t.once.Do(func() { t.handler.gateway.watches.answerWatcher(t.end, s) })
	}
}

// carry writes it for another gateway.
func (t *decision) carry() ([]byte, error) {
	c := &call{Version: forwardVersion}
	if t.watch != nil {
		c.Watch = watchCarried(t.handler.side, t.watch, false)
		c.Watch.Taken, c.Watch.Again = t.taken, t.again()
		return encodeCall(c)
	}
	x, err := notifyCarried(t.handler.side, t.notify, false, false)
	if err != nil {
		return nil, err
	}
	x.Taken, x.Again = t.taken, t.again()
	c.Notify = x
	return encodeCall(c)
}

// decideHere brings a decision to its state, whose part was entered. done is called once: with nil when what it changed is written down, with errNotOwner
// when that is another gateway's to do.
func (n *node) decideHere(p pair, e watch.Event, done func(error)) {
	part, _ := pairHash(p)
	epoch, _ := n.parts.Epoch(part)
	in := stepInput{event: e}
	in.kept = func(err error) {
		if err != nil {
			done(err)
			return
		}
		n.gateway.keeper.survived(watchFact(p), func(err error) {
			if err == nil && !n.parts.Still(part, epoch) {
				err = errNotOwner
			}
			done(err)
		})
	}
	if e.Asked != nil {
		in.respond = func(adapters.WatchStatus) {} // who has taken it answers
	}
	n.gateway.watches.step(p, in)
}

// serveDecision is decideHere for another gateway, whose call ends with ctx. answer is that of a decision which is written down.
func (n *node) serveDecision(ctx context.Context, p pair, e watch.Event, answer reply) reply {
	part, _, ok := n.pairHere(p)
	if !ok {
		moved := n.moved(part)
		moved.Untouched = true
		return moved
	}
	kept := make(chan error, 1)
	n.decideHere(p, e, func(err error) { kept <- err })
	n.parts.Exit(part)
	select {
	case err := <-kept:
		if err != nil {
			return n.moved(part)
		}
		return answer
	case <-ctx.Done(): // it is asked again
		return reply{Late: true}
	}
}
