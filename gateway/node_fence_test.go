package gateway_test

import (
	"context"
	"fmt"
	"sync"
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

// A message that its owner could not hand over while its sender waited is stored, and its sender hears that from every node.
func TestAnswerBehindAnAttemptThatTookAllItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		f.server.down = true
		holder := f.nodes[f.holder(places[0])]
		holder.xmpp.before = func(op *adapters.MessageOp) { time.Sleep(time.Until(op.Deadline)) }
		holder.memory.FailWith(func(method string) error {
			if method == "Append" {
				time.Sleep(2 * time.Second)
			}
			return nil
		})
		m := f.stranger(places[0])
		began := time.Now()
		if s := <-m.send(m.sip, message(romeo, juliet, "x")); s.Outcome != adapters.Indeterminate {
			t.Errorf("%+v after %v", s, time.Since(began))
		}
		if took := time.Since(began); took > 32*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// What a node began for a part is handed to nobody when the part is another's by the time that the store has answered.
func TestNothingIsHandedOverBehindTheFence(t *testing.T) {
	for _, hangs := range []string{"Mark", "Read"} {
		t.Run(hangs, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, "a", "b", "c")
				defer f.shutdown()
				f.server.down = true
				holder := f.nodes[f.holder(places[0])]
				if s := <-holder.send(holder.sip, message(romeo, juliet, "x")); s.Outcome != adapters.Indeterminate {
					t.Fatalf("%+v", s)
				}
				var mu sync.Mutex
				handed := 0
				var healed time.Time
				holder.xmpp.before = func(*adapters.MessageOp) {
					mu.Lock()
					defer mu.Unlock()
					if time.Now().Equal(healed) { // in the same attempt: no lease is had so soon
						handed++
					}
				}
				var once sync.Once
				holder.memory.FailWith(func(method string) error {
					if method == hangs {
						once.Do(func() { // the node is away from the store for longer than its lease lives
							holder.memory.Partition(true)
							time.Sleep(9 * time.Second)
							holder.memory.Partition(false)
							mu.Lock()
							healed = time.Now()
							mu.Unlock()
						})
					}
					return nil
				})
				time.Sleep(16 * time.Second) // the first attempt is about 5 s after the message came
				mu.Lock()
				defer mu.Unlock()
				if healed.IsZero() {
					t.Error("it was not tried")
				}
				if handed != 0 {
					t.Error("it was handed over by a node that had lost the part")
				}
			})
		})
	}
}

// A gateway of several waits for the key that they share. One of its own would open nothing that the others have sealed.
func TestSharedKeyIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.shutdown()
		first := f.memory.Join("a")
		first.FailWith(func(method string) error {
			if method == "Create" {
				return store.ErrUnavailable // no quorum yet
			}
			return nil
		})
		began := time.Now()
		time.AfterFunc(25*time.Second, func() { first.FailWith(nil) })
		f.startOn("a", first)
		if took := time.Since(began); took < 25*time.Second {
			t.Errorf("it has begun after %v, with a key that nobody else has", took)
		}
		// Nor is it an end of the start that the store cannot be read.
		second := f.memory.Join("b")
		second.Partition(true)
		time.AfterFunc(25*time.Second, func() { second.Partition(false) })
		f.startOn("b", second)
	})
}

// shy is a store whose values cannot be read together: the other nodes are not heard yet.
type shy struct {
	*storetest.Memory
	until time.Time
}

func (s *shy) Each(ctx context.Context, bucket string, f func(string, []byte, uint64) error) error {
	if time.Now().Before(s.until) {
		return store.ErrUnavailable
	}
	return s.Memory.Each(ctx, bucket, f)
}

// A gateway of several that comes back before it hears the others waits for them, and does not end.
func TestAStartWaitsForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &storetest.Memory{}
		began := time.Now()
		disk := &shy{memory.Join("a"), began.Add(20 * time.Second)}
		s := newStrait(t, func(c *gateway.Config) {
			c.Cluster = true
			c.OpenStore = func(context.Context) (store.Durable, error) { return disk, nil }
		})
		defer s.shutdown()
		if took := time.Since(began); took < 20*time.Second || took > 40*time.Second {
			t.Errorf("it has started after %v", took)
		}
	})
}

// unsure is a memory whose exchanges are done and not acknowledged.
type unsure struct {
	*storetest.Memory
	lose atomic.Bool
}

func (u *unsure) Exchange(ctx context.Context, old store.ID, e store.Entry) error {
	err := u.Memory.Exchange(ctx, old, e)
	if u.lose.Swap(false) {
		return store.ErrUnknown
	}
	return err
}

// A notice that was written is told, though the store did not say that it was.
func TestNoticeOfALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &unsure{Memory: &storetest.Memory{}}
		var refused atomic.Bool
		s := newStrait(t, func(c *gateway.Config) {
			c.Cluster = true
			c.OpenStore = func(context.Context) (store.Durable, error) { return u, nil }
			c.Adapters[1].(*adaptertest.Fake).OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
				if refused.Load() {
					return adapters.Failed(adapters.ReasonNotFound, "")
				}
				return unreachable
			}
		})
		defer s.shutdown()
		time.Sleep(8 * time.Second)
		if a := <-s.send(s.sip, message(romeo, juliet, "x")); a.Outcome != adapters.Indeterminate {
			t.Fatalf("%+v", a)
		}
		refused.Store(true)
		u.lose.Store(true)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if list := s.sip.Reports(); len(list) != 1 || list[0].Kind != adapters.ReportFailed {
			t.Errorf("told %+v", list)
		}
		empty(t, u.Memory)
	})
}

// What another node asks for and makes the adapter panic ends neither the process nor what comes behind it (T-FI-23).
func TestAPanicInACallOfAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		defer f.shutdown()
		var told atomic.Int64
		for _, m := range f.nodes {
			m.sip.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
			m.xmpp.OnReport = func(context.Context, *adapters.Report) adapters.Status {
				if told.Add(1)%2 == 1 {
					panic("poison")
				}
				return adapters.Accepted()
			}
		}
		for i := range 9 {
			m := f.stranger(places[0])
			if s := <-m.send(m.xmpp.Fake, message(juliet, user(fmt.Sprintf("im:r%d@example.net", i)), "x")); s.Outcome != adapters.Indeterminate {
				t.Fatalf("%+v", s)
			}
		}
		for _, m := range f.nodes {
			m.sip.Answer(func(context.Context, *adapters.MessageOp) adapters.Status {
				return adapters.Failed(adapters.ReasonNotFound, "")
			})
		}
		time.Sleep(5 * time.Minute)
		if n := told.Load(); n < 9 {
			t.Errorf("%d of 9 notices were tried", n)
		}
	})
}
