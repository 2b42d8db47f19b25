package gateway_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// identified is a message with an origin-id.
func identified(text, origin string) *adapters.MessageOp {
	op := message(juliet, romeo, text)
	op.OriginID = origin
	return op
}

// T-FI-24, THREATS G12: a copy of a message that has no answer yet waits, and gets the same answer; the message is delivered once.
func TestT_FI_24_ACopyWaitsForTheFirst(t *testing.T) {
	for _, answer := range []adapters.Status{
		adapters.Succeeded(), adapters.Failed(adapters.ReasonNotFound, ""), adapters.Failed(adapters.ReasonOutcomeUnknown, ""),
	} {
		t.Run(answer.Outcome.String()+" "+answer.Reason.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				taken := make(chan struct{})
				s.sip.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
					<-taken
					return answer
				}
				first := s.send(s.xmpp, identified("hello", "o1"))
				second, third := s.send(s.xmpp, identified("hello", "o1")), s.send(s.xmpp, identified("hello", "o1"))
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if len(first)+len(second)+len(third) != 0 {
					t.Fatal("answered before the first was handed over")
				}
				close(taken)
				synctest.Wait()
				for i, c := range []<-chan adapters.Status{first, second, third} {
					if got := <-c; got != answer || len(c) != 0 {
						t.Errorf("copy %d: %+v, want %+v", i, got, answer)
					}
				}
				if n := len(s.sip.Messages()); n != 1 {
					t.Errorf("handed over %d times", n)
				}
			})
		})
	}
}

func TestWhatIsACopyAndWhatIsNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(op *adapters.MessageOp)
		after  time.Duration
		copies int // times that it is handed over in all
	}{
		{"the same", func(*adapters.MessageOp) {}, time.Minute, 1},
		{"from another device, with another id", func(op *adapters.MessageOp) { op.From.Instance, op.TransID = "", "x" }, time.Hour, 1},
		{"another content", func(op *adapters.MessageOp) { op.Content.Octets = []byte("hellO") }, 0, 2},
		{"a long content that differs at its end", func(op *adapters.MessageOp) { op.Content.Octets = append(make([]byte, 5000), 1) }, 0, 2},
		{"another recipient", func(op *adapters.MessageOp) { op.To = user("im:mercutio@example.net") }, 0, 2},
		{"another origin-id", func(op *adapters.MessageOp) { op.OriginID = "o2" }, 0, 2},
		{"the next day", func(*adapters.MessageOp) {}, 25 * time.Hour, 2},
		// Clients use plain ids again.
		{"no origin-id", func(op *adapters.MessageOp) { op.OriginID = "" }, 0, 2},
		{"a SIP copy of what was not stored is its adapter's business", func(op *adapters.MessageOp) { op.OriginID, op.Copy = "", "c" }, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				<-s.send(s.xmpp, identified("hello", "o1"))
				time.Sleep(c.after)
				op := identified("hello", "o1")
				c.change(op)
				if got := <-s.send(s.xmpp, op); got.Outcome != adapters.Success {
					t.Errorf("answer %+v", got)
				}
				if n := len(s.sip.Messages()); n != c.copies {
					t.Errorf("handed over %d times, want %d", n, c.copies)
				}
			})
		})
	}
}

// What failed was not delivered: who tries again is right. What may have been delivered is not delivered again.
func TestACopyOfWhatFailedIsDelivered(t *testing.T) {
	for _, c := range []struct {
		first adapters.Status
		again bool
	}{
		{unreachable, true},
		{adapters.Failed(adapters.ReasonNotFound, ""), true},
		{adapters.Failed(adapters.ReasonOutcomeUnknown, ""), false},
	} {
		t.Run(c.first.Reason.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				s.sip.OnMessage = until(1, c.first)
				if got := <-s.send(s.xmpp, identified("hello", "o1")); got != c.first {
					t.Fatalf("answer %+v", got)
				}
				got := <-s.send(s.xmpp, identified("hello", "o1"))
				if again := got.Outcome != adapters.Failure; again != c.again || (len(s.sip.Messages()) == 2) != c.again {
					t.Errorf("the copy: %+v, handed over %d times", got, len(s.sip.Messages()))
				}
			})
		})
	}
}

