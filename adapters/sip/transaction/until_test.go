package transaction

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// A caller who has a time goes at that time, as with a context that ends: the transaction ends with it, or goes on for who wants to hear of
// a late response.
func TestUntil(t *testing.T) {
	for _, v := range []struct {
		name  string
		until time.Duration
		late  bool
		takes time.Duration
	}{
		{"soon", 1100 * time.Millisecond, false, 1100 * time.Millisecond},
		{"at once", 0, false, 0},
		{"late response wanted", 5 * time.Second, true, 5 * time.Second},
		{"after Timer F", time.Hour, false, 32 * time.Second},
	} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newBubble(t, answerOK, nil)
				began := time.Now()
				ctx := WithUntil(t.Context(), began.Add(v.until))
				var late []int
				if v.late {
					ctx = WithLate(ctx, func(m *wire.Message) { late = append(late, m.StatusCode()) })
				}
				r := l.ask(ctx, "MESSAGE")
				if took := time.Since(began); took < v.takes || took > v.takes+60*time.Millisecond {
					t.Errorf("it took %s", took)
				}
				if !errors.Is(r.Err, ErrTimeout) || !r.Sent || errors.Is(r.Err, context.DeadlineExceeded) != (v.until < time.Minute) {
					t.Errorf("%+v", r)
				}
				if (Err(ctx) != nil) != (v.until < time.Minute) {
					t.Errorf("context: %v", Err(ctx))
				}
				sent := l.socket.packets()
				time.Sleep(10 * time.Second)
				if n := len(l.socket.packets()); n != len(sent) {
					t.Errorf("%d requests more after the caller has gone", n-len(sent))
				}
				l.receive(answerTo(sent[0].octets, 200), l.origin)
				if v.late != (len(late) == 1) || l.clients.count.Load() != 0 {
					t.Errorf("late responses %v, %d transactions", late, l.clients.count.Load())
				}
				l.stop()
			})
		})
	}
}

// A response that was released is another's afterwards, and never while somebody has it.
func TestReleasedResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, answerOK, nil)
		requests := make(chan []byte, 1000)
		l.socket.peer = func(b []byte) { requests <- b }
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for b := range requests {
					for range 2 { // the second belongs to nobody
						l.take(answerTo(b, 200), l.origin)
					}
				}
			})
		}
		var callers sync.WaitGroup
		for i := range 20 {
			callers.Go(func() {
				for range 50 {
					r := l.ask(t.Context(), "MESSAGE")
					if r.Err != nil || r.Response.TopVia().Branch() != r.Branch {
						t.Errorf("%+v", r)
						return
					}
					if i%3 != 0 {
						r.Release()
					}
				}
			})
		}
		callers.Wait()
		close(requests)
		readers.Wait()
		l.stop()
	})
}

// The time of WithUntil is found through contexts that were made from its own, which end and have values as they would without it.
func TestUntilIsInherited(t *testing.T) {
	type key struct{}
	outer, end := context.WithCancel(context.WithValue(t.Context(), key{}, "outer"))
	defer end()
	if !until(outer).IsZero() {
		t.Error("a time that nobody has set")
	}
	first, second := time.Unix(100, 0), time.Unix(200, 0)
	ctx := WithUntil(outer, first)
	inner, stop := context.WithTimeout(WithLate(ctx, func(*wire.Message) {}), time.Hour)
	defer stop()
	for _, c := range []context.Context{ctx, inner} {
		if !until(c).Equal(first) || c.Value(key{}) != "outer" || c.Err() != nil {
			t.Errorf("%v, %v, %v", until(c), c.Value(key{}), c.Err())
		}
	}
	if again := WithUntil(inner, second); !until(again).Equal(second) {
		t.Error(until(again))
	}
	end()
	<-inner.Done()
	if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(inner.Err(), context.Canceled) {
		t.Errorf("%v, %v", ctx.Err(), inner.Err())
	}
}
