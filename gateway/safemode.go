package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// A process that dies soon after each start, and starts again, may be dying of what is in its journal. After maxStarts such starts it
// leaves the journal alone: new traffic is served, what is stored stays stored, and an operator is called (T-FI-28).

const (
	// maxStarts is how many starts within startsWindow are a crash loop, where each lasted less than soundAfter.
	maxStarts    = 5
	startsWindow = 10 * time.Minute
	soundAfter   = time.Minute

	bucketStarts = "starts"
	keyStarts    = "recent"
)

// starts counts the starts that did not last.
type starts struct {
	facts store.Facts
	key   string

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// begin notes a start, and tells whether it is one too many, also when it could not be noted.
func (s *starts) begin(ctx context.Context, now time.Time) (looping bool, err error) {
	recent, err := s.recent(ctx, now)
	if err != nil {
		return false, err
	}
	recent = append(recent, now)
	octets, err := json.Marshal(recent)
	if err != nil {
		return false, err
	}
	// Without an end of its life: what the engine forgets by the clock may be there again after a crash, in an older version.
	if err := s.facts.Put(ctx, bucketStarts, s.key, octets, 0); err != nil {
		return len(recent) > maxStarts, fmt.Errorf("gateway: note the start: %w", err)
	}
	return len(recent) > maxStarts, nil
}

// recent are the starts within the window of which none has lasted.
func (s *starts) recent(ctx context.Context, now time.Time) ([]time.Time, error) {
	octets, _, err := s.facts.Get(ctx, bucketStarts, s.key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("gateway: earlier starts: %w", err)
	}
	var all, recent []time.Time
	if json.Unmarshal(octets, &all) != nil {
		return nil, nil // of another version: they are no reason to hold anything
	}
	for _, at := range all {
		if now.Sub(at).Abs() < startsWindow && len(recent) < 2*maxStarts {
			recent = append(recent, at)
		}
	}
	return recent, nil
}

// lasted forgets the starts: this one has lasted, or was ended on purpose.
func (s *starts) lasted() {
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	s.facts.Put(ctx, bucketStarts, s.key, []byte("[]"), 0) //nolint:errcheck // the next start is counted once too often
}

// watch has a start that lasts forgotten, and what it held tried again after a while: a minute without a crash proves nothing of what is
// held, ten show that it may have been something else.
func (s *starts) watch(j *journal) {
	s.after(soundAfter, func() {
		s.lasted()
		s.after(startsWindow-soundAfter, j.resume)
	})
}

func (s *starts) after(d time.Duration, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.timer = time.AfterFunc(d, f)
	}
}

// stop ends the watch. A process that is ended on purpose has not crashed.
func (s *starts) stop() {
	s.mu.Lock()
	was := s.stopped
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	if !was {
		s.lasted()
	}
}

// resume has what a crash loop held back tried again: an operator says so, or there was no crash for ten minutes.
func (j *journal) resume() {
	j.mu.Lock()
	was := j.held && !j.stopped
	j.held = false
	var all []*destination
	if was {
		for _, at := range j.places {
			all = append(all, at)
		}
	}
	j.mu.Unlock()
	if !was {
		return
	}
	j.gateway.log.Warn().Msg("the journal is tried again")
	for _, at := range all {
		j.release(at)
	}
}
