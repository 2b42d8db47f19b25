package gateway_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// Late outcomes find the origin after a restart too, once, and no others do.
func TestALateOutcomeFindsItsSenderAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, func(c *gateway.Config) {
			c.Adapters[1].(*adaptertest.Fake).OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
				if string(op.Content.Octets) == "refused" {
					return adapters.Failed(adapters.ReasonForbidden, "")
				}
				return adapters.Accepted()
			}
		})
		op := message(romeo, juliet, "x")
		op.TransID, op.Thread, op.Wants = "z9hG4bK776sgdkse", "call-1@example.net", adapters.WantDelivered
		<-s.send(s.sip, op)
		id := s.xmpp.Messages()[0].TransID
		if !strings.HasPrefix(id, "z9hG4bK776sgdkse.") {
			t.Errorf("the sender's identifier cannot be found in %q", id)
		}
		plain := message(user("im:benvolio@example.net"), juliet, "y")
		plain.TransID = "other"
		<-s.send(s.sip, plain)
		unasked := s.xmpp.Messages()[1].TransID
		// While the process lives the table knows, and a second outcome is not told by way of the token.
		third := message(user("im:paris@example.net"), juliet, "z")
		third.Wants = adapters.WantDelivered
		<-s.send(s.sip, third)
		refused := message(user("im:rosaline@example.net"), juliet, "refused")
		<-s.send(s.sip, refused)
		for _, kind := range []adapters.ReportKind{adapters.ReportDelivered, adapters.ReportFailed, adapters.ReportDelivered} {
			s.xmpp.Handler().Report(t.Context(), &adapters.Report{Kind: kind, Sender: third.From, Recipient: juliet, TransID: s.xmpp.Messages()[2].TransID})
			synctest.Wait()
		}
		if n := len(s.sip.Reports()); n != 1 {
			t.Errorf("told %d times", n)
		}
		// Nor what failed while the sender waited.
		s.xmpp.Handler().Report(t.Context(), &adapters.Report{
			Kind: adapters.ReportFailed, Sender: refused.From, Recipient: juliet, TransID: s.xmpp.Messages()[3].TransID,
		})
		synctest.Wait()
		if n := len(s.sip.Reports()); n != 1 {
			t.Errorf("told %d times", n)
		}
		s.shutdown()

		s = durable(t, disk, nil)
		defer s.shutdown()
		tell := func(r adapters.Report) int {
			r.Time = time.Now()
			s.xmpp.Handler().Report(t.Context(), &r)
			synctest.Wait()
			return len(s.sip.Reports())
		}
		good := adapters.Report{Kind: adapters.ReportDelivered, Sender: romeo, Recipient: juliet, TransID: id}
		for name, change := range map[string]func(*adapters.Report){
			"another recipient":    func(r *adapters.Report) { r.Recipient = user("im:nurse@example.com") },
			"another sender":       func(r *adapters.Report) { r.Sender = user("im:tybalt@example.net") },
			"a changed token":      func(r *adapters.Report) { r.TransID = id[:len(id)-2] + "AA" },
			"a cut token":          func(r *adapters.Report) { r.TransID = id[:len(id)-3] },
			"no token":             func(r *adapters.Report) { r.TransID = "z9hG4bK776sgdkse" },
			"what was not asked":   func(r *adapters.Report) { r.Kind = adapters.ReportDisplayed },
			"not asked by another": func(r *adapters.Report) { r.Sender, r.TransID = plain.From, unasked },
		} {
			r := good
			change(&r)
			if tell(r) != 0 {
				t.Fatalf("%s: told", name)
			}
		}
		if tell(good) != 1 {
			t.Fatal("the sender was not told")
		}
		if r := s.sip.Reports()[0]; r.Sender != romeo || r.TransID != "z9hG4bK776sgdkse" || r.Thread != "call-1@example.net" || r.Wants != adapters.WantDelivered {
			t.Errorf("%+v", r)
		}
		// I3: once.
		late := good
		late.Kind, late.Status = adapters.ReportFailed, adapters.Failed(adapters.ReasonForbidden, "")
		if tell(good) != 1 || tell(late) != 1 {
			t.Error("told a second time")
		}
		// A failure is told whether it was asked for or not.
		if tell(adapters.Report{Kind: adapters.ReportFailed, Sender: plain.From, Recipient: juliet, TransID: unasked, Status: adapters.Failed(adapters.ReasonForbidden, "")}) != 2 {
			t.Error("a failure was not told")
		}
		// It has an end.
		time.Sleep(49 * time.Hour)
	})
}

// I2: a message that its sender repeats after a crash has the identifier of the first copy; another message has another one.
func TestACopyAfterARestartHasTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		ids := map[string]int{}
		for range 2 {
			s := durable(t, disk, nil)
			<-s.send(s.sip, message(romeo, juliet, "a"))
			other := message(romeo, juliet, "b")
			other.TransID = "t-a"
			<-s.send(s.sip, other)
			unnamed := message(romeo, juliet, "c")
			unnamed.TransID = ""
			<-s.send(s.sip, unnamed)
			for _, m := range s.xmpp.Messages() {
				ids[m.TransID]++
			}
			s.shutdown()
		}
		// "a" and "b" the same both times, what has no name another one each time.
		if len(ids) != 4 {
			t.Errorf("%d identifiers: %v", len(ids), ids)
		}
	})
}
