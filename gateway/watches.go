package gateway

import (
	"container/heap"
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
)

// watches runs the state machine of package watch for every pair: it brings it the events, keeps its timers, and does what
// it says. A shard's lock guards the states of the shard; it is never held while anything waits, so a network reader may
// call in.
type watches struct {
	gateway *Gateway
	lanes   *lanes
	seed    maphash.Seed
	held    atomic.Int64
	shards  [watchShards]watchShard
}

const watchShards = 16

// pair is the key of a state.
type pair struct{ watcher, presentity cpim.Address }

type watchShard struct {
	mu     sync.Mutex
	states map[pair]*watched
	wakes  wakeHeap
	timer  *time.Timer
	closed bool
	// todo holds what the last steps of a pair want done, while a goroutine does what an earlier one wanted: effects are done in
	// the order of the steps, whoever brought the events. A pair is in it while it has such a goroutine.
	todo map[pair][]job
}

// job is the effects of one step.
type job struct {
	effects []watch.Effect
	respond func(adapters.WatchStatus) // set if the step's event asked, called exactly once
}

// watched is one state, and when it wants to be woken.
type watched struct {
	pair  pair
	state *watch.State
	wake  time.Time
	index int // in the heap; -1: not there
}

// wakeHeap has each state that waits for a time once, the earliest first.
type wakeHeap []*watched

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].wake.Before(h[j].wake) }
func (h wakeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *wakeHeap) Push(x any) {
	w := x.(*watched)
	w.index = len(*h)
	*h = append(*h, w)
}

func (h *wakeHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	x.index = -1
	return x
}

func newWatches(g *Gateway) *watches {
	w := &watches{
		gateway: g,
		seed:    maphash.MakeSeed(),
		// A lane of a pair holds at most a few requests, or a few notifications for each of its sessions.
		lanes: newLanes(watchLanes(g.limits())),
	}
	for i := range w.shards {
		w.shards[i].states = make(map[pair]*watched)
		w.shards[i].todo = make(map[pair][]job)
	}
	return w
}

// watchLanes is how many requests and notifications may wait for one pair, and in all.
func watchLanes(l *Limits) (perLane, inAll int) { return 4*l.WatchSessions + 16, 4 * l.Watches }

// bound takes on new limits: those of the pairs that are there stay as they are.
func (w *watches) bound(l *Limits) { w.lanes.bound(watchLanes(l)) }

func (w *watches) start() {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		s.timer = time.AfterFunc(time.Hour, func() { w.tick(s) })
		s.timer.Stop()
		s.mu.Unlock()
	}
}

// stop ends the timers and drops what waits for the network: watches do not outlive the process in this form.
func (w *watches) stop() {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		s.closed = true
		if s.timer != nil {
			s.timer.Stop()
		}
		s.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.lanes.drain(ctx) // its only error is that of the context
}

func (w *watches) count() int { return int(w.held.Load()) }

func (w *watches) shard(p pair) *watchShard {
	return &w.shards[maphash.Comparable(w.seed, p)%watchShards]
}

func pairOf(id adapters.WatchID) pair { return pair{id.Watcher, id.Presentity} }

// Watch implements adapters.Handler.
func (h *handler) Watch(_ context.Context, op *adapters.WatchOp, respond func(adapters.WatchStatus)) {
	g := h.gateway
	op.ID = g.ids.operation()
	r := result{
		operation: opWatch, id: op.ID, from: h.side, began: time.Now(), peer: op.Peer.Name, verb: op.Verb,
		sender: op.Watch.Watcher, recipient: op.Watch.Presentity, transID: op.TransID,
	}
	end := func(s adapters.WatchStatus) {
		respond(s)
		r.status = s.Status
		g.finish(&r)
	}
	to, refused := g.admitAddresses(h.side, op.Watch.Watcher, op.Watch.Presentity)
	switch {
	case refused.Outcome != 0:
	case g.draining.Load():
		refused = adapters.Failed(adapters.ReasonOverloaded, "The gateway is shutting down")
	case op.Hops <= 0:
		refused = adapters.Failed(adapters.ReasonLoop, "No hops left")
	default:
		refused = g.permitWatch(op)
	}
	if to != nil {
		r.to = to.side
	}
	if refused.Outcome != 0 {
		end(adapters.WatchStatus{Status: refused})
		return
	}
	event := watch.Event{Asked: op}
	if !g.watches.step(pairOf(op.Watch), event, to, end) {
		end(adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "Too many watches")})
	}
}

