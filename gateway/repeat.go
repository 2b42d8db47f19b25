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
// It is bounded by two generations of one window each. Safe for use from many goroutines.
type repeats struct {
	most   atomic.Uint32 // at most 200; 0: nothing is counted
	seeds  [2]maphash.Seed
	shards [originShards]repeatShard
}

type repeatShard struct {
	mu         sync.Mutex
	young, old map[originKey]repeated
	born       time.Time
}

type repeated struct {
	since int64 // Unix time in milliseconds of the first one in this window
	times uint8
}

// repeatWindow is the time in which the same message may come so often, from its first copy on, repeatEntries how many messages are remembered: 100,000, of
// which the older half is forgotten when there are more, and then a circle may turn a while longer.
const (
	repeatWindow  = 10 * time.Second
	repeatQuick   = 500 * time.Millisecond // in which one less may come, if two may
	repeatEntries = 100_000
)

func newRepeats(most int) *repeats {
	p := &repeats{}
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
	s := &p.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= repeatEntries/2/originShards || now.Sub(s.born) >= repeatWindow {
		clear(s.old)
		s.old, s.young, s.born = s.young, s.old, now
	}
	r, ok := s.young[k]
	if !ok {
		r = s.old[k]
	}
	if at := now.UnixMilli(); r.times == 0 || at-r.since >= repeatWindow.Milliseconds() {
		r = repeated{since: at}
	}
	r.times = min(r.times, 254) + 1
	if s.young == nil {
		s.young = make(map[originKey]repeated)
	}
	s.young[k] = r
	if most > 2 && now.UnixMilli()-r.since < repeatQuick.Milliseconds() {
		most--
	}
	return k, r.times <= most
}

// forgive takes back what allow counted for a message that failed: to try again is right, and what failed turns in no circle.
func (p *repeats) forgive(k originKey) {
	if k == (originKey{}) {
		return
	}
	s := &p.shards[k[0]%originShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.young[k]; ok && r.times > 0 {
		r.times--
		s.young[k] = r
	}
}
