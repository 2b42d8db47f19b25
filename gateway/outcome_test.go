package gateway_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// crash ends a gateway as far as its disk is concerned: from now on nothing of what it does is written.
func crash(s *strait, disk *storetest.Memory) {
	disk.FailWith(func(string) error { return errors.New("the process is dead") })
	s.shutdown()
	disk.FailWith(nil)
}

// I3: a late failure is written before its sender is told, so that a crash in between loses nothing, and what is told again after it has
// the name that it had.
func TestALateFailureSurvivesACrashWhileItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		var first *adapters.Report
		var s *strait
		s = durable(t, disk, func(c *gateway.Config) {
			c.Adapters[1].(*adaptertest.Fake).OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return adapters.Accepted() }
			c.Adapters[0].(*adaptertest.Fake).OnReport = func(_ context.Context, r *adapters.Report) adapters.Status {
				first = r
				disk.FailWith(func(string) error { return errors.New("the process is dead") })
				return adapters.Succeeded()
			}
		})
		<-s.send(s.sip, message(romeo, juliet, "x"))
		failed := &adapters.Report{
			Kind: adapters.ReportFailed, Sender: romeo, Recipient: juliet, TransID: s.xmpp.Messages()[0].TransID, Status: adapters.Failed(adapters.ReasonNotFound, ""),
		}
		s.xmpp.Handler().Report(t.Context(), failed)
		synctest.Wait()
		crash(s, disk)
		if first == nil || len(first.ID) != 32 || disk.Usage().Entries != 1 {
			t.Fatalf("told %+v, %d entries", first, disk.Usage().Entries)
		}

		s = durable(t, disk, nil)
		// Another outcome of the same message is not told while this one is, nor afterwards, nor after one more restart.
		other := *failed
		other.Status = adapters.Failed(adapters.ReasonForbidden, "")
		s.xmpp.Handler().Report(t.Context(), &other)
		time.Sleep(time.Minute)
		s.xmpp.Handler().Report(t.Context(), &other)
		synctest.Wait()
		if r := s.sip.Reports(); len(r) != 1 || r[0].ID != first.ID || r[0].Status.Reason != adapters.ReasonNotFound {
			t.Errorf("told %+v", r)
		}
		empty(t, disk)
		s.shutdown()
		s = durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.Handler().Report(t.Context(), &other)
		synctest.Wait()
		if n := len(s.sip.Reports()); n != 0 {
			t.Errorf("%d more notices", n)
		}
	})
}

// I3: what was told before a crash is known after it, and another outcome of the same message is not told.
func TestASecondOutcomeAfterACrashIsNotTold(t *testing.T) {
	for _, stored := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			s := durable(t, disk, nil)
			s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return adapters.Accepted() }
			if stored {
				s.xmpp.OnMessage = until(1, unreachable)
			}
			<-s.send(s.sip, message(romeo, juliet, "x"))
			time.Sleep(time.Minute)
			synctest.Wait()
			failed := &adapters.Report{
				Kind: adapters.ReportFailed, Sender: romeo, Recipient: juliet, TransID: s.xmpp.Messages()[0].TransID, Status: adapters.Failed(adapters.ReasonNotFound, ""),
			}
			s.xmpp.Handler().Report(t.Context(), failed)
			synctest.Wait()
			if n := len(s.sip.Reports()); n != 1 {
				t.Fatalf("told %d times", n)
			}
			empty(t, disk)
			crash(s, disk)
			s = durable(t, disk, nil)
			defer s.shutdown()
			s.xmpp.Handler().Report(t.Context(), failed)
			synctest.Wait()
			if n := len(s.sip.Reports()); n != 0 {
				t.Errorf("told %d times more", n)
			}
		})
	}
}

// A notice of the end of a stored message has the same name each time it is told, and two messages have two.
func TestNoticesHaveNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = until(1, unreachable)
		told := 0
		s.sip.OnReport = func(context.Context, *adapters.Report) adapters.Status {
			if told++; told <= 2 {
				return unreachable
			}
			return adapters.Succeeded()
		}
		for _, b := range []string{"a", "b"} {
			op := message(romeo, juliet, b)
			op.Expires = time.Now().Add(2 * time.Second)
			<-s.send(s.sip, op)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		names := map[string]int{}
		for _, r := range s.sip.Reports() {
			names[r.ID]++
		}
		if len(names) != 2 || len(s.sip.Reports()) != 4 || names[s.sip.Reports()[0].ID] != 3 {
			t.Errorf("%d reports, names %v", len(s.sip.Reports()), names)
		}
		empty(t, disk)
	})
}
