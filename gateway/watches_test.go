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
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

var (
	romeoSeen  = romeo.Address.WithScheme(cpim.Pres)
	julietSeen = juliet.Address.WithScheme(cpim.Pres)
)

// watch offers op on behalf of a watcher behind f and returns the one answer.
func (s *strait) watch(f interface{ Handler() adapters.Handler }, op *adapters.WatchOp) adapters.WatchStatus {
	s.t.Helper()
	if op.Hops == 0 {
		op.Hops = adapters.DefaultHops
	}
	answers := make(chan adapters.WatchStatus, 2)
	f.Handler().Watch(s.t.Context(), op, func(st adapters.WatchStatus) { answers <- st })
	synctest.Wait()
	if len(answers) != 1 {
		s.t.Fatalf("%d answers to %v", len(answers), op.Verb)
	}
	return <-answers
}

func romeoWatchesJuliet(verb adapters.WatchVerb, session string, d time.Duration) *adapters.WatchOp {
	return &adapters.WatchOp{
		Verb: verb, Duration: d, Watch: adapters.WatchID{Watcher: romeoSeen, Presentity: julietSeen, Session: session},
	}
}

// presence is a stanza of one of Juliet's devices, for Romeo.
func presence(instance string, basic pidf.Basic) *adapters.NotifyOp {
	return &adapters.NotifyOp{
		Watch:    adapters.WatchID{Watcher: romeoSeen, Presentity: julietSeen},
		Instance: instance,
		Presence: &pidf.Presence{
			Entity: pidf.MustParseURI(julietSeen.String()),
			Tuples: []pidf.Tuple{{ID: pidf.TupleID(instance), Status: pidf.Status{Basic: basic}}},
		},
	}
}

func subscribed() *adapters.NotifyOp {
	return &adapters.NotifyOp{
		Watch:  adapters.WatchID{Watcher: romeoSeen, Presentity: julietSeen},
		Change: adapters.AuthorizationGranted,
	}
}

func notices(ops []*adapters.NotifyOp) string {
	var all string
	for _, n := range ops {
		all += fmt.Sprintf("%s:%s", n.Watch.Session, n.State)
		if n.Presence != nil {
			for _, u := range n.Presence.Tuples {
				all += fmt.Sprintf(" %s=%s", u.ID, u.Status.Basic)
			}
		}
		for _, id := range n.Withdrawn {
			all += " -" + id.String()
		}
		all += "\n"
	}
	return all
}

// A SIP user's watch of an XMPP user, through the core: RFC 8048 §5.3 and §6.2.
func TestWatchCrosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		if got := s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour)); got.Outcome != adapters.Indeterminate || got.State != adapters.WatchPending || got.Duration != time.Hour {
			t.Errorf("SUBSCRIBE: %+v", got)
		}
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
		synctest.Wait()
		if got := s.xmpp.Watches(); len(got) != 1 || got[0].Verb != adapters.WatchAsk || got[0].Watch.Watcher != romeoSeen {
			t.Errorf("asked of the XMPP side: %+v", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		want := "d:pending\nd:active\nd:active ID-balcony=open\nd:terminated ID-balcony=closed\n"
		if got := notices(s.sip.Notifies()); got != want {
			t.Errorf("told:\n%swant:\n%s", got, want)
		}
		if got := s.xmpp.Watches(); len(got) != 2 || got[1].Verb != adapters.WatchClose {
			t.Errorf("the last watch expired, and the XMPP side was told %+v", got)
		}
	})
}

// "If the route set is empty, the UAC MUST place the remote target URI into the Request-URI" (RFC 3261 §12.2.1.1), and so on: a request within a dialog goes
// where the dialog says. That DNS has no answer for the domain meanwhile must not end the watch of who waits for it.
func TestNotifyWithoutNextHops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(cfg *gateway.Config) {
			cfg.Routes[0].NextHops, cfg.Resolver = nil, fakeResolver{err: &resolver.Error{Reason: resolver.ErrTemporary}}
		})
		defer s.shutdown()
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour))
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		synctest.Wait()
		s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
		synctest.Wait()
		if got, want := notices(s.sip.Notifies()), "d:pending\nd:active\nd:active ID-balcony=open\n"; got != want {
			t.Errorf("told:\n%swant:\n%s", got, want)
		}
	})
}

// flakyDNS has no answer while it is broken.
type flakyDNS struct {
	fakeResolver
	broken atomic.Bool
}

func (f *flakyDNS) Resolve(ctx context.Context, q resolver.Query) ([]resolver.Target, error) {
	if f.broken.Load() {
		return nil, &resolver.Error{Reason: resolver.ErrTemporary}
	}
	return f.fakeResolver.Resolve(ctx, q)
}

