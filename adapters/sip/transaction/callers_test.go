package transaction

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// All who wait with one context are let go when it ends, whether its end is watched for all of them, as it is from the second on, or by each for itself;
// who waits with another is not; and then the next context is watched.
func TestTheEndOfAContextLetsAllItsCallersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, nil, nil)
		defer l.stop()
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			other, end := context.WithCancel(t.Context())
			results, others := make(chan Result, 3), make(chan Result, 1)
			for range 3 {
				go func() { results <- l.ask(WithUntil(ctx, time.Now().Add(time.Minute)), "MESSAGE") }()
				synctest.Wait()
			}
			go func() { others <- l.ask(other, "MESSAGE") }()
			synctest.Wait()
			if w := l.callers.watched.Load(); w == nil || w.done != ctx.Done() {
				t.Fatal("the end of the context is not watched")
			}
			cancel()
			synctest.Wait()
			for range 3 {
				select {
				case r := <-results:
					if !r.Sent || !errors.Is(r.Err, ErrTimeout) || !errors.Is(r.Err, context.Canceled) {
						t.Errorf("Sent %v, %v", r.Sent, r.Err)
					}
				default:
					t.Fatal("a caller still waits")
				}
			}
			if len(others) > 0 {
				t.Error("who waits with another context was let go")
			}
			if r := l.ask(ctx, "MESSAGE"); !errors.Is(r.Err, ErrTimeout) {
				t.Errorf("with a context that has ended: %v", r.Err)
			}
			end()
			if r := <-others; !errors.Is(r.Err, ErrTimeout) {
				t.Errorf("the other context has ended: %v", r.Err)
			}
		}
	})
}

// A request that is on its way when everything ends has a result, though who ends it all did not find its transaction.
func TestARequestBehindTheEndIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, nil, nil)
		l.stop()
		if r := l.ask(t.Context(), "MESSAGE"); !errors.Is(r.Err, ErrClosed) {
			t.Errorf("%v", r.Err)
		}
	})
}
