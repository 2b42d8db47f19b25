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
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

var places = []string{"link one", "link two"}

// newFleet starts gateways in a bubble of synctest, and waits until each has its parts.
func newFleet(t *testing.T, names ...string) *fleet {
	f := &fleet{
		t: t, memory: &storetest.Memory{}, nodes: map[string]*member{},
		server: &server{open: map[string]*linked{}, ids: map[string][]string{}, by: map[string]string{}},
	}
	for _, name := range names {
		f.start(name)
	}
	time.Sleep(6 * time.Second)
	return f
}

func TestAnyNodeTakesAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		want := 0
		for _, name := range []string{"a", "b", "c"} {
			m := f.nodes[name]
			for i, to := range []adapters.Party{juliet, user("im:nurse1@example.com")} {
				op := message(romeo, to, fmt.Sprintf("%s%d", name, i))
				if s := <-m.send(m.sip, op); s.Outcome != adapters.Indeterminate {
					t.Errorf("%s to %v: %+v", name, to, s)
				}
				want++
			}
		}
		got := f.server.contents()
		if len(got) != want {
			t.Errorf("the server got %q", got)
		}
		if f.holder(places[0]) == "" || f.holder(places[1]) == "" {
			t.Error("a link has no owner")
		}
		forwarded := 0
		for _, m := range f.nodes {
			families, err := m.metrics.Gather()
			if err != nil {
				t.Error(err)
			}
			for _, x := range families {
				if x.GetName() == "isthmus_forwards_total" {
					forwarded += len(x.GetMetric())
				}
			}
		}
		if forwarded == 0 {
			t.Error("nothing was forwarded")
		}
		empty(t, f.memory)
	})
}

// A node without sides keeps what the others store, and takes no part in what they do.
func TestNodeWithoutSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a")
		defer f.shutdown()
		opened := false
		g, err := gateway.New(gateway.Config{Cluster: true, OpenStore: func(context.Context) (store.Durable, error) {
			opened = true
			return f.memory.Join("c"), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Start(t.Context()); err != nil || !opened {
			t.Fatalf("opened %v, %v", opened, err)
		}
		time.Sleep(10 * time.Second)
		m := f.nodes["a"]
		if s := <-m.send(m.sip, message(romeo, juliet, "x")); s.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", s)
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Messages of one pair stay in their order, whichever node they come to and whoever delivers them.
func TestOrderOverNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		m := f.stranger(places[0])
		var answers []<-chan adapters.Status
		var want []string
		for i := range 60 {
			want = append(want, fmt.Sprint(i))
			answers = append(answers, m.send(m.sip, message(romeo, juliet, want[i])))
			if i == 30 {
				f.nodes["d"] = f.start("d") // parts move while messages are on their way
			}
		}
		for i, a := range answers {
			if s := <-a; s.Outcome == adapters.Failure {
				t.Errorf("%d: %+v", i, s)
			}
		}
		if got := f.server.contents(); !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

// A killed node's queue is taken over within 15 s, in its order, and nothing of it is lost or delivered twice.
func TestTakeoverOfAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		f.server.down = true
		holder := f.holder(places[0])
		m := f.stranger(places[0])
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint(i))
			if s := <-m.send(m.sip, message(romeo, juliet, want[i])); s.Outcome != adapters.Indeterminate {
				t.Fatalf("%d: %+v", i, s)
			}
		}
		f.kill(holder)
		f.server.mu.Lock()
		f.server.down = false
		f.server.mu.Unlock()
		killed := time.Now()
		for len(f.server.contents()) == 0 && time.Since(killed) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		took := time.Since(killed)
		t.Logf("the first message came %v after the kill", took)
		if took > 15*time.Second {
			t.Errorf("it took %v until the queue went on", took)
		}
		// New ones go behind it, at once.
		if s := <-m.send(m.sip, message(romeo, juliet, "new")); s.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", s)
		}
		time.Sleep(30 * time.Second)
		if got := f.server.contents(); !slices.Equal(got, append(want, "new")) {
			t.Errorf("got %q", got)
		}
		if f.holder(places[0]) == holder {
			t.Error("the dead has the link")
		}
		empty(t, f.memory)
	})
}

