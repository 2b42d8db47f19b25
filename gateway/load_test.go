package gateway

import "testing"

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