// "The XMPP-to-SIP gateway is responsible for translating the XMPP unsubscribe command into a SIP SUBSCRIBE request with the Expires header set to a value of
// zero" (RFC 8048 §5.2.3), also while DNS has no answer for the domain: the dialog knows the way, and an adapter that is not told refreshes it for ever.
func TestCancelWithoutNextHops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sip, _ := resolver.MustParseStatic("sip:192.0.2.1:5060;transport=tcp").Target("example.net")
		dns := &flakyDNS{fakeResolver: fakeResolver{targets: []resolver.Target{sip}}}
		s := newStrait(t, func(cfg *gateway.Config) { cfg.Routes[0].NextHops, cfg.Resolver = nil, dns })
		defer s.shutdown()
		ask := func(verb adapters.WatchVerb) {
			s.watch(s.xmpp, &adapters.WatchOp{Verb: verb, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}})
		}
		ask(adapters.WatchAsk)
		dns.broken.Store(true)
		ask(adapters.WatchCancel)
		got := s.sip.Watches()
		if len(got) != 2 || got[0].Verb != adapters.WatchOpen || got[1].Verb != adapters.WatchClose {
			t.Errorf("asked of the SIP side: %+v", got)
		}
	})
}

// Presence keeps the newest: while one notification is under way, those behind it become one; what tells of the authorization
// or of the end is never left out.
func TestPresenceKeepsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		var mu sync.Mutex
		underWay := 0
		s.sip.OnNotify = func(context.Context, *adapters.NotifyOp) adapters.Status {
			mu.Lock()
			underWay++
			if underWay > 1 {
				t.Error("two NOTIFY requests under way in one watch")
			}
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			underWay--
			mu.Unlock()
			return adapters.Succeeded()
		}
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour))
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		for i := range 100 {
			basic := pidf.BasicOpen
			if i%2 == 1 {
				basic = pidf.BasicClosed
			}
			s.xmpp.Handler().Notify(t.Context(), presence("balcony", basic))
		}
		time.Sleep(time.Minute)
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchClose, "d", 0))
		time.Sleep(time.Minute)
		want := "d:pending\nd:active\nd:active ID-balcony=closed\nd:terminated ID-balcony=closed\n"
		if got := notices(s.sip.Notifies()); got != want {
			t.Errorf("told:\n%swant:\n%s", got, want)
		}
	})
}

// T-PR-15: nobody asks or cancels in another's name: the watcher's domain must live on the side that the request came from.
func TestT_PR_15_ForgedWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		for _, verb := range []adapters.WatchVerb{adapters.WatchAsk, adapters.WatchOpen, adapters.WatchCancel} {
			if got := s.watch(s.xmpp, romeoWatchesJuliet(verb, "", 0)); got.Reason != adapters.ReasonForbidden {
				t.Errorf("%v in the name of a user of the other side: %+v", verb, got)
			}
		}
		s.sip.Handler().Notify(t.Context(), subscribed()) // the watcher's own side approves itself
		synctest.Wait()
		if n := len(s.sip.Notifies()) + len(s.xmpp.Watches()); n != 0 {
			t.Errorf("%d operations crossed", n)
		}
	})
}

func TestWatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) { c.Limits.Watches = 2 })
		defer s.shutdown()
		for i := range 3 {
			op := romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour)
			op.Watch.Watcher = cpim.MustParseAddress(fmt.Sprintf("pres:user%d@example.net", i))
			want := adapters.ReasonNone
			if i == 2 {
				want = adapters.ReasonOverloaded
			}
			if got := s.watch(s.sip, op); got.Reason != want {
				t.Errorf("watch %d: %+v, want %v", i, got, want)
			}
		}
		// What nobody asked for takes no room.
		for i := range 1000 {
			n := presence("x", pidf.BasicOpen)
			n.Watch.Watcher = cpim.MustParseAddress(fmt.Sprintf("pres:stranger%d@example.net", i))
			s.xmpp.Handler().Notify(t.Context(), n)
		}
		if held := s.metric("isthmus_watches"); held != 2 {
			t.Errorf("%v pairs are kept", held)
		}
	})
}

