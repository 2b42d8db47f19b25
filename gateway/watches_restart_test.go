package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// kill ends s as kill -9 does, as far as the disk can tell: nothing is written from here on.
func (s *strait) kill(disk *storetest.Memory) {
	disk.FailWith(func(string) error { return errors.New("killed") })
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.gateway.Shutdown(ctx) //nolint:errcheck // it fails, as it was killed
	synctest.Wait()         // until what it was writing has failed
	disk.FailWith(nil)
}

// documentOf is a NOTIFY of Romeo's for Juliet.
func documentOf(basic pidf.Basic, names ...string) *adapters.NotifyOp {
	p := &pidf.Presence{Entity: pidf.MustParseURI(romeoSeen.String())}
	for _, name := range names {
		p.Tuples = append(p.Tuples, pidf.Tuple{ID: pidf.TupleID(name), Status: pidf.Status{Basic: basic}})
	}
	return &adapters.NotifyOp{
		Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}, State: adapters.WatchActive, Whole: true, Presence: p,
	}
}

func julietWatchesRomeo(verb adapters.WatchVerb) *adapters.WatchOp {
	return &adapters.WatchOp{Verb: verb, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}}
}

func verbs(ops []*adapters.WatchOp) string {
	var all []string
	for _, op := range ops {
		all = append(all, op.Verb.String())
	}
	return strings.Join(all, " ")
}

// T-FI-01: after kill -9 every watch goes on without either user doing anything. T-PR-08: what was decided before the crash is not asked
// again; what was not is, once, because a decision may have been told to nobody.
func TestT_PR_08_WatchesSurviveTheProcess(t *testing.T) {
	t.Run("a SIP user watches an XMPP user", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			s := durable(t, disk, nil)
			s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour))
			approval := subscribed()
			kept := 0
			approval.Kept = func() { kept++ }
			s.xmpp.Handler().Notify(t.Context(), approval)
			synctest.Wait()
			if kept != 1 {
				t.Fatalf("the approval was said to be kept %d times", kept)
			}
			s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
			synctest.Wait()
			s.kill(disk)

			s = durable(t, disk, nil)
			defer s.shutdown()
			synctest.Wait()
			if n := len(s.sip.Notifies()); n != 0 {
				t.Errorf("told before the XMPP side said anything: %s", notices(s.sip.Notifies()))
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if got := verbs(s.xmpp.Watches()); got != "open" {
				t.Errorf("asked of the XMPP side: %s, want a probe and no request that its user sees", got)
			}
			s.xmpp.Handler().Notify(t.Context(), presence("chamber", pidf.BasicOpen))
			synctest.Wait()
			if got, want := notices(s.sip.Notifies()), "d:active ID-chamber=open -ID-\n"; got != want {
				t.Errorf("told:\n%swant:\n%s", got, want)
			}
			if got := s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour)); got.State != adapters.WatchActive {
				t.Errorf("refresh: %+v", got)
			}
		})
	})
	t.Run("pending", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			s := durable(t, disk, nil)
			s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", 12*time.Hour))
			synctest.Wait()
			s.kill(disk)
			s = durable(t, disk, nil)
			defer s.shutdown()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if got := verbs(s.xmpp.Watches()); got != "ask" {
				t.Errorf("asked of the XMPP side: %s, whose user may have decided while nobody was there to be told", got)
			}
			time.Sleep(time.Hour)
			s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", 12*time.Hour))
			synctest.Wait()
			if got := verbs(s.xmpp.Watches()); got != "ask" {
				t.Errorf("asked of the XMPP side: %s, but its user has the question", got)
			}
			s.xmpp.Handler().Notify(t.Context(), subscribed())
			synctest.Wait()
			if got, want := notices(s.sip.Notifies()), "d:pending\nd:active\n"; got != want {
				t.Errorf("told:\n%swant:\n%s", got, want)
			}
			if got := s.sip.Notifies()[1].Change; got != adapters.AuthorizationGranted {
				t.Errorf("the approval after the restart is told as %v", got)
			}
		})
	})
	t.Run("an XMPP user watches a SIP user", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			s := durable(t, disk, nil)
			s.watch(s.xmpp, julietWatchesRomeo(adapters.WatchAsk))
			s.sip.Handler().Notify(t.Context(), documentOf(pidf.BasicOpen, "phone", "desk"))
			synctest.Wait()
			s.kill(disk)

			s = durable(t, disk, nil)
			defer s.shutdown()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if got := verbs(s.sip.Watches()); got != "open" {
				t.Errorf("asked of the SIP side: %s", got)
			}
			if n := len(s.xmpp.Notifies()); n != 0 {
				t.Errorf("told before the SIP side said anything: %s", notices(s.xmpp.Notifies()))
			}
			s.sip.Handler().Notify(t.Context(), documentOf(pidf.BasicOpen, "desk"))
			synctest.Wait()
			// The phone went away while nobody was there to tell of it: never a stale open.
			if got, want := notices(s.xmpp.Notifies()), ":active ID-desk=open -ID-phone\n"; got != want {
				t.Errorf("told:\n%swant:\n%s", got, want)
			}
		})
	})
}

