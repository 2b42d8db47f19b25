package gateway

import (
	"context"
	"encoding/binary"
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
	active  atomic.Int64            // lanes
	behind  [laneSides]atomic.Int64 // tasks that wait behind others of their lanes, by the side that their lanes go to
	crowded atomic.Int64            // of these
	workers workers
	busy    sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc

	seeds  [2]maphash.Seed
	shards [laneShards]laneShard
}

const laneShards = 32

// laneSides is how many sides are told apart by what waits for them.
const laneSides = 4

type laneShard struct {
	mu     sync.Mutex
	lanes  map[originKey]*lane
	spare  *lane // one that has ended, for the next
	closed bool  // by drain
}

type lane struct {
	waiting []task // behind the one under way
	side    uint8  // the side that it goes to, modulo laneSides
	crowded bool
}

// The shares of a lane's room, in percent, from which on it is crowded, and under which it is no longer.
const crowdedFrom, crowdedTo = 75, 25

// full tells whether messages may soon be refused for want of room: in one lane, or in all.
func (l *lanes) full() bool {
	return l.crowded.Load() > 0 || l.queued.Load()*100 >= l.inAll.Load()*loadAt
}

// overrun tells whether there is hardly any room for want of speed: in all, or in many lanes that are nearly half full on the average. One lane alone, or a
// few, are full because of recipients who are slow, or have somebody who sends too much.
func (l *lanes) overrun() bool {
	active := l.active.Load()
	return l.queued.Load()*100 >= l.inAll.Load()*loadAt || active >= manyLanes && int64(l.waiting())*100 >= active*l.perLane.Load()*overrunFrom
}

// manyLanes is how many lanes are not a few, overrunFrom the share of their room, in percent, that is in use when more comes than can be done.
const manyLanes, overrunFrom = 16, 40

// waiting is how many tasks are behind others of their lanes.
func (l *lanes) waiting() (n int) {
	for i := range l.behind {
		n += int(l.behind[i].Load())
	}
	return n
}

// waitingFor is how many of these do not go to one side.
func (l *lanes) waitingFor(but int) int { return l.waiting() - int(l.behind[but%laneSides].Load()) }

func newLanes(perLane, inAll int) *lanes {
	l := &lanes{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	l.bound(perLane, inAll)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for i := range l.shards {
		l.shards[i].lanes = make(map[originKey]*lane)
	}
	return l
}

// bound sets how many tasks may wait in one lane, and be there in all. Those that are there stay.
func (l *lanes) bound(perLane, inAll int) {
	l.perLane.Store(int64(perLane))
	l.inAll.Store(int64(inAll))
}

// hash is what a lane is found by: 128 bits of keyed hash, made once for a task, where its key would be hashed anew by each of four looks.
func (l *lanes) hash(k laneKey) originKey {
	var room [256]byte
	b := append(room[:0], byte(k.kind), byte(k.from.Scheme()), byte(k.to.Scheme()))
	b = binary.LittleEndian.AppendUint64(b, uint64(k.side))
	for _, s := range [...]string{k.from.Local(), k.from.Domain(), k.to.Local(), k.to.Domain()} {
		b = append(append(b, s...), 0) // none of the parts can hold a NUL
	}
	return originKey{maphash.Bytes(l.seeds[0], b), maphash.Bytes(l.seeds[1], b)}
}

func (l *lanes) shard(h originKey) *laneShard { return &l.shards[h[0]%laneShards] }

// add puts t at the end of its lane. It returns false when the lane or the whole is full, or when lanes are draining:
// then t has not been taken.
func (l *lanes) add(k laneKey, t task) bool {
	if l.queued.Add(1) > l.inAll.Load() {
		l.queued.Add(-1)
		return false
	}
	h := l.hash(k)
	s := l.shard(h)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		l.queued.Add(-1)
		return false
	}
	if ln := s.lanes[h]; ln != nil {
		if len(ln.waiting) >= int(l.perLane.Load()) {
			s.mu.Unlock()
			l.queued.Add(-1)
			return false
		}
		ln.waiting = append(ln.waiting, t)
		l.behind[ln.side].Add(1)
		if !ln.crowded && int64(len(ln.waiting))*100 >= l.perLane.Load()*crowdedFrom {
			ln.crowded = true
			l.crowded.Add(1)
		}
		s.mu.Unlock()
		return true
	}
	ln := s.spare
	if s.spare = nil; ln == nil {
		ln = &lane{}
	}
	ln.side = uint8(k.side % laneSides)
	s.lanes[h] = ln
	l.active.Add(1)
	l.busy.Add(1)
	s.mu.Unlock()
	l.workers.do(l, shift{s, h, ln, t})
	return true
}

// has tells whether a lane has work.
func (l *lanes) has(k laneKey) bool {
	h := l.hash(k)
	s := l.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes[h] != nil
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
	h := l.hash(k)
	s := l.shard(h)
	s.mu.Lock()
	if ln := s.lanes[h]; ln != nil {
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
func (l *lanes) work(w shift) {
	defer l.busy.Done()
	s, ln, t := w.shard, w.lane, w.task
	for {
		t.run(l.ctx)
		l.queued.Add(-1)
		s.mu.Lock()
		if ln.crowded && int64(len(ln.waiting)-1)*100 <= max(0, l.perLane.Load()*crowdedTo) {
			ln.crowded = false
			l.crowded.Add(-1)
		}
		if len(ln.waiting) == 0 {
			delete(s.lanes, w.key)
			*ln = lane{}
			s.spare = ln
			l.active.Add(-1)
			s.mu.Unlock()
			return
		}
		l.behind[ln.side].Add(-1)
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
