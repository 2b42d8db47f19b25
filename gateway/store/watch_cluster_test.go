package store_test

import (
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// A watch whose reader was ended tells what has gone meanwhile too, although the engine has forgotten by then that it ever was: the lease of a node
// that dies together with another one's reader ends so.
func TestAWatchTellsWhatHasGoneWithoutATrace(t *testing.T) {
	t.Parallel()
	s := newCluster(t).nodes["a"]
	ctx := t.Context()
	for _, key := range []string{"goes", "stays", "changes"} {
		sure(t, func() error { return s.Put(ctx, "watched", key, []byte("1"), 0) })
	}
	changes, held, on := make(chan store.Change, 100), make(chan struct{}), make(chan struct{})
	go s.Watch(ctx, "watched", func(c store.Change) { //nolint:errcheck // it ends with the test
		if c.Key == "hold" {
			close(held)
			<-on
		}
		changes <- c
	})
	next := func() store.Change {
		t.Helper()
		select {
		case c := <-changes:
			return c
		case <-time.After(time.Minute):
			t.Fatal("no change was told")
		}
		return store.Change{}
	}
	for range 3 {
		next()
	}
	if c := next(); !c.Through {
		t.Fatalf("%+v", c)
	}
	sure(t, func() error { return s.Put(ctx, "watched", "hold", []byte("1"), 0) })
	<-held
	if n, err := store.EndReaders(ctx, s); err != nil || n == 0 {
		t.Fatalf("%d readers: %v", n, err)
	}
	sure(t, func() error { return s.Delete(ctx, "watched", "goes") })
	sure(t, func() error { return s.Put(ctx, "watched", "changes", []byte("2"), 0) })
	for end := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		there, err := store.Traces(ctx, s, "watched", "goes")
		if err == nil && !there {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the mark of what is gone stays: %v", err)
		}
	}
	close(on)
	if c := next(); c.Key != "hold" {
		t.Errorf("%+v", c)
	}
	first, second := next(), next()
	if first.Key == "goes" {
		first, second = second, first
	}
	if first.Key != "changes" || string(first.Value) != "2" || second.Key != "goes" || !second.Gone {
		t.Errorf("%+v, %+v", first, second)
	}
	// It is not told of what it has told.
	sure(t, func() error { return s.Put(ctx, "watched", "stays", []byte("3"), 0) })
	if c := next(); c.Key != "stays" || string(c.Value) != "3" || c.Gone {
		t.Errorf("%+v", c)
	}
}
