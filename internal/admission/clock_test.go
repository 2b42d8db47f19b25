package admission

import (
	"testing"
	"time"
	"unsafe"
)

// setBack is t as it would have been read if the system's clock had been set back before: the time since the process began, which it has besides, is the same.
func setBack(t *testing.T, now time.Time, d time.Duration) time.Time {
	t.Helper()
	// package time: "wall encodes, from high bit position to low bit position, a 1-bit flag (hasMonotonic), a 33-bit seconds field, and a 30-bit wall time
	// nanoseconds field."
	back := now
	*(*uint64)(unsafe.Pointer(&back)) -= uint64(d/time.Second) << 30
	if back.Sub(now) != 0 || back.UnixNano() != now.Add(-d).UnixNano() {
		t.Fatal("package time has its times in another way now: this test has to follow")
	}
	return back
}

// A clock that is set back does not stop what looks at how late the process is: overload is seen, and is over, as ever.
func TestTheClockIsSetBack(t *testing.T) {
	s := &server{capacity: 1000}
	c, err := New(Config{Sensors: s})
	if err != nil {
		t.Fatal(err)
	}
	now, x := time.Now(), &client{flow: c.Flow("x"), rate: 500}
	play(c, s, &now, time.Second, x)
	now = setBack(t, now, 24*time.Hour)
	x.rate = 5000
	play(c, s, &now, 3*time.Second, x)
	if !c.Active() {
		t.Fatal("five times as much comes as can be done, and nothing is refused")
	}
	now = setBack(t, now, 24*time.Hour)
	x.rate = 500
	play(c, s, &now, 10*time.Second, x)
	if c.Active() {
		t.Error("the load has dropped, and there is overload still")
	}
}
