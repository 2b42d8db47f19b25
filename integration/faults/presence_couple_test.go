package faults

import (
	"testing"
	"testing/synctest"
	"time"
)

// P5: what a watcher was told is told again only to an answer, or once by who has taken the dialog up.
func TestP5_NothingIsToldTwice(t *testing.T) {
	const a, b, empty = "active<a>", "active<b>", "active"
	for name, c := range map[string]struct {
		said  []string // "moved" before one: from another gateway
		wrong bool
	}{
		"news":                             {said: []string{a, b, a}},
		"again":                            {said: []string{a, a}, wrong: true},
		"again, with nothing between":      {said: []string{a, empty, a}, wrong: true},
		"nothing again":                    {said: []string{empty, empty}, wrong: true},
		"taken up":                         {said: []string{a, "moved", a}},
		"taken up, told later":             {said: []string{a, "moved", empty, a}},
		"taken up, told twice":             {said: []string{a, "moved", a, a}, wrong: true},
		"taken up, told later and twice":   {said: []string{a, "moved", empty, a, empty, a}, wrong: true},
		"taken up, nothing twice":          {said: []string{a, "moved", empty, empty}, wrong: true},
		"taken up twice":                   {said: []string{a, "moved", a, "moved", a}},
		"active again after the approval":  {said: []string{a, "pending", a}},
		"news after a move, then the same": {said: []string{a, "moved", b, b}, wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newCouple(0, &lag{})
				p.unique = true
				w := &watchOf{askedAt: time.Now()}
				p.spokeAt = time.Now()
				time.Sleep(2 * settleTime)
				moved := false
				for _, what := range c.said {
					if what == "moved" {
						moved = true
						continue
					}
					p.repeated(w, what, moved)
					moved = false
				}
				if got := len(p.bad) > 0; got != c.wrong {
					t.Errorf("violations: %q", p.bad)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := newCouple(0, &lag{})
		p.unique = true
		w := &watchOf{askedAt: time.Now()}
		p.repeated(w, a, false)
		p.repeated(w, a, false) // the answer
		if len(p.bad) > 0 {
			t.Errorf("%q", p.bad)
		}
	})
}

// Only near a fault is more time given to what was wished.
func TestP2_IsJudgedLaterOnlyNearAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newCouple(0, &lag{})
		since := time.Now()
		time.Sleep(settleTime + time.Second)
		if !p.settled(since) {
			t.Error("without a fault")
		}
		p.faults = append(p.faults, time.Now())
		if p.settled(since) {
			t.Error("with a fault a moment later")
		}
		time.Sleep(takeoverBound)
		if !p.settled(since) {
			t.Error("with a fault long ago")
		}
		since = time.Now()
		time.Sleep(settleTime + time.Second)
		if !p.settled(since) {
			t.Error("after the fault is over")
		}
	})
}

// A SUBSCRIBE that is sent again until it is answered is a request of his, also when he wishes otherwise by then: P2 is judged when it is over.
func TestP2_ASubscribeUnderWayAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newCouple(0, &lag{})
		p.wantsAt, p.asking = time.Now(), true
		time.Sleep(2 * settleTime)
		if p.abstains() {
			t.Error("while it is under way")
		}
		p.asking = false
		if !p.abstains() {
			t.Error("when nothing is under way")
		}
		p.wantsAt = time.Now()
		if p.abstains() {
			t.Error("a moment after it was over")
		}
	})
}
