package gateway

import (
	"context"
	"fmt"
	"testing"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// blockedTask is a task that waits.
type blockedTask chan struct{}

func (t blockedTask) run(context.Context) { <-t }

// Who reads what messages wait for does not count those: he would wait for himself. What is full because of a few recipients is not full for want of speed.
func TestLanesTellWhatWaitsForWhom(t *testing.T) {
	l := newLanes(10, 1000)
	release := make(blockedTask)
	add := func(side, recipient, n int) {
		t.Helper()
		for range n {
			to := cpim.MustParseAddress(fmt.Sprintf("im:u%d@example.com", recipient))
			if !l.add(laneKey{kind: laneMessages, side: side, to: to}, release) {
				t.Fatal("there is no room")
			}
		}
	}
	want := func(but0, but1, all int, overrun bool) {
		t.Helper()
		if a, b, n, o := l.waitingFor(0), l.waitingFor(1), l.waiting(), l.overrun(); a != but0 || b != but1 || n != all || o != overrun {
			t.Errorf("%d, %d, %d wait, overrun: %v", a, b, n, o)
		}
	}
	want(0, 0, 0, false)
	add(0, 1, 10)
	add(1, 2, 10)
	want(9, 9, 18, false)
	if !l.full() {
		t.Error("a lane is nearly full, and there seems to be room")
	}
	for i := range 20 {
		add(1, 10+i, 1)
	}
	want(9, 9, 18, false) // two recipients are slow
	for i := range 20 {
		add(1, 10+i, 4)
	}
	want(89, 9, 98, true)
	close(release)
	if err := l.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(0, 0, 0, false)
}
