package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// passed is the trace that a gateway left in the last message that it handed to its XMPP side.
func (s *strait) passed() []string {
	got := s.xmpp.Messages()
	return got[len(got)-1].Trace
}

// A message that comes back with the gateway's own entry in its trace has gone in a circle (T-LP-01). With other addresses it is a
// spiral, "not an error condition" (RFC 3261 §6).
func TestATraceEndsACircle(t *testing.T) {
	for _, c := range []struct {
		name    string
		to      adapters.Party
		trace   func(own string) []string
		refused bool
	}{
		{"unchanged", juliet, func(own string) []string { return []string{own} }, true},
		{"after another gateway", juliet, func(own string) []string { return []string{"other.1", own, "other.2"} }, true},
		{"for another recipient", user("im:nurse@example.com"), func(own string) []string { return []string{own} }, false},
		{"for another recipient a third time", user("im:nurse@example.com"), func(own string) []string {
			name, _, _ := strings.Cut(own, ".")
			return []string{name + ".aaaaaaa", name + ".bbbbbbb"}
		}, true},
		{"others alone", juliet, func(string) []string { return []string{"other.1", "other.2"} }, false},
		{"too many gateways", juliet, func(string) []string { return strings.Fields(strings.Repeat("other.1 ", adapters.MaxTrace)) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				<-s.send(s.sip, message(romeo, juliet, "x"))
				own := s.passed()
				if len(own) != 1 || !adapters.IsTraceEntry(own[0]) {
					t.Fatalf("trace %q", own)
				}
				op := message(romeo, c.to, "x")
				op.Trace = c.trace(own[0])
				before := fmt.Sprint(op.Trace)
				given := op.Trace
				got := <-s.send(s.sip, op)
				if refused := got.Reason == adapters.ReasonLoop; refused != c.refused || (len(s.xmpp.Messages()) == 1) != c.refused {
					t.Errorf("answer %+v, want refused: %v", got, c.refused)
				}
				if after := fmt.Sprint(given); after != before {
					t.Errorf("the trace that was given has been changed from %s to %s", before, after)
				}
			})
		})
	}
}

// The gateway's name in traces outlives the process, where there is a store; without a trace nothing is written.
func TestTheNameInTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		name := func(change func(*gateway.Config)) string {
			s := newStrait(t, change)
			defer s.shutdown()
			<-s.send(s.sip, message(romeo, juliet, "x"))
			return strings.Join(s.passed(), " ")
		}
		stored := func() string {
			s := durable(t, disk, nil)
			defer s.shutdown()
			<-s.send(s.sip, message(romeo, juliet, "x"))
			return strings.Join(s.passed(), " ")
		}
		if a, b := stored(), stored(); a != b || a == "" {
			t.Errorf("%q, after a restart %q", a, b)
		}
		if a, b := name(nil), name(nil); a == b {
			t.Errorf("two gateways are named %q", a)
		}
		if got := name(func(c *gateway.Config) { c.NoTrace = true }); got != "" {
			t.Errorf("a trace that was not wanted: %q", got)
		}
	})
}

// T-LP-02: the same message too often within ten seconds goes in a circle, whatever it has lost on the way.
func TestT_LP_02_TheSameMessageTooOften(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(i int, op *adapters.MessageOp)
		pause  time.Duration
		taken  int // of 10
	}{
		{"in no time", func(i int, op *adapters.MessageOp) { op.TransID = fmt.Sprint(i) }, 0, 2},
		{"in half a second", func(i int, op *adapters.MessageOp) { op.TransID = fmt.Sprint(i) }, 250 * time.Millisecond, 3},
		{"in one thread, with new ids", func(i int, op *adapters.MessageOp) { op.TransID = fmt.Sprint(i) }, time.Second, 3},
		{"without a thread, with one id", func(_ int, op *adapters.MessageOp) { op.Thread = "" }, time.Second, 3},
		{"without a thread, with new ids", func(i int, op *adapters.MessageOp) { op.Thread, op.TransID = "", fmt.Sprint(i) }, time.Second, 10},
		{"without any name", func(_ int, op *adapters.MessageOp) { op.Thread, op.TransID = "", "" }, time.Second, 10},
		{"slowly", func(int, *adapters.MessageOp) {}, 21 * time.Second, 10},
		{"other words", func(i int, op *adapters.MessageOp) { op.Content.Octets = []byte(fmt.Sprint(i)) }, time.Second, 10},
		{"what tells of activity", func(_ int, op *adapters.MessageOp) {
			op.Activity, op.Content = adapters.ActivityComposing, adapters.Content{}
		}, time.Second, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, func(c *gateway.Config) { c.Limits.Repeats = 3 })
				defer s.shutdown()
				for i := range 10 {
					op := message(romeo, juliet, "x")
					c.change(i, op)
					if got := <-s.send(s.sip, op); (got.Reason == adapters.ReasonLoop) != (i >= c.taken) {
						t.Errorf("number %d: %+v", i+1, got)
					}
					time.Sleep(c.pause)
				}
				if n := len(s.xmpp.Messages()); n != c.taken {
					t.Errorf("%d crossed, want %d", n, c.taken)
				}
			})
		})
	}
}

// Who tries again what failed is no circle.
func TestWhatFailedIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) { c.Limits.Repeats = 3 })
		defer s.shutdown()
		s.xmpp.OnMessage = until(8, unreachable)
		for i := range 10 {
			if got := <-s.send(s.sip, message(romeo, juliet, "x")); got.Reason == adapters.ReasonLoop {
				t.Errorf("number %d: %+v", i+1, got)
			}
		}
	})
}

// One sender may send to one recipient so many at once, and so many a second in the long run; others are not held up.
func TestTheBrakeOfAPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) { c.Limits.PairRate, c.Limits.PairBurst = 2, 5 })
		defer s.shutdown()
		n := 0
		burst := func(want int) {
			t.Helper()
			taken := 0
			for range 20 {
				n++
				if got := <-s.send(s.sip, message(romeo, juliet, fmt.Sprint(n))); got.Outcome != adapters.Failure {
					taken++
				} else if got.Reason != adapters.ReasonOverloaded {
					t.Errorf("refused with %+v", got)
				}
			}
			if taken != want {
				t.Errorf("%d taken, want %d", taken, want)
			}
		}
		burst(5)
		if got := <-s.send(s.sip, message(romeo, user("im:nurse@example.com"), "x")); got.Outcome == adapters.Failure {
			t.Errorf("another recipient: %+v", got)
		}
		time.Sleep(time.Second)
		burst(2)
		time.Sleep(time.Hour)
		burst(5)
	})
}

// What only tells of activity has no hop count in XMPP: one that turns in a circle ends by its rate, and nobody is told.
func TestActivityEndsByItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		for range 100 {
			op := message(romeo, juliet, "")
			op.Activity, op.Content = adapters.ActivityComposing, adapters.Content{}
			if got := <-s.send(s.sip, op); got.Outcome != adapters.Indeterminate {
				t.Errorf("answer %+v", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(s.xmpp.Messages()); n > 23 || n < 20 {
			t.Errorf("%d crossed", n)
		}
	})
}
