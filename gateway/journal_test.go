package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// durable is a strait with a journal.
func durable(t *testing.T, disk *storetest.Memory, change func(*gateway.Config)) *strait {
	t.Helper()
	return newStrait(t, func(c *gateway.Config) {
		c.OpenStore = func(context.Context) (store.Durable, error) { return disk, nil }
		if change != nil {
			change(c)
		}
	})
}

// user is a party without a device.
func user(uri string) adapters.Party { return adapters.Party{Address: cpim.MustParseAddress(uri)} }

// unreachable is the status of a hop that nobody answers at.
var unreachable = adapters.Failed(adapters.ReasonDomainTimeout, "")

// until makes the far side answer down, and up from the time it has been asked so often.
func until(n int, down adapters.Status) func(context.Context, *adapters.MessageOp) adapters.Status {
	var asked atomic.Int64
	return func(context.Context, *adapters.MessageOp) adapters.Status {
		if asked.Add(1) <= int64(n) {
			return down
		}
		return adapters.Accepted()
	}
}

func bodies(ops []*adapters.MessageOp) (list []string) {
	for _, op := range ops {
		list = append(list, string(op.Content.Octets))
	}
	return list
}

// empty fails the test if the journal has entries.
func empty(t *testing.T, disk *storetest.Memory) {
	t.Helper()
	if n := disk.Entries(); n != 0 {
		t.Errorf("%d entries are left in the journal", n)
	}
}

// The direct path costs nothing: while the sender waits, nothing is written.
func TestWhatIsHandedOverIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		before := fmt.Sprint(disk.Writes())
		for i := range 100 {
			<-s.send(s.sip, message(romeo, juliet, fmt.Sprint(i)))
		}
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			return adapters.Failed(adapters.ReasonNotFound, "")
		}
		<-s.send(s.sip, message(romeo, juliet, "refused"))
		if after := fmt.Sprint(disk.Writes()); after != before {
			t.Errorf("writes: %s, before %s", after, before)
		}
	})
}

// What cannot be handed over now is stored before its sender is answered, and delivered when it can be, once.
func TestWhatCannotBeHandedOverIsStored(t *testing.T) {
	for _, c := range []struct {
		name   string
		status adapters.Status
		stored bool
	}{
		{"nobody answers", unreachable, true},
		{"a server is overloaded", adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonInternal, Code: 503}, true},
		{"a link's queue is full", adapters.Failed(adapters.ReasonOverloaded, ""), true},
		{"no such user", adapters.Failed(adapters.ReasonNotFound, ""), false},
		{"somebody behind the hop had no answer", adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonDomainTimeout, Code: 504}, false},
		{"it may have been taken", adapters.Failed(adapters.ReasonOutcomeUnknown, ""), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &storetest.Memory{}
				s := durable(t, disk, nil)
				defer s.shutdown()
				s.xmpp.OnMessage = until(1, c.status)
				answer := <-s.send(s.sip, message(romeo, juliet, "hello"))
				if !c.stored {
					if answer != c.status || disk.Usage().Entries != 0 {
						t.Errorf("answer %+v, %d stored", answer, disk.Usage().Entries)
					}
					return
				}
				if answer.Outcome != adapters.Indeterminate || disk.Usage().Entries != 1 {
					t.Fatalf("answer %+v, %d stored", answer, disk.Usage().Entries)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				got := s.xmpp.Messages()
				if len(got) != 2 || got[0].TransID != got[1].TransID || string(got[1].Content.Octets) != "hello" || got[1].From != romeo || got[1].To != juliet {
					t.Errorf("handed over: %+v", got)
				}
				empty(t, disk)
				time.Sleep(time.Hour)
				if n := len(s.xmpp.Messages()) + len(s.sip.Reports()); n != 2 {
					t.Errorf("%d more operations", n-2)
				}
			})
		})
	}
}

// XEP-0334: what its sender wants in no store is delivered while the sender waits, or refused.
func TestWhatMustNotBeStoredIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		secret := func(body string) *adapters.MessageOp {
			op := message(romeo, juliet, body)
			op.NoStore = true
			return op
		}
		if a := <-s.send(s.sip, secret("alone")); a != unreachable || disk.Usage().Entries != 0 {
			t.Errorf("%+v, %d stored", a, disk.Usage().Entries)
		}
		<-s.send(s.sip, message(romeo, juliet, "stored"))
		if a := <-s.send(s.sip, secret("behind")); a.Outcome != adapters.Failure || disk.Usage().Entries != 1 {
			t.Errorf("%+v, %d stored", a, disk.Usage().Entries)
		}
	})
}

// I4: first deliveries of one pair come in the order of acceptance, also when some were stored and some were not.
func TestStoredMessagesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		var up atomic.Bool
		var got []string
		s.xmpp.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
			if !up.Load() {
				return unreachable
			}
			got = append(got, string(op.Content.Octets))
			return adapters.Accepted()
		}
		for i := range 40 {
			if i == 30 {
				up.Store(true) // the later ones come while the earlier ones are delivered
				time.Sleep(3 * time.Minute)
			}
			if a := <-s.send(s.sip, message(romeo, juliet, fmt.Sprintf("%02d", i))); a.Outcome != adapters.Indeterminate {
				t.Fatalf("%d: %+v", i, a)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(got) != 40 {
			t.Fatalf("%d delivered: %q", len(got), got)
		}
		for i, b := range got {
			if b != fmt.Sprintf("%02d", i) {
				t.Fatalf("out of order: %q", got)
			}
		}
		empty(t, disk)
	})
}

