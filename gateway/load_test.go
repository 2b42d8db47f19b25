package gateway

import (
	"context"
	"testing"
	"testing/synctest"
)

// T-OV-02: what is told of load rises from nothing at 80 percent of the room to everything at the end of it.
func TestLoad(t *testing.T) {
	l := newLanes(10, 1000)
	defer l.cancel()
	for queued, want := range map[int64]int{0: 0, 800: 0, 850: 25, 1000: 100, 1001: 100} {
		l.queued.Store(queued)
		if got := l.load(); got != want {
			t.Errorf("%d of 1000: %d percent, should be %d", queued, got, want)
		}
	}
	one := newLanes(1, 1)
	defer one.cancel()
	if got := one.load(); got != 0 {
		t.Errorf("an empty gateway with room for one message: %d percent", got)
	}
}

// A lane is crowded from three quarters of its room on, until a quarter is left; and all are when there is load.
func TestCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(8, 1000)
		defer func() {
			if err := l.drain(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		next := make(chan struct{})
		wait := taskFunc(func(context.Context) { <-next })
		one, other := laneKey{kind: laneMessages, side: 1}, laneKey{kind: laneMessages, side: 2}
		add := func(k laneKey, n int) {
			for range n {
				if !l.add(k, wait) {
					t.Fatal("refused")
				}
			}
			synctest.Wait()
		}
		is := func(want bool, what string) {
			t.Helper()
			if l.full() != want {
				t.Errorf("%s: %v", what, !want)
			}
		}
		end := func(n int) {
			for range n {
				next <- struct{}{}
			}
			synctest.Wait()
		}
		is(false, "nothing waits")
		add(one, 1+5)
		is(false, "5 of 8 wait")
		add(one, 1)
		is(true, "6 of 8 wait")
		end(3)
		is(true, "3 of 8 wait")
		end(1)
		is(false, "2 of 8 wait")
		add(one, 4)
		is(true, "6 of 8 wait again")
		l.bound(0, 1000) // by a reload: no lane has room any more
		end(7)
		is(false, "the lane has ended")
		l.bound(8, 1000)
		add(other, 1)
		is(false, "there is another lane")
		l.bound(8, 1)
		is(true, "no room in all")
		l.bound(8, 1000)
		end(1)
	})
}
