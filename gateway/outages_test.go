package gateway_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// toXMPP is the way that Romeo watches Juliet by.
var toXMPP = adapters.Way{Ours: "example.net", Theirs: "example.com"}

// T-PR-11: the link to the XMPP side breaks while Romeo sees Juliet, and she never comes back: he does not see her for ever.
func TestT_PR_11_LossOfALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "d", 10*time.Hour))
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
		synctest.Wait()
		link := s.xmpp.Handler().(adapters.Outages)
		// Of another domain, and the other way round.
		link.Lost(adapters.Way{Ours: "example.net", Theirs: "example.org"})
		link.Lost(adapters.Way{Ours: "example.com", Theirs: "example.net"})
		time.Sleep(time.Minute)
		synctest.Wait()
		told := len(s.sip.Notifies())

		asked := len(s.xmpp.Watches())
		link.Lost(toXMPP)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := verbs(s.xmpp.Watches()[asked:]); got != "open" {
			t.Errorf("the XMPP side was asked %q, want one try", got)
		}
		time.Sleep(27 * time.Second)
		synctest.Wait()
		if n := len(s.sip.Notifies()); n != told {
			t.Errorf("told %d times before anything is sure", n-told)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		ops := s.sip.Notifies()[told:]
		if len(ops) != 1 || ops[0].State != adapters.WatchActive || ops[0].Presence == nil || len(ops[0].Presence.Tuples) != 0 {
			t.Fatalf("told %q, want one document without a tuple", notices(ops))
		}
		asked = len(s.xmpp.Watches())
		link.Back(toXMPP)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := verbs(s.xmpp.Watches()[asked:]); got != "open" {
			t.Errorf("the XMPP side was asked %q, want one probe", got)
		}
		s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		ops = s.sip.Notifies()
		if last := ops[len(ops)-1]; last.Presence == nil || len(last.Presence.Tuples) != 1 || last.Presence.Tuples[0].Status.Basic != pidf.BasicOpen {
			t.Errorf("told %q, want that she is there", notices(ops))
		}
	})
}

// T-PR-11: the server is back, and everybody is asked for, at the pace at which watches may be opened; a link that breaks again meanwhile
// is asked for no more.
func TestT_PR_11_ReturnIsNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) { c.Limits.WatchRate = 100 })
		defer s.shutdown()
		const watchers = 1000
		for i := range watchers {
			op := romeoWatchesJuliet(adapters.WatchOpen, "d", 10*time.Hour)
			op.Watch.Watcher = cpim.MustParseAddress(fmt.Sprintf("pres:user%d@example.net", i))
			s.watch(s.sip, op)
			for _, n := range []*adapters.NotifyOp{subscribed(), presence("balcony", pidf.BasicOpen)} {
				n.Watch.Watcher = op.Watch.Watcher
				s.xmpp.Handler().Notify(t.Context(), n)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		link := s.xmpp.Handler().(adapters.Outages)
		asked := len(s.xmpp.Watches())
		link.Lost(toXMPP)
		link.Back(toXMPP)
		last, most := 0, 0
		for range 4 {
			time.Sleep(time.Second)
			synctest.Wait()
			n := len(s.xmpp.Watches()) - asked
			most, last = max(most, n-last), n
		}
		if most > 210 || last < 300 || last > 600 {
			t.Errorf("%d were asked for in 4 s, at most %d in one", last, most)
		}
		link.Lost(toXMPP)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(s.xmpp.Watches()) - asked; n > last+210 {
			t.Errorf("%d were asked for over a link that is lost", n-last)
		}
		link.Back(toXMPP)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		seen := map[cpim.Address]bool{}
		for _, op := range s.xmpp.Watches()[asked:] {
			seen[op.Watch.Watcher] = true
		}
		if len(seen) != watchers {
			t.Errorf("%d of %d were asked for", len(seen), watchers)
		}
	})
}
