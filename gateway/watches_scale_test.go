package gateway_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// T-PR-03: what one live watch takes of the heap of the core, without what a store of its own takes: at 300,000 it is 300,000 times this.
func TestT_PR_03_BytesPerWatch(t *testing.T) {
	const count, most = 4_000, 4 << 10
	before := heap()
	th := newTheater(t, nil)
	th.beginAll(t, count)
	each := (int64(heap()) - int64(before)) / count
	t.Logf("%d octets for each watch", each)
	if each > most {
		t.Errorf("%d octets for each watch, which is %d MB for 300,000", each, each*300_000>>20)
	}
	if n := th.xmpp.told.Load() + th.sip.told.Load(); n < count {
		t.Errorf("%d of %d watchers were told", n, count)
	}
	th.shutdown(t)
}

// fanOut is one SIP presentity with so many XMPP watchers, or one XMPP presentity with so many SIP watchers. It returns what has each of them
// told once more, and how often they were.
func fanOut(tb testing.TB, th *theater, watchers int, toSIP bool) (say func(n int), told *atomic.Int64) {
	tb.Helper()
	ids := make([]adapters.WatchID, watchers)
	from, to, verb := th.sip.Handler(), th.xmpp.Handler(), adapters.WatchOpen
	presentity := crowdAddress(0, "example.com")
	told = &th.sip.told
	if toSIP {
		from, to, verb, presentity = to, from, adapters.WatchAsk, crowdAddress(0, "example.net")
		told = &th.xmpp.told
	}
	for i := range ids {
		ids[i] = adapters.WatchID{Watcher: crowdAddress(i, "example.net"), Presentity: presentity, Session: fmt.Sprint("dialog", i)}
		if toSIP {
			ids[i] = adapters.WatchID{Watcher: crowdAddress(i, "example.com"), Presentity: presentity}
		}
		from.Watch(tb.Context(), &adapters.WatchOp{Verb: verb, Watch: ids[i], Duration: time.Hour, Hops: adapters.DefaultHops}, func(adapters.WatchStatus) {})
	}
	for _, id := range ids {
		id.Session = ""
		to.Notify(tb.Context(), &adapters.NotifyOp{Watch: id, Change: adapters.AuthorizationGranted, State: adapters.WatchActive})
	}
	return func(n int) {
		for _, id := range ids {
			op := crowdPresence(id)
			op.Presence.Tuples[0].Notes[0].Text = fmt.Sprint("the ", n, ". time")
			to.Notify(tb.Context(), op)
		}
	}, told
}

// T-PR-04: one presentity with 1,000 watchers: each is told, and told for herself, within 5 s, also over a side that takes 20 ms for each
// notification. That a server sends a stanza to each watcher is its own doing (RFC 6121 §4.2.2); no copy of it serves two (RFC 8048 §8.2).
func TestT_PR_04_ThousandWatchers(t *testing.T) {
	for _, toSIP := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const watchers = 1000
			s := newStrait(t, nil)
			defer s.shutdown()
			var mu sync.Mutex
			last := map[adapters.WatchID]string{}
			slow := func(_ context.Context, op *adapters.NotifyOp) adapters.Status {
				time.Sleep(20 * time.Millisecond)
				if op.Presence != nil {
					mu.Lock()
					defer mu.Unlock()
					last[op.Watch] = op.Presence.Tuples[0].Notes[0].Text
				}
				return adapters.Succeeded()
			}
			s.sip.OnNotify, s.xmpp.OnNotify = slow, slow
			th := &theater{gateway: s.gateway, sip: &crowd{Fake: s.sip}, xmpp: &crowd{Fake: s.xmpp}}
			say, _ := fanOut(t, th, watchers, toSIP)
			time.Sleep(time.Minute)
			synctest.Wait()
			for n := range 3 { // changes that come faster than they are told: the newest wins
				say(n)
			}
			began := time.Now()
			for {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
				all := 0
				mu.Lock()
				for _, text := range last {
					if text == "the 2. time" {
						all++
					}
				}
				mu.Unlock()
				if all == watchers {
					break
				}
				if time.Since(began) > 5*time.Second {
					t.Fatalf("only %d of %d were told what is true after 5 s", all, watchers)
				}
			}
			if len(last) != watchers {
				t.Errorf("%d watchers were told", len(last))
			}
		})
	}
}

