package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// small mounts a file system of so many octets, for as long as the test runs.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("this test mounts, as root: ", err)
		}
		t.Skip("this test mounts, as root: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// T-FI-05: a disk that is full refuses before anything is accepted, loses nothing, and is used again by itself when it has room.
func TestT_FI_05_ADiskThatIsFull(t *testing.T) {
	dir := small(t, "24m")
	s := open(t, filepath.Join(dir, "store"), nil)
	body := string(bytes.Repeat([]byte("x"), 100_000))
	taken := 0
	ctx := func() context.Context {
		c, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		t.Cleanup(cancel)
		return c
	}
	var first store.ID
	for range 500 {
		e := entry(s, body)
		if err := s.Append(ctx(), e); err != nil {
			if !errors.Is(err, store.ErrFull) && !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%v", err)
			}
			break
		}
		if taken++; first == "" {
			first = e.ID
		}
	}
	if taken < 100 {
		t.Fatalf("%d were taken", taken)
	}
	for range 3 {
		if err := s.Append(ctx(), entry(s, "small")); !errors.Is(err, store.ErrFull) && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	}
	// The engine finds the disk without any room.
	free := filepath.Join(dir, "full")
	if f, err := os.Create(free); err == nil {
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		f.Close()
	}
	for range 3 {
		_ = s.Mark(ctx(), first, store.Progress{Attempts: 1}) // it may fail, and must not lose anything
	}
	if err := os.Remove(free); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	err := errors.New("not tried")
	for end, tick := time.Now().Add(time.Minute), time.Tick(200*time.Millisecond); err != nil && time.Now().Before(end); <-tick {
		err = s.Append(ctx(), entry(s, "more"))
	}
	if err != nil {
		t.Fatalf("it does not take again: %v", err)
	}
	if list := held(t, s); len(list) != taken+1 {
		t.Errorf("%d entries, want %d", len(list), taken+1)
	}
	if err := s.Remove(ctx(), first); err != nil {
		t.Error(err)
	}
	r := open(t, image(t, filepath.Join(dir, "store")), nil)
	if list := held(t, r); len(list) != taken {
		t.Errorf("%d entries after a crash, want %d", len(list), taken)
	}
}

// T-FI-05: a store on a disk that is read-only is not opened, and loses nothing.
func TestT_FI_05_ADiskThatIsReadOnly(t *testing.T) {
	dir := small(t, "64m")
	s := open(t, filepath.Join(dir, "store"), nil)
	for i := range 10 {
		if err := s.Append(t.Context(), entry(s, strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	remount := func(flags uintptr) error {
		return syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, "size=64m")
	}
	s.Close()
	if err := remount(syscall.MS_RDONLY); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), store.Config{Directory: filepath.Join(dir, "store")}); err == nil {
		t.Error("a store that cannot be written was opened")
	}
	if err := remount(0); err != nil {
		t.Fatal(err)
	}
	s = open(t, filepath.Join(dir, "store"), nil)
	if n := len(held(t, s)); n != 10 {
		t.Errorf("%d entries", n)
	}
}

// T-FI-05: a store on a disk without any room, filled by somebody else, is opened with all that is in it, takes what becomes of that, and
// refuses more; it takes again when there is room.
func TestT_FI_05_ADiskThatIsFullAtTheStart(t *testing.T) {
	dir := small(t, "48m")
	s := open(t, filepath.Join(dir, "store"), nil)
	for i := range 10 {
		if err := s.Append(t.Context(), entry(s, strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	ballast := filepath.Join(dir, "store", "ballast")
	_, err := os.Stat(ballast)
	for end, tick := time.Now().Add(time.Minute), time.Tick(50*time.Millisecond); err != nil && time.Now().Before(end); <-tick {
		_, err = os.Stat(ballast)
	}
	if err != nil {
		t.Fatal("nothing is kept for a disk that is full: ", err)
	}
	s.Close()
	free := filepath.Join(dir, "full")
	f, err := os.Create(free)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	s = open(t, filepath.Join(dir, "store"), nil)
	if n := len(held(t, s)); n != 10 {
		t.Errorf("%d entries", n)
	}
	if err := s.Append(t.Context(), entry(s, "more")); !errors.Is(err, store.ErrFull) {
		t.Errorf("%v", err)
	}
	var all []store.ID
	err = s.Replay(t.Context(), nil, func(e store.Entry, _ store.Progress) error {
		all = append(all, e.ID)
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range all[:5] {
		if err := s.Mark(t.Context(), id, store.Progress{Attempts: 1}); err != nil {
			t.Errorf("what becomes of an entry cannot be written: %v", err)
		}
		if err := s.Remove(t.Context(), id); err != nil {
			t.Errorf("what becomes of an entry cannot be written: %v", err)
		}
	}
	if err := os.Remove(free); err != nil {
		t.Fatal(err)
	}
	err = errors.New("not tried")
	for end, tick := time.Now().Add(time.Minute), time.Tick(200*time.Millisecond); err != nil && time.Now().Before(end); <-tick {
		err = s.Append(t.Context(), entry(s, "more"))
	}
	if err != nil {
		t.Fatalf("it does not take again: %v", err)
	}
	if n := len(held(t, s)); n != 6 {
		t.Errorf("%d entries", n)
	}
}

// T-FI-05: a disk that becomes read-only while it is used takes nothing.
func TestT_FI_05_ADiskThatBecomesReadOnly(t *testing.T) {
	below := small(t, "100m")
	dir, _ := loopDisk(t, filepath.Join(below, "disk"), "64m")
	s := open(t, filepath.Join(dir, "store"), nil)
	ctx := func() context.Context {
		c, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		t.Cleanup(cancel)
		return c
	}
	taken := 0
	for ; taken < 10; taken++ {
		if err := s.Append(ctx(), entry(s, strconv.Itoa(taken))); err != nil {
			t.Fatal(err)
		}
	}
	// As the kernel does by itself after an error (errors=remount-ro): also with files that are open for writing.
	command(t, "mount", "-o", "remount,abort", dir)
	err := error(nil)
	for i := 0; i < 20 && err == nil; i++ {
		if err = s.Append(ctx(), entry(s, "refused")); err == nil {
			t.Error("taken by a disk that is read-only")
		}
	}
	if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrFull) {
		t.Errorf("%v", err)
	}
	if s.Up() {
		t.Error("it says that it takes what it is given")
	}
}
