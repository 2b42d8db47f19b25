package xmpp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// All who wait with one context are let go when it ends, be what they wait for queued or on its way; who waits with another is not. What comes after that
// for one that is on its way disturbs nobody.
func TestTheEndOfAContextLetsAllItsCallersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{}.orDefault()
		a := &Adapter{}
		a.now.Store(&world{limits: limits})
		l := &path{a: a, name: func() string { return "server" }, box: newOutbox(limits, func() {})}
		send := func(ctx context.Context, deadline time.Time) <-chan adapters.Status {
			done := make(chan adapters.Status, 1)
			go func() { done <- l.send(ctx, a.newItem([]byte("<message/>"), cpim.Address{}, cpim.Address{}), deadline) }()
			synctest.Wait()
			return done
		}
		outcome := func(name string, done <-chan adapters.Status, want adapters.Reason) {
			t.Helper()
			synctest.Wait()
			select {
			case st := <-done:
				if st.Outcome != adapters.Failure || st.Reason != want {
					t.Errorf("%s: %+v", name, st)
				}
			default:
				t.Errorf("%s: still waits", name)
			}
		}
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			other, end := context.WithCancel(t.Context())
			first := send(ctx, time.Time{}) // it has its end watched for the next ones
			left := send(ctx, time.Time{})
			_, _, ping := l.box.take(nil, maxBatch, false, time.Now())
			queued := send(ctx, time.Time{})
			others := send(other, time.Time{})
			if w := l.callers.watched.Load(); w == nil || w.done != ctx.Done() {
				t.Fatal("the end of the context is not watched")
			}
			cancel()
			outcome("the first, on its way", first, adapters.ReasonOutcomeUnknown)
			outcome("the second, on its way", left, adapters.ReasonOutcomeUnknown)
			outcome("queued", queued, adapters.ReasonDomainTimeout)
			if len(others) > 0 {
				t.Error("who waits with another context was let go")
			}
			outcome("with a context that has ended", send(ctx, time.Time{}), adapters.ReasonDomainTimeout)
			if !l.box.acknowledge(ping) {
				t.Error("the ping is not known")
			}
			end()
			outcome("the other context", others, adapters.ReasonDomainTimeout)
		}
	})
}

// However often a context that has ended is used again, as by all that waits in the core's lanes when the time for its shutdown is over, what is on its way and was
// given up can be acknowledged.
func TestWhatWasGivenUpIsAcknowledgedAfterManyMoreCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{}.orDefault()
		a := &Adapter{}
		a.now.Store(&world{limits: limits})
		l := &path{a: a, name: func() string { return "server" }, box: newOutbox(limits, func() {})}
		ctx, cancel := context.WithCancel(t.Context())
		send := func() {
			go l.send(ctx, a.newItem([]byte("<message/>"), cpim.Address{}, cpim.Address{}), time.Time{})
			synctest.Wait()
		}
		send()
		send()
		_, taken, ping := l.box.take(nil, maxBatch, false, time.Now())
		cancel()
		for range 10 {
			send()
		}
		for i, it := range taken {
			if len(it.done) == cap(it.done) {
				t.Fatalf("%d: its caller has gone, and was told so until there was no room for its outcome", i)
			}
		}
		if !l.box.acknowledge(ping) {
			t.Error("the ping is not known")
		}
	})
}

// A deadline gives up what was not sent in time and what was not acknowledged in time, of callers whose context's end is watched for all of them, too; a waiter
// that was used for one that came out well is used again.
func TestADeadlineLetsItsCallerGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{}.orDefault()
		a := &Adapter{}
		a.now.Store(&world{limits: limits})
		l := &path{a: a, name: func() string { return "server" }, box: newOutbox(limits, func() {})}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i := range 20 {
			began := time.Now()
			sent, good := i%2 == 0, i%4 == 0
			done := make(chan adapters.Status, 1)
			go func() {
				done <- l.send(ctx, a.newItem([]byte("<message/>"), cpim.Address{}, cpim.Address{}), began.Add(time.Second))
			}()
			synctest.Wait()
			ping := ""
			if sent {
				_, _, ping = l.box.take(nil, maxBatch, false, began)
			}
			if good {
				time.Sleep(999 * time.Millisecond)
				l.box.acknowledge(ping)
			}
			st := <-done
			took := time.Since(began)
			switch {
			case good && (st.Outcome != adapters.Indeterminate || took != 999*time.Millisecond),
				!good && sent && (st.Reason != adapters.ReasonOutcomeUnknown || took != time.Second),
				!good && !sent && (st.Reason != adapters.ReasonDomainTimeout || took != time.Second):
				t.Fatalf("%d, sent %v: %+v after %v", i, sent, st, took)
			}
			l.box.acknowledge(ping)
		}
	})
}
