package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

func open(t testing.TB, dir string, change func(*store.Config)) *store.Store {
	t.Helper()
	c := store.Config{Directory: dir, Logger: zerolog.New(zerolog.NewTestWriter(t))}
	if change != nil {
		change(&c)
	}
	s, err := store.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var last *store.Store
	storetest.Contract(t, func() store.Durable {
		if last != nil {
			last.Close()
		}
		last = open(t, dir, nil)
		return last
	})
}

func TestContractOfTheStoreInMemory(t *testing.T) {
	t.Parallel()
	m := &storetest.Memory{}
	storetest.Contract(t, func() store.Durable { return m })
	storetest.ClusterContract(t, m.Join("a"), m.Join("b"))
}

// The faults that tests of the core make are what they say.
func TestTheFaultsOfTheStoreInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &storetest.Memory{}
		a, b := m.Join("a"), m.Join("b")
		taken := 0
		b.Serve(func(context.Context, string, []byte) []byte { taken++; return nil })
		call := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := a.Call(ctx, "b", nil)
			synctest.Wait()
			return err
		}
		for _, c := range []struct {
			name  string
			loss  storetest.Loss
			fault error
			taken int
		}{
			{"delivered", storetest.Delivered, nil, 1},
			{"lost before", storetest.LostBefore, store.ErrUnknown, 0},
			{"lost after", storetest.LostAfter, store.ErrUnknown, 1},
			{"refused", storetest.Refused, store.ErrUnavailable, 0},
		} {
			taken = 0
			a.LoseCalls(func(string) storetest.Loss { return c.loss })
			if err := call(); !errors.Is(err, c.fault) || c.fault == store.ErrUnavailable && errors.Is(err, store.ErrUnknown) || taken != c.taken {
				t.Errorf("%s: %v, taken %d times", c.name, err, taken)
			}
		}
		a.LoseCalls(nil)

		ctx, cancel := context.WithCancel(t.Context())
		var told []string
		ended := make(chan error, 2)
		go func() {
			ended <- b.Watch(ctx, "f", func(c store.Change) { told = append(told, fmt.Sprint(c.Key, c.Gone, c.Through)) })
		}()
		synctest.Wait()
		b.Partition(true)
		if err := b.Put(ctx, "f", "k", nil, 0); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a node that is apart writes: %v", err)
		}
		if err := a.Put(ctx, "f", "k", nil, 0); err != nil {
			t.Error(err)
		}
		if err := call(); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("a call to a node that is apart: %v", err)
		}
		synctest.Wait()
		if len(told) != 1 {
			t.Errorf("a node that is apart was told %q", told)
		}
		b.Partition(false)
		synctest.Wait()
		if fmt.Sprint(told) != "[false true kfalse false]" {
			t.Errorf("told %q", told)
		}
		if err := call(); err != nil {
			t.Error(err)
		}
		b.Serve(func(ctx context.Context, _ string, _ []byte) []byte { b.Kill(); <-ctx.Done(); return nil })
		if err := call(); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("a call to a node that dies: %v", err)
		}
		if err := <-ended; !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a dead node's watch: %v", err)
		}
		if err := call(); !errors.Is(err, store.ErrNoNode) {
			t.Errorf("a call to a dead node: %v", err)
		}
		if _, _, err := b.Get(ctx, "f", "k"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a dead node reads: %v", err)
		}
		if _, _, err := m.Join("b").Get(ctx, "f", "k"); err != nil {
			t.Errorf("a node that was started anew: %v", err)
		}
		cancel()
	})
}

// T-FI-26: two processes do not use one directory.
func TestT_FI_26_ADirectoryIsOneProcesss(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	home := s.Home()
	if _, err := store.Open(context.Background(), store.Config{Directory: dir}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("%v", err)
	}
	s.Close()
	// Whoever has the lock next has the same home, and so knows that nobody else has; a copy of the directory is another one, and so is one that was
	// made anew in its place.
	again := open(t, dir, nil)
	if again.Home() != home || runtime.GOOS == "linux" && len(home) != 32 {
		t.Errorf("home %q was %q", again.Home(), home)
	}
	other := t.TempDir()
	name, err := os.ReadFile(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "lock"), name, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := open(t, other, nil); home != "" && s.Home() == home {
		t.Error("a copy has the same home")
	}
	again.Close()
	if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := open(t, dir, nil); home != "" && (s.Home() == home || s.Home() == "") {
		t.Errorf("a directory without its name has the home %q", s.Home())
	}
	if info, err := os.Stat(filepath.Join(dir, "lock")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info, err)
	}
}

