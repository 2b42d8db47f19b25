package transaction

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
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

// A caller's context that ends while the request is put into a connection's queue ends the wait for its answer, and what it is told is true: it was sent.
func TestTheEndOfAContextWhileARequestIsQueued(t *testing.T) {
	came := make(chan string, 2)
	server := startLayer(t, handlerFunc(func(req *wire.Message, _ Source, tx *ServerTx) {
		came <- string(req.Body())
		tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the test sees what comes
	}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var watched func() bool
	client := startLayer(t, answerOK, func(cfg *Config) {
		cfg.Tap = func(d Direction, b []byte) {
			if d == Outbound && bytes.HasSuffix(b, []byte("second")) {
				cancel()
				// Who watches the context sees its end, and ends the transaction if that can be done now.
				for end := time.Now().Add(100 * time.Millisecond); watched() && time.Now().Before(end); {
					runtime.Gosched()
				}
			}
		}
	})
	watched = func() bool { return client.callers.watched.Load() != nil }
	target := targetOf(t, server, resolver.TCP)
	if r := client.Do(ctx, target, testRequest("MESSAGE", "first")); r.Err != nil { // the end is watched from now on
		t.Fatal(r.Err)
	}
	<-came
	r := client.Do(ctx, target, testRequest("MESSAGE", "second"))
	if r.Response == nil && !errors.Is(r.Err, ErrTimeout) {
		t.Errorf("%v", r.Err)
	}
	select {
	case <-came:
		if !r.Sent {
			t.Error("it came, and its sender was told that it was not sent")
		}
	case <-time.After(time.Second):
		if r.Sent {
			t.Error("it did not come")
		}
	}
}
