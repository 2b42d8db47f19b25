// Package storetest has a store in memory for tests of the core, with faults on demand. It keeps nothing over a restart of the process;
// what a test hands from one gateway to the next survives as on a disk.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// Memory implements store.Journal and store.Facts. The zero value is ready.
type Memory struct {
	mu         sync.Mutex
	fail       func(method string) error
	maxEntries int
	last       uint64
	entries    map[store.ID]record
	facts      map[[2]string]fact
	writes     map[string]int
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

var (
	_ store.Journal = (*Memory)(nil)
	_ store.Facts   = (*Memory)(nil)
)

// FailWith has f asked before each write and before Read, with the name of the method: an error is what the method returns, and nothing is written. nil
// ends it.
func (m *Memory) FailWith(f func(method string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = f
}

// Bound sets how many entries the journal takes; 0: no bound.
func (m *Memory) Bound(entries int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.maxEntries = entries
}

// Writes returns how often each method has written, for tests of what costs nothing.
func (m *Memory) Writes() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.writes)
}

// begin counts a write, and fails as Fail says. The caller holds the lock.
func (m *Memory) begin(method string) error {
	if m.fail != nil {
		if err := m.fail(method); err != nil {
			return err
		}
	}
	if m.writes == nil {
		m.writes, m.entries, m.facts = map[string]int{}, map[store.ID]record{}, map[[2]string]fact{}
	}
	m.writes[method]++
	return nil
}

// NewID implements store.Journal.
func (m *Memory) NewID() store.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	return store.ID(fmt.Sprintf("%016x", m.last))
}

// Append implements store.Journal.
func (m *Memory) Append(_ context.Context, entries ...store.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("Append"); err != nil {
		return err
	}
	if m.maxEntries > 0 && len(m.entries)+len(entries) > m.maxEntries {
		return store.ErrFull
	}
	for _, e := range entries {
		e.Octets = slices.Clone(e.Octets)
		m.entries[e.ID] = record{entry: e, progress: store.Progress{Next: e.Accepted}}
	}
	return nil
}

// Mark implements store.Journal.
func (m *Memory) Mark(_ context.Context, id store.ID, p store.Progress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("Mark"); err != nil {
		return err
	}
	r, ok := m.entries[id]
	if !ok {
		return store.ErrNotFound
	}
	r.progress = p
	m.entries[id] = r
	return nil
}

// Exchange implements store.Journal.
func (m *Memory) Exchange(_ context.Context, old store.ID, e store.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("Exchange"); err != nil {
		return err
	}
	delete(m.entries, old)
	e.Octets = slices.Clone(e.Octets)
	m.entries[e.ID] = record{entry: e, progress: store.Progress{Next: e.Accepted}}
	return nil
}

// Remove implements store.Journal.
func (m *Memory) Remove(_ context.Context, ids ...store.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("Remove"); err != nil {
		return err
	}
	for _, id := range ids {
		delete(m.entries, id)
	}
	return nil
}

// Replay implements store.Journal.
func (m *Memory) Replay(_ context.Context, f func(store.Entry, store.Progress) error, _ func(store.ID, error)) error {
	m.mu.Lock()
	all := maps.Clone(m.entries)
	m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if err := f(all[id].entry, all[id].progress); err != nil {
			return err
		}
	}
	return nil
}

// Read implements store.Journal.
func (m *Memory) Read(_ context.Context, id store.ID) (store.Entry, store.Progress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail("Read"); err != nil {
			return store.Entry{}, store.Progress{}, err
		}
	}
	r, ok := m.entries[id]
	if !ok {
		return store.Entry{}, store.Progress{}, store.ErrNotFound
	}
	return r.entry, r.progress, nil
}

// Usage implements store.Journal.
func (m *Memory) Usage() store.Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := store.Usage{Entries: len(m.entries), MaxEntries: m.maxEntries}
	for _, r := range m.entries {
		u.Octets += int64(len(r.entry.Octets))
	}
	return u
}

// alive returns a fact whose life has not ended. The caller holds the lock.
func (m *Memory) alive(k [2]string) (fact, bool) {
	f, ok := m.facts[k]
	if ok && !f.ends.IsZero() && !time.Now().Before(f.ends) {
		delete(m.facts, k)
		ok = false
	}
	return f, ok
}

func (m *Memory) put(k [2]string, value []byte, life time.Duration) {
	m.last++
	f := fact{value: slices.Clone(value), revision: m.last}
	if life > 0 {
		f.ends = time.Now().Add(life)
	}
	m.facts[k] = f
}

// Put implements store.Facts.
func (m *Memory) Put(_ context.Context, bucket, key string, value []byte, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(store.CheckFact(bucket, key), m.begin("Put")); err != nil {
		return err
	}
	m.put([2]string{bucket, key}, value, life)
	return nil
}

// Create implements store.Facts.
func (m *Memory) Create(_ context.Context, bucket, key string, value []byte, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(store.CheckFact(bucket, key), m.begin("Create")); err != nil {
		return err
	}
	if _, ok := m.alive([2]string{bucket, key}); ok {
		return store.ErrExists
	}
	m.put([2]string{bucket, key}, value, life)
	return nil
}

// Replace implements store.Facts.
func (m *Memory) Replace(_ context.Context, bucket, key string, value []byte, revision uint64, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(store.CheckFact(bucket, key), m.begin("Replace")); err != nil {
		return err
	}
	if f, ok := m.alive([2]string{bucket, key}); !ok || f.revision != revision {
		return store.ErrExists
	}
	m.put([2]string{bucket, key}, value, life)
	return nil
}

// Get implements store.Facts.
func (m *Memory) Get(_ context.Context, bucket, key string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.alive([2]string{bucket, key})
	if !ok {
		return nil, 0, store.ErrNotFound
	}
	return slices.Clone(f.value), f.revision, nil
}

// Delete implements store.Facts.
func (m *Memory) Delete(_ context.Context, bucket, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("Delete"); err != nil {
		return err
	}
	delete(m.facts, [2]string{bucket, key})
	return nil
}

// Each implements store.Facts.
func (m *Memory) Each(_ context.Context, bucket string, f func(string, []byte, uint64) error) error {
	m.mu.Lock()
	type item struct {
		key string
		fact
	}
	var all []item
	for k := range m.facts {
		if k[0] != bucket {
			continue
		}
		if v, ok := m.alive(k); ok {
			all = append(all, item{k[1], v})
		}
	}
	m.mu.Unlock()
	for _, i := range all {
		if err := f(i.key, i.value, i.revision); err != nil {
			return err
		}
	}
	return nil
}
