package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// straitRoutes are those of newStrait.
func straitRoutes(t *testing.T) []gateway.Route {
	return []gateway.Route{
		{Domain: "example.net", Adapter: "sip", NextHops: hops(t, "sip:127.0.0.1:5060;transport=udp")},
		{Domain: "example.com", Adapter: "xmpp", NextHops: hops(t, "component:127.0.0.1:5347")},
	}
}

func (s *strait) renew(settings gateway.Settings) {
	s.t.Helper()
	narrow, c, err := s.gateway.Prepare(settings)
	if err != nil {
		s.t.Fatal(err)
	}
	narrow()
	c.Commit()
}

// T-FI-22: what is under way when the routes change ends by the route that it was admitted by; what comes later goes by the new ones.
func TestT_FI_22_RoutesChangeUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			time.Sleep(time.Second)
			return adapters.Accepted()
		}
		first, waits := s.send(s.sip, message(romeo, juliet, "1")), s.send(s.sip, message(romeo, juliet, "2"))
		time.Sleep(time.Millisecond)
		other := adapters.Party{Address: cpim.MustParseAddress("im:juliet@example.org")}
		if st := <-s.send(s.sip, message(romeo, other, "no route yet")); st.Reason != adapters.ReasonDomainNotFound {
			t.Errorf("%+v", st)
		}
		routes := straitRoutes(t)
		routes[1].Domain = "example.org"
		if _, _, err := s.gateway.Prepare(gateway.Settings{Routes: append(routes, routes[0])}); err == nil {
			t.Error("two routes for a domain were taken")
		}
		s.renew(gateway.Settings{Routes: routes})
		if st := <-s.send(s.sip, message(romeo, juliet, "3")); st.Reason != adapters.ReasonDomainNotFound {
			t.Errorf("%+v", st)
		}
		if st := <-s.send(s.sip, message(romeo, other, "4")); st.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", st)
		}
		for _, c := range []<-chan adapters.Status{first, waits} {
			if st := <-c; st.Outcome != adapters.Indeterminate {
				t.Errorf("under way: %+v", st)
			}
		}
	})
}

// What waits in the journal goes by the new routes: to a domain that has none any more it ends with one notice.
func TestT_FI_22_RoutesChangeWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = until(1, unreachable)
		op := message(romeo, juliet, "waits")
		op.Wants = adapters.WantFailed
		<-s.send(s.sip, op)
		s.renew(gateway.Settings{Routes: straitRoutes(t)[:1]})
		time.Sleep(time.Hour)
		if n := len(s.xmpp.Messages()); n != 1 {
			t.Errorf("tried %d times", n)
		}
		if r := s.sip.Reports(); len(r) != 1 || r[0].Kind != adapters.ReportFailed || r[0].Status.Reason != adapters.ReasonDomainNotFound {
			t.Errorf("%+v", r)
		}
		empty(t, disk)
	})
}

// Watches whose domains lose their routes end without harm to anybody else.
func TestT_FI_22_WatchWithoutRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.xmpp.OnWatch = func(_ context.Context, op *adapters.WatchOp) adapters.WatchStatus {
			time.Sleep(time.Second)
			return adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchActive, Duration: time.Hour}
		}
		w := adapters.WatchID{Watcher: romeo.Address.WithScheme(cpim.Pres), Presentity: juliet.Address.WithScheme(cpim.Pres), Session: "s"}
		s.sip.Handler().Watch(t.Context(), &adapters.WatchOp{Watch: w, Verb: adapters.WatchOpen, Duration: time.Hour, Hops: adapters.DefaultHops}, func(adapters.WatchStatus) {})
		time.Sleep(time.Millisecond)
		s.renew(gateway.Settings{})
		time.Sleep(2 * time.Hour)
		if strings.Contains(s.log.String(), "panic") {
			t.Error(s.log)
		}
		s.renew(gateway.Settings{Routes: straitRoutes(t)})
		if st := <-s.send(s.sip, message(romeo, juliet, "again")); st.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", st)
		}
	})
}

// New limits hold from the next operation on, in both directions.
func TestT_FI_22_Limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			time.Sleep(time.Second)
			return adapters.Accepted()
		}
		for _, lane := range []int{2, 5, 1} {
			s.renew(gateway.Settings{Routes: straitRoutes(t), Limits: gateway.Limits{LaneMessages: lane}})
			taken := 0
			for i := range 10 {
				c := s.send(s.sip, message(romeo, juliet, fmt.Sprint(lane, i)))
				synctest.Wait()
				select {
				case <-c:
				default:
					taken++
				}
			}
			if taken != lane+1 { // one is under way
				t.Errorf("limit %d: %d were taken", lane, taken)
			}
			time.Sleep(time.Minute)
		}
		s.renew(gateway.Settings{Routes: straitRoutes(t), Limits: gateway.Limits{PairRate: 1, PairBurst: 2}})
		var answers []<-chan adapters.Status
		for i := range 5 {
			answers = append(answers, s.send(s.sip, message(romeo, juliet, fmt.Sprint("brake", i))))
			// The same settings again forget nothing of what was counted.
			s.renew(gateway.Settings{Routes: straitRoutes(t), Limits: gateway.Limits{PairRate: 1, PairBurst: 2}})
		}
		refused := 0
		for _, c := range answers {
			if st := <-c; st.Reason == adapters.ReasonOverloaded {
				refused++
			}
		}
		if refused != 3 {
			t.Errorf("the brake refused %d", refused)
		}
	})
}

// I3: a late failure whose sender's domain has no route just then is not forgotten: nobody refused to hear it. It is a dead letter, and is told
// when the route is back and an operator says so.
func TestT_FI_22_ANoticeWithoutARouteIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		<-s.send(s.sip, message(romeo, juliet, "x"))
		s.renew(gateway.Settings{Routes: straitRoutes(t)[1:]})
		s.xmpp.Handler().Report(t.Context(), report(adapters.ReportFailed, s.xmpp.Messages()[0].TransID))
		time.Sleep(time.Hour)
		var dead []string
		if err := s.gateway.Stored(t.Context(), true, func(e gateway.Stored) error {
			dead = append(dead, e.ID)
			return nil
		}); err != nil || len(dead) != 1 {
			t.Fatalf("%v, %v", dead, err)
		}
		s.renew(gateway.Settings{Routes: straitRoutes(t)})
		if err := s.gateway.RetryStored(t.Context(), dead[0]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r := s.sip.Reports(); len(r) != 1 || r[0].Kind != adapters.ReportFailed || r[0].TransID != "t-x" {
			t.Errorf("%+v", r)
		}
		empty(t, disk)
	})
}

// I3: a stored message that ends because its route is gone has had its one notice, also when the far side tells an outcome of an earlier attempt
// after a restart.
func TestT_FI_22_OneNoticeWhenTheRouteIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		s.xmpp.OnMessage = until(1, unreachable)
		<-s.send(s.sip, message(romeo, juliet, "x"))
		id := s.xmpp.Messages()[0].TransID
		s.renew(gateway.Settings{Routes: straitRoutes(t)[:1]})
		time.Sleep(time.Hour)
		if n := len(s.sip.Reports()); n != 1 {
			t.Fatalf("told %d times", n)
		}
		s.shutdown()
		s = durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.Handler().Report(t.Context(), report(adapters.ReportFailed, id))
		synctest.Wait()
		if n := len(s.sip.Reports()); n != 0 {
			t.Errorf("%d more notices", n)
		}
	})
}
