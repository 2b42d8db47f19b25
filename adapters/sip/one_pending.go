package sip

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// onePending keeps a second MESSAGE from being sent to an address while one is pending: "A UAC MUST NOT initiate a new out-of-dialog
// MESSAGE transaction to a given URI if there is a previous out-of-dialog transaction pending for the same URI" (RFC 3428 §8). The
// core's lanes see to that for messages; this does for messages and notices together. It holds an entry for each address that
// something is under way to, so it is bounded by the calls that the core makes. Safe for use from many goroutines.
//
// Addresses are known by a hash, so that each is hashed once and not for every look. Two that have the same, which nobody can bring about
// who does not know the seed, wait for each other, and nothing else becomes of it.
type onePending struct {
	seed maphash.Seed

	mu   sync.Mutex
	busy map[uint64][]chan struct{} // who waits for an address that something is under way to, in order; mostly nobody
}

func newOnePending() *onePending {
	return &onePending{seed: maphash.MakeSeed(), busy: make(map[uint64][]chan struct{})}
}

// hash is what an address is known by.
func (o *onePending) hash(a cpim.Address) uint64 { return maphash.Comparable(o.seed, a) }

// enter waits until nothing is pending to a, and tells whether it came to that before ctx ended, or before until, if that is no zero time.
// Each true is paid with a leave of the hash.
func (o *onePending) enter(ctx context.Context, until time.Time, of cpim.Address) (a uint64, ok bool) {
	a = o.hash(of)
	o.mu.Lock()
	waiting, busy := o.busy[a]
	if !busy {
		o.busy[a] = nil
		o.mu.Unlock()
		return a, true
	}
	turn := make(chan struct{})
	o.busy[a] = append(waiting, turn)
	o.mu.Unlock()
	ctx, cancel := withDeadline(ctx, until)
	defer cancel()
	select {
	case <-turn:
		return a, true
	case <-ctx.Done():
	}
	o.mu.Lock()
	i := slices.Index(o.busy[a], turn)
	if i >= 0 {
		o.busy[a] = slices.Delete(o.busy[a], i, i+1)
	}
	o.mu.Unlock()
	if i < 0 {
		o.leave(a) // its turn came meanwhile
	}
	return a, false
}

// leave ends what enter began: it is the turn of who has waited longest.
func (o *onePending) leave(a uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting := o.busy[a]
	if len(waiting) == 0 {
		delete(o.busy, a)
		return
	}
	close(waiting[0])
	o.busy[a] = slices.Delete(waiting, 0, 1)
}