// Never a stale open: what was told before the crash is taken back where the presentity's side says nothing afterwards.
func TestUnknownAfterARestart(t *testing.T) {
	t.Run("SIP says nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			s := durable(t, disk, nil)
			s.watch(s.xmpp, julietWatchesRomeo(adapters.WatchAsk))
			s.sip.Handler().Notify(t.Context(), documentOf(pidf.BasicOpen, "phone"))
			synctest.Wait()
			s.kill(disk)
			s = durable(t, disk, nil)
			defer s.shutdown()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if got, want := notices(s.xmpp.Notifies()), ":active -ID-phone\n"; got != want {
				t.Errorf("told:\n%swant:\n%s", got, want)
			}
		})
	})
	// Killed before it was heard that she took the approval: it is told again, but what she saw stands until it is known or the wait is over.
	t.Run("SIP has not spoken yet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			s := durable(t, disk, nil)
			s.xmpp.OnNotify = func(context.Context, *adapters.NotifyOp) adapters.Status {
				return adapters.Failed(adapters.ReasonDomainTimeout, "")
			}
			s.watch(s.xmpp, julietWatchesRomeo(adapters.WatchAsk))
			s.sip.Handler().Notify(t.Context(), documentOf(pidf.BasicOpen, "phone"))
			synctest.Wait()
			s.kill(disk)
			s = durable(t, disk, nil)
			defer s.shutdown()
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if got := s.xmpp.Notifies(); notices(got) != ":active\n" || got[0].Change != adapters.AuthorizationGranted {
				t.Errorf("told before the wait is over: %s, want that she was approved, and nothing of her phone", notices(got))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if got, want := notices(s.xmpp.Notifies()), ":active\n:active -ID-phone\n"; got != want {
				t.Errorf("told:\n%swant:\n%s", got, want)
			}
		})
	})
	t.Run("XMPP says nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			s := durable(t, disk, nil)
			s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour))
			s.xmpp.Handler().Notify(t.Context(), subscribed())
			s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
			synctest.Wait()
			s.kill(disk)
			s = durable(t, disk, nil)
			defer s.shutdown()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			got := s.sip.Notifies()
			if len(got) != 1 || got[0].Presence == nil || len(got[0].Presence.Tuples) != 0 || got[0].State != adapters.WatchActive {
				t.Errorf("told: %s, want a document without a tuple", notices(got))
			}
		})
	})
}

