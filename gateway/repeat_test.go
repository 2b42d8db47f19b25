package gateway

import (
	"strconv"
	"testing"
	"time"
)

// The same message is taken as often as it may come within its window: one less in the first half second, and anew when the window is over or it failed.
func TestRepeatsWithinTheirWindow(t *testing.T) {
	for _, c := range []struct {
		name  string
		most  int
		after []time.Duration // when it comes
		taken int
	}{
		{"at once", 3, []time.Duration{0, 0, 0, 0}, 2},
		{"slowly", 3, []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}, 3},
		{"two at once", 2, []time.Duration{0, 0, 0}, 2},
		{"never again", 1, []time.Duration{0, 0}, 1},
		{"when the window is over", 1, []time.Duration{0, repeatWindow - time.Millisecond, repeatWindow}, 2},
		{"not counted", 0, []time.Duration{0, 0, 0, 0, 0}, 5},
		{"as many as there can be", 1000, make([]time.Duration, 300), 199},
		{"one counted before another that began earlier", 1, []time.Duration{20 * time.Millisecond, 10 * time.Millisecond, 0}, 1},
		{"one that waited at another gateway", 1, []time.Duration{30 * time.Second, 0, 15 * time.Second, 40*time.Second - time.Millisecond, 40 * time.Second}, 2},
		{"several counted before others that began earlier", 3, []time.Duration{3 * time.Millisecond, 2 * time.Millisecond, time.Millisecond, 0}, 2},
		{"when the clock began anew", 1, []time.Duration{0, 1<<32*time.Millisecond + time.Second, 1<<32*time.Millisecond + repeatWindow}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, op, taken := newRepeats(c.most), benchOp(), 0
			for _, after := range c.after {
				if _, ok := p.allow(p.made.Add(after), op); ok {
					taken++
				}
			}
			if taken != c.taken {
				t.Errorf("%d taken, should be %d", taken, c.taken)
			}
		})
	}
}

// What failed is not counted.
func TestRepeatsForgiveWhatFailed(t *testing.T) {
	p, op := newRepeats(1), benchOp()
	for range 5 {
		k, ok := p.allow(p.made, op)
		if !ok {
			t.Fatal("refused")
		}
		p.forgive(k)
	}
	p.allow(p.made, op)
	k, ok := p.allow(p.made, op)
	if ok {
		t.Fatal("taken twice")
	}
	p.forgive(originKey{})            // what was not counted
	p.forgive(originKey{k[0], ^k[1]}) // what is not remembered
	newRepeats(1).forgive(k)
}

// Where a place is full, what began later than the message that comes is the newest there, and not what has been there for longest.
func TestRepeatsKeepWhatBeganLater(t *testing.T) {
	s := &repeatShard{places: make([][repeatWays]repeated, repeatPlaces)}
	for i := range s.places[0] {
		s.places[0][i] = repeated{name: uint64(i), since: uint32(1000 * (i + 1)), times: 1}
	}
	if r := s.room(originKey{}, 1000*repeatWays-1); r.name != 0 {
		t.Errorf("the message %d of %d gives way", r.name+1, repeatWays)
	}
}

// The memory is bounded: where a place is full, the message that came first gives way, and the newest are known.
func TestRepeatsAreBounded(t *testing.T) {
	p, op := newRepeats(1), benchOp()
	const room = originShards * repeatPlaces * repeatWays
	const newest = 1000
	for i := range 2 * room {
		op.OriginID = strconv.Itoa(i)
		if _, ok := p.allow(p.made.Add(time.Duration(i)*time.Microsecond), op); !ok {
			t.Fatal("another message is taken for this one")
		}
	}
	for i := 2*room - newest; i < 2*room; i++ {
		op.OriginID = strconv.Itoa(i)
		if _, ok := p.allow(p.made.Add(time.Second), op); ok {
			t.Fatalf("the message %d before the last one is forgotten", 2*room-i)
		}
	}
	for i := range p.shards {
		if s := &p.shards[i]; len(s.places) != repeatPlaces {
			t.Errorf("a shard has %d places", len(s.places))
		}
	}
}
