package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// alive returns a fact whose life has not ended. The caller holds the lock.
func (s *shared) alive(k [2]string) (fact, bool) {
	f, ok := s.facts[k]
	if ok && !f.ends.IsZero() && !time.Now().Before(f.ends) {
		delete(s.facts, k)
		ok = false
	}
	return f, ok
}

func (s *shared) put(k [2]string, value []byte, life time.Duration) {
	s.last++
	f := fact{value: slices.Clone(value), revision: s.last}
	if life > 0 {
		f.ends = time.Now().Add(life)
	}
	s.facts[k] = f
	s.notify()
}

// Put implements store.Facts.
func (m *Memory) Put(_ context.Context, bucket, key string, value []byte, life time.Duration) error {
	return m.change("Put", bucket, key, func(s *shared, k [2]string) error {
		s.put(k, value, life)
		return nil
	})
}

// change checks a key and changes what is there.
func (m *Memory) change(method, bucket, key string, f func(*shared, [2]string) error) error {
	if err := store.CheckFact(bucket, key); err != nil {
		return err
	}
	s, err := m.write(method)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	return f(s, [2]string{bucket, key})
}

// Create implements store.Facts.
func (m *Memory) Create(_ context.Context, bucket, key string, value []byte, life time.Duration) error {
	return m.change("Create", bucket, key, func(s *shared, k [2]string) error {
		if _, ok := s.alive(k); ok {
			return store.ErrExists
		}
		s.put(k, value, life)
		return nil
	})
}

// Replace implements store.Facts.
func (m *Memory) Replace(_ context.Context, bucket, key string, value []byte, revision uint64, life time.Duration) error {
	return m.change("Replace", bucket, key, func(s *shared, k [2]string) error {
		if f, ok := s.alive(k); !ok || f.revision != revision {
			return store.ErrExists
		}
		s.put(k, value, life)
		return nil
	})
}

// Get implements store.Facts.
func (m *Memory) Get(_ context.Context, bucket, key string) ([]byte, uint64, error) {
	s := m.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := m.reached(); err != nil {
		return nil, 0, err
	}
	f, ok := s.alive([2]string{bucket, key})
	if !ok {
		return nil, 0, store.ErrNotFound
	}
	return slices.Clone(f.value), f.revision, nil
}

// Delete implements store.Facts.
func (m *Memory) Delete(_ context.Context, bucket, key string) error {
	return m.change("Delete", bucket, key, func(s *shared, k [2]string) error {
		delete(s.facts, k)
		s.notify()
		return nil
	})
}

// bucket is what is there of a bucket, and when the next life in it ends. The caller holds the lock.
func (s *shared) bucket(name string) (all map[string]fact, ends time.Time) {
	all = map[string]fact{}
	for k := range s.facts {
		if k[0] != name {
			continue
		}
		if f, ok := s.alive(k); ok {
			all[k[1]] = f
			if !f.ends.IsZero() && (ends.IsZero() || f.ends.Before(ends)) {
				ends = f.ends
			}
		}
	}
	return all, ends
}

// Each implements store.Facts.
func (m *Memory) Each(_ context.Context, bucket string, f func(string, []byte, uint64) error) error {
	s := m.all()
	s.mu.Lock()
	if err := m.reached(); err != nil {
		s.mu.Unlock()
		return err
	}
	all, _ := s.bucket(bucket)
	s.mu.Unlock()
	for key, v := range all {
		if err := f(key, slices.Clone(v.value), v.revision); err != nil {
			return err
		}
	}
	return nil
}

// EachOf implements store.Facts.
func (m *Memory) EachOf(ctx context.Context, buckets []string, f func(string, string, []byte, uint64) error) error {
	for _, b := range buckets {
		if err := m.Each(ctx, b, func(key string, value []byte, revision uint64) error { return f(b, key, value, revision) }); err != nil {
			return err
		}
	}
	return nil
}

// Watch implements store.Facts. A node that is apart is told what has changed when it is not any more.
func (m *Memory) Watch(ctx context.Context, bucket string, f func(store.Change)) error {
	if err := store.CheckFact(bucket, "x"); err != nil {
		return err
	}
	s := m.all()
	told := map[string]uint64{}
	for through := false; ; {
		s.mu.Lock()
		err := m.reached()
		if err != nil && !through {
			s.mu.Unlock()
			return err
		}
		now, ends := s.bucket(bucket)
		changed := s.changed
		s.mu.Unlock()
		if err == nil {
			for key := range told {
				if _, ok := now[key]; !ok {
					delete(told, key)
					f(store.Change{Key: key, Gone: true})
				}
			}
			for key, v := range now {
				if told[key] != v.revision {
					told[key] = v.revision
					f(store.Change{Key: key, Value: slices.Clone(v.value), Revision: v.revision})
				}
			}
			if !through {
				through = true
				f(store.Change{Through: true})
			}
		}
		if err := m.wait(ctx, changed, ends); err != nil {
			return err
		}
	}
}

// wait returns when something has changed or at a time (zero: none), or fails.
func (m *Memory) wait(ctx context.Context, changed <-chan struct{}, at time.Time) error {
	var due <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-m.dead:
		return store.ErrUnavailable
	case <-changed:
	case <-due:
	}
	return nil
}