// Notify implements adapters.Handler.
func (h *handler) Notify(_ context.Context, op *adapters.NotifyOp) {
	g := h.gateway
	op.ID = g.ids.operation()
	_, refused := g.admitAddresses(h.side, op.Watch.Presentity, op.Watch.Watcher)
	if refused.Outcome == 0 {
		refused = g.permitNotify(op)
	}
	if refused.Outcome != 0 {
		if op.Kept != nil {
			op.Kept()
		}
		g.finish(&result{
			operation: opNotify, id: op.ID, from: h.side, began: time.Now(), peer: op.Peer.Name, state: op.State,
			sender: op.Watch.Presentity, recipient: op.Watch.Watcher, status: refused,
		})
		return
	}
	g.watches.step(pairOf(op.Watch), watch.Event{Told: op}, nil, nil)
	if op.Kept != nil {
		op.Kept()
	}
}

// step brings one event to the state of p and does what it wants done, in the order of the steps: if another goroutine is doing what an
// earlier step of p wanted, that one does this too. respond belongs to an event that asked, and presentity is the route of who is
// asked for: with it a state is made where there is none; false says that there is no room for it, and that respond was not called.
// Any other event for a pair without a state tells nobody anything.
func (w *watches) step(p pair, e watch.Event, presentity *route, respond func(adapters.WatchStatus)) bool {
	s := w.shard(p)
	s.mu.Lock()
	x := s.states[p]
	if x == nil {
		switch {
		case presentity == nil:
			s.mu.Unlock()
			if e.Told != nil {
				w.gateway.metrics.dropped.WithLabelValues(string(watch.DropUnasked)).Inc()
			}
			return true
		case s.closed || !w.room(s):
			s.mu.Unlock()
			return false
		}
		x = w.open(s, p, presentity)
	}
	j := job{effects: x.state.Step(time.Now(), e), respond: respond}
	w.settle(s, x)
	mine := s.enqueue(p, j)
	s.mu.Unlock()
	if mine {
		w.work(s, p)
	}
	return true
}

// open makes the state of p. The shard's lock is held.
func (w *watches) open(s *watchShard, p pair, presentity *route) *watched {
	limits := w.gateway.limits()
	x := &watched{pair: p, index: -1, state: watch.New(p.watcher, p.presentity, watch.Rules{
		AsksExplicitly: presentity.side.caps.AsksExplicitly,
		Sessions:       limits.WatchSessions,
		Devices:        limits.Devices,
		Duration:       limits.WatchDuration,
		FetchWait:      limits.FetchWait,
		RetryFirst:     watchRetryFirst,
		RetryMost:      watchRetryMost,
	})}
	s.states[p] = x
	w.held.Add(1)
	return x
}

// room tells whether one more state may be made. When all are taken, an authorization that nobody uses makes room: the presentity's side
// keeps it too. It is looked for among a few states only, so that a full table costs no more than that. The shard's lock is held.
func (w *watches) room(s *watchShard) bool {
	if w.held.Load() < int64(w.gateway.limits().Watches) {
		return true
	}
	const most = 64
	seen := 0
	for _, x := range s.states { // in no order
		if x.state.Resting() {
			w.forget(s, x)
			return true
		}
		if seen++; seen == most {
			break
		}
	}
	return false
}

// forget drops x. The shard's lock is held.
func (w *watches) forget(s *watchShard, x *watched) {
	if x.index >= 0 {
		heap.Remove(&s.wakes, x.index)
	}
	delete(s.states, x.pair)
	w.held.Add(-1)
}

// enqueue puts j behind what p still wants done. It returns true if the caller is to do it, with work. The shard's lock is held.
func (s *watchShard) enqueue(p pair, j job) (mine bool) {
	if len(j.effects) == 0 && j.respond == nil {
		return false
	}
	waiting, taken := s.todo[p]
	s.todo[p] = append(waiting, j)
	return !taken
}

