package sip

import (
	"container/heap"
	"sync"
	"time"
)

// alarms wakes what waits for a time: one timer for all of it, so that each of some hundred thousand dialogs costs a place in a heap and
// neither a timer nor a goroutine. Make it with newAlarms.
type alarms struct {
	mu      sync.Mutex
	waiting alarmHeap
	timer   *time.Timer
	stopped bool
}

// alarm is one time to be woken at, inside of what is woken. The zero value waits for nothing. Its fields are those of alarms alone.
type alarm struct {
	at    time.Time
	owner ringer
	place int32 // in the heap, from 1; 0: not there
}

// ringer is what an alarm wakes: ring is called when the time has come, without any lock, and it
// must not wait for a network. It may set the alarm again. An alarm that is cleared or put off while it is due may still ring.
type ringer interface{ ring() }

type alarmHeap []*alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = int32(i)+1, int32(j)+1
}

func (h *alarmHeap) Push(x any) {
	a := x.(*alarm)
	*h = append(*h, a)
	a.place = int32(len(*h))
}

func (h *alarmHeap) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	a.place = 0
	return a
}

func newAlarms() *alarms { return &alarms{} }

// set makes a ring owner at a time, in place of the time that was set before; the zero time is none. After stop nothing is set.
func (q *alarms) set(a *alarm, owner ringer, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.stopped:
		return
	case at.IsZero():
		if a.place > 0 {
			heap.Remove(&q.waiting, int(a.place)-1)
		}
		return
	case a.place > 0 && a.at.Equal(at):
		return
	}
	a.at, a.owner = at, owner
	if a.place > 0 {
		heap.Fix(&q.waiting, int(a.place)-1)
	} else {
		heap.Push(&q.waiting, a)
	}
	if a.place == 1 {
		q.wind()
	}
}

// wind sets the timer for the first alarm. q.mu is held.
func (q *alarms) wind() {
	wait := max(0, time.Until(q.waiting[0].at))
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.due)
		return
	}
	q.timer.Reset(wait)
}

// alarmBatch is how many alarms ring before the lock is asked for again.
const alarmBatch = 256

// due rings those whose time has come.
func (q *alarms) due() {
	var batch [alarmBatch]ringer
	for {
		n := 0
		q.mu.Lock()
		now := time.Now()
		for n < alarmBatch && !q.stopped && len(q.waiting) > 0 && !q.waiting[0].at.After(now) {
			batch[n] = heap.Pop(&q.waiting).(*alarm).owner
			n++
		}
		if n < alarmBatch && !q.stopped && len(q.waiting) > 0 {
			q.wind()
		}
		q.mu.Unlock()
		for i := range n {
			batch[i].ring()
			batch[i] = nil
		}
		if n < alarmBatch {
			return
		}
	}
}

// stop ends it. What rings already is not waited for.
func (q *alarms) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	if q.timer != nil {
		q.timer.Stop()
	}
	q.waiting = nil
}
