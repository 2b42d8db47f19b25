package gateway_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/pidf"
)

var errNoLeader = errors.New("the store has no leader")

// leaderless has nothing written, on any node, until the func is called.
func leaderless(all map[string]*member) (elected func()) {
	var gone atomic.Bool
	gone.Store(true)
	for _, m := range all {
		m.memory.FailWith(func(method string) error {
			if gone.Load() && method != "Get" && method != "Watch" && method != "Each" {
				return errNoLeader
			}
			return nil
		})
	}
	return func() { gone.Store(false) }
}

func takenBack() *adapters.NotifyOp {
	op := subscribed()
	op.Change, op.State, op.End = adapters.AuthorizationRefused, adapters.WatchTerminated, adapters.EndRejected
	return op
}

// A decision that is taken while the store has no leader is not forgotten when its owner then loses the lease: whoever has taken it says it to the next
// one. In the end the user is refused, and is told so once more if need be; nobody is asked again.
func TestDecisionOutlivesItsOwnersLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all, owner := watched(t)
		defer f.shutdown()
		kept := make(chan time.Duration, 1)
		elected := leaderless(all)
		begin := time.Now()
		op := takenBack()
		op.Kept = func() { kept <- time.Since(begin) }
		all[owner].xmpp.Handler().Notify(t.Context(), op)
		time.Sleep(15 * time.Second) // all leases end
		select {
		case after := <-kept:
			t.Errorf("it was said to be kept after %v", after)
		default:
		}
		elected()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(kept) != 1 {
			t.Error("it is not kept")
		}
		// Whoever asks now is nobody who was approved.
		answers := make(chan adapters.WatchStatus, 2)
		again := romeoWatchesJuliet(adapters.WatchOpen, "e", time.Hour)
		again.Hops = adapters.DefaultHops
		f.stranger(place(julietSeen)).sip.Handler().Watch(t.Context(), again, func(s adapters.WatchStatus) { answers <- s })
		if s := <-answers; s.State != adapters.WatchPending {
			t.Errorf("after the refusal: %+v, asked %q", s, f.verbs())
		}
	})
}

// So is a cancellation: who wants to see nobody any more is not shown anybody.
func TestCancellationOutlivesItsOwnersLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all, _ := watched(t)
		defer f.shutdown()
		ask := func(verb adapters.WatchVerb) adapters.WatchStatus {
			answers := make(chan adapters.WatchStatus, 2)
			op := julietWatchesRomeo(verb)
			op.Hops = adapters.DefaultHops
			f.stranger(place(julietSeen)).xmpp.Handler().Watch(t.Context(), op, func(s adapters.WatchStatus) { answers <- s })
			return <-answers
		}
		told := func(op *adapters.NotifyOp) {
			for _, m := range all {
				for _, w := range m.sip.Watches() {
					if w.Verb == adapters.WatchOpen || w.Verb == adapters.WatchAsk {
						m.sip.Handler().Notify(t.Context(), op)
						return
					}
				}
			}
		}
		if s := ask(adapters.WatchAsk); s.Outcome == adapters.Failure {
			t.Fatalf("%+v", s)
		}
		time.Sleep(time.Second)
		approved := documentOf(pidf.BasicOpen, "phone")
		approved.Change, approved.State = adapters.AuthorizationGranted, adapters.WatchActive
		told(approved)
		time.Sleep(time.Second)
		elected := leaderless(all)
		if s := ask(adapters.WatchCancel); s.Outcome == adapters.Failure {
			t.Errorf("%+v", s)
		}
		time.Sleep(15 * time.Second)
		elected()
		time.Sleep(time.Minute)
		n := 0
		count := func() (n int) {
			for _, m := range all {
				n += len(m.xmpp.Notifies())
			}
			return n
		}
		n = count()
		told(documentOf(pidf.BasicOpen, "desk"))
		time.Sleep(time.Minute)
		if got := count(); got != n {
			t.Errorf("juliet is told of whom she does not want to see: %d, %d before", got, n)
		}
	})
}

// Of two decisions the newer one holds, in whichever order they come to whoever owns the pair.
func TestNewerDecisionHolds(t *testing.T) {
	for _, c := range []struct {
		name string
		late *adapters.NotifyOp
		want adapters.WatchState
	}{
		{"a refusal that comes late", takenBack(), adapters.WatchActive},
		{"an approval that comes late", subscribed(), adapters.WatchPending},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, all, owner := watched(t) // romeo was approved
				defer f.shutdown()
				open := func(session string) adapters.WatchState {
					answers := make(chan adapters.WatchStatus, 2)
					op := romeoWatchesJuliet(adapters.WatchOpen, session, time.Hour)
					op.Hops = adapters.DefaultHops
					all[owner].sip.Handler().Watch(t.Context(), op, func(s adapters.WatchStatus) { answers <- s })
					return (<-answers).State
				}
				// A node that is cut off takes one, and its user's server, which has lost the link, says the other one to another node.
				var cut, other *member
				for name, m := range all {
					switch {
					case name == owner:
					case cut == nil:
						cut = m
					default:
						other = m
					}
				}
				if c.want == adapters.WatchPending {
					cut.memory.Partition(true)
					cut.xmpp.Handler().Notify(t.Context(), c.late)
					time.Sleep(12 * time.Second)
					other.xmpp.Handler().Notify(t.Context(), takenBack())
					time.Sleep(2 * time.Second)
					open("e") // asks anew
				} else {
					other.xmpp.Handler().Notify(t.Context(), takenBack())
					time.Sleep(2 * time.Second)
					open("e")
					cut.memory.Partition(true)
					cut.xmpp.Handler().Notify(t.Context(), c.late)
					time.Sleep(12 * time.Second)
					other.xmpp.Handler().Notify(t.Context(), subscribed())
				}
				time.Sleep(2 * time.Second)
				cut.memory.Partition(false)
				time.Sleep(30 * time.Second)
				if got := open("e"); got != c.want {
					t.Errorf("%v, want %v: %s", got, c.want, strings.Join(f.verbs(), ", "))
				}
			})
		})
	}
}

// What a watcher cancelled before she asked again is out of date for the next owner too, whose clock has not seen her ask: who wants to see somebody is
// shown her.
func TestCancellationBeforeARequestIsOutOfDateForTheNextOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all, owner := watched(t)
		defer f.shutdown()
		var cut, other *member
		for name, m := range all {
			switch {
			case name == owner:
			case cut == nil:
				cut = m
			default:
				other = m
			}
		}
		watch := func(m *member, verb adapters.WatchVerb) adapters.WatchStatus {
			answers := make(chan adapters.WatchStatus, 2)
			op := romeoWatchesJuliet(verb, "d", time.Hour)
			op.Hops = adapters.DefaultHops
			m.sip.Handler().Watch(t.Context(), op, func(s adapters.WatchStatus) { answers <- s })
			return <-answers
		}
		cut.memory.Partition(true)
		watch(cut, adapters.WatchCancel)
		time.Sleep(2 * time.Second)
		if s := watch(all[owner], adapters.WatchAsk); s.State != adapters.WatchActive {
			t.Fatalf("asked again: %+v", s)
		}
		f.kill(owner)
		time.Sleep(20 * time.Second)
		cut.memory.Partition(false)
		time.Sleep(30 * time.Second)
		if s := watch(other, adapters.WatchOpen); s.State != adapters.WatchActive {
			t.Errorf("after a cancellation that came late: %+v", s)
		}
	})
}
