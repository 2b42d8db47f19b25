package admission

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
)

// pieces holds memory as many small things do.
func pieces(octets int) [][]byte {
	const size = 1 << 10
	list := make([][]byte, octets/size)
	for i := range list {
		list[i] = make([]byte, size)
	}
	return list
}

// Garbage is no use of the memory, however much of it there is: a gateway with a small cap is not full of it. What is in use counts, and when it is
// given back that is noticed although nothing new is taken that would have garbage collected.
func TestGarbageIsNoUse(t *testing.T) {
	const much = 64 << 20
	var limit atomic.Int64
	s := newRuntimeSensors(&limit)
	read := func() int64 {
		s.Delay()
		return s.Memory()
	}
	// A collection that begins by itself, and takes long, finds in use whatever is made meanwhile.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()
	before := read()
	for range 4 {
		runtime.KeepAlive(pieces(much / 4))
	}
	if now := read(); now > before+much/8 {
		t.Errorf("%d MiB are in use with garbage, %d without", now>>20, before>>20)
	}
	held := pieces(much)
	runtime.GC()
	if now := read(); now < before+much || now > before+much*5/4 {
		t.Errorf("%d MiB are in use with %d more than %d", now>>20, much>>20, before>>20)
	}
	runtime.KeepAlive(held)
	held = nil //nolint:wastedassign // it is garbage from here on
	limit.Store(much)
	s.since = time.Now().Add(-2 * stale)
	for end := time.Now().Add(time.Minute); read() > before+much/2; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d MiB are in use after a minute", read()>>20)
		}
		s.since = time.Now().Add(-2 * stale)
	}
	for s.collecting.Load() {
		runtime.Gosched()
	}
}

// A collection is begun only where nothing is taken for want of memory: not for ever where much is in use and there is room, and never for more than a tenth of the time.
func TestCollectionsAreRare(t *testing.T) {
	var limit atomic.Int64
	limit.Store(1000)
	s := newRuntimeSensors(&limit)
	s.since = time.Unix(1_800_000_000, 0)
	for _, step := range []struct {
		name  string
		used  int64
		after time.Duration // since the last collection was seen
		took  time.Duration
		want  bool
	}{
		{"some in use", 500, time.Hour, 0, false},
		{"much in use, and there is room", 920, time.Hour, 0, false},
		{"full", 950, stale, 0, true},
		{"just collected", 960, stale / 2, 0, false},
		{"no room yet", 920, stale, 0, true},
		{"a long collection", 960, 5 * time.Second, 600 * time.Millisecond, false},
		{"ten times that", 960, 6 * time.Second, 600 * time.Millisecond, true},
		{"room again", 890, time.Hour, 0, false},
		{"and used a little more", 920, time.Hour, 0, false},
	} {
		s.took.Store(int64(step.took))
		if got := s.wasteful(s.since.Add(step.after), step.used); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	limit.Store(0)
	if s.wasteful(s.since.Add(time.Hour), 1<<40) {
		t.Error("there is no cap, and it is full")
	}
}
