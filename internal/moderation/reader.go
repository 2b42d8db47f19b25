package moderation

import (
	"runtime"
	"time"
)

// yields is how often others are let run before a rest: those whom the reader gave work, those who write what these have done, and those who yield
// themselves before they write.
const yields = 3

// relook is how often it looks how many processors the process has: it may be given more.
const relook = time.Second

// Reader is one who reads a socket. It belongs to that goroutine.
type Reader struct {
	pace   pace
	rest   func(time.Duration) // nil: the system has not what it takes
	end    func()
	procs  func() int
	alone  bool // one processor, when it looked last
	looked time.Time
}

// NewReader makes a Reader. Close it.
func NewReader() *Reader {
	r := &Reader{procs: func() int { return runtime.GOMAXPROCS(0) }}
	r.rest, r.end = newRest()
	return r
}

// Close gives up what it holds of the system.
func (r *Reader) Close() {
	if r.end != nil {
		r.end()
	}
	r.rest, r.end = nil, nil
}

// Read notes that n pieces were read now from a socket that has been read empty, and handed on, and rests where that is due. It returns at once at low rates; at
// others Cycle after the last rest, at most, but that others may run first. It tells whether it took such a time that something will have come.
func (r *Reader) Read(now time.Time, n int) (rested bool) {
	if !r.pace.note(now, n) || r.rest == nil {
		return false
	}
	if now.Sub(r.looked) >= relook {
		r.alone, r.looked = r.procs() == 1, now
	}
	if !r.alone {
		return false
	}
	for range yields {
		runtime.Gosched()
	}
	if left := r.pace.left(time.Now(), n); left > 0 {
		r.rest(left)
		r.pace.rested(time.Now())
	}
	return true
}

// ReadMore notes that n pieces were read now, and that more waits, or that there is too much to do: there is no rest.
func (r *Reader) ReadMore(now time.Time, n int) { r.pace.note(now, n) }
