package transaction

import "sync"

// liveTable finds the transactions that wait for their answer by a key: one of a hash, so that nobody can choose where an entry stands. It is open
// addressing, where a look and what follows from it touch one place of memory: Go's map hashes the key once more for each, and a transaction
// comes and goes in two tables.
type liveTable [shards]livePart

type livePart struct {
	mu sync.Mutex
	// slots are a power of two, of which at most three quarters are used. One without tx is empty.
	slots []liveSlot
	used  int
}

type liveSlot struct {
	key hashKey
	tx  *ServerTx
}

// minLive is how many slots a part has at least.
const minLive = 16

func (t *liveTable) init() {
	for i := range t {
		t[i].slots = make([]liveSlot, minLive)
	}
}

func (t *liveTable) part(key hashKey) *livePart { return &t[key[0]%shards] }

// remove takes tx out, and reports whether it was there.
func (t *liveTable) remove(key hashKey, tx *ServerTx) bool {
	p := t.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.at(key)
	if p.slots[i].tx != tx {
		return false
	}
	p.vacate(i)
	return true
}

// at is the place of key, or an empty one: where it would be put. p.mu is held, as for all that follow.
func (p *livePart) at(key hashKey) int {
	for i := p.home(key); ; i = (i + 1) & (len(p.slots) - 1) {
		if s := &p.slots[i]; s.tx == nil || s.key == key {
			return i
		}
	}
}

// home is where key is looked for first: by another part of it than that which says the part of the table.
func (p *livePart) home(key hashKey) int { return int(key[1]>>32) & (len(p.slots) - 1) }

// get returns the transaction of key, or nil.
func (p *livePart) get(key hashKey) *ServerTx { return p.slots[p.at(key)].tx }

// put makes tx, which is not nil, the transaction of key.
func (p *livePart) put(key hashKey, tx *ServerTx) {
	i := p.at(key)
	if p.slots[i].tx == nil {
		if (p.used+1)*4 > len(p.slots)*3 {
			p.resize(2 * len(p.slots))
			i = p.at(key)
		}
		p.used++
	}
	p.slots[i] = liveSlot{key, tx}
}

// vacate empties place i, which is used, and moves up what stands behind it and would not be found any more.
func (p *livePart) vacate(i int) {
	p.used--
	mask := len(p.slots) - 1
	for j := (i + 1) & mask; p.slots[j].tx != nil; j = (j + 1) & mask {
		// It may move to i unless its home lies behind i, up to j.
		if (j-p.home(p.slots[j].key))&mask >= (j-i)&mask {
			p.slots[i] = p.slots[j]
			i = j
		}
	}
	p.slots[i] = liveSlot{}
	if len(p.slots) > minLive && p.used*8 < len(p.slots) {
		p.resize(len(p.slots) / 2)
	}
}

// resize gives the part so many slots.
func (p *livePart) resize(n int) {
	old := p.slots
	p.slots = make([]liveSlot, n)
	for _, s := range old {
		if s.tx != nil {
			p.slots[p.at(s.key)] = s
		}
	}
}
