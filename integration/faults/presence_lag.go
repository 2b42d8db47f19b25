package faults

import (
	"sync"
	"time"
)

// lag measures how much later than it should this process runs: the gateway beside it fares no better. What is judged by time is judged with it.
type lag struct {
	mu   sync.Mutex
	seen [100]time.Duration // of the last ten seconds
	next int
}

const lagEvery = 100 * time.Millisecond

// measure goes on until ended is closed.
func (l *lag) measure(ended <-chan struct{}) {
	for {
		began := time.Now()
		select {
		case <-ended:
			return
		case <-time.After(lagEvery):
		}
		late := time.Since(began) - lagEvery
		l.mu.Lock()
		l.seen[l.next%len(l.seen)] = late
		l.next++
		l.mu.Unlock()
	}
}

// worst is the largest of the last ten seconds.
func (l *lag) worst() (most time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.seen {
		most = max(most, d)
	}
	return most
}
