package gateway

import (
	"testing"
	"time"
)

// A message that waited at another gateway, and so began before one that was counted already, fills no bucket.
func TestBrakeCountsNoTimeTwice(t *testing.T) {
	b, op := newBrake(1, 2), benchOp()
	for i, c := range []struct {
		after time.Duration
		taken bool
	}{
		{10 * time.Second, true}, {0, true}, {10 * time.Second, false}, {5 * time.Second, false}, {10 * time.Second, false}, {11 * time.Second, true}, {11 * time.Second, false},
	} {
		if b.allow(b.made.Add(c.after), op.From.Address, op.To.Address) != c.taken {
			t.Errorf("message %d, of %v: taken should be %v", i, c.after, c.taken)
		}
	}
}
