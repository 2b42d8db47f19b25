package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An engine that failed to write once does not write again, though the disk may have room by then. It is ended and opened anew: what it
// had told to be written is on the disk, the rest is not known to anybody.

// mendWait is the longest pause between two attempts.
const mendWait = 15 * time.Second

// mend finds out whether the engine takes writes, and opens it anew until it does. It is the janitor's.
func (s *Store) mend() {
	if !s.broken.Load() && s.works() {
		s.trouble.Store(false)
		return
	}
	s.cfg.Logger.Error().Msg("the store fails: it is opened anew")
	began := time.Now()
	if e := s.now.Swap(nil); e != nil {
		e.close()
	}
	for pause := time.Second; s.ending.Err() == nil; pause = min(2*pause, mendWait) {
		err := error(ErrFull)
		// Not opened while there is no room at all: the engine writes to open.
		if s.dropBallast() {
			if err = s.settle(); err == nil {
				err = s.run(s.ending)
			}
			if err == nil && s.works() {
				s.broken.Store(false)
				s.trouble.Store(false)
				s.cfg.Logger.Warn().Float64("s", time.Since(began).Seconds()).Msg("the store is there again")
				return
			}
			if e := s.now.Swap(nil); e != nil {
				e.close()
			}
		}
		if err != nil {
			s.cfg.Logger.Error().Str("fault", clip(err.Error())).Msg("the store cannot be opened anew yet")
		}
		select {
		case <-time.After(pause):
		case <-s.ending.Done():
		}
	}
}

// settle writes the ends of the logs anew. A kernel that failed to write what a file holds takes it for written from then on, though it is in
// its memory alone: it would be read, and be gone after the next crash of the machine.
func (s *Store) settle() error {
	if !s.broken.Load() {
		return nil
	}
	folder, patterns := s.cfg.Directory, []string{filesOfEngine}
	if s.clustered() {
		folder, patterns = filepath.Join(folder, clusterFolder), append(patterns, filesOfLogs)
	}
	var files []string
	for _, pattern := range patterns {
		some, err := filepath.Glob(filepath.Join(folder, filepath.FromSlash(pattern)))
		if err != nil {
			return err
		}
		files = append(files, some...)
	}
	number := func(file string) int {
		n, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(file), ".blk")) // what is no number is no file of the engine
		return n
	}
	slices.SortFunc(files, func(a, b string) int {
		return cmp.Or(cmp.Compare(filepath.Dir(a), filepath.Dir(b)), cmp.Compare(number(a), number(b)))
	})
	for i, file := range files {
		// A batch is at most in two of them.
		if i+2 < len(files) && filepath.Dir(files[i+2]) == filepath.Dir(file) {
			continue
		}
		b, err := os.ReadFile(file)
		if err == nil {
			err = leave(file, b)
		}
		if err != nil {
			return fmt.Errorf("store: write the end of the log anew: %w", err)
		}
	}
	return nil
}

// Up tells whether the store takes what it is given, as far as is known. A store that is full is up.
func (s *Store) Up() bool { return s.now.Load() != nil && !s.broken.Load() && s.ready() == nil }

// works tells whether the engine writes.
func (s *Store) works() bool {
	ctx, cancel := context.WithTimeout(s.ending, 2*time.Second)
	defer cancel()
	e, err := s.engine()
	if err != nil {
		return false
	}
	// Removing what is not there is the least that can be written.
	err = e.commits.write(ctx, nil, gone(0, "probe"))
	if errors.Is(err, errWrite) {
		s.broken.Store(true)
	}
	return err == nil
}