// T-OV-09: the XMPP server is away for ten minutes and takes its users' watchers along; when it is back, every one of them comes back in the
// same second. What they watch on the SIP side is opened again at WatchRate, not more, each once, none is forgotten, and what follows
// is spread as the return was. 30,000 watches here; the pace does not depend on how many wait.
func TestT_OV_09_ReconnectStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count, rate = 30_000, 1_000
		th := newTheaterWith(t, nil, rate)
		seconds := map[int64]int{}
		opened := map[adapters.WatchID]int{}
		var mu sync.Mutex
		began := time.Now()
		th.sip.onWatch = func(op *adapters.WatchOp) {
			if op.Verb == adapters.WatchOpen {
				mu.Lock()
				seconds[int64(time.Since(began)/time.Second)]++
				opened[op.Watch]++
				mu.Unlock()
			}
		}
		id := func(i int) adapters.WatchID {
			return adapters.WatchID{Watcher: crowdAddress(i, "example.com"), Presentity: crowdAddress(i%1000, "example.net")}
		}
		come := func(verb adapters.WatchVerb) {
			for i := range count {
				th.xmpp.Handler().Watch(t.Context(), &adapters.WatchOp{Verb: verb, Watch: id(i), Hops: adapters.DefaultHops}, func(adapters.WatchStatus) {})
			}
		}
		come(adapters.WatchAsk)
		time.Sleep(time.Minute)
		for i := range count {
			op := crowdPresence(id(i))
			op.Change = adapters.AuthorizationGranted
			th.sip.Handler().Notify(t.Context(), op)
		}
		synctest.Wait()
		// They are gone: her server says so where it is asked, and nothing is refreshed for them.
		th.xmpp.attendance.Store(int32(adapters.AttendanceAbsent))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		mu.Lock()
		clear(seconds)
		clear(opened)
		began = time.Now()
		mu.Unlock()
		th.xmpp.attendance.Store(int32(adapters.AttendancePresent))
		come(adapters.WatchOpen)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for s, n := range seconds {
			if most := rate + rate/20; n > most && !(s == 0 && n <= 2*rate) { // a second's worth may go at once
				t.Errorf("%d watches were opened in second %d", n, s)
			}
		}
		if len(opened) != count || len(seconds) < count/rate-2 || len(seconds) > count/rate+2 {
			t.Errorf("%d of %d were opened, in %d s", len(opened), count, len(seconds))
		}
		for w, n := range opened {
			if n != 1 {
				t.Fatalf("%v was opened %d times", w, n)
			}
		}
		th.shutdown(t)
	})
}

// T-OV-09, T-FI-01: a gateway that was killed takes its watches up at the pace at which watches may be opened, serves at once, and every
// watch is asked for once.
func TestT_OV_09_RestartIsNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count, rate = 10_000, 500
		disk := &storetest.Memory{}
		th := newTheaterWith(t, disk, rate)
		for i := range count {
			th.begin(t.Context(), i, func(adapters.WatchStatus) {})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		disk.FailWith(func(string) error { return store.ErrUnavailable })
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = th.gateway.Shutdown(ctx) // it was killed
		disk.FailWith(nil)

		th = newTheaterWith(t, disk, rate)
		began, seconds, opened := time.Now(), map[int64]int{}, map[adapters.WatchID]int{}
		var mu sync.Mutex
		note := func(op *adapters.WatchOp) {
			mu.Lock()
			seconds[int64(time.Since(began)/time.Second)]++
			opened[op.Watch]++
			mu.Unlock()
		}
		th.sip.onWatch, th.xmpp.onWatch = note, note
		served := make(chan adapters.WatchStatus, 1)
		th.xmpp.Handler().Watch(t.Context(), &adapters.WatchOp{
			Verb: adapters.WatchAsk, Hops: adapters.DefaultHops,
			Watch: adapters.WatchID{Watcher: crowdAddress(5, "example.com"), Presentity: crowdAddress(count, "example.net")},
		}, func(s adapters.WatchStatus) { served <- s })
		if answer := <-served; answer.Outcome == adapters.Failure || time.Since(began) > time.Second {
			t.Errorf("a new watch, %v after the restart: %+v", time.Since(began), answer)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for s, n := range seconds {
			if n > rate+rate/10 {
				t.Errorf("%d watches were taken up in second %d", n, s)
			}
		}
		if len(opened) != count+1 {
			t.Errorf("%d of %d were taken up", len(opened)-1, count)
		}
		th.shutdown(t)
	})
}