// RFC 2779 §5.1.7, T-PR-16, T-PR-07: "unsubscribed", "subscribed" and "unsubscribe" that the XMPP side did not take are said again until it has,
// also by the next process.
func TestT_PR_16_SaidUntilTaken(t *testing.T) {
	for _, c := range []struct {
		name   string
		change adapters.AuthorizationChange
		op     *adapters.NotifyOp
	}{
		{"subscribed", adapters.AuthorizationGranted, documentOf(pidf.BasicOpen, "phone")},
		{"unsubscribed", adapters.AuthorizationRefused, &adapters.NotifyOp{
			Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}, State: adapters.WatchTerminated, End: adapters.EndRejected,
			Change: adapters.AuthorizationRefused,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &storetest.Memory{}
				s := durable(t, disk, nil)
				down := func(context.Context, *adapters.NotifyOp) adapters.Status {
					return adapters.Failed(adapters.ReasonDomainTimeout, "")
				}
				s.xmpp.OnNotify = down
				s.watch(s.xmpp, julietWatchesRomeo(adapters.WatchAsk))
				s.sip.Handler().Notify(t.Context(), c.op)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if n := len(s.xmpp.Notifies()); n < 3 || n > 8 {
					t.Errorf("said %d times in ten minutes", n)
				}
				s.kill(disk)
				s = durable(t, disk, nil)
				defer s.shutdown()
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				said := 0
				for _, n := range s.xmpp.Notifies() {
					if n.Change == c.change {
						said++
					}
				}
				if said != 1 {
					t.Errorf("said %d times to a side that took it: %s", said, notices(s.xmpp.Notifies()))
				}
				if c.change == adapters.AuthorizationRefused && s.metric("isthmus_watches") != 0 {
					t.Error("a refusal that was told is not forgotten")
				}
			})
		})
	}
	t.Run("unsubscribe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			both := func(c *gateway.Config) {
				other := fakeXMPP("xmpp2")
				c.Adapters = append(c.Adapters, other)
				c.Routes = append(c.Routes, gateway.Route{Domain: "example.org", Adapter: "xmpp2", NextHops: hops(t, "component:127.0.0.1:5348")})
				other.OnWatch = func(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
					return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")}
				}
			}
			s := durable(t, disk, both)
			nurse := adapters.WatchID{Watcher: julietSeen, Presentity: nurseSeen}
			s.watch(s.xmpp, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: nurse})
			s.watch(s.xmpp, &adapters.WatchOp{Verb: adapters.WatchCancel, Watch: nurse})
			time.Sleep(time.Minute)
			s.kill(disk)
			var mu sync.Mutex
			var got []string
			s = durable(t, disk, func(c *gateway.Config) {
				both(c)
				c.Observe = func(o gateway.Observation) {
					mu.Lock()
					defer mu.Unlock()
					if o.Watch != nil {
						got = append(got, o.Watch.Verb.String())
					}
				}
			})
			defer s.shutdown()
			time.Sleep(time.Hour)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(got) < 3 || got[0] != "cancel" {
				t.Errorf("asked of the other side after the restart: %v, want it to be cancelled again and again", got)
			}
		})
	})
}

// What a restart finds is spread: no faster than watches may be opened (T-OV-09).
func TestRestoredWatchesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		slow := func(c *gateway.Config) { c.Limits.WatchRate = 10 }
		s := durable(t, disk, slow)
		for i := range 600 {
			op := romeoWatchesJuliet(adapters.WatchOpen, "d", 10*time.Hour)
			op.Watch.Watcher = cpim.MustParseAddress(fmt.Sprintf("pres:user%d@example.net", i))
			s.watch(s.sip, op)
			n := subscribed()
			n.Watch.Watcher = op.Watch.Watcher
			s.xmpp.Handler().Notify(t.Context(), n)
		}
		synctest.Wait()
		s.kill(disk)
		s = durable(t, disk, slow)
		defer s.shutdown()
		last := 0
		for second := range 90 {
			time.Sleep(time.Second)
			synctest.Wait()
			n := len(s.xmpp.Watches())
			if n-last > 2*10 {
				t.Errorf("second %d: %d watches were taken up", second, n-last)
			}
			last = n
		}
		if last != 600 {
			t.Errorf("%d of 600 watches were taken up", last)
		}
	})
}

