package sip

import (
	"context"
	"sync"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// onePending keeps a second MESSAGE from being sent to an address while one is pending: "A UAC MUST NOT initiate a new out-of-dialog
// MESSAGE transaction to a given URI if there is a previous out-of-dialog transaction pending for the same URI" (RFC 3428 §8). The
// core's lanes see to that for messages; this does for messages and notices together. It holds an entry for each address that
// something is under way to, so it is bounded by the calls that the core makes. Safe for use from many goroutines.
type onePending struct {
	mu   sync.Mutex
	busy map[cpim.Address]*pending
}

// pending is one address: a token, and how many hold it or wait for it.
type pending struct {
	token chan struct{}
	users int
}

func newOnePending() *onePending { return &onePending{busy: make(map[cpim.Address]*pending)} }

// enter waits until nothing is pending to a, and tells whether it came to that before ctx ended. Each true is paid with a leave.
func (o *onePending) enter(ctx context.Context, a cpim.Address) bool {
	o.mu.Lock()
	p := o.busy[a]
	if p == nil {
		p = &pending{token: make(chan struct{}, 1)}
		o.busy[a] = p
	}
	p.users++
	o.mu.Unlock()
	select {
	case p.token <- struct{}{}:
		return true
	case <-ctx.Done():
		o.forget(a, p)
		return false
	}
}

// leave ends what enter began.
func (o *onePending) leave(a cpim.Address) {
	o.mu.Lock()
	p := o.busy[a]
	o.mu.Unlock()
	<-p.token
	o.forget(a, p)
}

func (o *onePending) forget(a cpim.Address, p *pending) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(o.busy, a)
	}
}
