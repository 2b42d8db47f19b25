package store

import (
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// room counts what the journal holds, so that it is refused when it is full.
type room struct {
	mu     sync.Mutex
	held   map[ID]place
	octets int64
	last   uint64 // the engine's last sequence that is known
}

// place is what an entry takes, and where the engine has it: at this sequence or after it.
type place struct {
	size int64
	from uint64
	part int
	// entry and progress are where they are; zero: not known yet, or there is none.
	entry, progress loc
}

// loc is where a record is: in which of the engine's messages, and in which place of it, from 1; 0: it is the message.
type loc struct {
	seq  uint64
	slot int
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
	if len(r.held)+len(entries) > c.MaxEntries || r.octets+size > c.MaxOctets {
		return false
	}
	for i := range entries {
		r.put(entries[i].ID, place{size: int64(len(entries[i].Octets)) + entryCost, from: r.last + 1, part: entries[i].Part})
	}
	return true
}

// begin empties it: last is the engine's last sequence.
func (r *room) begin(last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.octets, r.last = map[ID]place{}, 0, last
}

// put counts one. The caller holds the lock.
func (r *room) put(id ID, p place) {
	r.octets += p.size - r.held[id].size
	r.held[id] = p
}

// add counts one that is there already, of so many octets.
func (r *room) add(id ID, p place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.size += entryCost
	r.put(id, p)
}

// all is where the entries of some parts are, nil: of all, and how many of them have a progress.
func (r *room) all(parts []int) (list map[ID]place, progressed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list = make(map[ID]place, len(r.held))
	for id, p := range r.held {
		if p.entry.seq == 0 || parts != nil && !slices.Contains(parts, p.part) {
			continue // else it is just being written
		}
		if list[id] = p; p.progress.seq != 0 {
			progressed++
		}
	}
	return list, progressed
}

// at is where an entry and its progress are.
func (r *room) at(id ID) (place, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.held[id]
	return p, ok
}

// also counts an entry without asking whether there is room: it takes the place of another, which is given back when it is gone.
func (r *room) also(e *Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.held[e.ID]
	if !ok { // else it has changed its part, and stays where it has been written
		p.from = r.last + 1
	}
	p.size, p.part = int64(len(e.Octets))+entryCost, e.Part
	r.put(e.ID, p)
}

// stored notes that messages have been written in a pack of this sequence.
func (r *room) stored(seq uint64, written []*nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last, seq)
	for i, m := range written {
		_, id := ofSubject(m.Subject)
		p, ok := r.held[id]
		if !ok || m.Header.Get(headerGone) != "" { // who has it forgotten gives its room back
			continue
		}
		if strings.HasPrefix(m.Subject, entrySubject) {
			p.entry = loc{seq, i + 1}
		} else {
			p.progress = loc{seq, i + 1}
		}
		r.held[id] = p
	}
}

// first is the sequence before which no entry is, and the last one that is known.
func (r *room) first() (first, last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first = r.last + 1
	for _, p := range r.held {
		first = min(first, p.from)
	}
	return first, r.last
}

// before returns up to most entries that may be before a sequence.
func (r *room) before(seq uint64, most int) (list []ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, p := range r.held {
		if p.from < seq {
			if list = append(list, id); len(list) == most {
				break
			}
		}
	}
	return list
}

// moved notes that an entry is behind a sequence now.
func (r *room) moved(id ID, after uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.held[id]; ok {
		p.from = after + 1
		r.held[id] = p
	}
}

// give gives room back.
func (r *room) give(list ...ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range list {
		r.octets -= r.held[id].size
		delete(r.held, id)
	}
}

func (r *room) used() (entries int, octets int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held), r.octets
}

func ofEntries(entries []Entry) []ID {
	list := make([]ID, 0, len(entries))
	for i := range entries {
		list = append(list, entries[i].ID)
	}
	return list
}