// T-FI-05: a journal that is full refuses, takes again when there is room, and loses nothing.
func TestT_FI_05_Full(t *testing.T) {
	s := open(t, t.TempDir(), func(c *store.Config) { c.MaxEntries = 10 })
	entry := func() store.Entry {
		return store.Entry{ID: s.NewID(), Kind: store.KindMessage, Accepted: time.Now(), Expires: time.Now(), Octets: []byte("x")}
	}
	var taken []store.ID
	for range 10 {
		e := entry()
		if err := s.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		taken = append(taken, e.ID)
	}
	if err := s.Append(t.Context(), entry()); !errors.Is(err, store.ErrFull) {
		t.Fatalf("%v", err)
	}
	// All or none.
	if err := s.Append(t.Context(), entry(), entry()); !errors.Is(err, store.ErrFull) {
		t.Errorf("%v", err)
	}
	if err := s.Mark(t.Context(), taken[0], store.Progress{Attempts: 1}); err != nil {
		t.Errorf("what becomes of an entry cannot be written: %v", err)
	}
	if err := s.Remove(t.Context(), taken[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), entry()); err != nil {
		t.Errorf("there is room: %v", err)
	}
	if err := s.Append(t.Context(), store.Entry{ID: s.NewID(), Octets: make([]byte, 5<<20)}); !errors.Is(err, store.ErrFull) {
		t.Errorf("an entry that is too large: %v", err)
	}
	if u := s.Usage(); u.Entries != 10 || u.MaxEntries != 10 {
		t.Errorf("%+v", u)
	}
}

func TestWhatIsNoID(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	for _, id := range []store.ID{"", "a.b", "a b", "*", ">", "a\r\nb", "ü"} {
		if err := s.Append(t.Context(), store.Entry{ID: id}); err == nil {
			t.Errorf("%q was appended", id)
		}
		if err := s.Mark(t.Context(), id, store.Progress{}); err == nil {
			t.Errorf("%q was marked", id)
		}
		if err := s.Remove(t.Context(), id); err == nil {
			t.Errorf("%q was removed", id)
		}
	}
	if err := s.Append(t.Context(), store.Entry{ID: s.NewID(), Order: "a\r\nb: c"}); err == nil {
		t.Error("an order of two lines was taken")
	}
}

// BenchmarkStored is a message's whole way through the journal: appended, marked, read, removed; all synced, with many at once.
func BenchmarkStored(b *testing.B) {
	s := open(b, b.TempDir(), nil)
	body := make([]byte, 600)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	var wait sync.WaitGroup
	for range 64 {
		wait.Go(func() {
			for next.Add(1) <= int64(b.N) {
				e := store.Entry{ID: s.NewID(), Kind: store.KindMessage, Order: "x", Accepted: time.Now(), Expires: time.Now(), Octets: body}
				if err := s.Append(b.Context(), e); err != nil {
					b.Error(err)
					return
				}
				if err := s.Mark(b.Context(), e.ID, store.Progress{Attempts: 1}); err != nil {
					b.Error(err)
					return
				}
				if _, _, err := s.Read(b.Context(), e.ID); err != nil {
					b.Error(err)
					return
				}
				if err := s.Remove(b.Context(), e.ID); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkAppend is what the sender of a stored message waits for.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := open(b, b.TempDir(), nil)
			body := make([]byte, 600)
			var next atomic.Int64
			b.ResetTimer()
			var wait sync.WaitGroup
			for range callers {
				wait.Go(func() {
					for next.Add(1) <= int64(b.N) {
						e := store.Entry{ID: s.NewID(), Kind: store.KindMessage, Order: "x", Accepted: time.Now(), Expires: time.Now(), Octets: body}
						if err := s.Append(b.Context(), e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkReplay is a restart with 100,000 entries.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	s := open(b, dir, nil)
	body := make([]byte, 600)
	var wait sync.WaitGroup
	for range 128 {
		wait.Go(func() {
			for range 100_000 / 128 {
				e := store.Entry{ID: s.NewID(), Kind: store.KindMessage, Order: "x", Accepted: time.Now(), Expires: time.Now(), Octets: body}
				if err := s.Append(b.Context(), e); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	s.Close()
	b.ResetTimer()
	for range b.N {
		s := open(b, dir, nil)
		n := 0
		if err := s.Replay(b.Context(), nil, func(store.Entry, store.Progress) error { n++; return nil }, nil); err != nil || n < 99_000 {
			b.Fatal(n, err)
		}
		s.Close()
	}
}
