package admission

import (
	"math/rand/v2"
	"testing"
	"time"
)

// T-OV-02: "back to nominal p99 <= 10 s after load drops": all that was dropped comes again for 32 s unless somebody answers it, and what is new has to be told
// from it. While the load goes on nothing is taken for its end.
func TestT_OV_02_TheLoadDrops(t *testing.T) {
	for _, factor := range []float64{2, 3, 5} {
		c, s, now := setup(t)
		s.capacity = 2000
		x := &swamped{c: c, s: s, f: c.Flow("peer"), r: rand.New(rand.NewPCG(13, 14)), now: now, due: map[int][]again{}}
		x.play(1.8, 2*time.Second)
		for range 80 {
			if x.play(factor*2, 100*time.Millisecond); c.recovering {
				t.Fatalf("%.0f times the capacity: it is taken to have dropped", factor)
			}
		}
		if !c.Active() {
			t.Fatalf("%.0f times the capacity: there is no overload", factor)
		}
		const step = 500 * time.Millisecond
		took := time.Duration(0)
		for ; took < time.Minute; took += step {
			x.play(1, step)
			if x.taken == x.sent && s.Delay() < 50*time.Millisecond {
				break
			}
		}
		t.Logf("%.0f times the capacity: normal again after %v", factor, took)
		if took > 10*time.Second {
			t.Errorf("%.0f times the capacity: normal again after %v", factor, took)
		}
		x.play(1, 40*time.Second)
		if x.taken < x.sent*99/100 {
			t.Errorf("%.0f times the capacity: after that %d of %d are taken", factor, x.taken, x.sent)
		}
		if c.Active() {
			t.Errorf("%.0f times the capacity: it is overloaded 40 s later", factor)
		}
	}
}

// What is known of the clean lots is right for all: a load is told from its copies.
func TestNewcomersAreCounted(t *testing.T) {
	c, s, now := setup(t)
	s.capacity = 2000
	x := &swamped{c: c, s: s, f: c.Flow("peer"), r: rand.New(rand.NewPCG(15, 16)), now: now, due: map[int][]again{}}
	for _, perSecond := range []float64{10_000, 6000, 14_000, 800} {
		x.play(perSecond/1000, 5*time.Second)
		if x.f.news < 0.8*perSecond || x.f.news > 1.2*perSecond {
			t.Errorf("of %.0f new ones a second %.0f are seen", perSecond, x.f.news)
		}
	}
}

// Over connections nothing comes again, and nobody has to be told from anything: when the load has dropped all is taken soon.
func TestTheLoadOfConnectionsDrops(t *testing.T) {
	c, s, now := setup(t)
	s.capacity = 2000
	f, r := c.Flow("peer"), rand.New(rand.NewPCG(17, 18))
	second := func(perMillisecond int) (taken int) {
		for range 1000 {
			for range perMillisecond {
				if f.Judge(now, Piece{Lot: r.Uint32()}, Unknown) == Take {
					s.waiting++
					taken++
				}
			}
			for done := min(s.waiting, 2); done >= 1; done-- {
				s.waiting--
				f.Done()
			}
			now = now.Add(time.Millisecond)
		}
		return taken
	}
	for range 6 {
		second(8)
	}
	if !c.Active() || f.worth.Load() == all {
		t.Fatal("there is no overload")
	}
	second(1)
	second(1)
	if taken := second(1); taken != 1000 {
		t.Errorf("from 2 s after the load has dropped %d of 1000 are taken", taken)
	}
}

// What a flow sends is as much as before when less of it is seen all at once.
func TestNewcomersAreCountedWhenLessIsSeen(t *testing.T) {
	c, _, _ := setup(t)
	f := c.Flow("peer")
	f.clean = 0.8
	f.pass.Store(all / 10 * 4)
	for lot := range uint32(1000) {
		if p := piece(lot * (all / 1000)); p.Lot < f.pass.Load() {
			f.meet(p, false)
		}
	}
	f.suppose(10_000)
	f.learn(interval, f.passing())
	if f.news < 9900 || f.news > 10_100 {
		t.Errorf("of 10,000 new ones a second %.0f are seen", f.news)
	}
}

