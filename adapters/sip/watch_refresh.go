package sip

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// refreshLeast is the shortest wait before what the far side granted is refreshed: one that grants a second must not keep us busy. It is
// shorter where Limits.MinExpires is.
const refreshLeast = 5 * time.Second

func (a *Adapter) refreshWait(granted time.Duration) time.Duration {
	return max(refreshAfter(granted), min(refreshLeast, a.limits().MinExpires/2))
}

// refreshAfter is when a watch of duration d is refreshed: between 75 and 85 percent of it, so that many that were opened together are
// not refreshed together, and one lost transaction (32 s) leaves time for another where d has room for it.
func refreshAfter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d/10)+1))
}

// schedule sets the alarm for the first of the times that s waits for. s.mu is held.
func (s *subscribing) schedule() {
	var at time.Time
	for _, t := range [...]time.Time{s.expiry(), s.refreshAt, s.noticeBy} {
		if !s.ended && !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if !at.IsZero() && at.Before(s.resumeAt) {
		at = s.resumeAt
	}
	s.table.alarms.set(&s.alarm, s, at)
}

// expiry is when s is over unless it is refreshed. A poll, and a dialog that was asked to end, have expired at once, and are over with
// their NOTIFY or with Timer N. s.mu is held.
func (s *subscribing) expiry() time.Time {
	if s.left && !s.noticeBy.IsZero() {
		return time.Time{}
	}
	return s.d.Expires
}

// ring implements ringer: it does what is due.
func (s *subscribing) ring() {
	s.table.ticks.Add(1)
	s.mu.Lock()
	now := time.Now()
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	switch {
	case s.ended || s.table.a.closing.Load():
	case !s.table.a.mine(s.watch): // it goes to another gateway, with all that is due
		s.table.alarms.set(&s.alarm, s, now.Add(notMine))
	case due(s.noticeBy), due(s.expiry()):
		// "If this Timer N expires prior to the receipt of a NOTIFY request, the subscriber considers the subscription
		// failed" (RFC 6665 §4.1.2.4); and what was not refreshed in time is over.
		s.finish()
		if !s.fetch && !s.closing {
			defer s.tell(adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndTimeout, RetryAfter: retryAfterSilence})
		}
	case due(s.refreshAt):
		s.refreshAt = time.Time{}
		s.schedule()
		s.table.a.spawn(s.refresh)
	default:
		s.schedule()
	}
	s.mu.Unlock()
}

// retryAfterSilence keeps a watch from being opened again at once towards a presentity that does not answer.
const retryAfterSilence = 30 * time.Second

// refresh renews the watch before it expires. What ends it for good is told to the core, which waits for no answer of ours.
func (s *subscribing) refresh(ctx context.Context) {
	select {
	case s.table.slots <- struct{}{}:
		defer func() { <-s.table.slots }()
	case <-ctx.Done():
		return
	}
	s.mu.Lock()
	if !s.claimBy.IsZero() && !time.Now().Before(s.claimBy) {
		s.closing = true
		s.save()
		s.table.leave(s)
	}
	want, over, closing := s.want, s.ended || s.left, s.closing
	s.mu.Unlock()
	switch {
	case over:
		return
	case closing: // which an earlier process could not say
		s.subscribe(ctx, 0, 0)
		return
	}
	if hops := s.table.a.hopsNow(ctx, s.watch.Presentity); len(hops) > 0 {
		s.mu.Lock()
		s.hops = hops
		s.mu.Unlock()
	}
	st := s.subscribe(ctx, want, 0)
	if st.Outcome != adapters.Failure || st.State != adapters.WatchTerminated {
		return
	}
	op := adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndProbation, RetryAfter: st.RetryAfter}
	if st.End == adapters.EndRejected {
		op.End, op.Change = adapters.EndRejected, adapters.AuthorizationRefused
	}
	s.tell(op)
}

// hopsNow is Config.NextHops, none where that is unknown.
func (a *Adapter) hopsNow(ctx context.Context, to cpim.Address) []resolver.Target {
	if a.nextHops == nil {
		return nil
	}
	hops, err := a.nextHops(ctx, to)
	if err != nil {
		a.log.Debug().Str("domain", to.Domain()).Str("fault", clip(err.Error())).Msg("no next hops were found for a refresh")
	}
	return hops
}

// tell tells the core what became of the watch.
func (s *subscribing) tell(op adapters.NotifyOp) {
	a := s.table.a
	op.Peer = adapters.Peer{Adapter: Name}
	if s.peer != nil {
		op.Peer.Name = s.peer.Name
	}
	op.Watch, op.Whole = s.watch, true
	a.handler.Notify(a.base, &op)
}
