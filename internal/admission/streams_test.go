package admission

import (
	"math/rand/v2"
	"testing"
	"time"
)

// gateway plays what streams bring, of which nobody says when it is done, beside requests, which say so: all is done in the order in which it was taken.
type gateway struct {
	c       *Controller
	s       *server
	now     time.Time
	streams *Flow
	peer    *Flow
	until   [20]time.Time // each stream is not read before
	queued  [20]float64   // and has so many waiting meanwhile
	owed    float64
	lots    *rand.Rand
	queue   []bool // what was taken: true are requests
	done    float64
}

func newGateway(capacity float64) (*gateway, error) {
	g := &gateway{s: &server{capacity: capacity}, now: time.Unix(1_800_000_000, 0), lots: rand.New(rand.NewPCG(8, 9))}
	var err error
	if g.c, err = New(Config{Sensors: g.s}); err != nil {
		return nil, err
	}
	g.streams, g.peer = g.c.Flow("streams"), g.c.Flow("peer")
	return g, nil
}

// play lets time pass with so much offered a second, and returns how much was done of either.
func (g *gateway) play(d time.Duration, stanzas, requests float64) (fromStreams, fromPeer int) {
	for end := g.now.Add(d); g.now.Before(end); g.now = g.now.Add(time.Millisecond) {
		for i := range g.until {
			// Its sender has not more than a tenth of a second's worth on the way: then it waits itself.
			g.queued[i] = min(g.queued[i]+stanzas/1000/float64(len(g.until)), stanzas/10/float64(len(g.until))+1)
			for g.queued[i] >= 1 && !g.now.Before(g.until[i]) {
				g.queued[i]--
				g.until[i] = g.now.Add(g.streams.Wait(g.now))
				g.queue = append(g.queue, false)
			}
		}
		for g.owed += requests / 1000; g.owed >= 1; g.owed-- {
			if g.peer.Judge(g.now, piece(g.lots.Uint32()), Unknown) == Take {
				g.queue = append(g.queue, true)
			}
		}
		for g.done = min(g.done+g.s.capacity/1000, float64(len(g.queue))); g.done >= 1; g.done-- {
			if g.queue[0] {
				g.peer.Done()
				fromPeer++
			} else {
				fromStreams++
			}
			g.queue = g.queue[1:]
		}
		g.s.waiting = float64(len(g.queue))
	}
	return fromStreams, fromPeer
}

// Nobody says when what a stream brought is done, and that is no sign that nothing is done: with streams alone, and with streams beside requests, as much is done
// as can be done, in time, and all is taken again when the load has dropped.
func TestStreamsHaveNoDone(t *testing.T) {
	for name, test := range map[string]struct{ stanzas, requests float64 }{
		"streams alone":         {15_000, 0},
		"a little over":         {6000, 0},
		"half of each":          {7500, 7500},
		"few requests":          {12_000, 1000},
		"few stanzas":           {1000, 12_000},
		"hardly over, together": {3000, 3000},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := newGateway(5000)
			if err != nil {
				t.Fatal(err)
			}
			g.play(10*time.Second, test.stanzas, test.requests)
			late, stanzas, requests := time.Duration(0), 0, 0
			for range 50 {
				s, r := g.play(100*time.Millisecond, test.stanzas, test.requests)
				late, stanzas, requests = max(late, g.s.Delay()), stanzas+s, requests+r
			}
			if done := stanzas + requests; done < 21_250 || late > 200*time.Millisecond {
				t.Errorf("%d stanzas and %d requests were done in 5 s, of 25,000 that can be; all waited up to %v", stanzas, requests, late)
			}
			if least := min(int(test.stanzas), 2500) * 4; stanzas < least {
				t.Errorf("%d stanzas were done in 5 s, should be %d at least", stanzas, least)
			}
			if least := min(int(test.requests), 2500) * 4; requests < least {
				t.Errorf("%d requests were done in 5 s, should be %d at least", requests, least)
			}
			g.play(10*time.Second, test.stanzas/10, test.requests/10)
			if g.c.Active() {
				t.Error("the load has dropped, and there is overload still")
			}
		})
	}
}
