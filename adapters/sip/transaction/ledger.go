package transaction

import (
	"sync"
	"time"
)

// hashKey is what something is found by: 128 bits of a keyed hash, so that nobody can choose two that are alike.
type hashKey [2]uint64

// ledger remembers, for a fixed time each, values that the garbage collector need not look at: V must hold no pointers. So millions of
// them cost their octets and nothing else. What is larger, and rare, is kept beside, in a map. Entries end in the order in which they
// came, so there is one timer for each part and none for an entry. Safe for use from many goroutines.
type ledger[V any] struct {
	life  time.Duration
	epoch time.Time
	parts []ledgerPart[V]
}

// ledgerPart is the entries whose keys fall into it.
type ledgerPart[V any] struct {
	of *ledger[V]
	// room is how many entries may be kept: the oldest gives way. 0: as many as come.
	room int
	// wheel wakes the part when its oldest entry ends; nil: what has ended leaves when something comes.
	wheel *wheel
	timer timer
	ended func(n int) // told how many entries have ended; may be nil

	mu sync.Mutex
	// The entries stand in blocks, oldest first, and have numbers that follow each other: head is that of the oldest, next that of the
	// one to come. Numbers have 31 bits and begin again at 0; blockSize divides their range.
	blocks     []*[blockSize]entry[V]
	spare      *[blockSize]entry[V]
	head, next uint32
	// index is a table with open addressing: the upper half of a slot is of the entry's hash, the lower is its number with slotUsed.
	// 0 is an empty slot.
	index []uint64
	used  int
	more  map[hashKey][]byte
}

type entry[V any] struct {
	key   hashKey
	value V
	due   uint32 // in milliseconds since the epoch, modulo 2**32
	more  bool   // there is something in ledgerPart.more
}

const (
	blockSize  = 256
	numberMask = 1<<31 - 1
	slotUsed   = 1 << 31
	minIndex   = 64
)

// init makes the ledger: of so many parts, a power of two, for so many entries in all (0: no bound).
func (l *ledger[V]) init(parts, limit int, life time.Duration) {
	l.life, l.epoch = life, time.Now()
	l.parts = make([]ledgerPart[V], parts)
	for i := range l.parts {
		p := &l.parts[i]
		p.of, p.index = l, make([]uint64, minIndex)
		if limit > 0 {
			p.room = max(1, limit/parts)
		}
	}
}

// expireBy lets a wheel end the entries, and ended hear of it. It is called once, before the first entry.
func (l *ledger[V]) expireBy(w *wheel, ended func(n int)) {
	for i := range l.parts {
		p := &l.parts[i]
		p.wheel, p.ended, p.timer.owner = w, ended, p
	}
}

func (l *ledger[V]) part(k hashKey) *ledgerPart[V] { return &l.parts[k[0]&uint64(len(l.parts)-1)] }

// tick is a time as entry.due counts.
func (l *ledger[V]) tick(t time.Time) uint32 { return uint32(t.Sub(l.epoch) / time.Millisecond) }

// put enters v at a time, in the place of what the key had before. more is kept beside it; nil for nothing.
func (l *ledger[V]) put(at time.Time, key hashKey, v V, more []byte) {
	p := l.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := l.tick(at)
	gone := 0
	if p.wheel == nil {
		gone = p.expired(now)
	}
	if p.room > 0 && p.len() >= p.room {
		p.drop()
		gone++
	}
	p.tell(gone)
	number := p.next
	if number%blockSize == 0 {
		p.grow()
	}
	e := p.at(number)
	// The entry lives no shorter than it should: a part of a millisecond counts as one.
	*e = entry[V]{key: key, value: v, due: now + uint32((l.life+time.Millisecond-1)/time.Millisecond) + 1, more: more != nil}
	p.next = (number + 1) & numberMask
	p.enter(key, number)
	if more != nil {
		if p.more == nil {
			p.more = make(map[hashKey][]byte)
		}
		p.more[key] = more
	} else if p.more != nil {
		delete(p.more, key)
	}
	if p.wheel != nil && p.len() == 1 {
		p.wheel.set(at, &p.timer, l.life)
	}
}

// get finds what was entered last for a key and has not ended at that time.
func (l *ledger[V]) get(at time.Time, key hashKey) (v V, more []byte, ok bool) {
	p := l.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	slot := p.find(key)
	if slot < 0 {
		return v, nil, false
	}
	e := p.at(uint32(p.index[slot]) & numberMask)
	if int32(l.tick(at)-e.due) >= 0 {
		return v, nil, false
	}
	if e.more {
		more = p.more[key]
	}
	return e.value, more, true
}

