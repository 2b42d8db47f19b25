package moderation

import "time"

const (
	// Cycle is the longest time from one reading to the next while there is moderation, and so by how much a message is delayed at most. Half of it in the
	// middle. 2,000 cycles a second, each of which costs some 15 µs, are 3 percent of a processor.
	Cycle = 500 * time.Microsecond
	// begins and ends are the pieces a second from which on there is moderation, and under which there is no more. At fewer a cycle would bring
	// one piece at a time, which is no batch.
	begins = 4000
	ends   = 2000
	// most is the pieces a second from which on batches come by themselves, since something is always under way: nobody shall sleep then.
	most = 30_000
	// window is the time over which pieces are counted: one that comes alone, or in a burst after a silence, finds no moderation.
	window = 10 * time.Millisecond
	// enough is how many pieces read together are a batch by themselves: where as many come, at a high rate or after a delay, a rest would save little, and where others
	// wait for the same processor it would be theirs meanwhile, and for longer.
	enough = 16
	// shortest is the shortest rest: where more than three fifths of a cycle are work there is none.
	shortest = 200 * time.Microsecond
)

// pace knows how fast work comes, and when the next rest would end. It is for one goroutine. The zero value has seen nothing.
type pace struct {
	since time.Time // of the window
	count int       // pieces in it
	on    bool
	begun time.Time // when the cycle began: the end of the last rest, or the first reading after a time when none was due
}

// note counts n pieces that were read now, and tells whether there is moderation.
func (p *pace) note(now time.Time, n int) bool {
	p.count += n
	if d := now.Sub(p.since); d >= window || d < 0 {
		rate := float64(p.count) / max(d, window).Seconds()
		p.on = rate < most && (rate >= begins || p.on && rate >= ends)
		p.since, p.count = now, 0
	}
	return p.on
}

// left is for how long to rest after n pieces were read: until the cycle is over. 0 if that is less than shortest, or if n is enough; then the next cycle begins now.
func (p *pace) left(now time.Time, n int) time.Duration {
	if left := Cycle - now.Sub(p.begun); n < enough && left >= shortest && left <= Cycle {
		return left
	}
	p.begun = now
	return 0
}

// rested notes when a rest ended.
func (p *pace) rested(now time.Time) { p.begun = now }
