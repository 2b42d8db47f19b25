package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// dying is a gateway whose process dies when it comes to a message: from then on nothing is written, and nothing is heard of it.
func dying(t *testing.T, disk *storetest.Memory, poison string) (s *strait, died *atomic.Bool) {
	died = new(atomic.Bool)
	return on(t, disk, func(ctx context.Context, op *adapters.MessageOp) adapters.Status {
		if died.Load() || string(op.Content.Octets) == poison {
			died.Store(true)
			disk.FailWith(func(string) error { return errors.New("the process is dead") })
			<-ctx.Done()
			return unreachable
		}
		return adapters.Accepted()
	}), died
}

// on starts a gateway whose far side does so from the beginning: what is due in the journal is tried at the start.
func on(t *testing.T, disk *storetest.Memory, far func(context.Context, *adapters.MessageOp) adapters.Status) *strait {
	return durable(t, disk, func(c *gateway.Config) { c.Adapters[1].(*adaptertest.Fake).OnMessage = far })
}

// bury ends what is left of a gateway whose process died: of what it still says nobody hears.
func bury(s *strait, disk *storetest.Memory) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.gateway.Shutdown(ctx)
	disk.FailWith(nil)
}

// T-FI-23, T-FI-28: a message that kills the process each time that it is tried is a dead letter after the third time that nothing else can
// have been it; those beside it are delivered, and its sender hears that the outcome is not known.
func TestT_FI_23_AMessageThatKillsTheProcessIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		for i := range 8 {
			text := fmt.Sprint("sound ", i)
			if i == 3 {
				text = "poison"
			}
			<-s.send(s.sip, message(romeo, user(fmt.Sprintf("im:user%d@example.com", i)), text))
		}
		s.shutdown()
		deaths, delivered := 0, map[string]bool{}
		var died *atomic.Bool
		for range 8 {
			if s, died = dying(t, disk, "poison"); disk.Usage().Entries == 0 {
				break
			}
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if died.Load() {
				deaths++
			}
			for _, m := range s.xmpp.Messages() {
				delivered[string(m.Content.Octets)] = true
			}
			told := slices.DeleteFunc(s.sip.Reports(), func(r *adapters.Report) bool { return r.Kind != adapters.ReportFailed })
			if died.Load() {
				bury(s, disk)
			} else {
				s.shutdown()
			}
			if !died.Load() {
				if len(told) != 1 || told[0].TransID != "t-poison" || told[0].Status.Reason != adapters.ReasonOutcomeUnknown {
					t.Errorf("told %+v", told)
				}
				break
			}
		}
		if deaths != 4 || len(delivered) != 8 {
			t.Errorf("the process died %d times; tried %v", deaths, delivered)
		}
		s = durable(t, disk, nil)
		defer s.shutdown()
		dead := 0
		if err := s.gateway.Stored(t.Context(), true, func(x gateway.Stored) error {
			if dead++; !strings.Contains(x.Dead, "died") {
				t.Errorf("%+v", x)
			}
			return nil
		}); err != nil || dead != 1 || disk.Usage().Entries != 1 {
			t.Errorf("%d dead letters of %d entries, %v", dead, disk.Usage().Entries, err)
		}
	})
}

// kill -9 while a message is tried condemns nothing: not once, not twice.
func TestAKillDuringAnAttemptCondemnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		<-s.send(s.sip, message(romeo, juliet, "x"))
		s.shutdown()
		for range 3 { // the first among others, then twice alone
			s, died := dying(t, disk, "x")
			time.Sleep(time.Minute)
			synctest.Wait()
			if !died.Load() {
				t.Fatal("it was not tried")
			}
			bury(s, disk)
		}
		// An attempt that ends takes the suspicion away, whatever its end is.
		s = on(t, disk, func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable })
		time.Sleep(time.Minute)
		synctest.Wait()
		s.shutdown()
		if err := disk.Replay(t.Context(), nil, func(_ store.Entry, p store.Progress) error {
			if p.Crashes != 0 || p.Trying != store.TryingNot {
				t.Errorf("%+v", p)
			}
			return nil
		}, nil); err != nil {
			t.Error(err)
		}
		s = durable(t, disk, nil)
		defer s.shutdown()
		time.Sleep(40 * time.Minute) // longer than the longest pause
		synctest.Wait()
		if got := bodies(s.xmpp.Messages()); len(got) != 1 || got[0] != "x" {
			t.Errorf("delivered %q", got)
		}
		empty(t, disk)
	})
}

