package gateway_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// T-PR-07, T-FI-01: a gateway that is killed while it tells a watcher that she was refused, or that her watch is over, asks nobody for it again, and
// tells her the end when it is there again.
func TestT_PR_07_KilledWhileTheEndIsTold(t *testing.T) {
	killed := errors.New("killed")
	for _, c := range []struct {
		name string
		play func(t *testing.T, s *strait)
		// want is what the SIP watcher is told after the restart; asked what the XMPP side is.
		want, asked string
	}{
		{"refused before it was decided", func(t *testing.T, s *strait) {
			s.xmpp.Handler().Notify(t.Context(), refusal())
		}, "d:terminated\n", ""},
		{"refused after it was granted", func(t *testing.T, s *strait) {
			s.xmpp.Handler().Notify(t.Context(), subscribed())
			s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
			synctest.Wait()
			s.xmpp.Handler().Notify(t.Context(), refusal())
		}, "d:terminated ID-=closed\n", ""},
		{"left before it was decided", func(_ *testing.T, s *strait) {
			s.watch(s.sip, romeoWatchesJuliet(adapters.WatchClose, "d", 0))
		}, "d:terminated\n", ""},
		{"expired", func(_ *testing.T, _ *strait) { time.Sleep(2 * time.Hour) }, "d:terminated\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &storetest.Memory{}
				s := durable(t, disk, nil)
				s.sip.OnNotify = func(_ context.Context, op *adapters.NotifyOp) adapters.Status {
					if op.State == adapters.WatchTerminated { // in this moment
						disk.FailWith(func(string) error { return killed })
					}
					return adapters.Succeeded()
				}
				s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour))
				synctest.Wait()
				c.play(t, s)
				synctest.Wait()
				if last := s.sip.Notifies(); last[len(last)-1].State != adapters.WatchTerminated {
					t.Fatalf("told: %s", notices(last))
				}
				s.kill(disk)

				s = durable(t, disk, nil)
				defer s.shutdown()
				time.Sleep(48 * time.Hour)
				synctest.Wait()
				if got := notices(s.sip.Notifies()); got != c.want {
					t.Errorf("told after the restart:\n%swant:\n%s", got, c.want)
				}
				if got := verbs(s.xmpp.Watches()); got != c.asked {
					t.Errorf("asked of the XMPP side after the restart: %s", got)
				}
				if s.metric("isthmus_watches") != 0 {
					t.Error("what is over is not forgotten")
				}
			})
		})
	}
}

func refusal() *adapters.NotifyOp {
	n := subscribed()
	n.State, n.Change = adapters.WatchTerminated, adapters.AuthorizationRefused
	return n
}

// T-PR-16: the same of an XMPP watcher, whose server is told until it has taken it; the SIP side is asked for nothing more, and one that is told of no
// watch any more is not in the record.
func TestT_PR_16_KilledWhileTheRefusalIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		s.xmpp.OnNotify = func(_ context.Context, op *adapters.NotifyOp) adapters.Status {
			if op.Change == adapters.AuthorizationRefused {
				disk.FailWith(func(string) error { return errors.New("killed") })
			}
			return adapters.Succeeded()
		}
		s.watch(s.xmpp, julietWatchesRomeo(adapters.WatchAsk))
		kept := 0
		s.sip.Handler().Notify(t.Context(), &adapters.NotifyOp{
			Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}, State: adapters.WatchTerminated, End: adapters.EndRejected,
			Change: adapters.AuthorizationRefused, Kept: func() { kept++ },
		})
		synctest.Wait()
		if kept != 1 {
			t.Errorf("the refusal was said to be kept %d times", kept)
		}
		s.kill(disk)
		s = durable(t, disk, nil)
		defer s.shutdown()
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if n := s.xmpp.Notifies(); len(n) != 1 || n[0].Change != adapters.AuthorizationRefused {
			t.Errorf("told after the restart: %s", notices(n))
		}
		if got := verbs(s.sip.Watches()); got != "" {
			t.Errorf("asked of the SIP side after the restart: %s", got)
		}
	})
}

// A server that answers a request for a user who had approved before sends no presence along (RFC 6121 §3.1.3): it is asked for (RFC 6121 §4.3.1).
func TestPresenceAfterAnApprovalIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour))
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := verbs(s.xmpp.Watches()); got != "ask open" {
			t.Errorf("asked of the XMPP side: %s", got)
		}
		s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := verbs(s.xmpp.Watches()); got != "ask open" {
			t.Errorf("asked of the XMPP side although it has said how she is: %s", got)
		}
	})
}