// work does what p wants done until there is no more.
func (w *watches) work(s *watchShard, p pair) {
	for {
		s.mu.Lock()
		waiting := s.todo[p]
		if len(waiting) == 0 {
			delete(s.todo, p)
			s.mu.Unlock()
			return
		}
		s.todo[p] = nil // p stays in the map: it has its goroutine
		s.mu.Unlock()
		for _, j := range waiting {
			w.do(p, j)
		}
	}
}

// The waits before a watch that ended for a passing reason is opened again.
const (
	watchRetryFirst = 30 * time.Second
	watchRetryMost  = 30 * time.Minute
)

// settle keeps the timer of x right, and forgets x when it holds nothing. The shard's lock is held.
func (w *watches) settle(s *watchShard, x *watched) {
	if x.state.Idle() {
		w.forget(s, x)
		return
	}
	at := x.state.Wake()
	switch {
	case at.IsZero() || s.closed:
		if x.index >= 0 {
			heap.Remove(&s.wakes, x.index)
		}
		return
	case x.index < 0:
		x.wake = at
		heap.Push(&s.wakes, x)
	case !at.Equal(x.wake):
		x.wake = at
		heap.Fix(&s.wakes, x.index)
	default:
		return
	}
	if x.index == 0 && s.timer != nil {
		s.timer.Reset(time.Until(at))
	}
}

// tick brings a Tick to every state of s that is due.
func (w *watches) tick(s *watchShard) {
	var due []*watched
	var mine []pair
	s.mu.Lock()
	now := time.Now()
	for len(s.wakes) > 0 && !s.wakes[0].wake.After(now) && !s.closed {
		due = append(due, heap.Pop(&s.wakes).(*watched))
	}
	for _, x := range due {
		j := job{effects: x.state.Step(now, watch.Event{Tick: true})}
		w.settle(s, x)
		if s.enqueue(x.pair, j) {
			mine = append(mine, x.pair)
		}
	}
	if len(s.wakes) > 0 && !s.closed {
		s.timer.Reset(time.Until(s.wakes[0].wake))
	}
	s.mu.Unlock()
	for _, p := range mine {
		w.work(s, p)
	}
}

// do answers, and puts the effects that wait for the network into the pair's two lanes: what is asked of the presentity's side and what is
// told to the watcher's are each in order, and a side that does not answer does not hold up the other.
func (w *watches) do(p pair, j job) {
	respond := j.respond
	for _, e := range j.effects {
		if e.Respond != nil && respond != nil {
			// Before the first notification leaves, so that an adapter has sent its answer (RFC 6665 §4.2.1.2 lets a
			// NOTIFY overtake it, but few user agents like that).
			w.answerWatcher(respond, *e.Respond)
			respond = nil
			continue
		}
		w.effect(p, e)
	}
	if respond != nil {
		w.answerWatcher(respond, adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonInternal, "")})
	}
}

// answerWatcher calls respond. A panic of the adapter in it must not keep the pair from what else is to be done.
func (w *watches) answerWatcher(respond func(adapters.WatchStatus), s adapters.WatchStatus) {
	defer func() { w.gateway.recovered("", "an answer", recover()) }()
	respond(s)
}

func (w *watches) effect(p pair, e watch.Effect) {
	g := w.gateway
	switch {
	case e.Dropped != "":
		g.metrics.dropped.WithLabelValues(string(e.Dropped)).Inc()
	case e.Request != nil:
		t := &watchRequest{watches: w, pair: p, request: e.Request, began: time.Now(), id: g.ids.operation()}
		if !w.lanes.add(laneKey{kind: laneWatch, from: p.watcher, to: p.presentity}, t) {
			// As if the presentity's side had refused: the state machine tries again in its time.
			w.answer(t, adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "")})
		}
	case e.Tell != nil:
		t := &telling{watches: w, pair: p, op: e.Tell, began: time.Now()}
		t.op.ID = g.ids.operation()
		if !w.lanes.addNewest(laneKey{kind: laneNotify, from: p.presentity, to: p.watcher}, t) {
			g.metrics.dropped.WithLabelValues("overloaded").Inc()
		}
	}
}

// watchRequest is a Request effect on its way to the presentity's side.
type watchRequest struct {
	watches *watches
	pair    pair
	request *watch.Request
	began   time.Time
	id      string
}