// The lots that have not been seen for long are taken to be clean when no more comes of them for the first time than there is new: of those that were seen in the
// last tick, and not of those that will be in the next.
func TestStrangersAreNotClean(t *testing.T) {
	for strangers, clean := range map[float64]float64{400: 1, 600: 0.4} {
		c, _, _ := setup(t)
		f := c.Flow("peer")
		f.pass.Store(all / 10 * 8)
		f.recovering, f.clean, f.news, f.whole, f.strangers = true, 0.4, 1000, returned+1, strangers
		if f.settle(f.passing()); f.clean != clean {
			t.Errorf("of 1000 new ones a second 400 have other lots, and %.0f come: clean up to %.1f", strangers, f.clean)
		}
	}
}

// What came before is not new, however much of it comes and whatever its lots are, and does not keep its flow from being seen to have dropped its load. It is
// answered then and not taken, as what is new is.
func TestCopiesAreNotNew(t *testing.T) {
	c, s, now := setup(t)
	s.capacity = 2000
	r := rand.New(rand.NewPCG(19, 20))
	x := &swamped{c: c, s: s, f: c.Flow("peer"), r: r, now: now, due: map[int][]again{}}
	x.play(8, 5*time.Second)
	x.due = map[int][]again{} // from now on what comes is only this
	sent := make([]uint32, 5000)
	for i := range sent {
		sent[i] = r.Uint32()
	}
	copies := func(seconds int) {
		for i := range 1000 * seconds {
			for k := range 5 {
				x.try(again{sent[(5*i+k)%len(sent)], 10})
			}
			x.play(0, time.Millisecond)
		}
	}
	copies(2)
	recovering := false
	for range 5 {
		copies(1)
		if x.f.news > few {
			t.Errorf("only copies come, and %.0f of them a second are new", x.f.news)
		}
		recovering = recovering || x.f.recovering
	}
	if !recovering {
		t.Fatal("nothing new comes, and the load has not dropped")
	}
	for range 30 {
		if x.f.recovering {
			break
		}
		copies(1)
	}
	x.f.credit = 10
	first := piece(uint32(x.f.clean * 0.5 * all))
	if v := x.f.Judge(x.now, first, Short); v != Take {
		t.Errorf("something new while its flow recovers: %v", v)
	}
	if v := x.f.Judge(x.now, first, Short); v == Take {
		t.Error("its copy is taken as well")
	}
}

// What is not judged because it waited for too long is remembered all the same: when it comes again it is a copy.
func TestTheHopelessIsRemembered(t *testing.T) {
	c, s, now := setup(t)
	x := &client{flow: c.Flow("x"), rate: 50_000}
	play(c, s, &now, 5*time.Second, x)
	p := Piece{Lot: all - 1, Mark: 12_345}
	if !x.flow.Hopeless(p) || !c.marks.note(p.Mark, c.ticks) {
		t.Error("it is not hopeless, or not known when it comes again")
	}
	if x.flow.Hopeless(Piece{Lot: 0, Mark: 54_321}) || c.marks.note(54_321, c.ticks) {
		t.Error("what may be taken is hopeless, or known before it comes")
	}
}

// T-OV-02: "p99 of accepted <= 500 ms": what was dropped and comes again does not take the place of something new, as long as there is too much; where there is room
// it is taken.
func TestCopiesMakeRoom(t *testing.T) {
	c, s, now := setup(t)
	loud := &client{flow: c.Flow("loud"), rate: 50_000}
	play(c, s, &now, 5*time.Second, loud)
	if !c.Active() || loud.flow.excess() == 0 {
		t.Fatal("there is no overload")
	}
	if loud.flow.Judge(now, Piece{Lot: 1, Mark: 77}, Long) == Take {
		t.Fatal("it is taken although everything is late")
	}
	now = now.Add(50 * time.Millisecond) // so that it has something left of its rate
	if loud.flow.Judge(now, Piece{Lot: 1, Mark: 77}, Middle) == Take {
		t.Error("a copy is taken in the place of something new")
	}
	if loud.flow.Judge(now, Piece{Lot: 1, Mark: 78}, Middle) != Take {
		t.Error("something new is not taken")
	}
	if loud.flow.Judge(now, Piece{Lot: 1, Mark: 77}, Short) != Take {
		t.Error("a copy is not taken although there is room")
	}
}
