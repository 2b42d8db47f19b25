package sip

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// RFC 3428 §8: whoever waits gets its turn in order, one at a time, and who went away meanwhile costs nobody his.
func TestOnePendingTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := newOnePending(), im("romeo@example.net")
		first, ok := o.enter(t.Context(), time.Time{}, a)
		if !ok {
			t.Fatal("not the first")
		}
		var order []int
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				until := time.Time{}
				if i%2 == 1 {
					until = time.Now().Add(time.Second)
				}
				if turn, ok := o.enter(t.Context(), until, a); ok {
					order = append(order, i) // one at a time
					o.leave(turn)
				}
			})
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		o.leave(first)
		all.Wait()
		if len(order) != 3 || order[0] != 0 || order[1] != 2 || order[2] != 4 || len(o.busy) != 0 {
			t.Errorf("turns %v, %d left", order, len(o.busy))
		}
	})
}

// Turns that come just when nobody waits any more go on to the next.
func TestOnePendingRaces(t *testing.T) {
	o, a := newOnePending(), im("romeo@example.net")
	var all sync.WaitGroup
	inside, served := 0, 0
	for i := range 8 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			for range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if rnd.IntN(2) == 0 {
					go cancel()
				}
				if turn, ok := o.enter(ctx, time.Time{}, a); ok {
					if inside++; inside != 1 {
						t.Errorf("%d at once", inside)
					}
					served++
					inside--
					o.leave(turn)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if served < 8*100 || len(o.busy) != 0 {
		t.Errorf("%d served, %d left", served, len(o.busy))
	}
}