// While a dead node's part has no owner yet, a message for it waits for the new one.
func TestMessageWaitsForANewOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		m := f.stranger(places[0])
		f.kill(f.holder(places[0]))
		began := time.Now()
		if s := <-m.send(m.sip, message(romeo, juliet, "x")); s.Outcome != adapters.Indeterminate {
			t.Errorf("%+v after %v", s, time.Since(began))
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %v", took)
		}
		if got := f.server.contents(); !slices.Equal(got, []string{"x"}) {
			t.Errorf("got %q", got)
		}
	})
}

// A node that dies under a forwarded call, or whose answer is lost: the outcome is not known. There is no second copy, and no false success.
func TestLostAnswerIsUnknown(t *testing.T) {
	for name, loss := range map[string]storetest.Loss{"before": storetest.LostBefore, "after": storetest.LostAfter} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, "a", "b", "c")
				defer f.shutdown()
				m := f.stranger(places[0])
				m.memory.LoseCalls(func(string) storetest.Loss { return loss })
				if s := <-m.send(m.sip, message(romeo, juliet, "x")); s.Outcome != adapters.Failure || s.Reason != adapters.ReasonOutcomeUnknown {
					t.Errorf("%+v", s)
				}
				m.memory.LoseCalls(nil)
				time.Sleep(time.Minute)
				if got := f.server.contents(); len(got) > 1 || loss == storetest.LostBefore && len(got) > 0 {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

// T-FI-24: copies that come to different nodes are delivered once and answered alike.
func TestT_FI_24_CopiesAtDifferentNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		var answers []<-chan adapters.Status
		for _, m := range f.nodes {
			op := message(romeo, juliet, "x")
			op.OriginID = "one"
			answers = append(answers, m.send(m.sip, op))
		}
		for _, a := range answers {
			if s := <-a; s.Outcome != adapters.Indeterminate {
				t.Errorf("%+v", s)
			}
		}
		if got := f.server.contents(); !slices.Equal(got, []string{"x"}) {
			t.Errorf("got %q", got)
		}
	})
}

// A late outcome finds its message's sender at whichever node it comes in, once; also after the node that delivered the message was killed.
func TestLateOutcomeAtAnyNode(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprint(killed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, "a", "b", "c")
				defer f.shutdown()
				m := f.stranger(places[0])
				op := message(romeo, juliet, "x")
				op.TransID, op.Wants = "given", adapters.WantFailed|adapters.WantDelivered
				<-m.send(m.sip, op)
				id := f.server.ids["x"][0]
				if killed {
					f.kill(f.holder(places[0]))
					time.Sleep(10 * time.Second)
				}
				for _, m := range f.nodes { // each of them hears of it, and one more time
					for range 2 {
						m.xmpp.Handler().Report(t.Context(), &adapters.Report{
							Kind: adapters.ReportFailed, Sender: romeo, Recipient: juliet, TransID: id, Status: adapters.Failed(adapters.ReasonNotFound, ""),
						})
					}
				}
				time.Sleep(time.Minute)
				var told []*adapters.Report
				for _, m := range f.nodes {
					told = append(told, m.sip.Reports()...)
				}
				if len(told) != 1 || told[0].TransID != "given" || told[0].Status.Reason != adapters.ReasonNotFound {
					t.Errorf("told: %+v", told)
				}
				empty(t, f.memory)
			})
		})
	}
}

