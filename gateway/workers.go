package gateway

import (
	"sync"
	"time"
)

// workers are goroutines without work. A goroutine begins with a small stack, which is copied several times on the way of a message to the
// network: one that has been there before has the room.
//
// The last one that came is the first that goes, so that few are used while little is to be done; those that were not used for a while end.
type workers struct {
	mu      sync.Mutex
	idle    []chan shift
	least   int  // how many were idle all the time since the last look
	looking bool // the timer runs
	timer   *time.Timer
	stopped bool
}

// shift is what a worker comes for: a lane that has work, and its first task.
type shift struct {
	shard *laneShard
	key   originKey // of the lane in its shard
	lane  *lane
	task  task
}

const (
	// maxIdleWorkers bounds how many are kept: a stack of 8 KiB each.
	maxIdleWorkers = 1024
	// idleLook is how long one is kept that is not used.
	idleLook = 10 * time.Second
)

// do gives t to a worker, or to a new one. It waits for nothing.
func (w *workers) do(l *lanes, t shift) {
	w.mu.Lock()
	n := len(w.idle) - 1
	if n < 0 {
		w.least = 0
		w.mu.Unlock()
		go w.run(l, t)
		return
	}
	next := w.idle[n]
	w.idle[n] = nil
	w.idle = w.idle[:n]
	w.least = min(w.least, n)
	w.mu.Unlock()
	next <- t // has room for one, and is empty: it was idle
}

// run is one worker.
func (w *workers) run(l *lanes, t shift) {
	next := make(chan shift, 1)
	for ok := true; ok; t, ok = <-next {
		l.work(t)
		t = shift{}
		w.mu.Lock()
		if w.stopped || len(w.idle) >= maxIdleWorkers {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, next)
		if !w.looking {
			w.looking, w.least = true, 0
			w.look()
		}
		w.mu.Unlock()
	}
}

// look has those ended that will not have been used until then. The caller holds the lock.
func (w *workers) look() {
	w.timer = time.AfterFunc(idleLook, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.stopped {
			return
		}
		w.end(w.least)
		w.least = len(w.idle)
		if w.looking = len(w.idle) > 0; w.looking {
			w.look()
		}
	})
}

// end ends the n that have been idle for the longest. The caller holds the lock.
func (w *workers) end(n int) {
	for _, c := range w.idle[:n] {
		close(c)
	}
	kept := copy(w.idle, w.idle[n:])
	clear(w.idle[kept:])
	w.idle = w.idle[:kept]
}

// stop ends all that are idle, and those that become it.
func (w *workers) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.end(len(w.idle))
	if w.timer != nil {
		w.timer.Stop()
	}
}

// count is how many there are without work.
func (w *workers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.idle)
}
