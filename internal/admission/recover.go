package admission

import "time"

const (
	// room is the share of what could be done up to which new work has room for all of it.
	room = 0.8
	// settled is for how many intervals there must be room until it is believed.
	settled = 3
	// returned is after how many intervals all that was sent before has come again, where that is soon: T2 (RFC 3261 §17.1.2.2).
	returned = 40
	// mostly is the share that is nearly all: what is not seen of it for a moment makes few copies.
	mostly = 0.8
	// lull is for how many intervals there must have been room for whatever comes of a flow that recovers, until it has: copies come in waves.
	lull = 20
	// further is how many times as much is seen at least of a flow as could be done of it, so that there is more that is good by lot when more can be done.
	further = 1.6
)

// newcomers is what is known of how much of a flow's work is new, and not a copy of what was sent before. It belongs to the controller's mutex.
type newcomers struct {
	// Of the lots up to clean, a share of all, everything has been seen for so long that what is not known there was never sent before. Of the others it may be a copy of
	// what was not seen.
	clean          float64
	fresh, strange int     // how much came since the last tick that is not known, of the clean lots and of the others
	news           float64 // how much of all of its work is new, per second, smoothed
	crest          float64 // the most of that, some seconds ago worth less
	strangers      float64 // strange, per second, in the last tick

	recovering bool    // its load has dropped: see recover
	roomy      int     // for how many ticks there was room for all that is new
	whole      int     // for how many ticks nearly all of its work was seen since then
	easy       int     // for how many ticks there was room for whatever came since then
	seldom     int     // for how many ticks there was room for what may be new or not
	fill       float64 // how much may be taken in this tick although it may be a copy
}

// meet counts a piece of work that was seen, by whether its mark is known.
func (n *newcomers) meet(p Piece, known bool) {
	switch {
	case known:
	case float64(p.Lot) <= n.clean*float64(all):
		n.fresh++
	default:
		n.strange++
	}
}

// learn is called once in a tick, in which so much of the work was seen: when that has just become less not all of the clean lots came.
func (n *newcomers) learn(elapsed time.Duration, pass float64) {
	n.news += (float64(n.fresh)/max(min(n.clean, pass), least)/elapsed.Seconds() - n.news) * 0.5
	n.crest = max(n.news, n.crest*fading)
	n.strangers = float64(n.strange) / elapsed.Seconds()
	n.fresh, n.strange = 0, 0
}

// suppose sets how much is new where it is not known yet.
func (n *newcomers) suppose(perSecond float64) { n.news, n.crest = perSecond, perSecond }

// sifted tells whether the lot decides about its work.
func (f *Flow) sifted() bool { return !f.stream && (f.recovering || f.worth.Load() != all) }

// past tells whether there is no place for a copy of what came before: something new would have to wait for it, which it can be told from, and it is late already.
func (f *Flow) past(stand Standing) bool { return f.recovering || stand != Short && f.excess() > 0 }

// recover finds the flows whose load has dropped. What was dropped of them comes again for half a minute, unless it has an answer, and cannot be told from what is
// new by itself, so that either would be refused in the place of the other. But of the clean lots it is known what is new; and how much that is tells a load that
// has dropped from one that goes on, which neither how much comes does nor how much the processors have to do. Of a flow that recovers all is seen as soon as
// possible, and known copies have as many answers as there is time for. What is new is taken: of the clean lots first, and of all after T2, when they are clean.
func (c *Controller) recover(asking []*Flow) {
	sum := 0.0
	for _, f := range asking {
		if f.sifted() {
			sum += f.news
		} else {
			sum += f.wants
		}
	}
	capable := c.capable()
	before := c.recovering
	c.recovering = false
	for _, f := range asking {
		if !f.sifted() {
			continue
		}
		switch {
		case f.recovering:
			// Too much comes again, or it is not for its copies that everything is late.
			if f.roomy--; f.news <= capable && c.late <= remembered/2 {
				f.roomy = settled
			}
			f.recovering = f.roomy > 0
		case sum > room*capable && f.news > f.fitting():
			f.roomy = 0
		default:
			if f.roomy++; f.roomy >= settled {
				f.recovering, f.easy, f.whole, f.seldom = true, 0, 0, 0
			}
		}
		c.recovering = c.recovering || f.recovering
	}
	if c.recovering && !before {
		c.refusals = answers * max(c.service, floor)
	}
}

// refuse moves how many are answered a second while flows recover: as many as there is time for, which the delay tells.
func (c *Controller) refuse(busy float64) {
	switch {
	case c.late > 0:
		c.refusals *= 0.9
	case busy < 0.95:
		c.refusals *= 1.3
	default:
		c.refusals *= 1.05
	}
	c.refusals = min(max(c.refusals, floor), cheap*max(c.could, floor))
}

// settle has a flow that recovers see more, of which it saw the share pass in the last tick, and take what it may. It returns how much is seen, and whether it has
// recovered: for some time there has been room for whatever comes, copies and all.
func (f *Flow) settle(pass float64) (next float64, recovered bool) {
	seen := pass
	if f.easy++; seen < 1 || f.asked > f.fitting() {
		f.easy = 0
	}
	switch {
	case f.c.late == 0:
		pass *= 1.4
	case f.whole <= returned:
		pass *= 0.9 // to answer what is seen is worth more than to see all
	}
	if pass >= mostly {
		f.whole++
	}
	// Once no more comes for the first time of the other lots than of the clean ones, they are clean as well. Whatever it is, after 64*T1 there are no copies any more.
	if f.whole > lately || f.whole > returned && f.strangers < 1.2*(seen-f.clean)*f.news+few {
		f.clean = 1
	}
	f.fill = 0
	left := f.fitting() - f.clean*f.news
	if f.seldom++; f.strangers > left {
		f.seldom = 0
	}
	if f.seldom > settled {
		f.fill = left * interval.Seconds()
	}
	return pass, f.easy >= lull
}

// capable is what could be done, per second: of what streams bring nobody says when it is done, but it has its part of the rate as well.
func (c *Controller) capable() float64 { return c.could + c.streams }

// due is a flow's share of what could be done, per second. The rate is more or less than that for a while.
func (f *Flow) due() float64 { return f.c.capable() * f.share / max(f.c.rate, f.share, 1) }

// fitting is how much of its new work there is room for, per second.
func (f *Flow) fitting() float64 { return room * f.due() }

// far is the share of its work that is seen at least.
func (f *Flow) far() float64 { return min(1, further*f.due()/max(f.crest, 1)) }
