package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// T-FI-28: more than five starts that did not last within ten minutes: the journal is kept and not tried, new traffic is served; ten
// minutes without a crash, and what was held goes.
func TestT_FI_28_ACrashLoopHoldsTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		<-s.send(s.sip, message(romeo, juliet, "stored"))
		s.shutdown()

		// Five processes that die: what they left running is no part of this world, so it is only not shut down.
		var dead []*strait
		for i := range 6 {
			dead = append(dead, durable(t, disk, func(c *gateway.Config) {
				if i < 5 {
					c.Adapters[1].(*adaptertest.Fake).OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
				}
			}))
			time.Sleep(100 * time.Millisecond)
		}
		last := dead[len(dead)-1]
		defer func() {
			for _, d := range dead {
				d.shutdown()
			}
		}()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := len(last.xmpp.Messages()); n != 0 {
			t.Fatalf("%d stored messages were tried", n)
		}
		if a := <-last.send(last.sip, message(user("im:new@example.net"), juliet, "new")); a.Outcome != adapters.Indeterminate || len(last.xmpp.Messages()) != 1 {
			t.Errorf("new traffic: %+v", a)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if list := bodies(last.xmpp.Messages()); len(list) < 2 {
			t.Errorf("after ten good minutes: %q", list)
		}
	})
}

// A process that was ended on purpose has not crashed.
func TestRestartsOnPurposeAreNoCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		<-s.send(s.sip, message(romeo, juliet, "stored"))
		s.shutdown()
		for range 12 {
			s = durable(t, disk, func(c *gateway.Config) {
				c.Adapters[1].(*adaptertest.Fake).OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
			})
			time.Sleep(time.Second)
			s.shutdown()
		}
		s = durable(t, disk, nil)
		defer s.shutdown()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(s.xmpp.Messages()) != 1 {
			t.Errorf("%d attempts", len(s.xmpp.Messages()))
		}
	})
}
