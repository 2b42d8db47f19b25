package gateway

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
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
	turn     time.Time // since when it waits, or when it may be tried; order tells apart those of one moment
	order    uint64
	index    int // among those of its place that wait
}

// destination is one place with its backlogs.
type destination struct {
	place
	waiting  queued // those that are not out
	turns    uint64
	out      []*backlog
	width    int       // how many may be: it grows from 1 while the place takes what comes (T-OV-08)
	ramp     ramp      // and how many entries a second are tried
	failures int       // attempts in a row to which nothing answered
	since    time.Time // when nothing answered, or we could not send it more, first since something answered; zero: neither
	mended   time.Time // when a link that had broken was back last
	next     time.Time
	timer    *time.Timer
	probes   int       // direct messages under way, although nothing has answered
	probed   time.Time // when the last of them began
}

// queued are the backlogs of a place that wait, the one whose turn is next first: a heap, since a place that was away for long may have tens of thousands.
type queued []*backlog

func (q queued) Len() int { return len(q) }

func (q queued) Less(i, j int) bool {
	return cmp.Or(q[i].turn.Compare(q[j].turn), cmp.Compare(q[i].order, q[j].order)) < 0
}

func (q queued) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queued) Push(x any) {
	b := x.(*backlog)
	b.index = len(*q)
	*q = append(*q, b)
}

// Pop implements heap.Interface.
func (q *queued) Pop() any {
	last := len(*q) - 1
	b := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return b
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
	for len(d.waiting) > 0 && len(d.out) < max(1, d.width) {
		b := d.waiting[0]
		if now.Before(b.turn) {
			return take, b.turn
		}
		if wait := d.ramp.take(now); wait > 0 {
			return take, now.Add(wait)
		}
		heap.Pop(&d.waiting)
		b.out = true
		d.out = append(d.out, b)
		take = append(take, b)
	}
	return take, time.Time{} // one that comes back is looked at then
}

// wait puts a backlog among those that wait: its turn is when it may be tried, not before from, behind those that wait already.
func (d *destination) wait(b *backlog, from time.Time) {
	d.turns++
	b.turn, b.order = from, d.turns
	if b.next.After(from) {
		b.turn = b.next
	}
	heap.Push(&d.waiting, b)
}

// turned notes that a backlog which waits may be tried at another time: not before from, and what its next attempt waits for.
func (d *destination) turned(b *backlog, from time.Time) {
	if !b.out {
		heap.Remove(&d.waiting, b.index)
		d.wait(b, from)
	}
}

// back takes a backlog that was out back; it does not wait yet.
func (d *destination) back(b *backlog) {
	b.out = false
	d.out = slices.DeleteFunc(d.out, func(x *backlog) bool { return x == b })
}

// refused has a backlog wait after a refusal that passes and says nothing against the place. How much of ours is on the way there changes from one
// moment to the next: that is not waited for as long as for a server that said no, with a code or, in XMPP, a condition.
func (b *backlog) refused(now time.Time, s adapters.Status) {
	b.failures++
	wait := retryAfter(b.failures)
	if ownCrowd(s) {
		b.at.trouble(now)
		wait = min(wait, time.Duration(float64(pressedFor<<min(b.failures-1, 8))*(0.8+0.4*rand.Float64())))
	}
	b.next = now.Add(wait)
}

// pressedFor is how long is waited, where we have as much on the way to a place as there may be, the first time; then twice as long each time, up to 64 s.
const pressedFor = 250 * time.Millisecond

// answered notes that something answers at the place. first is how many entries a second it is given at the beginning, where it was away for long.
// What has come since a short trouble began goes out as fast as it came, since it comes on like that: at a slower rate there would be more of it every
// second, and the place took as much until then. direct is for how long messages wait before they are stored.
func (d *destination) answered(now time.Time, first int, direct time.Duration) {
	if d.ramp.rate == 0 && !d.since.IsZero() && now.Sub(d.since) <= shortOutage && now.Sub(d.mended) > shortOutage {
		n, oldest := 0, now
		for _, b := range slices.Concat(d.waiting, d.out) {
			for _, e := range b.entries {
				if e.accepted.After(d.since.Add(-direct)) {
					n++
					oldest = earlier(oldest, e.accepted)
				}
			}
		}
		first = max(first, int(float64(n)/max(now.Sub(oldest), time.Second).Seconds()))
	}
	d.failures, d.next, d.since = 0, time.Time{}, time.Time{}
	d.ramp.begin(now, float64(first))
	d.width = min(max(1, d.width)*2, maxWidth)
}

// trouble notes when it began that entries wait for the place.
func (d *destination) trouble(now time.Time) {
	if d.since.IsZero() {
		d.since = now
	}
}

// pressed notes that a stored entry found no room on the way there. Until something is known to have got through, the next one is not tried at once: each
// attempt is written to the disk, and of tens of thousands that wait one after the other would be, to find the same.
func (d *destination) pressed(now time.Time) {
	if d.ramp.rate == 0 && !now.Before(d.next) {
		d.next = now.Add(pressedPause)
	}
}

// pressedPause is for how long.
const pressedPause = 25 * time.Millisecond

// shortOutage is how old the trouble of a place may be that did not start anew: a break of the network, or an overload or pause of this gateway. A place
// whose link came back so lately may have started anew.
const shortOutage = 30 * time.Second

// silent notes that nothing answers at the place. Several attempts at once count as one.
func (d *destination) silent(now time.Time) {
	if now.Before(d.next) {
		return
	}
	d.trouble(now)
	d.failures++
	d.width = 1
	d.ramp = ramp{}
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
