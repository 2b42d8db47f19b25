package gateway

import (
	"slices"
	"sync"
	"time"
)

// pacer lets so many requests a second through, in their order, and those that come faster wait. Who waits costs a pointer and no
// goroutine. It is for storms: after a restart, or when the users of a server all come back, every watch wants to be opened at once.
// How many wait is bounded by how many watches there are: a pair waits for one turn, which its newest request takes, and gives it back when
// nobody watches any more.
type pacer struct {
	// pass tells whether it let a request through: one that was overtaken in another way takes no turn.
	pass func(*watchRequest) bool

	mu      sync.Mutex
	rate    int
	queue   []*turnTaken
	turns   map[pair]*turnTaken // those in the queue that are taken
	tokens  float64
	filled  time.Time
	timer   *time.Timer
	stopped bool
}

// turnTaken is a place in the queue; its request is nil when nobody wants it any more.
type turnTaken struct{ request *watchRequest }

// paceEvery is how often those that wait are let through: a share of the rate each time.
const paceEvery = 50 * time.Millisecond

func newPacer(rate int, pass func(*watchRequest) bool) *pacer {
	return &pacer{rate: rate, pass: pass, turns: map[pair]*turnTaken{}, tokens: float64(rate), filled: time.Now()}
}

// bound takes on a new rate.
func (p *pacer) bound(rate int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill()
	p.rate = rate
}

// add lets t through, now if it is its turn. It is never called with a lock held that pass takes.
func (p *pacer) add(t *watchRequest) {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return
	}
	if turn := p.turns[t.pair]; turn != nil {
		turn.request = t
		p.mu.Unlock()
		return
	}
	p.fill()
	if len(p.queue) == 0 && p.tokens >= 1 {
		p.tokens--
		p.mu.Unlock()
		p.pass(t)
		return
	}
	turn := &turnTaken{t}
	p.turns[t.pair] = turn
	p.queue = append(p.queue, turn)
	if len(p.queue) == 1 {
		p.timer = time.AfterFunc(paceEvery, p.tick)
	}
	p.mu.Unlock()
}

// leave gives back the turn that a pair waits for.
func (p *pacer) leave(of pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	turn := p.turns[of]
	if turn == nil {
		return
	}
	turn.request = nil
	delete(p.turns, of)
	if len(p.queue) > 2*len(p.turns)+paceSpare {
		p.queue = slices.DeleteFunc(p.queue, func(x *turnTaken) bool { return x.request == nil })
	}
}

// paceSpare is how many places that were given back may stand in the queue beside as many as are taken.
const paceSpare = 1024

// fill adds what the time has earned, at most a second's worth. p.mu is held.
func (p *pacer) fill() {
	now := time.Now()
	p.tokens = min(float64(p.rate), p.tokens+now.Sub(p.filled).Seconds()*float64(p.rate))
	p.filled = now
}

// tick lets through whose turn it is.
func (p *pacer) tick() {
	for p.serve() {
	}
}

// serve lets through whose turn it is, and tells whether turns are left because nobody wanted them.
func (p *pacer) serve() (more bool) {
	p.mu.Lock()
	p.fill()
	var turns []*watchRequest
	n := 0
	for ; n < len(p.queue) && len(turns) < int(p.tokens); n++ {
		if t := p.queue[n].request; t != nil {
			turns = append(turns, t)
			delete(p.turns, t.pair)
		}
		p.queue[n] = nil
	}
	p.queue = p.queue[n:]
	p.tokens -= float64(len(turns))
	if len(p.queue) == 0 {
		p.queue = nil // and the memory behind it
	}
	p.mu.Unlock()
	unused := 0
	for _, t := range turns {
		if !p.pass(t) {
			unused++
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens += float64(unused)
	if p.stopped || len(p.queue) == 0 {
		return false
	}
	if unused == 0 {
		p.timer.Reset(max(paceEvery, time.Second/time.Duration(p.rate)))
	}
	return unused > 0
}

func (p *pacer) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.turns)
}

// stop drops those that wait.
func (p *pacer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped, p.queue, p.turns = true, nil, nil
	if p.timer != nil {
		p.timer.Stop()
	}
}
