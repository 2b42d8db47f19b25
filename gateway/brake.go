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
	made        time.Time
	seeds       [2]maphash.Seed
	shards      [originShards]brakeShard
}

type brakeShard struct {
	mu         sync.Mutex
	young, old map[originKey]bucket // by a keyed hash of both addresses: those are parts of messages, which nothing here may keep
	born       time.Time
}

type bucket struct {
	tokens float64
	at     int64 // nanoseconds since the brake was made
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
	b := &brake{rate: rate, burst: float64(max(burst, 1)), made: time.Now()}
	b.seeds[0], b.seeds[1] = maphash.MakeSeed(), maphash.MakeSeed()
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
	k := b.key(from, to)
	s := &b.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= brakeEntries/2/originShards || now.Sub(s.born) >= b.life {
		clear(s.old)
		s.old, s.young, s.born = s.young, s.old, now
	}
	at := int64(now.Sub(b.made))
	have, ok := s.young[k]
	if !ok {
		if have, ok = s.old[k]; !ok {
			have = bucket{b.burst, at}
		}
	}
	have.tokens = min(b.burst, have.tokens+b.rate*max(0, time.Duration(at-have.at).Seconds()))
	have.at = max(have.at, at) // a message that waited at another gateway began earlier: no time counts twice
	allowed := have.tokens >= 1
	if allowed {
		have.tokens--
	}
	if s.young == nil {
		s.young = make(map[originKey]bucket)
	}
	s.young[k] = have
	return allowed
}

func (b *brake) key(from, to cpim.Address) originKey {
	var room [256]byte
	k := room[:0]
	for _, s := range [...]string{from.Local(), from.Domain(), to.Local(), to.Domain()} {
		k = append(append(k, s...), 0) // none of the parts can hold a NUL
	}
	return originKey{maphash.Bytes(b.seeds[0], k), maphash.Bytes(b.seeds[1], k)}
}
