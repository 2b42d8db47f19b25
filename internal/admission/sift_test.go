package admission

import (
	"math/rand/v2"
	"testing"
	"time"
)

// piece is one whose mark is its lot.
func piece(lot uint32) Piece { return Piece{Lot: lot, Mark: lot} }

// How a queue stands: one late reading is that of a process that had a pause; that none was in time for a while is too much work.
func TestStand(t *testing.T) {
	c, _, now := setup(t)
	q := c.Queue()
	at := func(d time.Duration) time.Time { return now.Add(d) }
	for _, step := range []struct {
		name  string
		at    time.Duration
		empty bool
		age   time.Duration
		want  Standing
	}{
		{"empty", 0, true, time.Second, Short},
		{"not known", time.Millisecond, false, -1, Unknown},
		{"hardly waited", 2 * time.Millisecond, false, time.Millisecond, Short},
		{"as it should", 3 * time.Millisecond, false, 10 * time.Millisecond, Middle},
		{"after a pause", 100 * time.Millisecond, false, 90 * time.Millisecond, Middle},
		{"still", 110 * time.Millisecond, false, 60 * time.Millisecond, Middle},
		{"in time again", 115 * time.Millisecond, false, 14 * time.Millisecond, Middle},
		{"late", 116 * time.Millisecond, false, 20 * time.Millisecond, Middle},
		{"late for long", 137 * time.Millisecond, false, 20 * time.Millisecond, Long},
		{"and longer", 150 * time.Millisecond, false, 16 * time.Millisecond, Long},
		{"over", 151 * time.Millisecond, false, 2 * time.Millisecond, Short},
	} {
		q.Read(at(step.at), step.empty, step.age)
		if got := q.Stand(); got != step.want {
			t.Errorf("%s: %v, not %v", step.name, got, step.want)
		}
	}
	if (*Queue)(nil).Stand() != Unknown {
		t.Error("no queue stands in some way")
	}
}

// T-OV-02: where everything waits for too long those wait longer who ask for more than their share, and not the others; where nothing waits all the work that is
// good by lot is taken, whatever the rate says.
func TestT_OV_02_TheQueueDecides(t *testing.T) {
	c, s, now := setup(t)
	loud, quiet := &client{flow: c.Flow("loud"), rate: 50_000}, &client{flow: c.Flow("quiet"), rate: 1000}
	play(c, s, &now, 5*time.Second, loud, quiet)
	if !c.Active() {
		t.Fatal("there is no overload")
	}
	now = now.Add(50 * time.Millisecond) // so that both have something left of their rates
	if loud.flow.Judge(now, piece(0), Long) == Take || loud.flow.Judge(now, piece(0), Middle) != Take {
		t.Error("the loud one is taken whether everything is late or not")
	}
	for range 10 {
		if quiet.flow.Judge(now, piece(0), Long) != Take {
			t.Fatal("the quiet one pays for the loud one")
		}
	}
	for range 5000 { // half a second's worth
		if loud.flow.Judge(now, piece(0), Short) != Take {
			t.Fatal("there is room, and it is not used")
		}
	}
	if loud.flow.Judge(now, piece(all-1), Short) == Take {
		t.Error("work is taken that has no luck")
	}
}

// T-OV-02: "p99 of accepted <= 500 ms (= T1, so no retransmission storm)": a copy of what was dropped is not taken for something new when the load pauses, or
// swings; and what can be done is done for all that, or most of it where it swings.
func TestT_OV_02_CopiesAreNotTaken(t *testing.T) {
	for name, test := range map[string]struct {
		load  func(ms int) float64
		least int // of 12,000 that can be done in 6 s
	}{
		"steady":   {func(int) float64 { return 40 }, 11_400},
		"pauses":   {func(ms int) float64 { return []float64{40, 0}[ms/200%5/4] }, 9000},
		"swinging": {func(ms int) float64 { return []float64{12, 40, 24}[ms/500%3] }, 8000},
	} {
		t.Run(name, func(t *testing.T) {
			c, s, now := setup(t)
			s.capacity = 2000
			f, r := c.Flow("peer"), rand.New(rand.NewPCG(7, 8))
			type sent struct {
				lot   uint32
				tries int
			}
			due := map[int][]sent{}
			first, late := 0, 0
			stand := func() Standing {
				switch d := s.Delay(); {
				case d < soon:
					return Short
				case d < 30*time.Millisecond:
					return Middle
				}
				return Long
			}
			for ms := range 12_000 {
				try := func(x sent) {
					// What the kernel drops is not judged, nor what the socket has no room for.
					v := Ignore
					if (x.lot < f.Pass() || f.Pass() == all) && s.Delay() < 80*time.Millisecond {
						v = f.Judge(now, piece(x.lot), stand())
					}
					switch {
					case v == Take:
						s.waiting++
						if ms >= 6000 {
							if first++; x.tries > 0 {
								late++
							}
						}
					case v == Ignore && x.tries < 10: // RFC 3261 §17.1.2.2: after T1, twice that and so on up to T2
						again := ms + min(500<<x.tries, 4000)
						due[again] = append(due[again], sent{x.lot, x.tries + 1})
					}
				}
				for range int(test.load(ms)) {
					try(sent{r.Uint32(), 0})
				}
				for _, x := range due[ms] {
					try(x)
				}
				delete(due, ms)
				done := min(s.waiting, s.capacity/1000)
				s.waiting -= done
				for range int(done) {
					f.Done()
				}
				now = now.Add(time.Millisecond)
			}
			if late*100 > first || first < test.least {
				t.Errorf("%d were taken in 6 s, and %d of them when they came again", first, late)
			}
		})
	}
}