// A disk that fails does not stop presence; it is counted, and what was missed is written when the disk is back.
func TestPresenceWithoutADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		disk.FailWith(func(string) error { return errors.New("no space left") })
		op := romeoWatchesJuliet(adapters.WatchOpen, "d", 10*time.Hour)
		op.Hops = adapters.DefaultHops
		var answer adapters.WatchStatus
		s.sip.Handler().Watch(t.Context(), op, func(st adapters.WatchStatus) { answer = st })
		time.Sleep(time.Minute)
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		time.Sleep(time.Minute)
		if answer.State != adapters.WatchPending || s.metric("isthmus_watches_unstored_total") == 0 {
			t.Errorf("answered %+v, %v unstored", answer, s.metric("isthmus_watches_unstored_total"))
		}
		disk.FailWith(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		s.kill(disk)
		s = durable(t, disk, nil)
		defer s.shutdown()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := verbs(s.xmpp.Watches()); got != "open" {
			t.Errorf("after the restart the XMPP side was asked: %q", got)
		}
	})
}

var nurseSeen = cpim.MustParseAddress("pres:nurse@example.org")

func fakeXMPP(name string) *fakeAttendant {
	caps := adapters.Capabilities{Protocol: resolver.XMPP, AsksExplicitly: true, OneByOne: true}
	return &fakeAttendant{Fake: adaptertest.NewFake(name, caps)}
}

// An XMPP watcher who is not there is not watched for: RFC 8048 §8.1, T-PR-11, T-PR-22. The authorization stays.
func TestT_PR_11_WatcherIsAskedForBeforeARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := adapters.AttendanceUnknown
		asked := 0
		x := fakeXMPP("xmpp")
		x.attends = func() adapters.Attendance { asked++; return answer }
		s := newStrait(t, func(c *gateway.Config) { c.Adapters[1] = x })
		s.xmpp = x.Fake
		defer s.shutdown()
		s.sip.OnWatch = func(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
			return adapters.WatchStatus{Status: adapters.Succeeded(), Duration: 10 * time.Minute}
		}
		s.watch(s.xmpp, julietWatchesRomeo(adapters.WatchOpen))
		s.sip.Handler().Notify(t.Context(), documentOf(pidf.BasicOpen, "phone"))
		time.Sleep(time.Hour)
		synctest.Wait()
		// Each refresh, at the earliest after 75 percent of the duration, comes after a question.
		if asked < 8 || asked > 12 {
			t.Errorf("asked %d times in an hour of watches of ten minutes", asked)
		}
		if got := verbs(s.sip.Watches()); got != "open" {
			t.Errorf("asked of the SIP side: %s; a server that says nothing must not end a watch", got)
		}
		// She tells a contact that she leaves; her server says so too.
		answer = adapters.AttendanceAbsent
		s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicClosed))
		time.Sleep(time.Second)
		synctest.Wait()
		if got := verbs(s.sip.Watches()); got != "open close" {
			t.Errorf("asked of the SIP side: %s", got)
		}
		if s.metric("isthmus_watches") != 1 {
			t.Error("the authorization is gone with the watch")
		}
		before := asked
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if asked != before {
			t.Error("somebody who is absent is asked for")
		}
		// "SHOULD send a new SUBSCRIBE request to the SIP contact whenever the XMPP user initiates a presence session" (RFC 8048 §5.2.2).
		s.watch(s.xmpp, julietWatchesRomeo(adapters.WatchOpen))
		synctest.Wait()
		if got := verbs(s.sip.Watches()); got != "open close open" {
			t.Errorf("asked of the SIP side: %s", got)
		}
	})
}

