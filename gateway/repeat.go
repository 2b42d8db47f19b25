package gateway

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// repeats counts how often the same message came lately, whatever marks it has or has lost: a circle whose middle takes away hop count
// and trace is seen by it (T-LP-02). The same are sender, recipient, subject, content, and what names the message beyond this
// gateway: the OriginID, or else the thread, which RFC 7572 carries in both directions, or else the identifier. What has none of
// them is not counted.
//
// It cannot tell a circle from a person who says the same thing again and again in one conversation; so the window is short: a circle
// takes milliseconds for a lap, and people who say the same word four times within ten seconds are few. Nobody says it three times in half a
// second: there one less is taken, so that two gateways that send each other what has lost its marks hand out four copies together
// (THREATS.md G1), five where the first one still had a name that the later ones have lost. A circle that is slower than ten seconds runs out of
// hops, or meets the brake.
//
// It is bounded: a table of places, where the message that came first gives way to a new one whose place is full. Safe for use from many goroutines.
type repeats struct {
	most   atomic.Uint32 // at most 200; 0: nothing is counted
	seeds  [2]maphash.Seed
	made   time.Time
	shards [originShards]repeatShard
}

// repeatShard has a place for each remainder of a hash, of two lines of the processor's cache: all that a message needs is there.
type repeatShard struct {
	mu     sync.Mutex
	places [][repeatWays]repeated // nil: none has come
}

// repeated is a message. The place and the name are 78 bits of a keyed hash, so that nobody can choose two that are alike; times is 0 where there is none.
type repeated struct {
	name  uint64
	since uint32 // of the first one in this window, in milliseconds since the table was made, modulo 2**32
	times uint8
}

// repeatWindow is the time in which the same message may come so often, from its first copy on. The table has room for 131,072 messages, in 16
// shards with repeatPlaces each for repeatWays, 2 MiB: at a thousand messages a second hardly one in a million is forgotten within its window. At ten
// thousand one in a hundred is forgotten after five seconds, one in four before its window is over, so that a slow circle may turn a while longer.
//
// repeatAhead is how much later than a copy the first one may seem to have begun: of two that come at once either may be counted first, and one that
// waited at another gateway began when it came there.
const (
	repeatWindow = 10 * time.Second
	repeatQuick  = 500 * time.Millisecond // in which one less may come, if two may
	repeatAhead  = time.Hour
	repeatPlaces = 1024
	repeatWays   = 8
)

// age is how long ago the window began, in milliseconds: 0 if that is yet to come.
func (r *repeated) age(at uint32) uint32 {
	age := at - r.since
	if -age <= uint32(repeatAhead.Milliseconds()) {
		return 0
	}
	return age
}

func newRepeats(most int) *repeats {
	p := &repeats{made: time.Now()}
	p.bound(most)
	p.seeds[0], p.seeds[1] = maphash.MakeSeed(), maphash.MakeSeed()
	return p
}

// bound sets how often the same may come.
func (p *repeats) bound(most int) { p.most.Store(uint32(min(most, 200))) }

// allow counts op. It returns false if the same came too often, and the key for forgive.
func (p *repeats) allow(now time.Time, op *adapters.MessageOp) (k originKey, ok bool) {
	most := uint8(p.most.Load())
	if most == 0 || op.Activity != adapters.ActivityNone {
		return k, true
	}
	id, kind := op.OriginID, byte(1)
	if id == "" {
		id, kind = op.Thread, 2
	}
	if id == "" {
		id, kind = op.TransID, 3
	}
	if id == "" {
		return k, true
	}
	k = hashMessage(&p.seeds, kind, "", "", id, op) // the media type is written anew on each side
	at := uint32(now.Sub(p.made).Milliseconds())
	s := p.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places == nil {
		s.places = make([][repeatWays]repeated, repeatPlaces)
	}
	r := s.find(k)
	if r == nil {
		r = s.room(k, at)
		*r = repeated{name: k[1]}
	}
	if r.times == 0 || r.age(at) >= uint32(repeatWindow.Milliseconds()) {
		r.since, r.times = at, 0
	}
	r.times = min(r.times, 254) + 1
	if most > 2 && r.age(at) < uint32(repeatQuick.Milliseconds()) {
		most--
	}
	return k, r.times <= most
}

func (p *repeats) shard(k originKey) *repeatShard { return &p.shards[k[0]%originShards] }

// place is where the messages of a key are. s.mu is held, and s.places is there, as for find and room.
func (s *repeatShard) place(k originKey) *[repeatWays]repeated {
	return &s.places[k[0]/originShards%repeatPlaces]
}

// find returns the message of a key, nil if it is not remembered.
func (s *repeatShard) find(k originKey) *repeated {
	place := s.place(k)
	for i := range place {
		if r := &place[i]; r.name == k[1] && r.times > 0 {
			return r
		}
	}
	return nil
}

// room returns where a message of a key may be put: where there is none, or the one whose window began first.
func (s *repeatShard) room(k originKey, at uint32) *repeated {
	place := s.place(k)
	oldest := &place[0]
	for i := range place {
		r := &place[i]
		if r.times == 0 {
			return r
		}
		if r.age(at) > oldest.age(at) {
			oldest = r
		}
	}
	return oldest
}

// forgive takes back what allow counted for a message that failed: to try again is right, and what failed turns in no circle.
func (p *repeats) forgive(k originKey) {
	if k == (originKey{}) {
		return
	}
	s := p.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places == nil {
		return
	}
	if r := s.find(k); r != nil {
		r.times--
	}
}
