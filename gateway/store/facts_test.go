package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !so(); {
		if time.Now().After(end) {
			t.Fatal(what)
		}
		tick := time.NewTimer(20 * time.Millisecond)
		<-tick.C
	}
}

// T-FI-01: the older value of a fact is not there again after a crash when the newer one has come to the end of its life, or was deleted, and
// the disk holds nothing of that one any more.
func TestT_FI_01_AFactThatIsGoneStaysGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	ctx := t.Context()
	put := func(bucket, key, value string, life time.Duration) {
		t.Helper()
		if err := s.Put(ctx, bucket, key, []byte(value), life); err != nil {
			t.Fatal(err)
		}
	}
	// So much that the engine goes on to another file.
	much := func(bucket string, life time.Duration) {
		t.Helper()
		for i := range 10 {
			put(bucket, fmt.Sprint(i), string(make([]byte, 1<<20)), life)
		}
	}
	none := func(bucket string) func() bool {
		return func() bool {
			n := 0
			if err := s.Each(ctx, bucket, func(string, []byte, uint64) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			return n == 0
		}
	}
	put("b", "ended", "old", 0)
	put("b", "deleted", "old", 0)
	put("b", "stays", "old", 0)
	put("b", "constant", "old", 0) // the first file stays
	much("long", 0)
	put("b", "ended", "new", time.Second)
	put("b", "stays", "new", time.Hour)
	if err := s.Delete(ctx, "b", "deleted"); err != nil {
		t.Fatal(err)
	}
	much("short", time.Second)
	put("b", "stays", "newer", 0)
	much("longer", 0)
	eventually(t, "a life does not end", none("short"))
	<-time.After(2 * time.Second) // the engine may write that something has ended, and forget that later
	much("shorter", time.Second)
	much("longest", 0)
	eventually(t, "a life does not end", none("shorter"))
	// What the engine or the janitor do with what is gone they may have done by then, or not.
	for _, after := range []time.Duration{0, 4 * time.Second} {
		<-time.After(after)
		r := open(t, image(t, dir), nil)
		for _, key := range []string{"ended", "deleted"} {
			if v, _, err := r.Get(ctx, "b", key); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("after %v: %s is %q again, %v", after, key, v, err)
			}
		}
		if v, _, err := r.Get(ctx, "b", "stays"); string(v) != "newer" {
			t.Errorf("after %v: %q, %v", after, v, err)
		}
		r.Close()
	}
}

