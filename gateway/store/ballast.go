package store

import (
	"errors"
	"os"
	"path/filepath"
)

// A disk may be filled by somebody else, to its last block, and what becomes of entries must be written all the same: else what is stored
// could not be handed over. The ballast is a file that takes room for that while there is plenty, and is given up when there is none
// (T-FI-05).

const ballastFile = "ballast"

// ballastSize is how large it is on a disk of so many octets.
func ballastSize(all uint64) uint64 { return min(all/50, 16<<20) }

// dropBallast gives it up if there is no room to write without it, and tells whether there is room then.
func (s *Store) dropBallast() bool {
	free, all, ok := space(s.cfg.Directory)
	if !ok || free >= ballastSize(all)/2 {
		return true
	}
	switch err := os.Remove(filepath.Join(s.cfg.Directory, ballastFile)); {
	case err == nil:
		s.cfg.Logger.Warn().Msg("the disk is full: the store uses the room that it had kept, to hand over what it holds; it takes nothing more")
	case !errors.Is(err, os.ErrNotExist):
		s.cfg.Logger.Error().Str("fault", clip(err.Error())).Msg("the room that the store had kept cannot be used")
	}
	free, _, ok = space(s.cfg.Directory)
	return !ok || free >= ballastSize(all)/2
}

// takeBallast makes it, if it is missing and there is room beyond what is kept free. A file system that cannot allocate goes without.
func (s *Store) takeBallast() {
	name := filepath.Join(s.cfg.Directory, ballastFile)
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		return
	}
	free, all, ok := space(s.cfg.Directory)
	if size := ballastSize(all); ok && size > 0 && free >= min(all/20, maxReserve)+2*size {
		if allocate(name, int64(size)) != nil {
			os.Remove(name) //nolint:errcheck // the next time, or never
		}
	}
}
