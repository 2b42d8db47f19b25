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
		c, cancel := context.WithTimeout(t.Context(), 4*time.Second)
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
	for end, tick := time.Now().Add(40*time.Second), time.Tick(200*time.Millisecond); err != nil && time.Now().Before(end); <-tick {
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