// The log of the facts does not grow with what is written over, and nothing of what is valid is lost with what is cut off, nor its revision.
func TestTheLogOfFactsIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	ctx := t.Context()
	revisions := map[string]uint64{}
	for i := range 200 {
		key := fmt.Sprint(i)
		if err := s.Put(ctx, "static", key, []byte(key), 0); err != nil {
			t.Fatal(err)
		}
		_, revision, err := s.Get(ctx, "static", key)
		if err != nil {
			t.Fatal(err)
		}
		revisions[key] = revision
	}
	var told atomic.Int64
	watching, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	through := make(chan struct{})
	go func() {
		ended <- s.Watch(watching, "static", func(c store.Change) {
			if told.Add(1); c.Through {
				close(through)
			}
		})
	}()
	<-through
	for i := range 500 {
		if err := s.Put(ctx, "busy", fmt.Sprint(i%7), make([]byte, 64<<10), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.TidyFacts(s, 0); err != nil {
		t.Fatal(err)
	}
	if err := store.TidyFacts(s, 0); err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	files, err := filepath.Glob(filepath.Join(dir, "jetstream/$G/streams/FACTS/msgs/*.blk"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 16<<20 { // the engine's files are of 8 MiB
		t.Errorf("200 facts and 7 of 64 KiB take %d octets", size)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) || told.Load() != 201 {
		t.Errorf("%v, told %d times: what is written anew is no change", err, told.Load())
	}
	for name, r := range map[string]*store.Store{"here": s, "after a crash": open(t, image(t, dir), nil)} {
		for key, revision := range revisions {
			if v, got, err := r.Get(ctx, "static", key); err != nil || string(v) != key || got != revision {
				t.Errorf("%s: %q, revision %d instead of %d, %v", name, v, got, revision, err)
			}
		}
		if err := r.Replace(ctx, "static", "7", []byte("x"), revisions["7"], 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.Replace(ctx, "static", "7", []byte("y"), revisions["7"], 0); !errors.Is(err, store.ErrExists) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Large facts are moved too: otherwise the log is never cut off again, and grows until the disk is full.
func TestLargeFactsAreMoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	ctx := t.Context()
	const large = 70 // together more than the engine takes in one message
	for i := range large {
		if err := s.Put(ctx, "large", fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, 80<<10), 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 400 {
		if err := s.Put(ctx, "busy", "one", make([]byte, 64<<10), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.TidyFacts(s, 0); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*store.Store{"here": s, "after a crash": open(t, image(t, dir), nil)} {
		for i := range large {
			if v, _, err := r.Get(ctx, "large", fmt.Sprint(i)); err != nil || len(v) != 80<<10 || v[0] != byte(i) {
				t.Errorf("%s: fact %d has %d octets, %v", name, i, len(v), err)
			}
		}
	}
}

// Of many that create or replace one fact at once one does.
func TestFactsOfOneNameAreWrittenOneAfterTheOther(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	ctx := t.Context()
	try := func(f func(i int) error) (done int64) {
		var n atomic.Int64
		var wait sync.WaitGroup
		for i := range 32 {
			wait.Go(func() {
				switch err := f(i); {
				case err == nil:
					n.Add(1)
				case !errors.Is(err, store.ErrExists):
					t.Error(err)
				}
			})
		}
		wait.Wait()
		return n.Load()
	}
	if n := try(func(i int) error { return s.Create(ctx, "b", "k", fmt.Append(nil, i), 0) }); n != 1 {
		t.Errorf("%d have created it", n)
	}
	_, revision, err := s.Get(ctx, "b", "k")
	if err != nil {
		t.Fatal(err)
	}
	if n := try(func(i int) error { return s.Replace(ctx, "b", "k", fmt.Append(nil, i), revision, 0) }); n != 1 {
		t.Errorf("%d have replaced it", n)
	}
	// Who gives up before it is written leaves the name to the others.
	none, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Put(none, "b", "k", nil, 0); err == nil {
		t.Error("written for nobody")
	}
	if err := s.Put(ctx, "b", "k", []byte("last"), 0); err != nil {
		t.Error(err)
	}
	if v, _, err := s.Get(ctx, "b", "k"); string(v) != "last" {
		t.Errorf("%q, %v", v, err)
	}
}

// BenchmarkFacts is what who writes a fact waits for: synced, with many at once.
func BenchmarkFacts(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := open(b, b.TempDir(), nil)
			value := make([]byte, 500)
			var next atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wait sync.WaitGroup
			for range callers {
				wait.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if err := s.Put(b.Context(), "watches/07", fmt.Sprintf("%032x", i), value, 0); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "facts/s")
		})
	}
}

// BenchmarkFactsLearned is a restart with 100,000 facts.
func BenchmarkFactsLearned(b *testing.B) {
	dir := b.TempDir()
	s := open(b, dir, nil)
	value := make([]byte, 500)
	var wait sync.WaitGroup
	for w := range 100 {
		wait.Go(func() {
			for i := range 1000 {
				if err := s.Put(b.Context(), fmt.Sprintf("watches/%02d", i%store.Parts), fmt.Sprintf("%032x", 1000*w+i), value, 0); err != nil {
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
		for part := range store.Parts {
			if err := s.Each(b.Context(), fmt.Sprintf("watches/%02d", part), func(string, []byte, uint64) error { n++; return nil }); err != nil {
				b.Fatal(err)
			}
		}
		if n != 100_000 {
			b.Fatal(n)
		}
		s.Close()
	}
}
