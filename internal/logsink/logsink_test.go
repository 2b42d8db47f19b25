package logsink_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/internal/logsink"
)

// calls remembers what each call brought.
type calls struct {
	mu  sync.Mutex
	all []string
	err error
}

func (c *calls) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, string(b))
	if c.err != nil {
		return 0, c.err
	}
	return len(b), nil
}

func (c *calls) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.all...)
}

func TestLinesWaitForOthersAndGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w calls
		s := logsink.New(&w)
		log := zerolog.New(s)
		log.Info().Msg("one")
		log.Warn().Msg("two")
		time.Sleep(logsink.Delay - time.Millisecond)
		if got := w.seen(); len(got) != 0 {
			t.Fatalf("written before its time: %q", got)
		}
		time.Sleep(2 * time.Millisecond)
		want := `{"level":"info","message":"one"}` + "\n" + `{"level":"warn","message":"two"}` + "\n"
		if got := w.seen(); len(got) != 1 || got[0] != want {
			t.Fatalf("written: %q", got)
		}
		time.Sleep(time.Minute)
		if got := w.seen(); len(got) != 1 {
			t.Fatalf("nothing was logged, and written is %q", got[1:])
		}
		log.Info().Msg("three") // the wait begins anew
		time.Sleep(logsink.Delay + time.Millisecond)
		if got := w.seen(); len(got) != 2 {
			t.Fatalf("written: %q", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestErrorIsWrittenAtOnceBehindWhatWaits(t *testing.T) {
	for _, level := range []zerolog.Level{zerolog.ErrorLevel, zerolog.FatalLevel, zerolog.PanicLevel} {
		var w calls
		s := logsink.New(&w)
		for _, line := range []string{"before\n", "bad\n"} {
			at := zerolog.InfoLevel
			if line == "bad\n" {
				at = level
			}
			if n, err := s.WriteLevel(at, []byte(line)); n != len(line) || err != nil {
				t.Fatalf("%s: %d %v", line, n, err)
			}
		}
		if got := w.seen(); len(got) != 1 || got[0] != "before\nbad\n" {
			t.Errorf("%v: written %q", level, got)
		}
	}
}

func TestRoomIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w calls
		s := logsink.New(&w)
		line := []byte(strings.Repeat("x", logsink.Room/4-1) + "\n")
		for range 9 {
			if _, err := s.Write(line); err != nil {
				t.Fatal(err)
			}
		}
		// Two full rooms have left, the ninth line waits.
		if got := w.seen(); len(got) != 2 || len(got[0]) != logsink.Room || len(got[1]) != logsink.Room {
			t.Fatalf("%d writes", len(got))
		}
		long := []byte(strings.Repeat("y", 3*logsink.Room) + "\n")
		if _, err := s.Write(long); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.seen(), ""); len(got) != 9*len(line)+len(long) || !strings.HasSuffix(got, string(long)) {
			t.Fatalf("%d octets were written", len(got))
		}
	})
}

func TestCloseWritesTheLastLinesAndLaterOnesAtOnce(t *testing.T) {
	var w calls
	s := logsink.New(&w)
	fmt.Fprintln(s, "last")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(s, "later")
	if got := w.seen(); len(got) != 2 || got[0] != "last\n" || got[1] != "later\n" {
		t.Fatalf("written: %q", got)
	}
}

func TestFaultOfTheWriterIsToldAndDoesNotStop(t *testing.T) {
	fault := errors.New("no space")
	w := calls{err: fault}
	s := logsink.New(&w)
	if _, err := s.WriteLevel(zerolog.ErrorLevel, []byte("bad\n")); !errors.Is(err, fault) {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.err = nil
	w.mu.Unlock()
	if _, err := s.WriteLevel(zerolog.ErrorLevel, []byte("again\n")); err != nil {
		t.Fatal(err)
	}
	if got := w.seen(); len(got) != 2 || got[1] != "again\n" {
		t.Fatalf("written: %q", got)
	}
}

func TestLinesOfManyGoroutinesStayWholeAndInTheirOrder(t *testing.T) {
	var w calls
	s := logsink.New(&w)
	const writers, lines = 8, 2000
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range lines {
				level := zerolog.InfoLevel
				if n%97 == 0 {
					level = zerolog.ErrorLevel
				}
				if _, err := s.WriteLevel(level, fmt.Appendf(nil, "%d %d %s\n", i, n, strings.Repeat("z", n%50))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := make([]int, writers)
	for _, line := range strings.Split(strings.TrimSuffix(strings.Join(w.seen(), ""), "\n"), "\n") {
		var i, n int
		if _, err := fmt.Sscan(line, &i, &n); err != nil {
			t.Fatalf("a broken line %q: %v", line, err)
		}
		if n != next[i] || !strings.HasSuffix(line, " "+strings.Repeat("z", n%50)) {
			t.Fatalf("line %q where %d of %d was awaited", line, next[i], i)
		}
		next[i]++
	}
	for i, n := range next {
		if n != lines {
			t.Errorf("%d lines of %d", n, i)
		}
	}
}

func BenchmarkSink(b *testing.B) {
	line := bytes.Repeat([]byte("x"), 250)
	s := logsink.New(io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.WriteLevel(zerolog.InfoLevel, line)
	}
	_ = s.Close()
}
