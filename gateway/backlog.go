package gateway

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// What is in the journal, as far as it is kept in memory: which entries wait behind which, and when a place is tried again. It knows no
// disk and no adapter. All of it is guarded by journal.mu.

// entry is one entry of the journal; its octets are on disk.
type entry struct {
	id                store.ID
	kind              store.Kind
	accepted, expires time.Time
	progress          store.Progress
	// settles is the key of the outcome that a notice tells; "" for none.
	settles string
	held    held
	// suspect tells that the process died while it was tried, perhaps of it: it is tried while nothing else of the journal is.
	suspect bool
	// unwritten tells that it is a dead letter in memory alone: the sweep writes since when.
	unwritten bool
	// noted tells that an outcome which was stored as it came is noted in the table of origins: that table knows no more whether it was told.
	noted bool
	// part is where it is in the journal, epoch since when that part is this node's, with several gateways.
	part  int
	epoch uint64
}

// place is where entries go: what fails for one of them because nothing answers there fails for all.
type place struct {
	side   int
	domain string
}

// backlog is what waits in one lane, in order: a new message of the lane goes behind it. It exists while it has entries.
type backlog struct {
	key      laneKey
	at       *destination
	entries  []*entry
	soonest  time.Time // before it none of them expires, and no sender is to be told of a delay; zero: look
	out      bool      // its lane has a task for it
	failures int       // refusals that pass, one after the other
	next     time.Time // not to be tried before
}

// destination is one place with its backlogs.
type destination struct {
	place
	waiting  []*backlog // those that are not out
	out      int        // how many are
	width    int        // how many may be: it grows from 1 while the place takes what comes (T-OV-08)
	failures int        // attempts in a row to which nothing answered
	next     time.Time
	timer    *time.Timer
}

// maxWidth bounds how many backlogs of one place are worked on at once.
const maxWidth = 32

// retryAfter is how long to wait after so many failures in a row: longer each time, and each time a little different, so that what failed
// together does not come back together.
func retryAfter(failures int) time.Duration {
	steps := [...]time.Duration{5 * time.Second, 15 * time.Second, 45 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute}
	d := steps[min(max(failures, 1), len(steps))-1]
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// lookEvery is after how long a backlog is looked through at the latest: what is late may be set anew while the gateway runs.
const lookEvery = 5 * time.Minute

// longestPause is the longest that retryAfter says.
const longestPause = 36 * time.Minute

// earlier is the first of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// due takes the backlogs that may be tried now, and says when to look again; zero: when something changes.
func (d *destination) due(now time.Time) (take []*backlog, again time.Time) {
	if now.Before(d.next) {
		return nil, d.next
	}
	d.waiting = slices.DeleteFunc(d.waiting, func(b *backlog) bool {
		if d.out >= max(1, d.width) {
			return false
		}
		if now.Before(b.next) {
			if again.IsZero() || b.next.Before(again) {
				again = b.next
			}
			return false
		}
		b.out = true
		d.out++
		take = append(take, b)
		return true
	})
	return take, again
}

// back returns a backlog that was out.
func (d *destination) back(b *backlog) {
	if b.out {
		b.out = false
		d.out--
	}
	// Also without entries: it is in the table of backlogs until it is forgotten, and another entry may come first.
	d.waiting = append(d.waiting, b)
}

// answered notes that something answers at the place.
func (d *destination) answered() {
	d.failures, d.next = 0, time.Time{}
	d.width = min(max(1, d.width)*2, maxWidth)
}

// silent notes that nothing answers at the place. Several attempts at once count as one.
func (d *destination) silent(now time.Time) {
	if now.Before(d.next) {
		return
	}
	d.failures++
	d.width = 1
	d.next = now.Add(retryAfter(d.failures))
}

// overdue takes the entries whose life has ended out of the backlog, and tells those whose senders are to be told that it takes long: of
// messages that came delayedAfter ago. It looks only when there may be some: a backlog may be long, and this is asked before each attempt.
func (b *backlog) overdue(now time.Time, delayedAfter time.Duration) (ended, late []*entry) {
	if now.Before(b.soonest) {
		return nil, nil
	}
	b.soonest = now.Add(lookEvery)
	b.entries = slices.DeleteFunc(b.entries, func(e *entry) bool {
		if !now.Before(e.expires) {
			ended = append(ended, e)
			return true
		}
		b.soonest = earlier(b.soonest, e.expires)
		if told := e.accepted.Add(delayedAfter); e.kind == store.KindMessage && !e.progress.Delayed {
			if !now.Before(told) {
				late = append(late, e)
			} else {
				b.soonest = earlier(b.soonest, told)
			}
		}
		return false
	})
	return ended, late
}

// add puts an entry behind the others.
func (b *backlog) add(e *entry, delayedAfter time.Duration) {
	b.entries = append(b.entries, e)
	b.soonest = earlier(b.soonest, e.expires)
	if e.kind == store.KindMessage && !e.progress.Delayed {
		b.soonest = earlier(b.soonest, e.accepted.Add(delayedAfter))
	}
}

// drop takes an entry out.
func (b *backlog) drop(e *entry) {
	if len(b.entries) > 0 && b.entries[0] == e { // as a rule, and a backlog may be long
		b.entries = b.entries[1:]
		return
	}
	b.entries = slices.DeleteFunc(b.entries, func(x *entry) bool { return x == e })
}
