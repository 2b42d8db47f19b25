package gateway

import (
	"sync"
	"time"
)

// pacer lets so many requests a second through, in their order, and those that come faster wait. Who waits costs a pointer and no
// goroutine. It is for storms: after a restart, or when the users of a server all come back, every watch wants to be opened at once.
// How many wait is bounded by how many watches there are: one that was overtaken is dropped when its turn comes.
type pacer struct {
	pass func(*watchRequest)

	mu      sync.Mutex
	rate    int
	queue   []*watchRequest
	tokens  float64
	filled  time.Time
	timer   *time.Timer
	stopped bool
}

// paceEvery is how often those that wait are let through: a share of the rate each time.
const paceEvery = 50 * time.Millisecond

func newPacer(rate int, pass func(*watchRequest)) *pacer {
	return &pacer{rate: rate, pass: pass, tokens: float64(rate), filled: time.Now()}
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
	p.fill()
	if len(p.queue) == 0 && p.tokens >= 1 {
		p.tokens--
		p.mu.Unlock()
		p.pass(t)
		return
	}
	p.queue = append(p.queue, t)
	if len(p.queue) == 1 {
		p.timer = time.AfterFunc(paceEvery, p.tick)
	}
	p.mu.Unlock()
}

// fill adds what the time has earned, at most a second's worth. p.mu is held.
func (p *pacer) fill() {
	now := time.Now()
	p.tokens = min(float64(p.rate), p.tokens+now.Sub(p.filled).Seconds()*float64(p.rate))
	p.filled = now
}

// tick lets through whose turn it is.
func (p *pacer) tick() {
	p.mu.Lock()
	p.fill()
	n := min(len(p.queue), int(p.tokens))
	turn := p.queue[:n:n]
	p.queue = p.queue[n:]
	p.tokens -= float64(n)
	if p.stopped {
		turn, p.queue = nil, nil
	}
	switch {
	case len(p.queue) == 0:
		p.queue = nil // and the memory behind it
	default:
		p.timer.Reset(max(paceEvery, time.Second/time.Duration(p.rate)))
	}
	p.mu.Unlock()
	for _, t := range turn {
		p.pass(t)
	}
}

func (p *pacer) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// stop drops those that wait.
func (p *pacer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped, p.queue = true, nil
	if p.timer != nil {
		p.timer.Stop()
	}
}
