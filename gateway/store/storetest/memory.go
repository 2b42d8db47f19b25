// Package storetest has a store in memory for tests of the core, with faults on demand. It keeps nothing over a restart of the process;
// what a test hands from one gateway to the next survives as on a disk. Several nodes can share one memory, as those of a cluster do.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// Memory implements store.Durable as one node. The zero value is ready and a node by itself; Join makes others that share its memory.
type Memory struct {
	once   sync.Once
	shared *shared
	name   string // "": the first
	home   string

	mu     sync.Mutex // held before shared.mu
	fail   func(method string) error
	last   int64 // of the IDs
	counts map[store.ID]bool
	serve  func(context.Context, string, []byte) []byte
	calls  func(to string) Loss

	// apart and dead are guarded by shared.mu.
	apart bool
	dead  chan struct{} // closed by Kill
}

// shared is what the nodes of one cluster share.
type shared struct {
	mu         sync.Mutex
	maxEntries int
	last       uint64 // revision
	entries    map[store.ID]record
	facts      map[[2]string]fact
	writes     map[string]int
	nodes      map[string]*Memory
	changed    chan struct{} // closed when a fact or a node's state has changed
}

type record struct {
	entry    store.Entry
	progress store.Progress
}

type fact struct {
	value    []byte
	revision uint64
	ends     time.Time
}

var _ store.Durable = (*Memory)(nil)

// all returns what the node shares with others, made at its first use.
func (m *Memory) all() *shared {
	m.once.Do(func() {
		m.dead, m.counts = make(chan struct{}), map[store.ID]bool{}
		if m.shared == nil {
			m.shared = &shared{
				writes: map[string]int{}, entries: map[store.ID]record{}, facts: map[[2]string]fact{}, nodes: map[string]*Memory{},
				changed: make(chan struct{}),
			}
			m.shared.nodes[m.Node()] = m
		}
	})
	return m.shared
}

// Join returns another node of this name that shares the memory; one of that name that was there before is killed and replaced, as by a
// restart. A node's clock is its own: its IDs begin at 1 whatever the others have made.
func (m *Memory) Join(name string) *Memory {
	s := m.all()
	s.mu.Lock()
	old := s.nodes[name]
	s.mu.Unlock()
	if old != nil {
		old.Kill()
	}
	n := &Memory{shared: s, name: name}
	n.all()
	s.mu.Lock()
	s.nodes[name] = n
	s.mu.Unlock()
	return n
}

// notify tells whoever waits that something has changed. The caller holds the lock.
func (s *shared) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// FailWith has f asked before each write of this node and before Read, with the name of the method: an error is what the method returns,
// and nothing is written. nil ends it.
func (m *Memory) FailWith(f func(method string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = f
}

// Bound sets how many entries the journal takes; 0: no bound.
func (m *Memory) Bound(entries int) {
	s := m.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxEntries = entries
}

// Writes returns how often each method has written, on all nodes, for tests of what costs nothing.
func (m *Memory) Writes() map[string]int {
	s := m.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.writes)
}

// reached fails if the node is dead or apart. The caller holds the lock of what is shared.
func (m *Memory) reached() error {
	select {
	case <-m.dead:
		return store.ErrUnavailable
	default:
	}
	if m.apart {
		return store.ErrUnavailable
	}
	return nil
}

// begin locks what is shared, and fails as FailWith says and as the node's state is.
func (m *Memory) begin(method string) (*shared, error) {
	s := m.all()
	m.mu.Lock()
	fail := m.fail
	m.mu.Unlock()
	var err error
	if fail != nil {
		err = fail(method)
	}
	s.mu.Lock()
	if err == nil {
		err = m.reached()
	}
	if err != nil {
		s.mu.Unlock()
		return s, err
	}
	return s, nil
}

// write is begin, counted.
func (m *Memory) write(method string) (*shared, error) {
	s, err := m.begin(method)
	if err == nil {
		s.writes[method]++
	}
	return s, err
}

// NewID implements store.Journal.
func (m *Memory) NewID() store.ID {
	m.all()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	id := fmt.Sprintf("%016x", m.last)
	if m.name != "" {
		id += "-" + m.name + "-"
	}
	return store.ID(id)
}

