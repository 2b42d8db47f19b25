package gateway

import "time"

// ramp bounds how many entries a second a place is given that has just come back, so that what has waited for hours is no storm for a server that has
// just started (THREATS T-OV-08): so many for ten seconds, and from then on twice as many every five, as long as the place takes them. The zero value
// has not begun and bounds nothing: one attempt at a time is what a place has at which nothing has answered yet.
type ramp struct {
	rate           float64   // entries a second
	first          float64   // the least that it is
	turn           time.Time // when it is looked at next
	tokens         float64   // entries that may be tried now
	at             time.Time // as of when
	taken, refused int       // since it was looked at: entries that were tried, and those of them that the place refused for now
}

const (
	rampFirst = 10 * time.Second
	rampNext  = 5 * time.Second
	// rampBurst is what part of a second's entries may come at once, and rampPause how long is waited for more at least: what
	// came at once after a longer one would all others have to wait for on a single processor.
	rampBurst = 50 * time.Millisecond
	rampPause = 5 * time.Millisecond
	// rampMost is where nothing is bounded by it any more.
	rampMost = 1e6
)

// begin begins, if it has not.
func (r *ramp) begin(now time.Time, first float64) {
	if r.rate == 0 {
		*r = ramp{rate: first, first: first, turn: now.Add(rampFirst), at: now}
	}
}

// take takes one entry. If none may be tried yet it says how long to wait.
func (r *ramp) take(now time.Time) (wait time.Duration) {
	if r.rate == 0 {
		return 0
	}
	if !now.Before(r.turn) {
		r.look(now)
	}
	r.tokens = min(r.tokens+r.rate*now.Sub(r.at).Seconds(), max(1, r.rate*rampBurst.Seconds()))
	r.at = now
	if r.tokens < 1 {
		return max(time.Duration((1-r.tokens)/r.rate*float64(time.Second)), rampPause)
	}
	r.tokens--
	r.taken++
	return 0
}

// look changes the rate: twice as much where hardly anything was refused, half as much where most was.
func (r *ramp) look(now time.Time) {
	switch {
	case 2*r.refused > r.taken:
		r.rate = max(r.rate/2, r.first)
	case 10*r.refused <= r.taken:
		r.rate = min(2*r.rate, max(rampMost, r.first))
	}
	r.turn, r.taken, r.refused = now.Add(rampNext), 0, 0
}
