package store_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// T-FI-03: of a store with a damaged file, of a process that was killed or was ended, what is intact is used, what is not is reported and
// kept, and nothing is deleted in silence.
func TestT_FI_03_DamagedFiles(t *testing.T) {
	const entries = 300
	ended := t.TempDir()
	s := open(t, ended, nil)
	for i := range entries {
		e := entry(s, fmt.Sprintf("entry %d %0500d", i, i))
		if err := s.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := s.Mark(t.Context(), e.ID, store.Progress{Attempts: 7}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(t.Context(), "keys", "k", []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
	killed := image(t, ended)
	s.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 24 {
		from := killed
		if n%2 == 0 {
			from = ended
		}
		dir := image(t, from)
		file := filepath.Join(dir, "jetstream/$G/streams/JOURNAL/msgs/1.blk")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		i, what, least := r.IntN(len(b)-5000), "a bit flipped", entries-1
		switch n / 2 % 3 {
		case 0:
			b[i] ^= 1 << r.IntN(8)
		case 1:
			what, least = "zeroes", entries-5
			copy(b[i:], make([]byte, 1000))
		case 2:
			what, least = "cut off", i*entries/len(b)-3
			b = b[:i]
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s, err := store.Open(t.Context(), store.Config{Directory: dir, Logger: zerolog.New(&log)})
		if err != nil {
			t.Fatalf("%s at %d: %v", what, i, err)
		}
		got, progress, unreadable := 0, 0, 0
		err = s.Replay(t.Context(), nil, func(e store.Entry, p store.Progress) error {
			got++
			if p.Attempts == 7 {
				progress++
			}
			return nil
		}, func(store.ID, error) { unreadable++ })
		if err != nil || got < least || unreadable > 0 || s.Usage().Entries != got || progress < got-5 {
			t.Errorf("%s at %d: %d entries, %d with their progress, %d unreadable, %+v, %v", what, i, got, progress, unreadable, s.Usage(), err)
		}
		kept, err := filepath.Glob(filepath.Join(dir, "damaged", "*.blk"))
		if err != nil || len(kept) != 1 || !strings.Contains(log.String(), "damaged") {
			t.Fatalf("%s at %d: kept %q, %v, log %s", what, i, kept, err, &log)
		}
		if k, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(k, b) {
			t.Errorf("%s at %d: what was kept is not what was there: %v", what, i, err)
		}
		if v, _, err := s.Get(t.Context(), "keys", "k"); err != nil || string(v) != "v" {
			t.Errorf("%s at %d: fact %q, %v", what, i, v, err)
		}
		// It goes on, and what was restored is there after the next crash.
		if err := s.Append(t.Context(), entry(s, "more")); err != nil {
			t.Error(err)
		}
		again := open(t, image(t, dir), nil)
		if n := len(held(t, again)); n != got+1 {
			t.Errorf("%s at %d: %d entries after a crash, want %d", what, i, n, got+1)
		}
		again.Close()
		s.Close()
	}
}

// T-FI-04: a file that was being written anew when the machine ended, or that the disk refused, is nothing to the engine, which takes each
// file whose name begins like one of its own for that one.
func TestT_FI_04_AFileThatWasBegunAnew(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	for i := range 20 {
		if err := s.Append(t.Context(), entry(s, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	killed := image(t, dir)
	file := filepath.Join(killed, "jetstream/$G/streams/JOURNAL/msgs/1.blk")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file + ".intact", filepath.Join(filepath.Dir(file), "intact-1.blk.new")} {
		if err := os.WriteFile(name, b[:len(b)/2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, killed, nil)
	var all []store.ID
	err = again.Replay(t.Context(), nil, func(e store.Entry, _ store.Progress) error {
		all = append(all, e.ID)
		return nil
	}, func(_ store.ID, err error) { t.Error(err) })
	if err != nil || len(all) != 20 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	for _, id := range all {
		if err := again.Mark(t.Context(), id, store.Progress{Attempts: 1}); err != nil {
			t.Error(err)
		}
	}
	for _, id := range all {
		if _, p, err := again.Read(t.Context(), id); err != nil || p.Attempts != 1 {
			t.Errorf("%s: %+v, %v", id, p, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*intact*")); err != nil || len(left) != 0 {
		t.Errorf("%q, %v", left, err)
	}
}
