package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// command runs a program of the system.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v, %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// image of a disk, mounted: its options are those of mkfs.ext4. It returns where it is, and what unmounts and mounts it again.
func loopDisk(t *testing.T, img, size string, options ...string) (at string, again func()) {
	t.Helper()
	command(t, "truncate", "-s", size, img)
	command(t, "mkfs.ext4", append(append([]string{"-q", "-F"}, options...), img)...)
	at = t.TempDir()
	mount := func() { command(t, "mount", "-o", "loop", img, at) }
	mount()
	t.Cleanup(func() { _ = exec.Command("umount", at).Run() })
	return at, func() {
		command(t, "umount", at)
		mount()
	}
}

// T-FI-04: after a sync that failed nothing is acknowledged, nothing more is written through the same file, the store says so, and takes
// again by itself when the disk does; what it had acknowledged is on the disk and not in the kernel's memory alone. The disk is a file on
// another one that has no room: its writes fail with EIO.
func TestT_FI_04_ADiskThatRefusesWrites(t *testing.T) {
	below := small(t, "24m")
	dir, again := loopDisk(t, filepath.Join(below, "disk"), "200m", "-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=1")
	log := &lines{}
	ctx := func() context.Context {
		c, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		t.Cleanup(cancel)
		return c
	}
	s, err := store.Open(t.Context(), store.Config{Directory: filepath.Join(dir, "store"), Logger: zerolog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	var acknowledged []string
	body := strings.Repeat("x", 50_000)
	fault := error(nil)
	for i := 0; fault == nil && i < 2000; i++ {
		text := fmt.Sprint(i, " ", body)
		if fault = s.Append(ctx(), entry(s, text)); fault == nil {
			acknowledged = append(acknowledged, text)
		}
	}
	if !errors.Is(fault, store.ErrUnknown) || len(acknowledged) < 10 {
		t.Fatalf("%d were taken, then %v", len(acknowledged), fault)
	}
	if s.Up() || !strings.Contains(log.String(), "the disk refused a write") {
		t.Errorf("up %v, log %s", s.Up(), log)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 25 {
		<-tick.C
		began := time.Now()
		if err := s.Append(ctx(), entry(s, "refused")); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("taken by a disk that does not write: %v", err)
		} else if d := time.Since(began); d > 25*time.Second {
			t.Errorf("refused after %v", d)
		}
	}
	if err := syscall.Mount("tmpfs", below, "tmpfs", syscall.MS_REMOUNT, "size=300m"); err != nil {
		t.Fatal(err)
	}
	err = errors.New("not tried")
	for end, tick := time.Now().Add(time.Minute), time.Tick(200*time.Millisecond); err != nil && time.Now().Before(end); <-tick {
		err = s.Append(ctx(), entry(s, "more"))
	}
	if err != nil {
		t.Fatalf("it does not take again: %v, log %s", err, log)
	}
	if !s.Up() {
		t.Error("it takes, and says that it does not")
	}
	acknowledged = append(acknowledged, "more")
	compare := func(list []string) {
		t.Helper()
		there := map[string]int{}
		for _, text := range list {
			there[text]++
		}
		for _, text := range acknowledged {
			if there[text] != 1 {
				t.Errorf("%.10q is there %d times", text, there[text])
			}
		}
	}
	compare(held(t, s))
	s.Close()
	again() // the kernel forgets what it held
	if out, err := exec.Command("sh", "-c", "ls "+filepath.Join(dir, "store", "damaged")+" 2>/dev/null").Output(); err == nil && len(out) > 0 {
		t.Logf("kept: %s", out)
	}
	s = open(t, filepath.Join(dir, "store"), nil)
	compare(held(t, s))
}

// T-FI-05: a store on a disk without a single file to spare refuses, and goes on when there are some.
func TestT_FI_05_ADiskWithoutInodes(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m,nr_inodes=64"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("this test mounts, as root: ", err)
		}
		t.Skip("this test mounts, as root: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := open(t, filepath.Join(dir, "store"), nil)
	body := strings.Repeat("x", 500_000)
	var acknowledged int
	add := func() error {
		c, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err := s.Append(c, entry(s, body))
		if err == nil {
			acknowledged++
		}
		return err
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "many"), 0o700); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; n < 1000; n++ {
		if os.WriteFile(filepath.Join(dir, "many", fmt.Sprint(n)), nil, 0o600) != nil {
			break
		}
	}
	if n == 1000 {
		t.Fatal("there is no end of inodes")
	}
	// Until the log needs its next file.
	var err error
	for i := 0; i < 60 && err == nil; i++ {
		err = add()
	}
	if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrFull) {
		t.Fatalf("%d were taken, then %v", acknowledged, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "many")); err != nil {
		t.Fatal(err)
	}
	for end, tick := time.Now().Add(time.Minute), time.Tick(200*time.Millisecond); err != nil && time.Now().Before(end); <-tick {
		err = add()
	}
	if err != nil {
		t.Fatalf("it does not take again: %v", err)
	}
	if list := held(t, s); len(list) < acknowledged || len(list) > acknowledged+2 {
		t.Errorf("%d entries, acknowledged were %d", len(list), acknowledged)
	}
}