// The end of a stored message is told to a sender whose side's link another node has.
func TestNoticeGoesThroughTheOwnersLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		for _, m := range f.nodes {
			m.sip.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
		}
		// Each from a user of the first link to another recipient, whose part may be any node's.
		for i := range 9 {
			m := f.nodes[[]string{"a", "b", "c"}[i%3]]
			if s := <-m.send(m.xmpp.Fake, message(juliet, user(fmt.Sprintf("im:r%d@example.net", i)), "x")); s.Outcome != adapters.Indeterminate {
				t.Fatalf("%+v", s)
			}
		}
		time.Sleep(3 * time.Second)
		for _, m := range f.nodes {
			m.sip.Answer(func(context.Context, *adapters.MessageOp) adapters.Status {
				return adapters.Failed(adapters.ReasonNotFound, "")
			})
		}
		time.Sleep(2 * time.Minute)
		holder := f.holder(places[0])
		for name, m := range f.nodes {
			want := 0
			if name == holder {
				want = 9
			}
			if got := len(m.xmpp.Reports()); got != want {
				t.Errorf("%s told %d senders, want %d", name, got, want)
			}
		}
		empty(t, f.memory)
	})
}

// A node that shuts down hands on what it has, and what it stored is delivered at once elsewhere.
func TestShutdownHandsTheQueueOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b")
		defer f.shutdown()
		f.server.down = true
		holder := f.holder(places[0])
		m := f.stranger(places[0])
		<-m.send(m.sip, message(romeo, juliet, "x"))
		began := time.Now()
		f.nodes[holder].shutdown()
		delete(f.nodes, holder)
		f.server.mu.Lock()
		f.server.down = false
		f.server.mu.Unlock()
		time.Sleep(8 * time.Second) // the pause after an attempt
		if got := f.server.contents(); !slices.Equal(got, []string{"x"}) {
			t.Errorf("got %q, %v after the shutdown began", got, time.Since(began))
		}
		if s := <-m.send(m.sip, message(romeo, juliet, "y")); s.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", s)
		}
		empty(t, f.memory)
	})
}

// A node without the store delivers nothing and promises nothing; what it had stored another one delivers. When it is back it takes part again.
func TestNodeApartFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		f.server.down = true
		holder := f.holder(places[0])
		lone, m := f.nodes[holder], f.stranger(places[0])
		<-m.send(m.sip, message(romeo, juliet, "x"))
		lone.memory.Partition(true)
		time.Sleep(9100 * time.Millisecond)
		if f.holder(places[0]) == holder {
			t.Error("it has the link still")
		}
		f.server.mu.Lock()
		f.server.down = false
		f.server.mu.Unlock()
		if s := <-lone.send(lone.sip, message(romeo, juliet, "lone")); s.Outcome != adapters.Failure {
			t.Errorf("without the store: %+v", s)
		}
		time.Sleep(10 * time.Second)
		if got := f.server.contents(); !slices.Equal(got, []string{"x"}) {
			t.Errorf("got %q", got)
		}
		lone.memory.Partition(false)
		time.Sleep(10 * time.Second)
		if s := <-lone.send(lone.sip, message(romeo, juliet, "back")); s.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", s)
		}
		if got := f.server.contents(); !slices.Equal(got, []string{"x", "back"}) {
			t.Errorf("got %q", got)
		}
		empty(t, f.memory)
	})
}

// A part that is lost while a message of it is being written: nothing is promised, and what was written is not forgotten.
func TestPartLostWhileAMessageIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b")
		defer f.shutdown()
		f.server.down = true
		holder := f.nodes[f.holder(places[0])]
		var slowed atomic.Bool
		holder.memory.FailWith(func(method string) error {
			switch {
			case method == "Append" && slowed.CompareAndSwap(false, true):
				time.Sleep(20 * time.Second) // the process is stopped here: no lease is renewed
			case method == "Replace" && slowed.Load():
				return store.ErrUnavailable
			}
			return nil
		})
		s := <-holder.send(holder.sip, message(romeo, juliet, "x"))
		holder.memory.FailWith(nil)
		if s.Outcome == adapters.Indeterminate {
			t.Errorf("it was promised: %+v", s)
		}
		f.server.mu.Lock()
		f.server.down = false
		f.server.mu.Unlock()
		time.Sleep(time.Minute)
		if got := f.server.contents(); len(got) > 1 {
			t.Errorf("got %q", got)
		}
		empty(t, f.memory)
	})
}

