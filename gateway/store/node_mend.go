package store

import (
	"context"
	"time"
)

// stuckAfter is how long a node of a cluster cannot write, though enough others are there, until it is opened anew. Other leaders are
// elected meanwhile.
const stuckAfter = time.Minute

// tidy is the janitor's work on a cluster, each tidyEvery.
func (n *node) tidy() {
	s := n.store
	if s.broken.Load() || n.disabled() || s.trouble.Load() && !n.works() && n.stuck() {
		n.mend()
		return
	}
	n.sweep()
}

// works tells whether something can be written, and notes it.
func (n *node) works() bool {
	ctx, cancel := context.WithTimeout(n.store.ending, 2*time.Second)
	defer cancel()
	if n.write(ctx, false, n.at.gone(0, "probe")...) != nil {
		return false
	}
	n.store.trouble.Store(false)
	n.troubled = time.Time{}
	return true
}

// stuck tells whether it helps to open this node anew.
func (n *node) stuck() bool {
	switch s := n.store; {
	case !s.local() || s.ready() != nil:
		n.troubled = time.Time{} // it is not this node that fails
	case n.troubled.IsZero():
		n.troubled = time.Now()
	}
	return !n.troubled.IsZero() && time.Since(n.troubled) > stuckAfter
}

// disabled tells whether the engine has given up its disk, or the disk the engine.
func (n *node) disabled() bool {
	e := n.store.now.Load()
	if e == nil || e.server != nil && !e.server.JetStreamEnabled() {
		return true
	}
	select {
	case <-e.failed.Done():
		n.store.broken.Store(true)
		return true
	default:
		return false
	}
}

// mend opens the node anew, until it can be: what it had told to be written is on the disks of most nodes.
func (n *node) mend() {
	s := n.store
	s.cfg.Logger.Error().Msg("the store of this node fails: it is opened anew")
	began := time.Now()
	n.troubled = time.Time{}
	for pause := time.Second; s.ending.Err() == nil; pause = min(2*pause, mendWait) {
		if e := s.now.Swap(nil); e != nil {
			s.leave(e)
			e.close()
		}
		err := s.settle()
		if err == nil {
			err = s.run(s.ending)
		}
		if err == nil {
			s.broken.Store(false)
			s.trouble.Store(false)
			s.cfg.Logger.Warn().Float64("s", time.Since(began).Seconds()).Msg("the store of this node is there again")
			return
		}
		s.cfg.Logger.Error().Str("fault", clip(err.Error())).Msg("the store of this node cannot be opened anew yet")
		select {
		case <-time.After(pause):
		case <-s.ending.Done():
		}
	}
}
