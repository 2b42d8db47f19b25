package cluster

import (
	"testing"
	"time"
)

// When a lease can have been written at the latest, by what is told of it and when.
func TestSignOfLife(t *testing.T) {
	const life = 10 * time.Second
	start := time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)
	type told struct {
		incarnation   string
		age, at, want time.Duration // age 0: it does not say
	}
	for _, c := range []struct {
		name string
		told []told
	}{
		{"in time", []told{{"a", time.Second, 1005 * time.Millisecond, 1005 * time.Millisecond}, {"a", 3 * time.Second, 3005 * time.Millisecond, 3005 * time.Millisecond}}},
		{"sooner than before", []told{{"a", time.Second, 1200 * time.Millisecond, 1200 * time.Millisecond}, {"a", 3 * time.Second, 3001 * time.Millisecond, 3001 * time.Millisecond}}},
		{"by the next leader", []told{{"a", time.Second, time.Second, time.Second}, {"a", 3 * time.Second, 7300 * time.Millisecond, 3 * time.Second}}},
		{"late at first, then later", []told{{"a", time.Second, 2 * time.Second, 2 * time.Second}, {"a", 3 * time.Second, 9 * time.Second, 4 * time.Second}}},
		{"late, then in time again", []told{{"a", time.Second, time.Second, time.Second}, {"a", 3 * time.Second, 7 * time.Second, 3 * time.Second}, {"a", 9 * time.Second, 9 * time.Second, 9 * time.Second}}},
		{"another incarnation", []told{{"a", time.Second, time.Second, time.Second}, {"b", 3 * time.Second, 7 * time.Second, 7 * time.Second}}},
		{"it does not say", []told{{"a", 0, time.Second, time.Second}, {"a", 0, 7 * time.Second, 7 * time.Second}}},
		{"it did not say before", []told{{"a", 0, time.Second, time.Second}, {"a", 3 * time.Second, 7 * time.Second, 7 * time.Second}}},
		{"its clock was set forward, and back", []told{
			{"a", time.Second, time.Second, time.Second}, {"a", time.Hour, 3 * time.Second, 3 * time.Second}, {"a", 5 * time.Second, 5 * time.Second, 5 * time.Second},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var was seen
			for i, x := range c.told {
				was = was.sign(lease{Incarnation: x.incarnation, Age: x.age.Milliseconds()}, uint64(i+1), start.Add(x.at), life)
				got := was.at.Sub(start)
				// Up to a thousandth of the time between, which clocks may differ in.
				if got < x.want || got > x.want+10*time.Millisecond {
					t.Errorf("%d: written at %v at the latest, want %v", i, got, x.want)
				}
			}
		})
	}
}