// An operator sees and changes at any node what waits at all of them.
func TestQueueAtAnyNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		f.server.down = true
		for i := range 12 {
			m := f.nodes[[]string{"a", "b", "c"}[i%3]]
			to := juliet
			if i%2 == 0 {
				to = user("im:nurse1@example.com")
			}
			<-m.send(m.sip, message(romeo, to, fmt.Sprint(i)))
		}
		for name, m := range f.nodes {
			var ids []string
			if err := m.gateway.Stored(t.Context(), false, func(s gateway.Stored) error {
				ids = append(ids, s.ID)
				return nil
			}); err != nil || len(ids) != 12 || !slices.IsSorted(ids) {
				t.Fatalf("%s: %q, %v", name, ids, err)
			}
			if s, octets, err := m.gateway.ReadStored(t.Context(), ids[0]); err != nil || len(octets) == 0 || !strings.HasPrefix(s.From, "im:romeo") {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
			if err := m.gateway.RetryStored(t.Context(), ids[0]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, err := range []error{
				m.gateway.RetryStored(t.Context(), "none"), m.gateway.DropStored(t.Context(), "none"),
			} {
				if !errors.Is(err, gateway.ErrNotStored) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		var first string
		m := f.nodes["a"]
		if err := m.gateway.Stored(t.Context(), false, func(s gateway.Stored) error {
			if first == "" {
				first = s.ID
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, m := range f.nodes { // one of them is not its owner
			if err := m.gateway.DropStored(t.Context(), first); err == nil {
				break
			}
		}
		time.Sleep(time.Second) // its sender is told
		n := 0
		if err := m.gateway.Stored(t.Context(), false, func(gateway.Stored) error {
			n++
			return nil
		}); err != nil || n != 11 {
			t.Errorf("%d wait after one was dropped, %v", n, err)
		}
		if err := m.gateway.ResumeStored(t.Context()); err != nil {
			t.Error(err)
		}
		f.server.mu.Lock()
		f.server.down = false
		f.server.mu.Unlock()
		time.Sleep(10 * time.Minute)
		empty(t, f.memory)
	})
}

// makers is a store in which another gateway is just making each fact: it cannot be made, and is not there yet.
type makers struct {
	*storetest.Memory
	refused int
}

func (m *makers) Create(ctx context.Context, bucket, key string, value []byte, life time.Duration) error {
	if bucket == "keys" && m.refused < 3 {
		m.refused++
		return store.ErrExists
	}
	return m.Memory.Create(ctx, bucket, key, value, life)
}

func TestFactThatAnotherGatewayIsMaking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &makers{Memory: &storetest.Memory{}}
		s := newStrait(t, func(c *gateway.Config) {
			c.OpenStore = func(context.Context) (store.Durable, error) { return disk, nil }
		})
		defer s.shutdown()
		if disk.refused != 3 {
			t.Errorf("refused %d times", disk.refused)
		}
	})
}

// T-AD-03: an entry that came to its end behind the back of the node that holds it is counted no more: its sender has room again.
func TestAnEntryThatEndedElsewhereMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a")
		defer f.shutdown()
		m := f.nodes["a"]
		m.renew(gateway.Settings{Routes: straitRoutes(t), Limits: gateway.Limits{StoredPerSender: 1}})
		f.server.down = true
		if s := <-m.send(m.sip, message(romeo, juliet, "1")); s.Outcome != adapters.Indeterminate {
			t.Fatalf("%+v", s)
		}
		if s := <-m.send(m.sip, message(romeo, juliet, "2")); s.Reason != adapters.ReasonOverloaded {
			t.Fatalf("beyond the bound: %+v", s)
		}
		var ids []string
		if err := m.gateway.Stored(t.Context(), false, func(e gateway.Stored) error {
			ids = append(ids, e.ID)
			return nil
		}); err != nil || len(ids) != 1 {
			t.Fatalf("%v, %v", ids, err)
		}
		if err := m.memory.Remove(t.Context(), store.ID(ids[0])); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := <-m.send(m.sip, message(romeo, juliet, "3")); s.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", s)
		}
	})
}
