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
	brought atomic.Int64 // by streams, since the last tick
	loss    atomic.Int32 // percent
	pass    atomic.Uint32
	worth   atomic.Uint32 // the bound of lots that may be taken

	// The rest belongs to the controller's mutex.
	wants         float64 // per second, smoothed
	asked         float64 // per second, in the last tick, not smoothed
	mean          float64 // the same, smoothed
	share         float64 // what it may have, per second
	rate          float64 // what it has, per second
	credit        float64
	accept        float64 // the share of its work that is taken by lot
	stream        bool    // streams brought most of its work in the last tick: there is no lot, and nothing is refused
	urgent        int     // since the last tick
	had           int     // taken since the last tick
	turned        int     // refused since the last tick although its lot was good
	spent, budget float64 // refusals in a tick, and how many there might be, smoothed
	fit           int     // for how many ticks it has asked for no more than its share
	// passes are the shares of its work that were seen in the last intervals, in no order, and latest how many there were.
	passes [remembered]float32
	latest int
	said   int // refused since the last tick, so that an answer is owed
	newcomers
	at      time.Time
	send    float64 // the share of what it would send that a client which obeys overload control may send
	silence int     // ticks without any work
}

// Verdict is what becomes of a piece of new work.
type Verdict uint8

// The verdicts. Ignore has no answer where none is owed, as over UDP: to answer all would cost what there is to do the rest with. Where an answer is owed it is
// Refuse.
const (
	Take Verdict = iota
	Refuse
	Ignore
)

// Standing says for how long work waits in a queue that is read in order.
type Standing uint8

// The standings: not known; hardly at all, so that there is room for more; as it should; and for too long.
const (
	Unknown Standing = iota
	Short
	Middle
	Long
)

// Piece is what is to be known of a piece of new work.
type Piece struct {
	// Lot is a number that its copies have, too, and that is spread evenly: a copy of what was refused or ignored is not taken in the place of something new, which would
	// be late at once.
	Lot uint32
	// Mark is one that only its copies have, as far as 32 bits can tell; 0: it has no copies, or they are not known. It is not looked at while nothing is refused.
	Mark uint32
}

// Judge counts one piece of new work, and tells what becomes of it. stand is that of the queue from which it was read. It is cheap: two atomic operations while
// nothing is refused.
func (f *Flow) Judge(now time.Time, p Piece, stand Standing) Verdict {
	if f == nil {
		return Take
	}
	return f.c.judge(f, now, p, 0, stand)
}

// Pass is the bound of lots from which on work is ignored, so that whoever can may drop it before it costs anything; the largest number: none is. It
// changes with Controller.Turn.
func (f *Flow) Pass() uint32 {
	if f == nil {
		return all
	}
	return f.pass.Load()
}

// Hopeless tells whether a piece of work is not taken now, nor would be if there were a little more room. It is remembered then that it came.
func (f *Flow) Hopeless(p Piece) bool {
	if f == nil || p.Lot <= f.worth.Load() {
		return false
	}
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.c.marks.note(p.Mark, f.c.ticks)
	return true
}

// passing is the share of work whose lot is under pass.
func (f *Flow) passing() float64 { return max(float64(f.pass.Load())/float64(all), 1e-6) }

// open has all of its work seen, and taken up to its share.
func (f *Flow) open() {
	f.accept, f.clean, f.recovering, f.roomy = 1, 1, false, 0
	f.pass.Store(all)
	f.worth.Store(all)
}

// excess is what it asks for over its share, per second.
func (f *Flow) excess() float64 { return max(0, f.asked-1.02*f.rate) }

// Admit is Judge for work that has no lot, and tells whether it is taken.
func (f *Flow) Admit(now time.Time) bool { return f.Judge(now, Piece{}, Unknown) == Take }

// AdmitUrgent is Admit for what comes before new work: what belongs to something that was taken before. It is refused only to who has asked for so
// much of it that a second would not do for it.
func (f *Flow) AdmitUrgent(now time.Time) bool {
	if f == nil {
		return true
	}
	return f.c.judge(f, now, Piece{}, time.Second, Unknown) == Take
}

// Wait counts one piece of new work that is taken in any case, and tells for how long nothing more should be read of where it came from: for
// streams, which can be held up instead of being answered. At most 250 ms.
func (f *Flow) Wait(now time.Time) time.Duration {
	if f == nil {
		return 0
	}
	f.brought.Add(1)
	return f.c.pace(f, now)
}

// Refused takes back what the last Wait counted as taken: it was refused, because where it came from must not be held up now.
func (f *Flow) Refused() {
	if f == nil {
		return
	}
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.c.taken = max(0, f.c.taken-1)
	f.c.refused++
	f.credit++
	f.c.m.refused.Inc()
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
	since time.Time // when it was found not empty first; zero: it was empty
	late  time.Time // since when all that was read had waited for too long; zero: it had not
	stand Standing
	least atomic.Int64 // for how long what was read had waited at least, in nanoseconds; negative: nothing was read
}

// Read notes a reading: whether it left the queue empty, and if not, for how long the first of what was read had waited; a negative age is not known.
// A nil Queue notes nothing.
func (q *Queue) Read(now time.Time, empty bool, age time.Duration) {
	switch {
	case q == nil:
		return
	case empty:
		q.since, age = time.Time{}, 0
	default:
		if q.since.IsZero() {
			q.since = now
		}
	}
	q.judge(now, age)
	if age < 0 {
		age = min(now.Sub(q.since), 2*target)
	}
	if least := q.least.Load(); least < 0 || int64(age) < least {
		q.least.Store(int64(age))
	}
}

// judge finds its standing. Not one late reading makes it Long, which may be one after a pause of the process, but that none was in time for a while.
func (q *Queue) judge(now time.Time, age time.Duration) {
	limit := time.Duration(q.c.limit.Load())
	switch {
	case age < 0:
		q.stand = Unknown
	case age < soon:
		q.stand = Short
	default:
		q.stand = Middle
	}
	if age <= limit {
		q.late = time.Time{}
	} else if q.late.IsZero() {
		q.late = now
	} else if now.Sub(q.late) > lateFor {
		q.stand = Long
	}
}

// Stand is how the last reading found it.
func (q *Queue) Stand() Standing {
	if q == nil {
		return Unknown
	}
	return q.stand
}

// Standing is for how long the queue has not been empty.
func (q *Queue) Standing(now time.Time) time.Duration {
	if q == nil || q.since.IsZero() {
		return 0
	}
	return now.Sub(q.since)
}

// wait is for how long everything had waited that was read since it was asked last: a standing queue, and not one that comes and goes.
func (q *Queue) wait() time.Duration { return time.Duration(max(0, q.least.Swap(-1))) }