// T-PR-22 and the limits: one watcher, one presentity and one domain have bounds of their own.
func TestWatchesOfOneAreBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit func(*gateway.Limits)
		watch func(i int) adapters.WatchID
	}{
		{"watcher", func(l *gateway.Limits) { l.WatchesPerWatcher = 5 }, func(i int) adapters.WatchID {
			return adapters.WatchID{Watcher: romeoSeen, Presentity: cpim.MustParseAddress(fmt.Sprintf("pres:user%d@example.com", i)), Session: "d"}
		}},
		{"presentity", func(l *gateway.Limits) { l.WatchesPerPresentity = 5 }, func(i int) adapters.WatchID {
			return adapters.WatchID{Watcher: cpim.MustParseAddress(fmt.Sprintf("pres:user%d@example.net", i)), Presentity: julietSeen, Session: "d"}
		}},
		{"domain", func(l *gateway.Limits) { l.WatchesPerDomain = 5 }, func(i int) adapters.WatchID {
			return adapters.WatchID{
				Watcher:    cpim.MustParseAddress(fmt.Sprintf("pres:user%d@example.net", i)),
				Presentity: cpim.MustParseAddress(fmt.Sprintf("pres:user%d@example.com", i)), Session: "d",
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, func(cfg *gateway.Config) { c.limit(&cfg.Limits) })
				defer s.shutdown()
				for i := range 6 {
					got := s.watch(s.sip, &adapters.WatchOp{Verb: adapters.WatchOpen, Watch: c.watch(i), Duration: time.Hour})
					if (got.Outcome == adapters.Failure) != (i == 5) {
						t.Errorf("watch %d: %+v", i, got)
					}
				}
				s.watch(s.sip, &adapters.WatchOp{Verb: adapters.WatchClose, Watch: c.watch(0)})
				if got := s.watch(s.sip, &adapters.WatchOp{Verb: adapters.WatchOpen, Watch: c.watch(5), Duration: time.Hour}); got.Outcome == adapters.Failure {
					t.Errorf("one has ended, and the next is still refused: %+v", got)
				}
				if s.metric("isthmus_watches_refused_total") != 1 {
					t.Error("the refusal was not counted")
				}
			})
		})
	}
}

// Watchers whom one domain makes up do not keep the watchers of others from a presentity, nor do those of a second such domain.
func TestWatchersOfOneDomainLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(cfg *gateway.Config) {
			cfg.Limits.WatchesPerPresentity = 64
			for _, d := range []string{"example.org", "example.edu"} {
				cfg.Routes = append(cfg.Routes, gateway.Route{Domain: d, Adapter: "sip", NextHops: hops(t, "sip:127.0.0.1:5060;transport=udp")})
			}
		})
		defer s.shutdown()
		open := func(i int, domain string) bool {
			got := s.watch(s.sip, &adapters.WatchOp{Verb: adapters.WatchOpen, Duration: time.Hour, Watch: adapters.WatchID{
				Watcher: cpim.MustParseAddress(fmt.Sprintf("pres:user%d@%s", i, domain)), Presentity: julietSeen, Session: "d",
			}})
			return got.Outcome != adapters.Failure
		}
		for _, c := range []struct {
			domain string
			want   int
		}{{"example.net", 56}, {"example.org", 7}, {"example.edu", 1}} {
			taken := 0
			for i := range 100 {
				if open(i, c.domain) {
					taken++
				}
			}
			if taken != c.want {
				t.Errorf("of %s %d are taken, not %d", c.domain, taken, c.want)
			}
		}
		if !open(0, "example.net") {
			t.Error("a refresh is refused")
		}
	})
}

// fakeAttendant is an XMPP side that says whether a watcher is online.
type fakeAttendant struct {
	*adaptertest.Fake
	attends func() adapters.Attendance
}

func (f *fakeAttendant) Attends(context.Context, []resolver.Target, *adapters.AttendOp) adapters.Attendance {
	if f.attends == nil {
		return adapters.AttendanceUnknown
	}
	return f.attends()
}
