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
		if err := s.Put(t.Context(), "b", key, []byte("old"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), "b", "deleted"); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "b", "ended", []byte("new"), time.Second); err != nil {
		t.Fatal(err)
	}
	gone := func(s *store.Store, key string) bool {
		_, _, err := s.Get(t.Context(), "b", key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return err != nil
	}
	forgotten := func() bool { return gone(s, "ended") && gone(s, "deleted") }
	for end := time.Now().Add(30 * time.Second); !forgotten(); <-time.After(50 * time.Millisecond) {
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