// T-FI-01 in small: what was stored is there after a restart, and so is what waits behind it.
func TestARestartForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		full := message(romeo, juliet, "first")
		full.Subjects = []adapters.LangText{{Lang: "en", Text: "s"}}
		full.Alternatives = []adapters.LangText{{Lang: "cs", Text: "a"}}
		full.Links = []adapters.Link{{URL: "https://example.net/f", Size: 7}}
		full.Wants, full.SenderName, full.OriginID = adapters.WantDelivered|adapters.WantDisplayed, "Romeo", "o-1"
		full.Peer = adapters.Peer{Adapter: "sip", Name: "trunk"}
		full.Object, full.Sent = []byte("object"), time.Now().Truncate(time.Second)
		<-s.send(s.sip, full)
		<-s.send(s.sip, message(romeo, juliet, "second"))
		before := *s.xmpp.Messages()[0]
		s.shutdown()

		s = durable(t, disk, nil)
		defer s.shutdown()
		third := s.send(s.sip, message(romeo, juliet, "third"))
		time.Sleep(time.Minute)
		synctest.Wait()
		got := s.xmpp.Messages()
		if list := bodies(got); len(list) != 3 || list[0] != "first" || list[1] != "second" || list[2] != "third" {
			t.Fatalf("delivered %q", list)
		}
		if a := <-third; a.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", a)
		}
		after := *got[0]
		after.Deadline, before.Deadline = time.Time{}, time.Time{}
		if fmt.Sprintf("%+v", after) != fmt.Sprintf("%+v", before) {
			t.Errorf("came back as\n%+v\nwas\n%+v", after, before)
		}
		empty(t, disk)
		// A late outcome finds the sender.
		s.xmpp.Handler().Report(t.Context(), &adapters.Report{Kind: adapters.ReportDelivered, Sender: romeo, Recipient: juliet, TransID: after.TransID, Time: time.Now()})
		synctest.Wait()
		if r := s.sip.Reports(); len(r) != 1 || r[0].TransID != "t-first" {
			t.Errorf("reports %+v", r)
		}
	})
}

// A disk that cannot be read for a while costs time and no message.
func TestAnEntryThatCannotBeReadNowIsTriedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = until(1, unreachable)
		<-s.send(s.sip, message(romeo, juliet, "x"))
		disk.FailWith(func(method string) error {
			if method == "Read" {
				return store.ErrUnavailable
			}
			return nil
		})
		time.Sleep(time.Minute)
		disk.FailWith(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(s.xmpp.Messages()); n != 2 {
			t.Errorf("handed over %d times", n)
		}
		empty(t, disk)
	})
}

// A message whose store gave no answer may come back after a crash: its sender is told that it is not known.
func TestAnAppendWithoutAnAnswerIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = until(1, unreachable)
		disk.FailWith(func(method string) error {
			if method == "Append" {
				return store.ErrUnknown
			}
			return nil
		})
		if a := <-s.send(s.sip, message(romeo, juliet, "x")); a.Reason != adapters.ReasonOutcomeUnknown {
			t.Errorf("%+v", a)
		}
	})
}

// T-FI-05: a journal that is full or fails refuses before anything is accepted, and the sender hears why the message did not get through.
func TestT_FI_05_AFullJournalRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		disk.Bound(1)
		s := durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		if a := <-s.send(s.sip, message(romeo, juliet, "1")); a.Outcome != adapters.Indeterminate {
			t.Fatalf("%+v", a)
		}
		if a := <-s.send(s.sip, message(romeo, juliet, "2")); a.Outcome != adapters.Failure || a.Reason != adapters.ReasonOverloaded {
			t.Errorf("%+v", a)
		}
		disk.Bound(0)
		disk.FailWith(func(string) error { return errors.New("no space left on device") })
		if a := <-s.send(s.sip, message(user("im:benvolio@example.net"), juliet, "3")); a.Outcome != adapters.Failure {
			t.Errorf("%+v", a)
		}
		disk.FailWith(nil)
		if a := <-s.send(s.sip, message(romeo, juliet, "4")); a.Outcome != adapters.Indeterminate {
			t.Errorf("after the fault: %+v", a)
		}
	})
}

