package gateway

import (
	"testing"
	"time"
)

// A place that has come back is given a few entries a second, and more as it takes them.
func TestRamp(t *testing.T) {
	begin := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	// play takes whatever may be taken, and returns how many entries that were in each second. share of them the place refuses.
	play := func(first float64, seconds int, refuses func(second int) bool) (each []int) {
		var r ramp
		now := begin
		r.begin(now, first)
		for s := range seconds {
			n := 0
			for end := begin.Add(time.Duration(s+1) * time.Second); now.Before(end); {
				wait := r.take(now)
				if wait == 0 {
					n++
					if refuses(s) {
						r.refused++
					}
				}
				now = now.Add(wait)
			}
			each = append(each, n)
		}
		return each
	}
	never := func(int) bool { return false }
	for _, c := range []struct {
		name    string
		first   float64
		refuses func(int) bool
		want    map[int]int // by second
	}{
		{"it takes everything", 200, never, map[int]int{0: 200, 9: 200, 11: 400, 14: 400, 16: 800, 21: 1600}},
		{"one a second", 1, never, map[int]int{0: 1, 9: 1, 12: 2}},
		{"it refuses everything", 200, func(int) bool { return true }, map[int]int{0: 200, 12: 200, 29: 200}},
		{"it refuses for a while", 200, func(s int) bool { return s >= 15 && s < 25 }, map[int]int{16: 800, 21: 400, 26: 200, 31: 400}},
	} {
		t.Run(c.name, func(t *testing.T) {
			each := play(c.first, 32, c.refuses)
			for s, want := range c.want {
				if got := each[s]; got < want-want/20-1 || got > want+want/20+1 {
					t.Errorf("in second %d there were %d entries, not %d", s, got, want)
				}
			}
		})
	}
	// Not begun, one attempt at a time is what a place has; that is the width's to bound.
	var r ramp
	if r.take(begin) != 0 {
		t.Error("the attempt that finds out whether a place is back waits")
	}
}

// However long nothing was tried, no more than a burst comes at once.
func TestRampSavesNothingUp(t *testing.T) {
	now := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	var r ramp
	r.begin(now, 200)
	now = now.Add(9 * time.Second)
	n := 0
	for r.take(now) == 0 {
		n++
	}
	if n != 10 {
		t.Errorf("%d entries at once", n)
	}
}

// The backlogs of a place have their turns in the order in which they came; one that was refused waits for its time and holds up no other.
func TestBacklogsTakeTurns(t *testing.T) {
	now := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	d := &destination{width: 1}
	var all []*backlog
	for range 4 {
		b := &backlog{at: d}
		all = append(all, b)
		d.wait(b, now)
	}
	all[0].next = now.Add(time.Minute)
	d.turned(all[0], now)
	for turn, want := range []*backlog{all[1], all[2], all[3], all[1]} {
		take, _ := d.due(now)
		if len(take) != 1 || take[0] != want {
			t.Fatalf("turn %d: %v", turn, take)
		}
		if more, again := d.due(now); len(more) != 0 || !again.IsZero() {
			t.Errorf("two at once")
		}
		d.back(want)
		d.wait(want, now)
	}
	d.turned(all[3], time.Time{}) // as an operator has it
	if take, _ := d.due(now); len(take) != 1 || take[0] != all[3] {
		t.Errorf("%v", take)
	} else {
		d.back(all[3])
		all[3].next = now.Add(time.Hour)
		d.wait(all[3], now)
	}
	now = now.Add(time.Minute)
	d.width = 10
	if take, again := d.due(now); len(take) != 3 || take[2] != all[0] || !again.Equal(all[3].next) {
		t.Errorf("%d, again %v", len(take), again)
	}
}
