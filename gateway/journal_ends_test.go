package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// T-FI-20: exactly one notice, and no delivery after it.
// I3: exactly one notice for a message that was answered and could not be delivered, whatever its end.
func TestOneNoticeOfTheEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		then   adapters.Status
		expire time.Duration
		reason adapters.Reason
		after  time.Duration
	}{
		{"refused", adapters.Failed(adapters.ReasonForbidden, "no"), 0, adapters.ReasonForbidden, 10 * time.Second},
		{"perhaps taken", adapters.Failed(adapters.ReasonOutcomeUnknown, ""), 0, adapters.ReasonOutcomeUnknown, 10 * time.Second},
		{"its sender's life ended", unreachable, 10 * time.Minute, adapters.ReasonExpired, 12 * time.Minute},
		{"the configured life ended", unreachable, 0, adapters.ReasonExpired, 25 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &storetest.Memory{}
				s := durable(t, disk, nil)
				defer s.shutdown()
				first := true
				s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
					if first {
						first = false
						return unreachable
					}
					return c.then
				}
				op := message(romeo, juliet, "x")
				op.Thread, op.TransID = "call-1", "branch-1"
				if c.expire > 0 {
					op.Expires = time.Now().Add(c.expire)
				}
				<-s.send(s.sip, op)
				time.Sleep(c.after)
				synctest.Wait()
				var ends []*adapters.Report
				for _, r := range s.sip.Reports() {
					if r.Kind == adapters.ReportFailed {
						ends = append(ends, r)
					}
				}
				if len(ends) != 1 {
					t.Fatalf("%d notices", len(ends))
				}
				if r := ends[0]; r.Status.Reason != c.reason || r.Sender != romeo || r.Recipient != juliet || r.TransID != "branch-1" || r.Thread != "call-1" {
					t.Errorf("%+v", r)
				}
				empty(t, disk)
				n := len(s.xmpp.Messages())
				time.Sleep(48 * time.Hour)
				if len(s.xmpp.Messages()) != n {
					t.Error("tried after its end had been told")
				}
			})
		})
	}
}

// An end that the journal does not take is told when it does, once, and not before the message is gone.
func TestAnEndThatCannotBeWrittenIsToldLater(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			s := durable(t, disk, nil)
			first := true
			s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
				if first {
					first = false
					return unreachable
				}
				return adapters.Failed(adapters.ReasonForbidden, "")
			}
			<-s.send(s.sip, message(romeo, juliet, "x"))
			disk.FailWith(func(method string) error {
				if method == "Exchange" {
					return store.ErrUnavailable
				}
				return nil
			})
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n := len(s.sip.Reports()); n != 0 || disk.Usage().Entries != 1 {
				t.Fatalf("%d notices, %d entries", n, disk.Usage().Entries)
			}
			disk.FailWith(nil)
			if restart {
				s.shutdown()
				s = durable(t, disk, nil) // where the recipient is there now
			}
			defer s.shutdown()
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := len(s.sip.Reports()); restart && (n != 0 || len(s.xmpp.Messages()) != 1) || !restart && n != 1 {
				t.Errorf("restart %v: %d notices, %d deliveries", restart, n, len(s.xmpp.Messages()))
			}
			empty(t, disk)
		})
	}
}

// An end is told although the journal is full, and although the disk fails at the time: what was acknowledged is never silent (I1).
func TestAnExpiredMessageIsToldWhateverTheDiskDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		disk.Bound(3)
		s := durable(t, disk, func(c *gateway.Config) { c.Limits.Life = 10 * time.Minute })
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		for i := range 3 {
			<-s.send(s.sip, message(romeo, juliet, fmt.Sprint(i)))
		}
		time.Sleep(9 * time.Minute)
		disk.FailWith(func(string) error { return store.ErrUnavailable })
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := failures(s.sip.Reports()); n != 0 {
			t.Errorf("%d notices of what was not written", n)
		}
		disk.FailWith(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := failures(s.sip.Reports()); n != 3 {
			t.Errorf("%d notices of 3 ends", n)
		}
		empty(t, disk)
	})
}

func failures(list []*adapters.Report) (n int) {
	for _, r := range list {
		if r.Kind == adapters.ReportFailed {
			n++
		}
	}
	return n
}

// The sender of a message whose recipient's domain has lost its route is told.
func TestARouteThatIsGoneIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		<-s.send(s.sip, message(romeo, juliet, "x"))
		s.shutdown()
		s = durable(t, disk, func(c *gateway.Config) {
			c.Routes = slices.DeleteFunc(slices.Clone(c.Routes), func(r gateway.Route) bool { return r.Domain == juliet.Address.Domain() })
		})
		defer s.shutdown()
		time.Sleep(time.Minute)
		synctest.Wait()
		if r := s.sip.Reports(); len(r) != 1 || r[0].Kind != adapters.ReportFailed {
			t.Errorf("%+v", r)
		}
		empty(t, disk)
	})
}

// A notice that cannot be told now is stored and told later; nothing answers it (T-LP-06), and one that nobody takes in its life is a dead letter.
func TestNoticesAreTriedToo(t *testing.T) {
	for _, up := range []bool{true, false} {
		t.Run(fmt.Sprint(up), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &storetest.Memory{}
				s := durable(t, disk, nil)
				defer s.shutdown()
				fails := 3
				s.sip.OnReport = func(context.Context, *adapters.Report) adapters.Status {
					if fails--; fails >= 0 || !up {
						return unreachable
					}
					return adapters.Succeeded()
				}
				<-s.send(s.sip, message(romeo, juliet, "x"))
				id := s.xmpp.Messages()[0].TransID
				s.xmpp.Handler().Report(t.Context(), &adapters.Report{
					Kind: adapters.ReportFailed, Sender: romeo, Recipient: juliet, TransID: id, Time: time.Now(), Status: adapters.Failed(adapters.ReasonNotFound, "gone"),
				})
				time.Sleep(26 * time.Hour)
				synctest.Wait()
				got := s.sip.Reports()
				if last := got[len(got)-1]; last.Kind != adapters.ReportFailed || last.Status.Reason != adapters.ReasonNotFound || last.Status.Text != "gone" || last.TransID != "t-x" {
					t.Errorf("%+v", last)
				}
				if up {
					if len(got) != 4 {
						t.Errorf("told %d times", len(got))
					}
					empty(t, disk)
				} else if disk.Usage().Entries != 1 || len(got) < 40 {
					t.Errorf("%d entries, %d attempts", disk.Usage().Entries, len(got))
				}
			})
		})
	}
}

// The sender is told once that it takes long.
func TestTheSenderIsToldOfADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		<-s.send(s.sip, message(romeo, juliet, "x"))
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if n := len(s.sip.Reports()); n != 0 {
			t.Fatalf("%d reports too early", n)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if r := s.sip.Reports(); len(r) != 1 || r[0].Kind != adapters.ReportDelayed || r[0].TransID != "t-x" {
			t.Errorf("%+v", r)
		}
	})
}
