package store_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// A fact that was deleted, or whose last value has ended, is not there again when all nodes crash seconds later, though the engine has written of that
// only marks that have ended too, and its state not yet.
func TestWhatWasForgottenStaysSoWhenAllCopiesCrash(t *testing.T) {
	c := newCluster(t)
	s := c.nodes["a"]
	for _, key := range []string{"deleted", "ended", "kept"} {
		sure(t, func() error { return s.Put(t.Context(), "b", key, []byte("old"), 0) })
	}
	sure(t, func() error { return s.Delete(t.Context(), "b", "deleted") })
	sure(t, func() error { return s.Put(t.Context(), "b", "ended", []byte("new"), time.Second) })
	gone := func(s *store.Store, key string) (gone bool) {
		t.Helper()
		sure(t, func() error {
			_, _, err := s.Get(t.Context(), "b", key)
			if gone = errors.Is(err, store.ErrNotFound); gone {
				return nil
			}
			return err
		})
		return gone
	}
	forgotten := func() bool { return gone(s, "ended") && gone(s, "deleted") }
	for end := time.Now().Add(time.Minute); !forgotten(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not forgotten")
		}
	}
	// The marks of a second would have ended by now. What is on the disks is what a crash of all machines leaves.
	<-time.After(4 * time.Second) // the engine's timers
	after := map[string]string{}
	for name, dir := range c.dirs {
		after[name] = t.TempDir()
		if err := os.CopyFS(after[name], os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		c.nodes[name].Close()
	}
	c.dirs = after
	c.start("a", "b", "c")
	for _, key := range []string{"deleted", "ended"} {
		if s := c.nodes["b"]; !gone(s, key) {
			t.Errorf("what was %s is there again", key)
		}
	}
	if gone(c.nodes["b"], "kept") {
		t.Error("what was kept is gone")
	}
}
