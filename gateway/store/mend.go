package store

import (
	"context"
	"time"
)

// An engine that failed to write once does not write again, though the disk may have room by then. It is ended and opened anew: what it
// had told to be written is on the disk, the rest is not known to anybody.

// mendWait is the longest pause between two attempts.
const mendWait = 15 * time.Second

// mend finds out whether the engine takes writes, and opens it anew until it does. It is the janitor's.
func (s *Store) mend() {
	if s.works() {
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
		if free, all, ok := space(s.cfg.Directory); !ok || free >= min(all/20, maxReserve)/4 {
			if err = s.run(s.ending); err == nil && s.works() {
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

// works tells whether the engine writes.
func (s *Store) works() bool {
	ctx, cancel := context.WithTimeout(s.ending, 2*time.Second)
	defer cancel()
	e, err := s.engine()
	if err != nil {
		return false
	}
	// Removing what is not there is the least that can be written.
	return e.commits.write(ctx, gone(0, "probe")) == nil
}