// One sender, one recipient and one domain cannot fill the journal for all others; what has come to its end makes room.
func TestStoredMessagesAreBounded(t *testing.T) {
	for _, c := range []struct {
		name          string
		limits        gateway.Limits
		from, to      func(i int) string
		third, beside string
	}{
		{"of one sender", gateway.Limits{StoredPerSender: 2}, nil, func(i int) string { return fmt.Sprintf("im:u%d@example.com", i) }, "sender", "im:paris@example.net"},
		{"for one recipient", gateway.Limits{StoredPerRecipient: 2}, func(i int) string { return fmt.Sprintf("im:u%d@example.net", i) }, nil, "recipient", ""},
		{"of one sender for one recipient", gateway.Limits{StoredPerRecipient: 8}, nil, nil, "of this sender wait for this recipient", "im:paris@example.net"},
		{"of one sender for one recipient again", gateway.Limits{StoredPerRecipient: 8}, nil, nil, "of this sender wait for this recipient", ""},
		{"to one domain", gateway.Limits{StoredPerDomain: 2}, func(i int) string { return fmt.Sprintf("im:u%d@example.net", i) }, nil, "domain", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &storetest.Memory{}
				down := func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
				change := func(g *gateway.Config) {
					g.Limits = c.limits
					g.Adapters[1].(*adaptertest.Fake).OnMessage = down // before anything is tried
				}
				s := durable(t, disk, change)
				send := func(i int) adapters.Status {
					from, to := romeo, juliet
					if c.from != nil {
						from = user(c.from(i))
					}
					if c.to != nil {
						to = user(c.to(i))
					}
					return <-s.send(s.sip, message(from, to, fmt.Sprint(i)))
				}
				for i := range 2 {
					if a := send(i); a.Outcome != adapters.Indeterminate {
						t.Fatalf("%d: %+v", i, a)
					}
				}
				refused := func() {
					t.Helper()
					if a := send(2); a.Outcome != adapters.Failure || a.Reason != adapters.ReasonOverloaded || !strings.Contains(a.Text, c.third) || disk.Usage().Entries != 2 {
						t.Errorf("the third: %+v, %d entries", a, disk.Usage().Entries)
					}
				}
				refused()
				if c.beside != "" {
					if a := <-s.send(s.sip, message(user(c.beside), juliet, "beside")); a.Outcome != adapters.Indeterminate {
						t.Errorf("another: %+v", a)
					}
					s.shutdown()
					return
				}
				s.shutdown()
				// It is counted again after a restart, and not after the end.
				s = durable(t, disk, change)
				defer s.shutdown()
				refused()
				s.xmpp.Answer(func(context.Context, *adapters.MessageOp) adapters.Status { return adapters.Accepted() })
				time.Sleep(time.Hour)
				synctest.Wait()
				empty(t, disk)
				s.xmpp.Answer(down)
				if a := send(3); a.Outcome != adapters.Indeterminate {
					t.Errorf("after the end: %+v", a)
				}
			})
		})
	}
}

// A dead letter is forgotten after a time that is configured, and an operator sees when.
func TestADeadLetterComesToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, func(c *gateway.Config) { c.Limits.DeadLife = 48 * time.Hour })
		defer s.shutdown()
		s.sip.OnReport = func(context.Context, *adapters.Report) adapters.Status { return unreachable }
		s.xmpp.OnMessage = until(1, unreachable)
		op := message(romeo, juliet, "x")
		op.Expires = time.Now().Add(time.Second)
		<-s.send(s.sip, op)
		time.Sleep(26 * time.Hour)
		synctest.Wait()
		list := func() (all []gateway.Stored) {
			if err := s.gateway.Stored(t.Context(), true, func(x gateway.Stored) error { all = append(all, x); return nil }); err != nil {
				t.Fatal(err)
			}
			return all
		}
		dead := list()
		if len(dead) != 1 || !dead[0].Ends.Equal(dead[0].Since.Add(48*time.Hour)) {
			t.Fatalf("%+v", dead)
		}
		time.Sleep(time.Until(dead[0].Ends) - time.Second)
		if len(list()) != 1 {
			t.Error("it ended too early")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(list()) != 0 {
			t.Error("it is still there")
		}
		empty(t, disk)
	})
}