// len is how many entries there are, those included that another of the same key has replaced. p.mu is held.
func (p *ledgerPart[V]) len() int { return int((p.next - p.head) & numberMask) }

// at is the entry of a number that is there.
func (p *ledgerPart[V]) at(number uint32) *entry[V] {
	first := p.head &^ (blockSize - 1)
	return &p.blocks[((number-first)&numberMask)/blockSize][number%blockSize]
}

// grow adds a block.
func (p *ledgerPart[V]) grow() {
	b := p.spare
	if p.spare = nil; b == nil {
		b = new([blockSize]entry[V])
	}
	p.blocks = append(p.blocks, b)
}

// drop ends the oldest entry.
func (p *ledgerPart[V]) drop() {
	e := p.at(p.head)
	if slot := p.find(e.key); slot >= 0 && uint32(p.index[slot])&numberMask == p.head {
		p.vacate(slot)
		if e.more {
			delete(p.more, e.key)
		}
	}
	p.head = (p.head + 1) & numberMask
	if p.head%blockSize == 0 {
		p.spare = p.blocks[0]
		p.blocks[0] = nil
		p.blocks = p.blocks[1:]
	}
	if len(p.index) > minIndex && p.used*8 < len(p.index) {
		p.resize(len(p.index) / 2)
	}
}

// expired ends what is over and returns how many that were.
func (p *ledgerPart[V]) expired(now uint32) (n int) {
	for p.head != p.next && int32(now-p.at(p.head).due) >= 0 {
		p.drop()
		n++
	}
	return n
}

// tell reports entries that have ended.
func (p *ledgerPart[V]) tell(n int) {
	if n > 0 && p.ended != nil {
		p.ended(n)
	}
}

// expire implements expirer.
func (p *ledgerPart[V]) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	now := p.of.tick(at)
	p.tell(p.expired(now))
	if p.head != p.next {
		p.wheel.set(at, &p.timer, time.Duration(p.at(p.head).due-now)*time.Millisecond)
	} else {
		p.spare = nil
	}
}

// tagOf is the part of a hash that stands in the index; where an entry stands is decided by it alone.
func tagOf(k hashKey) uint64 { return k[1] &^ (1<<32 - 1) }

func (p *ledgerPart[V]) home(slot uint64) int { return int(slot>>32) & (len(p.index) - 1) }

// find returns the slot of a key, or -1.
func (p *ledgerPart[V]) find(key hashKey) int {
	tag, mask := tagOf(key), len(p.index)-1
	for i := p.home(tag); ; i = (i + 1) & mask {
		slot := p.index[i]
		if slot == 0 {
			return -1
		}
		if slot&^(1<<32-1) == tag && p.at(uint32(slot)&numberMask).key == key {
			return i
		}
	}
}

// enter makes number the one that key finds.
func (p *ledgerPart[V]) enter(key hashKey, number uint32) {
	slot := tagOf(key) | slotUsed | uint64(number)
	if i := p.find(key); i >= 0 {
		p.index[i] = slot
		return
	}
	if (p.used+1)*4 > len(p.index)*3 {
		p.resize(2 * len(p.index))
	}
	p.insert(slot)
	p.used++
}

// insert puts a slot into the first empty place from its home on.
func (p *ledgerPart[V]) insert(slot uint64) {
	mask := len(p.index) - 1
	i := p.home(slot)
	for p.index[i] != 0 {
		i = (i + 1) & mask
	}
	p.index[i] = slot
}

// vacate empties place i and moves up what stands behind it and would not be found any more.
func (p *ledgerPart[V]) vacate(i int) {
	p.used--
	mask := len(p.index) - 1
	for j := (i + 1) & mask; p.index[j] != 0; j = (j + 1) & mask {
		// It may move to i unless its home lies behind i, up to j.
		if (j-p.home(p.index[j]))&mask >= (j-i)&mask {
			p.index[i] = p.index[j]
			i = j
		}
	}
	p.index[i] = 0
}

// resize gives the index another size.
func (p *ledgerPart[V]) resize(n int) {
	old := p.index
	p.index = make([]uint64, n)
	for _, slot := range old {
		if slot != 0 {
			p.insert(slot)
		}
	}
}