// T-FI-23: a message that makes the gateway panic twice is a dead letter, and those behind it go on.
func TestT_FI_23_APoisonedMessageIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		var up atomic.Bool
		s.xmpp.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
			if !up.Load() {
				return unreachable
			}
			if string(op.Content.Octets) == "poison" {
				panic("a defect of a translator")
			}
			return adapters.Accepted()
		}
		for _, b := range []string{"poison", "behind"} {
			<-s.send(s.sip, message(romeo, juliet, b))
		}
		up.Store(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !strings.Contains(strings.Join(bodies(s.xmpp.Messages()), " "), "behind") {
			t.Errorf("delivered %q", bodies(s.xmpp.Messages()))
		}
		if disk.Usage().Entries != 1 {
			t.Errorf("%d entries", disk.Usage().Entries)
		}
		var told []*adapters.Report
		for _, r := range s.sip.Reports() {
			if r.Kind == adapters.ReportFailed {
				told = append(told, r)
			}
		}
		if len(told) != 1 || told[0].TransID != "t-poison" || told[0].Status.Reason != adapters.ReasonOutcomeUnknown {
			t.Errorf("told %+v", told)
		}
		s.shutdown()
		// It stays one after a restart.
		s = durable(t, disk, nil)
		defer s.shutdown()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(s.xmpp.Messages()); n != 0 || disk.Usage().Entries != 1 {
			t.Errorf("%d attempts after the restart, %d entries", n, disk.Usage().Entries)
		}
	})
}

// A place that nothing answers at is tried once for all that waits to go there, further and further apart; when it is back, all of it
// goes, and other places never notice (T-OV-08).
func TestADeadPlaceIsTriedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, func(c *gateway.Config) {
			c.Routes = append(c.Routes, gateway.Route{Domain: "other.example", Adapter: "xmpp", NextHops: hops(t, "component:127.0.0.1:5347")})
		})
		defer s.shutdown()
		var down atomic.Bool
		down.Store(true)
		var attempts atomic.Int64
		s.xmpp.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
			if down.Load() && op.To.Address.Domain() == "example.com" {
				attempts.Add(1)
				return unreachable
			}
			return adapters.Accepted()
		}
		const pairs = 200
		for i := range pairs {
			<-s.send(s.sip, message(user(fmt.Sprintf("im:u%d@example.net", i)), user(fmt.Sprintf("im:v%d@example.com", i)), "x"))
		}
		attempts.Store(0)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := attempts.Load(); n < 6 || n > 12 {
			t.Errorf("%d attempts in two hours for %d backlogs", n, pairs)
		}
		if a := <-s.send(s.sip, message(romeo, user("im:w@other.example"), "y")); a.Outcome != adapters.Indeterminate || disk.Usage().Entries != pairs {
			t.Errorf("%+v, %d entries", a, disk.Usage().Entries)
		}
		down.Store(false)
		// A direct message that gets through tells that the place is back.
		<-s.send(s.sip, message(romeo, user("im:direct@example.com"), "z"))
		time.Sleep(10 * time.Second) // Limits.ReturnRate a second
		synctest.Wait()
		empty(t, disk)
	})
}

// What an operator does with dead letters and with what waits.
func TestDeadLettersAreTheOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		var mended, up atomic.Bool
		s.xmpp.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
			if !up.Load() {
				return unreachable
			}
			if string(op.Content.Octets) == "poison" && !mended.Load() {
				panic("a defect")
			}
			return adapters.Accepted()
		}
		list := func(dead bool) (all []gateway.Stored) {
			if err := s.gateway.Stored(t.Context(), dead, func(x gateway.Stored) error { all = append(all, x); return nil }); err != nil {
				t.Fatal(err)
			}
			return all
		}
		<-s.send(s.sip, message(romeo, juliet, "poison"))
		up.Store(true)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		dead := list(true)
		if len(dead) != 1 || len(list(false)) != 0 || dead[0].Dead == "" || dead[0].From != "im:romeo@example.net" {
			t.Fatalf("%+v", dead)
		}
		if x, octets, err := s.gateway.ReadStored(t.Context(), dead[0].ID); err != nil || x.ID != dead[0].ID || len(octets) == 0 {
			t.Errorf("%+v %v", x, err)
		}
		// The defect is mended: it gets another life.
		mended.Store(true)
		if err := s.gateway.RetryStored(t.Context(), dead[0].ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := bodies(s.xmpp.Messages()); got[len(got)-1] != "poison" {
			t.Errorf("%q", got)
		}
		empty(t, disk)
		// What waits can be dropped, and its sender is told.
		up.Store(false)
		<-s.send(s.sip, message(romeo, juliet, "dropped"))
		waiting := list(false)
		if len(waiting) != 1 || waiting[0].Next.IsZero() {
			t.Fatalf("%+v", waiting)
		}
		if err := s.gateway.DropStored(t.Context(), waiting[0].ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		failed := 0
		for _, r := range s.sip.Reports() {
			if r.Kind != adapters.ReportFailed || r.TransID == "t-poison" && r.Status.Reason == adapters.ReasonOutcomeUnknown {
				continue // a delay, or that of the dead letter it is not known what became
			}
			if failed++; r.TransID != "t-dropped" {
				t.Errorf("%+v", r)
			}
		}
		if failed != 1 {
			t.Errorf("%d notices", failed)
		}
		empty(t, disk)
		for _, err := range []error{s.gateway.DropStored(t.Context(), "nosuch"), s.gateway.RetryStored(t.Context(), "nosuch")} {
			if !errors.Is(err, gateway.ErrNotStored) {
				t.Errorf("%v", err)
			}
		}
	})
}
