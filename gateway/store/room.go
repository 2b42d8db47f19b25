package store

import "sync"

// room counts what the journal holds, so that it is refused when it is full.
type room struct {
	mu     sync.Mutex
	sizes  map[ID]int64
	octets int64
}

// entryCost is what an entry takes beside its octets: headers, index, and its progress.
const entryCost = 512

// take makes room for entries, all or none.
func (r *room) take(entries []Entry, c *Config) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := int64(0)
	for i := range entries {
		size += int64(len(entries[i].Octets)) + entryCost
	}
	if len(r.sizes)+len(entries) > c.MaxEntries || r.octets+size > c.MaxOctets {
		return false
	}
	for i := range entries {
		r.put(entries[i].ID, int64(len(entries[i].Octets))+entryCost)
	}
	return true
}

// put counts one. The caller holds the lock.
func (r *room) put(id ID, size int64) {
	r.octets += size - r.sizes[id]
	r.sizes[id] = size
}

// add counts one that is there already, of so many octets.
func (r *room) add(id ID, octets int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(id, octets+entryCost)
}

// give gives room back.
func (r *room) give(list ...ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range list {
		r.octets -= r.sizes[id]
		delete(r.sizes, id)
	}
}

func (r *room) has(id ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.sizes[id]
	return ok
}

func (r *room) used() (entries int, octets int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sizes), r.octets
}

func ofEntries(entries []Entry) []ID {
	list := make([]ID, 0, len(entries))
	for i := range entries {
		list = append(list, entries[i].ID)
	}
	return list
}