// swamped offers new work of one client that sends again what gets no answer (RFC 3261 §17.1.2.2), and counts what becomes of it.
type swamped struct {
	c     *Controller
	s     *server
	f     *Flow
	r     *rand.Rand
	now   time.Time
	ms    int
	due   map[int][]again
	work  float64 // that refusals have made, and is not done yet, in pieces
	done  float64 // and nobody was told of it
	taken int     // of what was sent first since begin
	sent  int
	late  int
}

type again struct {
	lot   uint32
	tries int
}

// offer has a piece judged, unless the kernel drops it, or the socket has no room for it.
func (a again) offer(f *Flow, s *server, now time.Time) Verdict {
	stand := Long
	switch d := s.Delay(); {
	case d < soon:
		stand = Short
	case d < 30*time.Millisecond:
		stand = Middle
	}
	if a.lot >= f.Pass() && f.Pass() != all || s.Delay() >= 80*time.Millisecond {
		return Ignore
	}
	return f.Judge(now, piece(a.lot), stand)
}

// wait has a piece without an answer come again: after T1, twice that and so on up to T2 (RFC 3261 §17.1.2.2).
func (a again) wait(due map[int][]again, ms int) {
	if a.tries < 10 {
		at := ms + min(500<<a.tries, 4000)
		due[at] = append(due[at], again{a.lot, a.tries + 1})
	}
}

// play lets a load be on for d, a millisecond at a time.
func (x *swamped) play(perMillisecond float64, d time.Duration) {
	x.taken, x.sent, x.late = 0, 0, 0
	owed := 0.0
	for range d.Milliseconds() {
		for owed += perMillisecond; owed >= 1; owed-- {
			x.try(again{x.r.Uint32(), 0})
		}
		for _, a := range x.due[x.ms] {
			x.try(a)
		}
		delete(x.due, x.ms)
		refusals := min(x.work, x.s.capacity/1000)
		done := min(x.s.waiting, x.s.capacity/1000-refusals)
		x.s.waiting -= done
		x.work -= refusals
		x.done += done
		x.s.others += (1 - (done+refusals)/(x.s.capacity/1000) - x.s.others) * 0.02
		for ; x.done >= 1; x.done-- {
			x.f.Done()
		}
		x.now, x.ms = x.now.Add(time.Millisecond), x.ms+1
	}
}

func (x *swamped) try(a again) {
	if a.tries == 0 {
		x.sent++
	}
	switch a.offer(x.f, x.s, x.now) {
	case Take:
		x.s.waiting++
		if a.tries == 0 {
			x.taken++
		} else {
			x.late++
		}
	case Refuse:
		x.work += 0.15
	case Ignore:
		a.wait(x.due, x.ms)
	}
}

// A process that did not run for a moment, at a load that it can bear, has much to do at once, and no reason to tell anybody's work apart for seconds.
func TestPauseIsNoFlood(t *testing.T) {
	c, s, now := setup(t)
	s.capacity = 2000
	x := &swamped{c: c, s: s, f: c.Flow("peer"), r: rand.New(rand.NewPCG(11, 12)), now: now, due: map[int][]again{}}
	x.play(1.7, 2*time.Second)
	s.capacity = 1
	x.play(1.7, 200*time.Millisecond)
	s.capacity = 2000
	x.play(1.7, time.Second)
	if x.f.worth.Load() != all {
		t.Error("its work is told apart by lots")
	}
	x.play(1.7, 3*time.Second)
	if x.taken != x.sent {
		t.Errorf("from 1 s after a pause %d of %d are taken", x.taken, x.sent)
	}
}
