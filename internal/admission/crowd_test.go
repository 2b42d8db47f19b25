package admission

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// crowd is several peers that send again what gets no answer, beside streams that are held up: all is done in the order in which it was taken.
type crowd struct {
	c       *Controller
	s       *server
	now     time.Time
	ms      int
	r       *rand.Rand
	peers   []*member
	streams []*Flow
	each    float64 // what each stream would bring a second
	owed    []float64
	until   []time.Time
	queue   []bool // what was taken: true are requests
	work    float64
	done    float64
	brought int // by streams, since play began
	taken   int // of the peers
}

// member is one of the peers.
type member struct {
	f          *Flow
	rate, owed float64
	due        map[int][]again
}

func newCrowd(t *testing.T, capacity float64, peers, streams int) *crowd {
	t.Helper()
	s := &server{capacity: capacity}
	c, err := New(Config{Sensors: s})
	if err != nil {
		t.Fatal(err)
	}
	x := &crowd{c: c, s: s, now: time.Unix(1_800_000_000, 0), r: rand.New(rand.NewPCG(1, 9)), owed: make([]float64, streams), until: make([]time.Time, streams)}
	for i := range peers {
		x.peers = append(x.peers, &member{f: c.Flow(fmt.Sprint("peer ", i)), due: map[int][]again{}})
	}
	for i := range streams {
		x.streams = append(x.streams, c.Flow(fmt.Sprint("stream ", i)))
	}
	return x
}

func (x *crowd) try(p *member, a again) {
	switch a.offer(p.f, x.s, x.now) {
	case Take:
		x.queue = append(x.queue, true)
		x.taken++
	case Refuse:
		x.work += 0.15
	case Ignore:
		a.wait(p.due, x.ms)
	}
}

// play lets time pass, a millisecond at a time.
func (x *crowd) play(d time.Duration) {
	x.brought, x.taken = 0, 0
	for range d.Milliseconds() {
		for _, p := range x.peers {
			for p.owed += p.rate / 1000; p.owed >= 1; p.owed-- {
				x.try(p, again{x.r.Uint32(), 0})
			}
			for _, a := range p.due[x.ms] {
				x.try(p, a)
			}
			delete(p.due, x.ms)
		}
		for i, f := range x.streams {
			// Its sender has not more than a fifth of a second's worth on the way: then it waits itself.
			for x.owed[i] = min(x.owed[i]+x.each/1000, x.each/5+1); x.owed[i] >= 1 && !x.now.Before(x.until[i]); x.owed[i]-- {
				x.until[i] = x.now.Add(f.Wait(x.now))
				x.queue = append(x.queue, false)
				x.brought++
			}
		}
		refusals := min(x.work, x.s.capacity/1000)
		x.work -= refusals
		before := x.done
		for x.done = min(x.done+x.s.capacity/1000-refusals, float64(len(x.queue))); x.done >= 1; x.done-- {
			if x.queue[0] {
				x.peers[0].f.Done()
			}
			x.queue = x.queue[1:]
			before--
		}
		used := (x.done - before + refusals) / (x.s.capacity / 1000)
		x.s.waiting = float64(len(x.queue))
		x.s.others += (1 - min(used, 1) - x.s.others) * 0.02
		x.now, x.ms = x.now.Add(time.Millisecond), x.ms+1
	}
}

// While one flow recovers another may flood: that has no more answers than ever, and what can be done is done.
func TestAFloodBesideOneThatRecovers(t *testing.T) {
	x := newCrowd(t, 2000, 2, 0)
	x.peers[0].rate, x.peers[1].rate = 6000, 6000
	x.play(8 * time.Second)
	x.peers[0].rate = 600
	x.play(10 * time.Second)
	if x.play(10 * time.Second); x.taken < 15_000 {
		t.Errorf("from 10 s after one peer's load has dropped %d are taken in 10 s, of 20,000 that can be done", x.taken)
	}
}

// What streams bring is not told from anything, and is none of what is done; those of a flow that recovers take nothing from it.
func TestStreamsBesideOneThatRecovers(t *testing.T) {
	x := newCrowd(t, 5000, 1, 9)
	x.each, x.peers[0].rate = 400, 6000
	x.play(10 * time.Second)
	if x.peers[0].f.worth.Load() == all {
		t.Fatal("there is no overload")
	}
	x.peers[0].rate = 100
	recovered := false
	for range 20 {
		x.play(500 * time.Millisecond)
		recovered = recovered || x.peers[0].f.recovering
		if x.brought < 1700 {
			t.Errorf("in half a second streams bring %d, of 1800, while %v recovers", x.brought, x.peers[0].f.recovering)
		}
	}
	if !recovered {
		t.Error("the load has dropped, and that is not seen")
	}
}
