package store

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// With one processor a sync holds up everything, so calls wait a little for more of them; with more processors nobody does.
func TestRest(t *testing.T) {
	for name, c := range map[string]struct {
		processors int
		took, want time.Duration
	}{
		"one processor":   {1, time.Millisecond, resting * time.Millisecond},
		"on a slow disk":  {1, time.Second, longest},
		"two processors":  {2, time.Millisecond, 0},
		"it took no time": {1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rest(c.took, c.processors); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// In a rest calls are gathered until it is over or a pack is whole; it counts from the commit before, so that who comes long after that waits for nobody.
func TestRestGathers(t *testing.T) {
	for name, x := range map[string]struct {
		rest    time.Duration // from the beginning
		first   time.Duration // when the first call comes
		calls   int           // one each millisecond
		want    int
		returns time.Duration
	}{
		"no rest":             {0, 0, 20, 1, 0},
		"a rest":              {8 * time.Millisecond, 0, 20, 8, 8 * time.Millisecond},
		"a part of it":        {8 * time.Millisecond, 5 * time.Millisecond, 20, 3, 8 * time.Millisecond},
		"long after it":       {8 * time.Millisecond, time.Minute, 20, 1, time.Minute},
		"more than there are": {8 * time.Millisecond, 0, 2, 2, 8 * time.Millisecond},
		"a whole pack":        {time.Second, 0, 200, packRecords, (packRecords - 1) * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &committer{in: make(chan *commit, maxBatch), end: make(chan struct{})}
				began := time.Now()
				var callers sync.WaitGroup
				callers.Go(func() {
					time.Sleep(x.first)
					for range x.calls {
						c.in <- &commit{messages: []*nats.Msg{{}}}
						time.Sleep(time.Millisecond)
					}
				})
				batch, next := c.gather(nil, began.Add(x.rest))
				took := time.Since(began)
				callers.Wait()
				// What comes in the moment in which the rest is over may go with it or not.
				if len(batch) < x.want || len(batch) > x.want+1 || next != nil {
					t.Errorf("%d calls, want %d", len(batch), x.want)
				}
				if took != x.returns {
					t.Errorf("after %v, want %v", took, x.returns)
				}
			})
		})
	}
}

// A committer that ends does not wait for the rest to be over.
func TestRestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &committer{in: make(chan *commit, maxBatch), end: make(chan struct{})}
		c.in <- &commit{messages: []*nats.Msg{{}}}
		began := time.Now()
		time.AfterFunc(time.Millisecond, func() { close(c.end) })
		if batch, _ := c.gather(nil, began.Add(time.Second)); batch != nil || time.Since(began) != time.Millisecond {
			t.Errorf("%d calls after %v", len(batch), time.Since(began))
		}
	})
}
