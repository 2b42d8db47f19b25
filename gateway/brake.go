package gateway

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// brake bounds how many messages one sender may send to one recipient: a bucket of burst tokens for each pair, filled with rate tokens a
// second. Whatever goes in a circle unseen, or answers itself, ends here.
//
// A bucket that nobody took from for burst/rate is full, and need not be kept. It is bounded by two generations of that time each.
// Safe for use from many goroutines.
type brake struct {
	rate, burst float64 // rate 0: no brake
	life        time.Duration
	seed        maphash.Seed
	shards      [originShards]brakeShard
}

type brakeShard struct {
	mu         sync.Mutex
	young, old map[pairKey]bucket
	born       time.Time
}

type pairKey struct{ from, to cpim.Address }

type bucket struct {
	tokens float64
	at     time.Time
}

// brakeEntries bounds the pairs that are remembered: 100,000, of which the older half is forgotten when there are more. A pair that is
// forgotten has a full bucket again.
const brakeEntries = 100_000

// The bounds of what only tells that somebody is composing or not: a person hardly does that more often than 12 times a minute, and XMPP
// has no room for a hop count beside it (XEP-0085 §5.6), so that a circle that turns faster ends here.
const (
	activityRate  = 0.2
	activityBurst = 20
)

func newBrake(rate float64, burst int) *brake {
	b := &brake{rate: rate, burst: float64(max(burst, 1)), seed: maphash.MakeSeed()}
	if rate > 0 {
		b.life = max(time.Second, time.Duration(b.burst/b.rate*float64(time.Second)))
	}
	return b
}

// allow takes a token. It returns false if there is none.
func (b *brake) allow(now time.Time, from, to cpim.Address) bool {
	if b.rate == 0 {
		return true
	}
	k := pairKey{from, to}
	s := &b.shards[maphash.Comparable(b.seed, k)%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= brakeEntries/2/originShards || now.Sub(s.born) >= b.life {
		s.old, s.young, s.born = s.young, nil, now
	}
	have, ok := s.young[k]
	if !ok {
		if have, ok = s.old[k]; !ok {
			have = bucket{b.burst, now}
		}
	}
	have.tokens = min(b.burst, have.tokens+b.rate*max(0, now.Sub(have.at).Seconds()))
	have.at = now
	allowed := have.tokens >= 1
	if allowed {
		have.tokens--
	}
	if s.young == nil {
		s.young = make(map[pairKey]bucket)
	}
	s.young[k] = have
	return allowed
}