// count notes that this node has appended or replayed an entry.
func (m *Memory) count(id store.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[id] = true
	if n, err := strconv.ParseInt(string(id[:min(len(id), 16)]), 16, 64); err == nil {
		m.last = max(m.last, n)
	}
}

// Append implements store.Journal.
func (m *Memory) Append(_ context.Context, entries ...store.Entry) error {
	for i := range entries {
		if err := checkPart(entries[i].Part); err != nil {
			return err
		}
	}
	s, err := m.write("Append")
	if err != nil {
		return err
	}
	if s.maxEntries > 0 && len(s.entries)+len(entries) > s.maxEntries {
		s.mu.Unlock()
		return store.ErrFull
	}
	for _, e := range entries {
		e.Octets = slices.Clone(e.Octets)
		s.entries[e.ID] = record{entry: e, progress: store.Progress{Next: e.Accepted}}
	}
	s.mu.Unlock()
	for _, e := range entries {
		m.count(e.ID)
	}
	return nil
}

func checkPart(part int) error {
	if part < 0 || part >= store.Parts {
		return errors.New("storetest: no such part")
	}
	return nil
}

// Mark implements store.Journal.
func (m *Memory) Mark(_ context.Context, id store.ID, p store.Progress) error {
	s, err := m.write("Mark")
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	r, ok := s.entries[id]
	if !ok {
		return store.ErrNotFound
	}
	r.progress = p
	s.entries[id] = r
	return nil
}

// Exchange implements store.Journal.
func (m *Memory) Exchange(_ context.Context, old store.ID, e store.Entry) error {
	if err := checkPart(e.Part); err != nil {
		return err
	}
	s, err := m.write("Exchange")
	if err != nil {
		return err
	}
	p := store.Progress{Next: e.Accepted}
	if r, ok := s.entries[old]; ok && old == e.ID {
		p = r.progress
	}
	delete(s.entries, old)
	e.Octets = slices.Clone(e.Octets)
	s.entries[e.ID] = record{entry: e, progress: p}
	s.mu.Unlock()
	m.count(e.ID)
	return nil
}

// Remove implements store.Journal.
func (m *Memory) Remove(_ context.Context, ids ...store.ID) error {
	s, err := m.write("Remove")
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.entries, id)
	}
	return nil
}

// Replay implements store.Journal.
func (m *Memory) Replay(_ context.Context, parts []int, f func(store.Entry, store.Progress) error, _ func(store.ID, error)) error {
	s := m.all()
	s.mu.Lock()
	if err := m.reached(); err != nil {
		s.mu.Unlock()
		return err
	}
	all := maps.Clone(s.entries)
	s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if parts != nil && !slices.Contains(parts, all[id].entry.Part) {
			continue
		}
		m.count(id)
		if err := f(all[id].entry, all[id].progress); err != nil {
			return err
		}
	}
	return nil
}

// Release implements store.Journal.
func (m *Memory) Release(parts ...int) {
	s := m.all()
	m.mu.Lock()
	defer m.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(m.counts, func(id store.ID, _ bool) bool {
		r, ok := s.entries[id]
		return !ok || slices.Contains(parts, r.entry.Part)
	})
}

// Read implements store.Journal.
func (m *Memory) Read(_ context.Context, id store.ID) (store.Entry, store.Progress, error) {
	s, err := m.begin("Read")
	if err != nil {
		return store.Entry{}, store.Progress{}, err
	}
	defer s.mu.Unlock()
	r, ok := s.entries[id]
	if !ok {
		return store.Entry{}, store.Progress{}, store.ErrNotFound
	}
	return r.entry, r.progress, nil
}

// Usage implements store.Journal.
func (m *Memory) Usage() store.Usage {
	s := m.all()
	m.mu.Lock()
	defer m.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	u := store.Usage{MaxEntries: s.maxEntries}
	for id, r := range s.entries {
		// A gateway that is made anew on a memory of one node finds what is there counted, as after the opening of a directory.
		if m.counts[id] || len(s.nodes) == 1 {
			u.Entries++
			u.Octets += int64(len(r.entry.Octets))
		}
	}
	return u
}

// Entries is how many entries there are, whichever node has them.
func (m *Memory) Entries() int {
	s := m.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}