// An XMPP user watches a SIP user whose server is away for a while: the wish stays, and is carried out when it is back.
func TestWatchIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		var back atomic.Bool
		s.sip.OnWatch = func(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
			if !back.Load() {
				return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")}
			}
			return adapters.WatchStatus{Status: adapters.Succeeded(), Duration: op.Duration}
		}
		s.watch(s.xmpp, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		tried := len(s.sip.Watches())
		if tried < 3 || tried > 10 {
			t.Errorf("tried %d times in ten minutes", tried)
		}
		back.Store(true)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		s.sip.Handler().Notify(t.Context(), &adapters.NotifyOp{
			Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}, State: adapters.WatchActive, Whole: true,
			Presence: &pidf.Presence{
				Entity: pidf.MustParseURI(romeoSeen.String()),
				Tuples: []pidf.Tuple{{ID: pidf.MustParseID("t1"), Status: pidf.Status{Basic: pidf.BasicOpen}}},
			},
		})
		synctest.Wait()
		got := s.xmpp.Notifies()
		if len(got) != 1 || got[0].Change != adapters.AuthorizationGranted || got[0].Presence == nil {
			t.Errorf("told: %+v", got)
		}
	})
}

// What a watch wants done is done in the order in which things happened, also when the next thing happens while the first is being
// answered: else a watcher would be told the end before the beginning, or yesterday's presence last.
func TestWhatAWatchWantsIsDoneInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		var answers []string
		open := romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour)
		open.Hops = adapters.DefaultHops
		s.sip.Handler().Watch(t.Context(), open, func(st adapters.WatchStatus) {
			answers = append(answers, "open "+st.Outcome.String())
			end := romeoWatchesJuliet(adapters.WatchClose, "d", 0)
			end.Hops = adapters.DefaultHops
			s.sip.Handler().Watch(t.Context(), end, func(st adapters.WatchStatus) {
				answers = append(answers, "close "+st.Outcome.String())
			})
		})
		synctest.Wait()
		if got := fmt.Sprint(answers); got != "[open indeterminate close success]" {
			t.Errorf("answers: %s", got)
		}
		if got, want := notices(s.sip.Notifies()), "d:pending\nd:terminated\n"; got != want {
			t.Errorf("told:\n%swant:\n%s", got, want)
		}
		var verbs string
		for _, op := range s.xmpp.Watches() {
			verbs += op.Verb.String() + " "
		}
		if verbs != "ask close " {
			t.Errorf("asked of the XMPP side: %s", verbs)
		}
	})
}

// An adapter whose respond panics does not take the pair with it.
func TestPanicWhileAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		calls := 0
		open := romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour)
		open.Hops = adapters.DefaultHops
		s.sip.Handler().Watch(t.Context(), open, func(adapters.WatchStatus) {
			calls++
			panic("no socket")
		})
		if calls != 1 || s.metric("isthmus_panics_total") != 1 {
			t.Errorf("%d answers, %v panics", calls, s.metric("isthmus_panics_total"))
		}
		if got := s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour)); got.Outcome != adapters.Success {
			t.Errorf("the next request of the pair: %+v", got)
		}
		if got := s.xmpp.Watches(); len(got) != 1 || got[0].Verb != adapters.WatchAsk {
			t.Errorf("asked of the XMPP side: %+v", got)
		}
	})
}

// What one watcher, one presentity and one domain may have open is not used up by authorizations that nobody uses: a user who watches one after the
// other for years has few watches open at any time. One that is used again counts again.
func TestRestingAuthorizationsLeaveRoom(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit func(*gateway.Limits)
	}{
		{"watcher", func(l *gateway.Limits) { l.WatchesPerWatcher = 2 }},
		{"domain", func(l *gateway.Limits) { l.WatchesPerDomain = 2 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, func(cfg *gateway.Config) { c.limit(&cfg.Limits) })
				defer s.shutdown()
				of := func(i int) adapters.WatchID {
					return adapters.WatchID{Watcher: romeoSeen, Presentity: cpim.MustParseAddress(fmt.Sprintf("pres:user%d@example.com", i)), Session: fmt.Sprintf("d%d", i)}
				}
				do := func(verb adapters.WatchVerb, i int) adapters.Outcome {
					return s.watch(s.sip, &adapters.WatchOp{Verb: verb, Watch: of(i), Duration: time.Hour}).Outcome
				}
				for i := range 5 {
					if do(adapters.WatchOpen, i) == adapters.Failure {
						t.Errorf("watch %d is refused, and none is open", i)
					}
					s.xmpp.Handler().Notify(t.Context(), &adapters.NotifyOp{
						Watch: adapters.WatchID{Watcher: romeoSeen, Presentity: of(i).Presentity}, Change: adapters.AuthorizationGranted,
					})
					synctest.Wait()
					do(adapters.WatchClose, i)
				}
				if held := s.metric("isthmus_watches"); held != 5 {
					t.Errorf("%v authorizations are kept", held)
				}
				for i := range 3 {
					if refused := do(adapters.WatchOpen, i) == adapters.Failure; refused != (i == 2) {
						t.Errorf("of those that are used again the one with number %d is refused: %v", i, refused)
					}
				}
				if refused := do(adapters.WatchClose, 2); refused == adapters.Failure {
					t.Error("the end is refused")
				}
				if do(adapters.WatchOpen, 0) == adapters.Failure {
					t.Error("a refresh is refused")
				}
			})
		})
	}
}

