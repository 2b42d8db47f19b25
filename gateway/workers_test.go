package gateway

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// heldTask is a task that says that it runs and ends when it may.
type heldTask struct {
	runs chan<- struct{}
	end  <-chan struct{}
}

func (h heldTask) run(context.Context) {
	h.runs <- struct{}{}
	<-h.end
}

func laneTo(i int) laneKey {
	return laneKey{kind: laneMessages, to: cpim.MustParseAddress("im:u" + strconv.Itoa(i) + "@example.net")}
}

func TestWorkersAreUsedAgainAndEndWhenTheyAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(10, 10_000)
		runs := make(chan struct{}, maxIdleWorkers+100)
		busy := func(n int) {
			t.Helper()
			end := make(chan struct{})
			for i := range n {
				if !l.add(laneTo(i), heldTask{runs, end}) {
					t.Fatal("refused")
				}
			}
			synctest.Wait()
			if len(runs) != n {
				t.Fatalf("%d lanes of %d run at the same time", len(runs), n)
			}
			for range n {
				<-runs
			}
			close(end)
			synctest.Wait()
		}
		busy(5)
		if n := l.workers.count(); n != 5 {
			t.Fatalf("%d are kept", n)
		}
		busy(3)
		busy(5)
		if n := l.workers.count(); n != 5 {
			t.Fatalf("%d are kept: they were not used again", n)
		}
		busy(maxIdleWorkers + 50)
		if n := l.workers.count(); n != maxIdleWorkers {
			t.Fatalf("%d are kept, of %d at most", n, maxIdleWorkers)
		}
		time.Sleep(idleLook + time.Second)
		for range 3 * int(idleLook/time.Second) { // three need not be more
			time.Sleep(time.Second)
			busy(3)
		}
		if n := l.workers.count(); n != 3 {
			t.Fatalf("%d are kept where 3 are used", n)
		}
		time.Sleep(3 * idleLook)
		synctest.Wait()
		if n := l.workers.count(); n != 0 {
			t.Fatalf("%d are kept where none is used", n)
		}
		busy(2)
		if err := l.drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := l.workers.count(); n != 0 {
			t.Fatalf("%d are kept after the end", n)
		}
	})
}

// countedTask is a task that must come in its turn.
type countedTask struct {
	t    *testing.T
	last *int // of its lane, which is its lock
	n    int
	all  *sync.WaitGroup
}

func (c countedTask) run(context.Context) {
	if *c.last != c.n-1 {
		c.t.Errorf("task %d came after %d", c.n, *c.last)
	}
	*c.last = c.n
	c.all.Done()
}

func TestOrderInALaneWhoeverWorks(t *testing.T) {
	l := newLanes(10_000, 100_000)
	var all sync.WaitGroup
	const lanes, tasks = 20, 500
	last := make([]int, lanes)
	for n := 1; n <= tasks; n++ {
		for i := range lanes {
			all.Add(1)
			if !l.add(laneTo(i), countedTask{t, &last[i], n, &all}) {
				t.Fatal("refused")
			}
		}
	}
	all.Wait()
	if err := l.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, n := range last {
		if n != tasks {
			t.Errorf("lane %d ran %d tasks", i, n)
		}
	}
}

func BenchmarkLanes(b *testing.B) {
	l := newLanes(10_000, 100_000)
	runs := make(chan struct{}, 64)
	end := make(chan struct{})
	close(end)
	keys := make([]laneKey, 100)
	for i := range keys {
		keys[i] = laneTo(i)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		l.add(keys[n%len(keys)], heldTask{runs, end})
		<-runs
		n++
	}
	_ = l.drain(b.Context())
}
