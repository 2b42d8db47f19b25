package transaction

import (
	"sync"
	"time"
)

// wheelSlots is how many ticks one turn of the wheel has. 64*T1 are 640 ticks, so nearly every timer runs in its first turn.
const wheelSlots = 1024

// timer is one entry of a wheel. It is part of what it wakes, so that arming it allocates nothing. The zero value is not armed.
// Everything in it belongs to the wheel's mutex, but owner, which is set before the first use.
type timer struct {
	next, prev *timer
	due        int64 // tick
	owner      expirer
}

// expirer is what a timer wakes. expire is called by the wheel's goroutine without any lock, must not block, and may come once after
// stop was called: the owner looks at its own state.
type expirer interface{ expire() }

// wheel is a hashed timing wheel: all timers of all transactions on one goroutine, which sleeps until the next one is due and has no
// runtime timer while there is none. A timer never fires early, and at most one tick late.
type wheel struct {
	tick  time.Duration
	epoch time.Time
	wake  chan struct{}

	mu    sync.Mutex
	slots [wheelSlots]timer // heads of rings
	now   int64             // the last tick that was run
	next  int64             // the tick that the goroutine sleeps for
	armed int
}

// neverDue is later than every tick.
const neverDue = 1<<63 - 1

func newWheel(tick time.Duration) *wheel {
	w := &wheel{tick: tick, epoch: time.Now(), wake: make(chan struct{}, 1), next: neverDue}
	for i := range w.slots {
		head := &w.slots[i]
		head.next, head.prev = head, head
	}
	return w
}

// at is the first tick that is not before d from now.
func (w *wheel) at(now time.Time, d time.Duration) int64 {
	return int64((now.Sub(w.epoch) + d + w.tick - 1) / w.tick)
}

// set arms t, or arms it anew, to fire when d has passed since now.
func (w *wheel) set(now time.Time, t *timer, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.next != nil {
		w.unlink(t)
	}
	if w.armed == 0 {
		w.now = max(w.now, w.at(now, 0)-1) // nothing was due while it slept
	}
	t.due = max(w.at(now, d), w.now+1)
	head := &w.slots[t.due%wheelSlots]
	t.prev, t.next = head.prev, head
	head.prev.next, head.prev = t, t
	w.armed++
	if t.due < w.next {
		w.next = t.due
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// stop disarms t. expire may be under way already.
func (w *wheel) stop(t *timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.next != nil {
		w.unlink(t)
	}
}

func (w *wheel) unlink(t *timer) {
	t.prev.next, t.next.prev = t.next, t.prev
	t.prev, t.next = nil, nil
	w.armed--
}

// run fires timers until stop is closed.
func (w *wheel) run(stop <-chan struct{}) {
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	var due []*timer
	for {
		due = w.take(due[:0])
		for _, t := range due {
			t.owner.expire()
		}
		clear(due)
		sleep := clock.C
		if wait, idle := w.sleep(); idle {
			clock.Stop()
			sleep = nil
		} else {
			clock.Reset(wait)
		}
		select {
		case <-sleep:
		case <-w.wake:
		case <-stop:
			return
		}
	}
}

// take unlinks what is due by now.
func (w *wheel) take(due []*timer) []*timer {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := int64(time.Since(w.epoch) / w.tick)
	first := w.now + 1
	if now-first >= wheelSlots {
		first = now - wheelSlots + 1 // one whole turn sees every slot
	}
	for tick := first; tick <= now && w.armed > 0; tick++ {
		head := &w.slots[tick%wheelSlots]
		for t := head.next; t != head; {
			next := t.next
			if t.due <= now {
				w.unlink(t)
				due = append(due, t)
			}
			t = next
		}
	}
	w.now = max(w.now, now)
	return due
}

// sleep finds the next slot with an entry and returns how long it is until then.
func (w *wheel) sleep() (wait time.Duration, idle bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed == 0 {
		w.next = neverDue
		return 0, true
	}
	w.next = w.now + wheelSlots
	for tick := w.now + 1; tick < w.now+wheelSlots; tick++ {
		if head := &w.slots[tick%wheelSlots]; head.next != head {
			w.next = tick
			break
		}
	}
	return max(0, time.Duration(w.next)*w.tick-time.Since(w.epoch)), false
}
