package admission

import (
	"sync/atomic"
	"time"
)

// Flow is one of those between whom the rate is divided: a peer. Its methods may be called from any goroutine. A nil Flow takes everything.
type Flow struct {
	c       *Controller
	name    string
	arrived atomic.Int64 // since the last tick
	loss    atomic.Int32 // percent

	// The rest belongs to the controller's mutex.
	wants   float64 // per second, smoothed
	asked   float64 // per second, in the last tick, not smoothed
	rate    float64
	credit  float64
	at      time.Time
	send    float64 // the share of what it would send that a client which obeys overload control may send
	silence int     // ticks without any work
}

// Admit counts one piece of new work, and tells whether it is taken. It is cheap: two atomic operations while nothing is refused.
func (f *Flow) Admit(now time.Time) bool {
	if f == nil {
		return true
	}
	f.arrived.Add(1)
	return f.c.admit(f, now, 0)
}

// AdmitUrgent is Admit for what comes before new work: what belongs to something that was taken before. It is refused only to who has asked for so
// much of it that a second would not do for it.
func (f *Flow) AdmitUrgent(now time.Time) bool {
	if f == nil {
		return true
	}
	f.arrived.Add(1)
	return f.c.admit(f, now, time.Second)
}

// Wait counts one piece of new work that is taken in any case, and tells for how long nothing more should be read of where it came from: for
// streams, which can be held up instead of being answered. At most 250 ms.
func (f *Flow) Wait(now time.Time) time.Duration {
	if f == nil {
		return 0
	}
	f.arrived.Add(1)
	return f.c.pace(f, now)
}

// Done counts one piece of work that was taken and is answered.
func (f *Flow) Done() {
	if f != nil {
		f.c.done.Add(1)
	}
}

// Loss is what a client that obeys overload control is asked not to send, in percent (RFC 7339 §4.2).
func (f *Flow) Loss() int {
	if f == nil {
		return 0
	}
	return int(f.loss.Load())
}

// Queue is something that is read until it is empty, as a socket is. Its methods may be called from one goroutine.
type Queue struct {
	c     *Controller
	empty atomic.Int64 // when it was seen empty last, in Unix nanoseconds
	busy  atomic.Bool  // and whether something was read since
}

// Read notes a reading: whether it left the queue empty. A nil Queue notes nothing.
func (q *Queue) Read(now time.Time, empty bool) {
	if q == nil {
		return
	}
	if empty {
		q.empty.Store(now.UnixNano())
		q.busy.Store(false)
	} else if !q.busy.Load() {
		q.empty.Store(now.UnixNano())
		q.busy.Store(true)
	}
}

// standing is for how long the queue has not been empty.
func (q *Queue) standing(now time.Time) time.Duration {
	if !q.busy.Load() {
		return 0
	}
	return now.Sub(time.Unix(0, q.empty.Load()))
}
