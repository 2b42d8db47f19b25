package gateway

import "sync"

// turns lets attempts be made at the same time as others, or alone. Who wants to be alone comes before others that come later.
//
// It is what a sync.RWMutex is, made of a sync.Cond: an attempt lasts as long as the network takes, and a test whose time is its own (testing/synctest)
// must see that who waits for one waits for time to pass, which it does not see of a mutex.
type turns struct {
	mu      sync.Mutex
	changed *sync.Cond
	among   int // who are there
	alone   bool
	wanting int // who wait to be alone
}

func newTurns() *turns {
	t := &turns{}
	t.changed = sync.NewCond(&t.mu)
	return t
}

// enter waits for its turn, and returns what ends it.
func (t *turns) enter(alone bool) (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !alone {
		for t.alone || t.wanting > 0 {
			t.changed.Wait()
		}
		t.among++
		return func() { t.leave(func() { t.among-- }) }
	}
	t.wanting++
	for t.alone || t.among > 0 {
		t.changed.Wait()
	}
	t.wanting--
	t.alone = true
	return func() { t.leave(func() { t.alone = false }) }
}

func (t *turns) leave(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	t.changed.Broadcast()
}
