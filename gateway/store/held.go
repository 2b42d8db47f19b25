package store

import (
	"slices"
	"sync"
)

// held counts what a node of a cluster has replayed and appended and not released, so that the journal is refused when it is full.
type held struct {
	mu      sync.Mutex
	entries map[ID]share
	octets  int64
	// others are what the other nodes hold, as far as they have told.
	others Usage
}

// share is what an entry takes, and its part.
type share struct {
	size int64
	part int
}

// take makes room for entries, all or none.
func (h *held) take(entries []Entry, c *Config) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	size := int64(0)
	for i := range entries {
		size += int64(len(entries[i].Octets)) + entryCost
	}
	if h.others.Entries+len(h.entries)+len(entries) > c.MaxEntries || h.others.Octets+h.octets+size > c.MaxOctets {
		return false
	}
	for i := range entries {
		h.put(&entries[i])
	}
	return true
}

// put counts one. The caller holds the lock.
func (h *held) put(e *Entry) {
	size := int64(len(e.Octets)) + entryCost
	h.octets += size - h.entries[e.ID].size
	h.entries[e.ID] = share{size, e.Part}
}

// also counts an entry without asking whether there is room: it was there, or takes the place of another.
func (h *held) also(e *Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.put(e)
}

// give gives room back.
func (h *held) give(list ...ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range list {
		h.octets -= h.entries[id].size
		delete(h.entries, id)
	}
}

// release forgets what is counted of some parts; nil: of all.
func (h *held) release(parts []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, p := range h.entries {
		if parts == nil || slices.Contains(parts, p.part) {
			h.octets -= p.size
			delete(h.entries, id)
		}
	}
}

// elsewhere notes what the other nodes hold.
func (h *held) elsewhere(u Usage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.others = u
}

// everywhere is how many entries there are on all nodes, as far as is known.
func (h *held) everywhere() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.entries) + h.others.Entries
}

// part is the part of an entry.
func (h *held) part(id ID) (part int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.entries[id]
	return p.part, ok
}

func (h *held) used() (entries int, octets int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.entries), h.octets
}
