package store

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// The journal does not grow with what has passed through it, whether or not something old stays, and what stays is there after a crash.
func TestTheLogIsCutOff(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	s, err := Open(ctx, Config{Directory: dir, Logger: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	entry := func(text string) Entry {
		return Entry{ID: s.NewID(), Kind: KindMessage, Accepted: time.Now(), Expires: time.Now(), Octets: []byte(text)}
	}
	pass := func(n int) {
		t.Helper()
		for i := range n {
			e := entry(fmt.Sprint("passes ", i))
			if err := s.Append(ctx, e); err != nil {
				t.Fatal(err)
			}
			if err := s.Remove(ctx, e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	messages := func() uint64 {
		t.Helper()
		info, err := s.now.Load().journal.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}
	pass(100)
	if err := s.clear(ctx, moveFrom); err != nil {
		t.Fatal(err)
	}
	if n := messages(); n != 0 {
		t.Errorf("%d messages for no entry", n)
	}
	old := entry("old")
	if err := s.Append(ctx, old); err != nil {
		t.Fatal(err)
	}
	if err := s.Mark(ctx, old.ID, Progress{Attempts: 7}); err != nil {
		t.Fatal(err)
	}
	pass(100)
	for range 3 {
		if err := s.clear(ctx, 10); err != nil {
			t.Fatal(err)
		}
	}
	if n := messages(); n > 10 {
		t.Errorf("%d messages for one entry", n)
	}
	// A process that is killed now has one entry, with its progress.
	image := t.TempDir()
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	r, err := Open(context.Background(), Config{Directory: image, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	err = r.Replay(ctx, nil, func(e Entry, p Progress) error {
		if n++; string(e.Octets) != "old" || p.Attempts != 7 {
			t.Errorf("%+v, %+v", e, p)
		}
		return nil
	}, func(id ID, err error) { t.Errorf("%s: %v", id, err) })
	if err != nil || n != 1 {
		t.Errorf("%d entries, %v", n, err)
	}
}
