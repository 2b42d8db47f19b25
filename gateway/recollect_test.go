package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// T-FI-24, "after restart": a copy of a message that was handed over directly, by a process that has crashed since, is answered as the first
// was and not delivered; one whose sender heard that it failed is.
func TestT_FI_24_ACopyAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		status := adapters.Accepted()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return status }
		sent := func(name string) *adapters.MessageOp {
			op := message(romeo, juliet, name)
			op.Copy = "call-id " + name
			if name == "failed" || name == "origin" {
				op.Copy, op.OriginID = "", name
			}
			return op
		}
		for _, name := range []string{"a", "origin", "failed"} {
			<-s.send(s.sip, sent(name))
		}
		failed := s.xmpp.Messages()[2]
		s.xmpp.Handler().Report(t.Context(), &adapters.Report{
			Kind: adapters.ReportFailed, Sender: romeo, Recipient: juliet, TransID: failed.TransID, Status: adapters.Failed(adapters.ReasonNotFound, ""),
		})
		status = adapters.Failed(adapters.ReasonOutcomeUnknown, "")
		<-s.send(s.sip, sent("unknown"))
		status = adapters.Failed(adapters.ReasonNotFound, "")
		<-s.send(s.sip, sent("refused"))
		status = adapters.Accepted()
		writes := disk.Writes()["Put"]
		for i := range 300 {
			<-s.send(s.sip, sent(fmt.Sprint("more ", i)))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := disk.Writes()["Put"] - writes; n > 5 {
			t.Errorf("%d writes for 300 messages at once", n)
		}
		disk.FailWith(func(string) error { return errors.New("the process is dead") })
		<-s.send(s.sip, sent("too late"))
		crash(s, disk)

		s = durable(t, disk, nil)
		defer s.shutdown()
		for name, want := range map[string]adapters.Outcome{
			"a": adapters.Indeterminate, "origin": adapters.Indeterminate, "unknown": adapters.Failure, "more 0": adapters.Indeterminate, "more 299": adapters.Indeterminate,
		} {
			if a := <-s.send(s.sip, sent(name)); a.Outcome != want {
				t.Errorf("%s: %+v", name, a)
			}
		}
		if got := bodies(s.xmpp.Messages()); len(got) != 0 {
			t.Errorf("delivered %q", got)
		}
		other := sent("a")
		other.Content.Octets = []byte("another text")
		<-s.send(s.sip, other)
		for _, name := range []string{"failed", "refused", "too late"} {
			<-s.send(s.sip, sent(name))
		}
		if got := fmt.Sprint(bodies(s.xmpp.Messages())); got != "[another text failed refused too late]" {
			t.Errorf("delivered %q", got)
		}
	})
}

// I3: that a message was delivered is told once, over a crash too.
func TestADeliveryIsToldOnceOverACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return adapters.Accepted() }
		op := message(romeo, juliet, "x")
		op.Wants = adapters.WantDelivered | adapters.WantDisplayed
		<-s.send(s.sip, op)
		id := s.xmpp.Messages()[0].TransID
		tell := func(k adapters.ReportKind) {
			s.xmpp.Handler().Report(t.Context(), &adapters.Report{Kind: k, Sender: romeo, Recipient: juliet, TransID: id, Status: adapters.Failed(adapters.ReasonNotFound, "")})
			synctest.Wait()
		}
		tell(adapters.ReportDelivered)
		time.Sleep(time.Second)
		crash(s, disk)
		for range 2 {
			s = durable(t, disk, nil)
			for _, k := range []adapters.ReportKind{adapters.ReportDelivered, adapters.ReportFailed} {
				if tell(k); len(s.sip.Reports()) != 0 {
					t.Errorf("%v is told as well", k)
				}
			}
			s.shutdown()
		}
		s = durable(t, disk, nil)
		defer s.shutdown()
		if tell(adapters.ReportDisplayed); len(s.sip.Reports()) != 1 {
			t.Errorf("told %+v", s.sip.Reports())
		}
	})
}
