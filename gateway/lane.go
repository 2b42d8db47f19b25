package gateway

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// laneKey names a lane: what must stay in order, and what may not be under way twice.
//
// Messages to a SIP side have a lane for each recipient: "A UAC MUST NOT initiate a new out-of-dialog MESSAGE transaction
// to a given URI if there is a previous out-of-dialog transaction pending for the same URI" (RFC 3428 §8); their from is
// the zero Address. Messages to other sides, and everything about a watch, have a lane for each pair: order is promised
// for a pair and not beyond.
type laneKey struct {
	kind     laneKind
	side     int
	from, to cpim.Address
}

type laneKind uint8

const (
	laneMessages laneKind = iota + 1
	laneReports
	laneWatch
	laneNotify
	laneForward // to another gateway
	laneAttend
	laneOutcomes // late outcomes that were stored for their owner
)

// task is one unit of work in a lane. run is called in the lane's goroutine and may wait for the network.
type task interface{ run(ctx context.Context) }

// lanes runs tasks: in order within a lane, at the same time across lanes. A lane exists while it has work, and costs
// nothing afterwards. It is bounded per lane and in all.
//
// Each lane that has work is owned by one goroutine: a worker, which is kept for the next lane when its own has no more work. Safe for use from
// many goroutines.
type lanes struct {
	perLane, inAll atomic.Int64

	queued  atomic.Int64
	workers workers
	busy    sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc

	seed   maphash.Seed
	shards [laneShards]laneShard
}

const laneShards = 32

type laneShard struct {
	mu     sync.Mutex
	lanes  map[laneKey]*lane
	closed bool // by drain
}

type lane struct {
	waiting []task // behind the one under way
}

func newLanes(perLane, inAll int) *lanes {
	l := &lanes{seed: maphash.MakeSeed()}
	l.bound(perLane, inAll)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for i := range l.shards {
		l.shards[i].lanes = make(map[laneKey]*lane)
	}
	return l
}

// bound sets how many tasks may wait in one lane, and be there in all. Those that are there stay.
func (l *lanes) bound(perLane, inAll int) {
	l.perLane.Store(int64(perLane))
	l.inAll.Store(int64(inAll))
}

func (l *lanes) shard(k laneKey) *laneShard {
	return &l.shards[maphash.Comparable(l.seed, k)%laneShards]
}

// add puts t at the end of its lane. It returns false when the lane or the whole is full, or when lanes are draining:
// then t has not been taken.
func (l *lanes) add(k laneKey, t task) bool {
	if l.queued.Add(1) > l.inAll.Load() {
		l.queued.Add(-1)
		return false
	}
	s := l.shard(k)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		l.queued.Add(-1)
		return false
	}
	if ln := s.lanes[k]; ln != nil {
		if len(ln.waiting) >= int(l.perLane.Load()) {
			s.mu.Unlock()
			l.queued.Add(-1)
			return false
		}
		ln.waiting = append(ln.waiting, t)
		s.mu.Unlock()
		return true
	}
	s.lanes[k] = &lane{}
	l.busy.Add(1)
	s.mu.Unlock()
	l.workers.do(l, shift{s, k, t})
	return true
}

// has tells whether a lane has work.
func (l *lanes) has(k laneKey) bool {
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes[k] != nil
}

// replaceable is a task that a newer one of the same lane may supersede while it still waits (presence: newest wins).
type replaceable interface {
	task
	// supersededBy tells whether newer makes this one needless, and whether the search ends here because no task before
	// this one may be superseded by newer.
	supersededBy(newer task) (yes, stop bool)
	// superseded is called when a newer task has taken its place: it will not run.
	superseded()
}

// addNewest is add for presence and activity: if a waiting task is made needless by t, t takes its place.
func (l *lanes) addNewest(k laneKey, t task) bool {
	s := l.shard(k)
	s.mu.Lock()
	if ln := s.lanes[k]; ln != nil {
		for i := len(ln.waiting) - 1; i >= 0; i-- {
			old, ok := ln.waiting[i].(replaceable)
			if !ok {
				continue
			}
			yes, stop := old.supersededBy(t)
			if yes {
				ln.waiting[i] = t
				s.mu.Unlock()
				old.superseded()
				return true
			}
			if stop {
				break
			}
		}
	}
	s.mu.Unlock()
	return l.add(k, t)
}

// work owns one lane until it has no more work.
func (l *lanes) work(s *laneShard, k laneKey, t task) {
	defer l.busy.Done()
	for {
		t.run(l.ctx)
		l.queued.Add(-1)
		s.mu.Lock()
		ln := s.lanes[k]
		if len(ln.waiting) == 0 {
			delete(s.lanes, k)
			s.mu.Unlock()
			return
		}
		t = ln.waiting[0]
		ln.waiting[0] = nil
		ln.waiting = ln.waiting[1:]
		s.mu.Unlock()
	}
}

// drain refuses new tasks and waits until all have run. When ctx ends first, the tasks' own context is cancelled, so
// that each ends with an answer, and ctx's error is returned.
func (l *lanes) drain(ctx context.Context) error {
	for i := range l.shards {
		// Under the lock: whoever found it open has counted its task in busy by now, so none is counted while they are waited for.
		s := &l.shards[i]
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
	}
	done := make(chan struct{})
	go func() {
		l.busy.Wait()
		close(done)
	}()
	defer l.workers.stop()
	select {
	case <-done:
		l.cancel()
		return nil
	case <-ctx.Done():
		l.cancel()
		<-done
		return ctx.Err()
	}
}

// count returns the tasks waiting or under way and the lanes that exist, for metrics.
func (l *lanes) count() (tasks, active int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		active += len(s.lanes)
		s.mu.Unlock()
	}
	return int(l.queued.Load()), active
}
