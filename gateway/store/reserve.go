package store

import "time"

// The last of a disk is for what becomes of the entries that are there: a new one is refused while there is still room to deliver and
// forget the others (T-FI-05).

// maxReserve bounds what is kept free: the twentieth part of the disk, and no more than this.
const maxReserve = 256 << 20

// reserveEvery is how often it is looked at.
const reserveEvery = 100 * time.Millisecond

// short tells whether the disk is too full for another entry.
func (s *Store) short() bool {
	if !s.local() {
		return false // the disk is not ours
	}
	now := time.Now().UnixNano()
	if looked := s.looked.Load(); now-looked >= int64(reserveEvery) || now < looked {
		if s.looked.CompareAndSwap(looked, now) {
			s.full.Store(s.shortNow())
		}
	}
	return s.full.Load()
}

// shortNow looks.
func (s *Store) shortNow() bool {
	free, all, ok := space(s.cfg.Directory)
	return ok && free < min(all/20, maxReserve)
}
