package store

import (
	"testing"
	"time"
)

// With one processor a sync holds up everything, so many calls wait a little for more of them; a few do not, nor does anybody with more processors.
func TestRest(t *testing.T) {
	for name, c := range map[string]struct {
		calls, processors int
		took, want        time.Duration
	}{
		"one call":                 {1, 1, time.Millisecond, 0},
		"a few":                    {seldom, 1, time.Millisecond, 0},
		"many":                     {seldom + 1, 1, time.Millisecond, resting * time.Millisecond},
		"many, on a slow disk":     {100, 1, time.Second, longest},
		"many, on two processors":  {100, 2, time.Millisecond, 0},
		"many, which took no time": {100, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rest(c.calls, c.took, c.processors); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
