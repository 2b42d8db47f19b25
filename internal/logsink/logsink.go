// Package logsink gathers the lines of the log, so that a busy gateway makes one system call for many of them. What it holds back is
// bounded in time and octets, and an error is written at once.
package logsink

import (
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// The bounds of what is held back. A process that is killed loses what came in the last Delay, less than Room octets; one that ends by itself
// loses nothing.
const (
	// Delay is how long a line waits for others.
	Delay = 50 * time.Millisecond
	// Room is how many octets wait. The line that would be beyond it has them written first.
	Room = 64 << 10
)

// Sink is a zerolog.LevelWriter that gathers lines. Lines reach the writer whole and in order. Safe for use from many goroutines.
type Sink struct {
	mu      sync.Mutex // of the fields below
	lines   []byte
	spare   []byte // what was written, to be used again
	waiting bool   // the timer runs
	closed  bool
	timer   *time.Timer

	writing sync.Mutex // held while w is written to; taken before mu
	w       io.Writer
}

var _ zerolog.LevelWriter = (*Sink)(nil)

// New returns a Sink that writes to w. Close it to have the last lines written.
func New(w io.Writer) *Sink {
	s := &Sink{w: w, lines: make([]byte, 0, Room), spare: make([]byte, 0, Room)}
	s.timer = time.AfterFunc(time.Hour, func() { _ = s.Flush() }) // the writer is where faults would be told
	s.timer.Stop()
	return s
}

// Write implements io.Writer for a line without a level: it waits as one of information does.
func (s *Sink) Write(line []byte) (int, error) { return s.WriteLevel(zerolog.NoLevel, line) }

// WriteLevel implements zerolog.LevelWriter. A line of level error or above is in the writer, with all before it, when it returns; its error is
// the writer's. Others wait.
func (s *Sink) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	urgent := level >= zerolog.ErrorLevel && level < zerolog.NoLevel
	s.mu.Lock()
	for len(s.lines) > 0 && len(s.lines)+len(line) > Room {
		s.mu.Unlock()
		if err := s.Flush(); err != nil {
			return 0, err
		}
		s.mu.Lock()
	}
	s.lines = append(s.lines, line...)
	if !urgent && !s.closed {
		if !s.waiting {
			s.waiting = true
			s.timer.Reset(Delay)
		}
		s.mu.Unlock()
		return len(line), nil
	}
	s.mu.Unlock()
	return len(line), s.Flush()
}

// Flush writes what waits. When it returns, every line that was given before it was called has been written, or its error is why not: lines
// that the writer did not take are gone.
func (s *Sink) Flush() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	if s.waiting {
		s.waiting = false
		s.timer.Stop()
	}
	lines := s.lines
	s.lines, s.spare = s.spare[:0], nil
	s.mu.Unlock()
	var err error
	if len(lines) > 0 {
		_, err = s.w.Write(lines)
	}
	if cap(lines) > Room { // one long line
		lines = make([]byte, 0, Room)
	}
	s.mu.Lock()
	s.spare = lines[:0]
	s.mu.Unlock()
	return err
}

// Close writes what waits, and has later lines written at once.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.Flush()
}