// Whoever opens and closes a watch all the time waits for one turn and not for many: neither grows what waits without end, nor do others wait behind
// what nobody wants any more.
func TestT_PR_22_OneWhoOpensAndClosesTakesOneTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) { c.Limits.WatchRate = 10 })
		defer s.shutdown()
		benvolio := romeoWatchesJuliet(adapters.WatchOpen, "b", time.Hour)
		benvolio.Watch.Watcher = cpim.MustParseAddress("pres:benvolio@example.net")
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour))
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		s.watch(s.sip, benvolio)
		approved := subscribed()
		approved.Watch.Watcher = benvolio.Watch.Watcher
		s.xmpp.Handler().Notify(t.Context(), approved)
		end := *benvolio
		end.Verb = adapters.WatchClose
		s.watch(s.sip, &end)
		for range 1000 {
			s.watch(s.sip, romeoWatchesJuliet(adapters.WatchClose, "d", 0))
			s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour))
		}
		if n := s.metric("isthmus_watches_waiting"); n > 1 {
			t.Errorf("%v requests of one pair wait for their turn", n)
		}
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchClose, "d", 0))
		if n := s.metric("isthmus_watches_waiting"); n != 0 {
			t.Errorf("%v wait that nobody wants", n)
		}
		asked := func() (n int) {
			for _, op := range s.xmpp.Watches() {
				if op.Verb == adapters.WatchOpen && op.Watch.Watcher == benvolio.Watch.Watcher {
					n++
				}
			}
			return n
		}
		before := asked()
		s.watch(s.sip, benvolio)
		time.Sleep(time.Second)
		synctest.Wait()
		if asked() == before {
			t.Error("another watcher has not had her turn within a second")
		}
	})
}

// The answer to a request of a watch that is over, and forgotten, is not taken for that of the watch that came after it: else a user who was asked
// would be asked once more, because the question before that one failed.
func TestLateAnswerToAForgottenWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		var asked atomic.Int32
		s.xmpp.OnWatch = func(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
			if op.Verb == adapters.WatchAsk && asked.Add(1) == 1 {
				time.Sleep(20 * time.Second)
				return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")}
			}
			return adapters.WatchStatus{Status: adapters.Succeeded()}
		}
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour))
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchClose, "d", 0))
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "e", time.Hour))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("the user was asked %d times for two requests", n)
		}
	})
}

// T-PR-12: who gives up what she watched is not watched for any more, however much is asked for her while the other side is slow: the end is not left
// out for want of room.
func TestT_PR_12_TheEndIsNotLeftOut(t *testing.T) {
	polled := func(t *testing.T, s *strait, i int) {
		s.watch(s.xmpp, &adapters.WatchOp{Verb: adapters.WatchFetch, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen, Session: fmt.Sprint(i)}})
		time.Sleep(3 * time.Second)
	}
	asked := func(t *testing.T, s *strait, _ int) {
		s.watch(s.xmpp, &adapters.WatchOp{Verb: adapters.WatchCancel, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}})
		s.watch(s.xmpp, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}})
	}
	for name, meanwhile := range map[string]func(*testing.T, *strait, int){"polls": polled, "requests": asked} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, func(c *gateway.Config) { c.Limits.WatchSessions, c.Limits.FetchWait = 2, 2*time.Second })
				defer s.shutdown()
				var mu sync.Mutex
				open := false
				slow := make(chan struct{})
				s.sip.OnWatch = func(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
					if op.Verb != adapters.WatchClose {
						<-slow
					}
					mu.Lock()
					defer mu.Unlock()
					if op.Verb != adapters.WatchFetch {
						open = op.Verb == adapters.WatchOpen
					}
					return adapters.WatchStatus{Status: adapters.Succeeded(), Duration: op.Duration}
				}
				s.watch(s.xmpp, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}})
				for i := range 50 {
					meanwhile(t, s, i)
				}
				s.watch(s.xmpp, &adapters.WatchOp{Verb: adapters.WatchCancel, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}})
				close(slow)
				time.Sleep(time.Minute)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if open {
					t.Errorf("he is watched, and she gave it up; asked: %s", verbs(s.sip.Watches()))
				}
			})
		})
	}
}