// A message that failed after it was answered well was not delivered either, and its sender was told: it may be sent again.
func TestACopyOfWhatFailedLateIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		send := func() {
			op := message(romeo, juliet, "x")
			op.OriginID = "o1"
			<-s.send(s.sip, op)
		}
		send()
		send()
		r := report(adapters.ReportFailed, "t-x")
		s.xmpp.Handler().Report(t.Context(), r)
		synctest.Wait()
		if n := len(s.xmpp.Messages()); n != 1 {
			t.Fatalf("handed over %d times", n)
		}
		send()
		if n := len(s.xmpp.Messages()); n != 2 {
			t.Errorf("handed over %d times, want 2: the first failed", n)
		}
	})
}

// T-FI-24: copies of what was stored are known after a restart, by origin-id and by what SIP has.
func TestT_FI_24_CopiesOfStoredMessagesAreKnownAfterARestart(t *testing.T) {
	for _, c := range []struct {
		name string
		make func() *adapters.MessageOp
	}{
		{"origin-id", func() *adapters.MessageOp {
			op := message(romeo, juliet, "hello")
			op.OriginID = "o1"
			return op
		}},
		{"SIP", func() *adapters.MessageOp {
			op := message(romeo, juliet, "hello")
			op.Copy = "call\ntag\n1"
			return op
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &storetest.Memory{}
				s := durable(t, disk, nil)
				s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
				for range 2 { // in the same process it is known too
					if got := <-s.send(s.sip, c.make()); got.Outcome != adapters.Indeterminate {
						t.Fatalf("answer %+v", got)
					}
				}
				s.shutdown()
				s = durable(t, disk, nil)
				defer s.shutdown()
				if got := <-s.send(s.sip, c.make()); got.Outcome != adapters.Indeterminate {
					t.Errorf("the copy after a restart: %+v", got)
				}
				other := c.make()
				other.Content.Octets = []byte("other")
				<-s.send(s.sip, other)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if got := fmt.Sprint(bodies(s.xmpp.Messages())); got != "[hello other]" {
					t.Errorf("handed over %s", got)
				}
				empty(t, disk)
			})
		})
	}
}

// A stored message whose end was told to its sender may be sent again.
func TestACopyOfWhatExpiredIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, func(c *gateway.Config) { c.Limits.Life = time.Hour })
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		send := func() {
			op := message(romeo, juliet, "x")
			op.OriginID = "o1"
			<-s.send(s.sip, op)
		}
		send()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		told := s.sip.Reports()
		if len(told) == 0 || told[len(told)-1].Kind != adapters.ReportFailed {
			t.Fatalf("notices: %+v", told)
		}
		before := len(s.xmpp.Messages())
		send()
		if n := len(s.xmpp.Messages()); n == before {
			t.Error("a message that expired was taken for delivered")
		}
	})
}

// Memory and waiting are bounded: what is forgotten is delivered, who would wait as one too many is refused.
func TestDuplicatesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) { c.Limits.Duplicates = 32 })
		defer s.shutdown()
		for i := range 200 {
			<-s.send(s.xmpp, identified("hello", fmt.Sprint(i)))
		}
		<-s.send(s.xmpp, identified("hello", "0"))
		if n := len(s.sip.Messages()); n != 201 {
			t.Errorf("handed over %d, want 201: the first is long forgotten", n)
		}
		taken := make(chan struct{})
		s.sip.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			<-taken
			return adapters.Succeeded()
		}
		var answers []<-chan adapters.Status
		for range 18 {
			answers = append(answers, s.send(s.xmpp, identified("wait", "w")))
		}
		if got := <-answers[17]; got.Reason != adapters.ReasonOverloaded {
			t.Errorf("the 17th copy: %+v", got)
		}
		close(taken)
		for _, a := range answers[:17] {
			if got := <-a; got.Outcome != adapters.Success {
				t.Errorf("a copy: %+v", got)
			}
		}
	})
}
