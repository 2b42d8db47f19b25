package admission

import (
	"math/rand/v2"
	"testing"
	"time"
)

// flooded plays one peer that offers ten times what can be done, to a process for which a refusal is a fifth of the work, for a while and then for 10 s. It returns
// how much was done in these, and how many were refused.
func flooded(t *testing.T, others float64, lot func() uint32) (done, refused int) {
	t.Helper()
	s := &server{capacity: 2000, others: others}
	c, err := New(Config{Sensors: s})
	if err != nil {
		t.Fatal(err)
	}
	now, f := time.Unix(1_800_000_000, 0), c.Flow("peer")
	var queue []float64 // what each costs
	room, marks := 0.0, rand.New(rand.NewPCG(12, 13))
	const second = 1000
	for ms := range 30 * second {
		steady := ms >= 20*second
		for range 20 {
			x := lot()
			if x >= f.Pass() && f.Pass() != all || len(queue) > 2000 {
				continue // the kernel drops it, or the socket has no room
			}
			switch f.Judge(now, Piece{Lot: x, Mark: marks.Uint32()}, Unknown) {
			case Take:
				queue = append(queue, 1)
			case Refuse:
				queue = append(queue, 0.2)
				if steady {
					refused++
				}
			case Ignore:
			}
		}
		for room = min(room+s.capacity/1000, 2); len(queue) > 0 && room >= queue[0]; queue = queue[1:] {
			if room -= queue[0]; queue[0] == 1 {
				f.Done()
				if steady {
					done++
				}
			}
		}
		s.waiting = 0
		for _, cost := range queue {
			s.waiting += cost
		}
		now = now.Add(time.Millisecond)
	}
	return done, refused
}

// A process that has a quarter of the processors, as in a container with a part of one or beside noisy neighbours, does as much under overload as it can: it refuses
// no more than is worth while.
func TestAStarvedProcessRefusesInBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	for _, others := range []float64{0, 0.75} {
		done, refused := flooded(t, others, r.Uint32)
		if done < 12_000 || refused > 40_000 {
			t.Errorf("others have %.2f of the processors: in 10 s %d were done, of 20,000, and %d refused", others, done, refused)
		}
	}
}

// Whoever chooses lots that are always good has no more answers for that.
func TestGoodLotsAreRefusedInBounds(t *testing.T) {
	for _, others := range []float64{0, 0.75} {
		done, refused := flooded(t, others, func() uint32 { return 1 })
		if done < 8000 || refused > 80_000 {
			t.Errorf("others have %.2f of the processors: in 10 s %d were done, of 20,000, and %d refused", others, done, refused)
		}
	}
}
