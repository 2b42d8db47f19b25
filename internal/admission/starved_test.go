package admission

import (
	"math/rand/v2"
	"testing"
	"time"
)

// "A false refusal is worse than a slow answer": a process that gets the processor for 40 ms of every 200, as beside noisy neighbours, and does in these all that
// has come, refuses nothing, though nearly all that it reads has waited for long. Work that stands still is what counts, and not one pause.
func TestAStarvedProcessRefusesNobody(t *testing.T) {
	for _, pause := range []time.Duration{160 * time.Millisecond, 60 * time.Millisecond, 900 * time.Millisecond} {
		s := &server{capacity: 1} // what waits does so in the queue
		c, err := New(Config{Sensors: s})
		if err != nil {
			t.Fatal(err)
		}
		q, f := c.Queue(), c.Flow("peer")
		now := time.Unix(1_800_000_000, 0)
		r := rand.New(rand.NewPCG(1, 2))
		var came []time.Time
		refused, taken, stood := 0, 0, map[Standing]int{}
		arrive := func(d time.Duration) {
			for range int(d/time.Millisecond) * 4 { // 4,000 a second
				came = append(came, now.Add(time.Duration(r.Int64N(int64(d)))))
			}
			now = now.Add(d)
		}
		for range 100 {
			arrive(pause)
			for len(came) > 0 { // 25,000 a second, of which more come meanwhile
				n := min(len(came), 64)
				q.Read(now, n < 64, now.Sub(came[0]))
				for range n {
					stood[q.Stand()]++
					if f.Judge(now, piece(r.Uint32()), q.Stand()) == Take {
						taken++
						f.Done()
					} else {
						refused++
					}
				}
				came = came[n:]
				arrive(2 * time.Millisecond)
				if n < 64 {
					came = nil
				}
			}
		}
		if refused > 0 || c.Active() || taken < 10_000 {
			t.Errorf("pauses of %v: %d of %d were refused", pause, refused, refused+taken)
		}
		if stood[Short] == 0 || stood[Middle] == 0 || pause > 500*time.Millisecond && stood[Long] == 0 {
			t.Errorf("pauses of %v: the queue stood as %v", pause, stood)
		}
	}
}

// What waits while others have the processors is late, and no sign that there is more than can be done: a process that has a tenth of them, and does all that
// comes 30 ms late, refuses nothing. And once it is not for want of a processor that anything waited, all is taken again soon.
func TestWhoIsKeptWaitingRefusesNobody(t *testing.T) {
	for name, stand := range map[string]Standing{"unknown": Unknown, "short": Short, "middle": Middle, "long": Long} {
		t.Run(name, func(t *testing.T) { keptWaiting(t, stand) })
	}
}

func keptWaiting(t *testing.T, stand Standing) {
	c, s, now := setup(t)
	s.others = 0.9
	x := &client{flow: c.Flow("x"), rate: 1600, stand: stand}
	s.capacity, s.waiting = 1600, 48
	play(c, s, &now, 10*time.Second, x)
	if x.taken != x.sent || c.Active() {
		t.Errorf("%d of %d taken, active %v", x.taken, x.sent, c.Active())
	}
	// Too much for what others leave of the processor, until they go.
	s.others, x.rate = 0, 8000
	play(c, s, &now, 5*time.Second, x)
	if !c.Active() {
		t.Fatal("there is no overload")
	}
	s.capacity, s.others = 40_000, 0.8
	play(c, s, &now, time.Second, x)
	play(c, s, &now, time.Second, x)
	if x.taken < x.sent*95/100 {
		t.Errorf("from 1 s after the others have gone %d of %d are taken", x.taken, x.sent)
	}
}

// T-OV-02: beside one that offers ten times as much as can be done, one that stays within its share has all of it; and what is refused once is refused when it
// comes again, so that what is taken is taken at once.
func TestT_OV_02_LotsStay(t *testing.T) {
	c, s, now := setup(t)
	loud, quiet := c.Flow("loud"), c.Flow("quiet")
	r := rand.New(rand.NewPCG(3, 4))
	type waiting struct {
		at  time.Time
		lot uint32
	}
	var again []waiting
	first, late, lost := 0, 0, 0
	for i := range 20_000 { // of a millisecond each
		steady := i > 5000
		for range 100 {
			lot := r.Uint32()
			switch loud.Judge(now, piece(lot), Unknown) {
			case Take:
				s.waiting++
				if steady {
					first++
				}
			case Ignore:
				again = append(again, waiting{now.Add(500 * time.Millisecond), lot})
			case Refuse:
			}
		}
		for len(again) > 0 && again[0].at.Before(now) {
			if loud.Judge(now, piece(again[0].lot), Unknown) == Take {
				s.waiting++
				if steady {
					late++
				}
			}
			again = again[1:]
		}
		for range 4 {
			if quiet.Judge(now, piece(r.Uint32()), Unknown) == Take {
				s.waiting++
			} else if steady {
				lost++
			}
		}
		done := min(s.waiting, s.capacity/1000)
		s.waiting -= done
		for range int(done) {
			loud.Done()
		}
		now = now.Add(time.Millisecond)
	}
	if first < 50_000 || late*100 > first {
		t.Errorf("%d were taken at once, and %d when they came again", first, late)
	}
	if lost > 600 { // of 60,000
		t.Errorf("%d of the quiet one were not taken", lost)
	}
}
