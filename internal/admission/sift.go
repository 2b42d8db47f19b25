package admission

import (
	"math"
	"slices"
)

// sift has each flow take by lot what its share is of what it asks for, and answer some of the rest: the more the less of the rate is used. Both bounds are
// moved by what came of them and not by what was asked for, which with copies in it says little; and slowly, because behind the bound of what
// is seen there are the copies of all that was dropped there in half a minute.
func (c *Controller) sift(asking []*Flow, taken, busy float64) {
	excess := 0.0
	for _, f := range asking {
		if !f.stream {
			excess += f.excess()
		}
	}
	answered := answers * max(min(taken, c.rate), floor)
	if c.easy > hurry {
		answered = max(answered, cheap*(idle*c.could-taken))
	}
	replies := answered
	if c.recovering {
		c.refuse(busy)
		replies = c.refusals // to those that recover: for the flood of another flow there is no more than ever, or it would have the time that work needs
	}
	c.answerable = int(enough * max(replies, answered) * interval.Seconds())
	if c.drowning++; excess <= replies {
		c.drowning = 0
	}
	c.recover(asking)
	for _, f := range asking {
		if f.fit++; f.excess() > 0 && (busy >= working || f.passing() < seen) {
			f.fit = 0 // where most is dropped unseen, that the processors have little to do says nothing
		}
		had, turned, said := float64(f.had), float64(f.turned), float64(f.said)
		f.had, f.turned, f.said = 0, 0, 0
		pass := f.passing()
		switch allowed := answered * f.excess() / max(excess, 1) * interval.Seconds(); {
		case f.recovering && !f.stream:
			var recovered bool
			if pass, recovered = f.settle(pass); recovered {
				f.open()
				continue
			}
			f.accept = f.clean
		case f.stream || f.wants < few || f.wants < min(f.rate, c.could) && pass >= half && f.worth.Load() != all:
			// It asks for no more than its share, and has not for a while: what comes again of it has room, too. Where most of it is not seen nobody knows that.
			f.open()
			continue
		case f.worth.Load() == all:
			if f.excess() == 0 || c.drowning < patience {
				continue // all that is refused is answered, or it is what came while the process did not run: the queue alone decides
			}
			// In one interval there may come what has stood for long, and hardly anything in the next.
			f.suppose(max(f.mean, 1))
			f.accept = slack * f.rate / f.news
			pass = min(1, max((f.rate+min(1, answered/excess)*f.excess())/f.news, f.far()))
			f.spent, f.budget = allowed, allowed
			for i := range f.passes {
				f.passes[i] = float32(pass)
			}
		default:
			to := f.accept * f.luck(had, turned, busy)
			bound := f.answered()
			f.accept = max(min(to, max(f.accept, bound)), 0.5*f.rate/max(f.asked, f.wants))
			if f.excess() == 0 {
				pass *= 1.4 // there is room for all that is not seen, as far as that can be said
			} else {
				pass *= f.sight(said, allowed, to > bound && pass < 2.5*f.accept, c.easy > hurry && busy < idle)
			}
			if c.backlog {
				pass *= 0.95
			}
			pass = max(pass, f.far())
		}
		f.passes[f.latest%len(f.passes)] = float32(pass)
		f.latest++
		if !f.recovering {
			f.clean = f.since()
		}
		if f.accept = min(f.accept, 1); f.accept == 1 && pass >= 1 && !f.recovering {
			f.open()
			continue
		}
		f.worth.Store(uint32(min(f.accept*slack, 1) * (float64(all) - 1)))
		f.pass.Store(uint32(min(1, max(pass, slack*f.accept, least)) * float64(all)))
	}
	c.turn.Add(1)
}

// sight is by what the share of a flow's work changes that is seen, where so many pieces of it were refused and so many might be, in the last interval; short tells
// that there is room for more than what is seen is good for. It follows slowly, because what is not seen for a moment only has copies afterwards.
func (f *Flow) sight(said, allowed float64, short, spare bool) float64 {
	f.spent += (said - f.spent) * 0.2
	f.budget += (allowed - f.budget) * 0.2
	ratio := min(max(f.budget, 1)/max(f.spent, 1), 2)
	switch {
	case ratio < 1:
		// Whoever is kept waiting by others, or has a part of a processor only, has no room for more refusals for all that.
	case spare:
		return math.Sqrt(ratio) // the sooner all are answered that wait for one, the sooner it is over
	case f.fit > 1:
		return 1.15
	case short:
		ratio = max(ratio, 1.5)
	}
	return math.Pow(max(ratio, 0.2), 0.1)
}

// answered is up to which lot there are hardly any copies about, because what came with those below has been seen for so long that it has come again. Above
// it most of what comes was sent first long ago, also while there is room for it.
func (f *Flow) answered() float64 {
	if clean := f.since(); clean < seen {
		return clean / slack
	}
	return 1
}

// since is up to which lot all has been seen for remembered intervals, or nearly: what was not seen in a tenth of the time makes few copies.
func (f *Flow) since() float64 {
	seldom := f.passes
	slices.Sort(seldom[:])
	return min(float64(seldom[remembered/10]), 1)
}

// luck is by what the share of a flow's work that may be taken changes: of that so many pieces had room in the last interval, and as many had none. Some without
// are wanted, so that no room is left.
func (f *Flow) luck(had, turned, busy float64) float64 {
	switch none := turned / max(had+turned, 1); {
	case none > 0.1:
		return max(0.75, 1-0.5*(none-0.05))
	case none > 0.03:
		return 1
	}
	if busy < working {
		return 1.6 // it was not for want of a processor that anything waited
	}
	unused := 1 - had/max(f.rate*interval.Seconds(), 1)
	return 1.02 + 0.23*min(1, max(0, unused))
}