// run implements task.
func (t *watchRequest) run(ctx context.Context) {
	g := t.watches.gateway
	status := adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonInternal, "")}
	defer func() {
		g.recovered(t.id, "a watch", recover())
		t.watches.answer(t, status)
	}()
	r := g.routeOf(t.pair.presentity.Domain())
	op := &adapters.WatchOp{
		ID: t.id, Verb: t.request.Verb, Duration: t.request.Duration, Instance: t.request.Instance,
		Note: t.request.Note, NoteLang: t.request.NoteLang, WatcherName: t.request.Name,
		Watch:    adapters.WatchID{Watcher: t.pair.watcher, Presentity: t.pair.presentity},
		Hops:     adapters.DefaultHops,
		Deadline: time.Now().Add(g.limits().DirectWait),
	}
	hops, failed := g.nextHops(ctx, r, t.pair.presentity, op.Deadline)
	if failed.Outcome != 0 {
		status.Status = failed
		return
	}
	if g.observe != nil {
		g.observe(Observation{From: g.sideOf(t.pair.watcher.Domain()).label(), To: r.side.name, Watch: op})
	}
	status = r.side.adapter.Watch(ctx, hops, op)
}

// answer brings the outcome of a request back to its state, and writes the operation's line.
func (w *watches) answer(t *watchRequest, status adapters.WatchStatus) {
	g := w.gateway
	if status.Outcome == 0 {
		status.Status = adapters.Failed(adapters.ReasonInternal, "")
	}
	g.finish(&result{
		operation: opWatch, id: t.id, from: g.sideOf(t.pair.watcher.Domain()), to: g.sideOf(t.pair.presentity.Domain()),
		began: t.began, verb: t.request.Verb, sender: t.pair.watcher, recipient: t.pair.presentity, status: status.Status,
	})
	w.step(t.pair, watch.Event{Answered: &watch.Answer{Verb: t.request.Verb, Serial: t.request.Serial, Status: status}}, nil, nil)
}

// telling is a Tell effect on its way to the watcher's side.
type telling struct {
	watches *watches
	pair    pair
	op      *adapters.NotifyOp
	began   time.Time
}

// supersededBy implements replaceable: presence keeps the newest, but a change of the authorization or of the watch's
// state is always told.
func (t *telling) supersededBy(newer task) (yes, stop bool) {
	n, ok := newer.(*telling)
	if !ok || n.op.Watch.Session != t.op.Watch.Session {
		return false, false
	}
	if t.op.Change != adapters.AuthorizationUnchanged || t.op.Failure.Outcome != 0 || t.op.State != n.op.State {
		return false, true
	}
	// What the older one would have withdrawn is still to be withdrawn, unless it has come back since.
	for _, id := range t.op.Withdrawn {
		if n.op.Presence == nil || n.op.Presence.Tuple(id) == nil {
			n.op.Withdrawn = append(n.op.Withdrawn, id)
		}
	}
	return true, true
}

// superseded implements replaceable: nobody waits for the outcome of a notification.
func (t *telling) superseded() {}

// run implements task.
func (t *telling) run(ctx context.Context) {
	g := t.watches.gateway
	status := adapters.Failed(adapters.ReasonInternal, "")
	r, from := g.routeOf(t.pair.watcher.Domain()), g.sideOf(t.pair.presentity.Domain())
	defer func() {
		g.recovered(t.op.ID, "a notification", recover())
		g.finish(&result{
			operation: opNotify, id: t.op.ID, from: from, to: g.sideOf(t.pair.watcher.Domain()), began: t.began, state: t.op.State,
			sender: t.pair.presentity, recipient: t.pair.watcher, status: status,
		})
		heard := &watch.Hearing{Session: t.op.Watch.Session, Status: status}
		t.watches.step(t.pair, watch.Event{Heard: heard}, nil, nil)
	}()
	t.op.Deadline = time.Now().Add(g.limits().DirectWait)
	hops, failed := g.nextHops(ctx, r, t.pair.watcher, t.op.Deadline)
	if failed.Outcome != 0 {
		status = failed
		return
	}
	if g.observe != nil {
		g.observe(Observation{From: from.label(), To: r.side.name, Notify: t.op})
	}
	if status = r.side.adapter.Notify(ctx, hops, t.op); status.Outcome == 0 {
		status = adapters.Failed(adapters.ReasonInternal, "")
	}
}
