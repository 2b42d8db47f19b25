package gateway

import (
	"sync"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// watchBound is a bound of watches that was met: a fixed set, it labels a metric.
type watchBound string

const (
	boundNone       watchBound = ""
	boundPairs      watchBound = "pairs"
	boundWatcher    watchBound = "watcher"
	boundPresentity watchBound = "presentity"
	boundDomain     watchBound = "domain"
)

// watchBounds counts the pairs of each watcher, presentity and domain of watchers, so that none of them takes what all share. A pair of which only an
// authorization is left is not counted: it makes room for others, and a user has more and more of them over the years. A count is kept while it is
// not zero, so there are no more of each kind than pairs.
type watchBounds struct {
	limits func() *Limits
	shards []boundShard
}

type boundShard struct {
	mu     sync.Mutex
	counts map[boundKey]int32
}

// boundKey is whom a count is of: an address in one role, or the domain of watchers.
type boundKey struct {
	of     watchBound
	who    cpim.Address
	domain string
}

const boundShards = 16

func newWatchBounds(limits func() *Limits) watchBounds {
	b := watchBounds{limits: limits, shards: make([]boundShard, boundShards)}
	for i := range b.shards {
		b.shards[i].counts = make(map[boundKey]int32)
	}
	return b
}

// keys are the counts of p. The last is of the watchers of one domain among those of the presentity.
func (b *watchBounds) keys(p pair) [4]boundKey {
	domain := p.watcher.Domain()
	return [...]boundKey{
		{of: boundWatcher, who: p.watcher},
		{of: boundPresentity, who: p.presentity},
		{of: boundDomain, domain: domain},
		{of: boundPresentity, who: p.presentity, domain: domain},
	}
}

func (b *watchBounds) shard(k boundKey) *boundShard {
	h := uint32(len(k.domain))
	for _, s := range [...]string{k.who.Local(), k.who.Domain(), k.domain} {
		for i := range len(s) {
			h = h*31 + uint32(s[i])
		}
	}
	return &b.shards[h%boundShards]
}

// crowd is how many times as many as are free for a presentity the watchers of one domain may have of her: seven eighths of all where there is no other
// domain. Who makes up watchers in a domain of his own leaves an eighth to others, and who does so in a second domain an eighth of that.
const crowd = 7

// met returns the bound that one more pair p would break.
func (b *watchBounds) met(p pair) watchBound {
	var n [4]int
	for i, k := range b.keys(p) {
		s := b.shard(k)
		s.mu.Lock()
		n[i] = int(s.counts[k])
		s.mu.Unlock()
	}
	l := b.limits()
	free := l.WatchesPerPresentity - n[1]
	switch {
	case n[0] >= l.WatchesPerWatcher:
		return boundWatcher
	case free <= 0 || n[3] >= crowd*free:
		return boundPresentity
	case n[2] >= l.WatchesPerDomain:
		return boundDomain
	default:
		return boundNone
	}
}

func (b *watchBounds) add(p pair) {
	for _, k := range b.keys(p) {
		s := b.shard(k)
		s.mu.Lock()
		s.counts[k]++
		s.mu.Unlock()
	}
}

func (b *watchBounds) remove(p pair) {
	for _, k := range b.keys(p) {
		s := b.shard(k)
		s.mu.Lock()
		if s.counts[k]--; s.counts[k] <= 0 {
			delete(s.counts, k)
		}
		s.mu.Unlock()
	}
}

// count has the bounds count x, or no longer. The shard's lock is held.
func (w *watches) count(x *watched, counted bool) {
	switch {
	case counted == x.counted:
		return
	case counted:
		w.bounds.add(x.pair)
	default:
		w.bounds.remove(x.pair)
	}
	x.counted = counted
}

// uses tells whether a wish of a watcher makes use of an authorization, and does not end what there is.
func uses(op *adapters.WatchOp) bool {
	return op != nil && op.Verb != adapters.WatchClose && op.Verb != adapters.WatchCancel
}
