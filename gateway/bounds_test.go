package gateway

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

type taskFunc func(context.Context)

func (f taskFunc) run(ctx context.Context) { f(ctx) }

// Once lanes are drained nothing runs in them: a task that is added at the last moment either is waited for or is refused.
func TestNothingRunsInDrainedLanes(t *testing.T) {
	l := newLanes(10, 1000)
	key := laneKey{kind: laneMessages}
	var drained, late atomic.Bool
	s := l.shard(l.hash(key))
	s.mu.Lock() // holds the task at the door
	added, ended := make(chan bool), make(chan error)
	go func() { added <- l.add(key, taskFunc(func(context.Context) { late.Store(drained.Load()) })) }()
	for l.queued.Load() == 0 {
		runtime.Gosched()
	}
	for range 1000 {
		runtime.Gosched() // the task comes to the door
	}
	go func() {
		err := l.drain(t.Context())
		drained.Store(true)
		ended <- err
	}()
	var early bool
	select {
	case err := <-ended:
		early = true
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Millisecond): // it waits, as it must
	}
	s.mu.Unlock()
	took := <-added
	if !early {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	l.busy.Wait()
	if late.Load() || early && took {
		t.Error("a task ran after the lanes were drained")
	}
}

// A watcher that refreshes all the time has one timer.
func TestOneTimerForEachPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, sip, _ := newBounded(t, Limits{})
		romeo, juliet := cpim.MustParseAddress("pres:romeo@example.net"), cpim.MustParseAddress("pres:juliet@example.com")
		for range 1000 {
			time.Sleep(time.Millisecond)
			sip.Handler().Watch(t.Context(), &adapters.WatchOp{
				Verb: adapters.WatchOpen, Duration: time.Hour, Hops: 70,
				Watch: adapters.WatchID{Watcher: romeo, Presentity: juliet, Session: "d"},
			}, func(adapters.WatchStatus) {})
		}
		synctest.Wait()
		timers := 0
		for i := range g.watches.shards {
			timers += len(g.watches.shards[i].wakes)
		}
		if timers != 1 {
			t.Errorf("%d timers are kept for one pair", timers)
		}
	})
}

// An authorization that nobody uses makes room for those who come, for the presentity's side keeps it too; a watch that is open does not.
func TestUnusedAuthorizationsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, sip, xmpp := newBounded(t, Limits{Watches: 64})
		juliet := cpim.MustParseAddress("pres:juliet@example.com")
		watch := func(user int, verb adapters.WatchVerb) (st adapters.WatchStatus) {
			id := adapters.WatchID{
				Watcher: cpim.MustParseAddress(fmt.Sprintf("pres:user%d@example.net", user)), Presentity: juliet, Session: "d",
			}
			sip.Handler().Watch(t.Context(), &adapters.WatchOp{
				Verb: verb, Duration: time.Hour, Hops: 70, Watch: id,
			}, func(answer adapters.WatchStatus) { st = answer })
			synctest.Wait()
			if verb == adapters.WatchOpen && st.Outcome != adapters.Failure {
				xmpp.Handler().Notify(t.Context(), &adapters.NotifyOp{
					Watch:  adapters.WatchID{Watcher: id.Watcher, Presentity: juliet},
					Change: adapters.AuthorizationGranted, State: adapters.WatchActive,
				})
				synctest.Wait()
			}
			return st
		}
		for user := range 64 {
			if st := watch(user, adapters.WatchOpen); st.Outcome == adapters.Failure {
				t.Fatalf("user %d: %+v", user, st)
			}
		}
		if st := watch(64, adapters.WatchOpen); st.Reason != adapters.ReasonOverloaded {
			t.Fatalf("all are open, and one more is let in: %+v", st)
		}
		for user := range 64 {
			watch(user, adapters.WatchClose)
		}
		if g.watches.pairs() != 64 {
			t.Fatalf("%d authorizations are kept", g.watches.pairs())
		}
		let := 0
		for user := range 64 {
			if watch(100+user, adapters.WatchOpen).Outcome != adapters.Failure {
				let++
			}
			if n := g.watches.pairs(); n > 64 {
				t.Fatalf("%d pairs are kept", n)
			}
		}
		// Room is looked for in one of the table's parts, so the last few may find none there.
		if let < 32 {
			t.Errorf("%d of 64 were let in, although nobody watched", let)
		}
	})
}

func newBounded(t *testing.T, limits Limits) (g *Gateway, sip, xmpp *adaptertest.Fake) {
	t.Helper()
	sip = adaptertest.NewFake("sip", adapters.Capabilities{Protocol: resolver.SIP})
	xmpp = adaptertest.NewFake("xmpp", adapters.Capabilities{Protocol: resolver.XMPP, AsksExplicitly: true, OneByOne: true})
	hop := func(s string) []resolver.Static {
		st, err := resolver.ParseStatic(s)
		if err != nil {
			t.Fatal(err)
		}
		return []resolver.Static{st}
	}
	g, err := New(Config{
		Adapters: []adapters.Adapter{sip, xmpp}, Limits: limits,
		Routes: []Route{
			{Domain: "example.net", Adapter: "sip", NextHops: hop("sip:127.0.0.1:5060;transport=udp")},
			{Domain: "example.com", Adapter: "xmpp", NextHops: hop("component:127.0.0.1:5347")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g, sip, xmpp
}

// What waits behind others is what is there less what is under way.
func TestLanesCountWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(10, 1000)
		hold := make(chan struct{})
		for i := range 12 {
			key := laneKey{kind: laneMessages, side: i % 3}
			if !l.add(key, taskFunc(func(context.Context) { <-hold })) {
				t.Fatal("there is no room")
			}
		}
		if n := l.waiting(); n != 9 {
			t.Errorf("of 12 tasks in 3 lanes %d wait", n)
		}
		close(hold)
		synctest.Wait()
		if n := l.waiting(); n != 0 || l.active.Load() != 0 {
			t.Errorf("%d wait, and there are %d lanes, when all is done", n, l.active.Load())
		}
		if err := l.drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
