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
}

// watched is one state and where its two sides are.
type watched struct {
	state               *watch.State
	watcher, presentity *route
	wake                time.Time // the valid entry in the heap; others of this pair are stale
}

type wake struct {
	at   time.Time
	pair pair
}

type wakeHeap []wake

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h wakeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *wakeHeap) Push(x any)        { *h = append(*h, x.(wake)) }
func (h *wakeHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

func newWatches(g *Gateway) *watches {
	w := &watches{
		gateway: g,
		seed:    maphash.MakeSeed(),
		// A lane of a pair holds at most a few requests, or a few notifications for each of its sessions.
		lanes: newLanes(4*g.limits.WatchSessions+16, 4*g.limits.Watches),
	}
	for i := range w.shards {
		w.shards[i].states = make(map[pair]*watched)
	}
	return w
}

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
	}
	if to != nil {
		r.to = to.side
	}
	if refused.Outcome != 0 {
		end(adapters.WatchStatus{Status: refused})
		return
	}
	effects, full := g.watches.step(pairOf(op.Watch), watch.Event{Asked: op}, g.routes[op.Watch.Watcher.Domain()], to)
	if full {
		end(adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "Too many watches")})
		return
	}
	for _, e := range effects {
		if e.Respond != nil {
			// Before the first notification leaves, so that an adapter has sent its answer (RFC 6665 §4.2.1.2 lets a
			// NOTIFY overtake it, but few user agents like that).
			end(*e.Respond)
			break
		}
	}
	g.watches.do(pairOf(op.Watch), effects)
}

// Notify implements adapters.Handler.
func (h *handler) Notify(_ context.Context, op *adapters.NotifyOp) {
	g := h.gateway
	op.ID = g.ids.operation()
	if _, refused := g.admitAddresses(h.side, op.Watch.Presentity, op.Watch.Watcher); refused.Outcome != 0 {
		g.finish(&result{
			operation: opNotify, id: op.ID, from: h.side, began: time.Now(), peer: op.Peer.Name, state: op.State,
			sender: op.Watch.Presentity, recipient: op.Watch.Watcher, status: refused,
		})
		return
	}
	effects, _ := g.watches.step(pairOf(op.Watch), watch.Event{Told: op}, nil, nil)
	g.watches.do(pairOf(op.Watch), effects)
}

// step brings one event to the state of p. A state is made for an event that a watcher asked for, when both routes are
// given; full says that there is no room for it. An event for a pair without a state tells nobody anything.
func (w *watches) step(p pair, e watch.Event, watcher, presentity *route) (effects []watch.Effect, full bool) {
	g := w.gateway
	s := w.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.states[p]
	if x == nil {
		switch {
		case s.closed || watcher == nil:
			if e.Told != nil {
				return []watch.Effect{{Dropped: watch.DropUnasked}}, false
			}
			return nil, s.closed
		case w.held.Load() >= int64(g.limits.Watches):
			return nil, true
		}
		x = &watched{watcher: watcher, presentity: presentity, state: watch.New(p.watcher, p.presentity, watch.Rules{
			AsksExplicitly: presentity.side.caps.AsksExplicitly,
			Sessions:       g.limits.WatchSessions,
			Devices:        g.limits.Devices,
			Duration:       g.limits.WatchDuration,
			FetchWait:      g.limits.FetchWait,
			RetryFirst:     watchRetryFirst,
			RetryMost:      watchRetryMost,
		})}
		s.states[p] = x
		w.held.Add(1)
	}
	effects = x.state.Step(time.Now(), e)
	w.settle(s, p, x)
	return effects, false
}

// The waits before a watch that ended for a passing reason is opened again.
const (
	watchRetryFirst = 30 * time.Second
	watchRetryMost  = 30 * time.Minute
)

// settle keeps the timer of x right, and forgets x when it holds nothing. The shard's lock is held.
func (w *watches) settle(s *watchShard, p pair, x *watched) {
	if x.state.Idle() {
		delete(s.states, p)
		w.held.Add(-1)
		return
	}
	at := x.state.Wake()
	if at.Equal(x.wake) {
		return
	}
	x.wake = at
	if at.IsZero() || s.closed {
		return
	}
	heap.Push(&s.wakes, wake{at, p})
	if s.wakes[0].pair == p && s.wakes[0].at.Equal(at) && s.timer != nil {
		s.timer.Reset(time.Until(at))
	}
}

// tick brings a Tick to every state of s that is due.
func (w *watches) tick(s *watchShard) {
	type due struct {
		pair    pair
		effects []watch.Effect
	}
	var todo []due
	s.mu.Lock()
	now := time.Now()
	for len(s.wakes) > 0 && !s.wakes[0].at.After(now) && !s.closed {
		item := heap.Pop(&s.wakes).(wake)
		x := s.states[item.pair]
		if x == nil || !x.wake.Equal(item.at) {
			continue
		}
		x.wake = time.Time{}
		todo = append(todo, due{item.pair, x.state.Step(now, watch.Event{Tick: true})})
		w.settle(s, item.pair, x)
	}
	if len(s.wakes) > 0 && !s.closed {
		s.timer.Reset(time.Until(s.wakes[0].at))
	}
	s.mu.Unlock()
	for _, d := range todo {
		w.do(d.pair, d.effects)
	}
}

// do puts the effects that wait for the network into the pair's two lanes: what is asked of the presentity's side and what is told
// to the watcher's are each in order, and a side that does not answer does not hold up the other.
func (w *watches) do(p pair, effects []watch.Effect) {
	g := w.gateway
	for _, e := range effects {
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
	r := g.routes[t.pair.presentity.Domain()]
	op := &adapters.WatchOp{
		ID: t.id, Verb: t.request.Verb, Duration: t.request.Duration, Note: t.request.Note, Instance: t.request.Instance,
		Watch:    adapters.WatchID{Watcher: t.pair.watcher, Presentity: t.pair.presentity},
		Hops:     adapters.DefaultHops,
		Deadline: time.Now().Add(g.limits.DirectWait),
	}
	hops, failed := g.nextHops(ctx, r, t.pair.presentity, op.Deadline)
	if failed.Outcome != 0 {
		status.Status = failed
		return
	}
	if g.observe != nil {
		g.observe(Observation{From: g.routes[t.pair.watcher.Domain()].side.name, To: r.side.name, Watch: op})
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
		operation: opWatch, id: t.id, from: g.routes[t.pair.watcher.Domain()].side, to: g.routes[t.pair.presentity.Domain()].side,
		began: t.began, verb: t.request.Verb, sender: t.pair.watcher, recipient: t.pair.presentity, status: status.Status,
	})
	effects, _ := w.step(t.pair, watch.Event{Answered: &watch.Answer{Verb: t.request.Verb, Status: status}}, nil, nil)
	w.do(t.pair, effects)
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

// run implements task.
func (t *telling) run(ctx context.Context) {
	g := t.watches.gateway
	status := adapters.Failed(adapters.ReasonInternal, "")
	r, from := g.routes[t.pair.watcher.Domain()], g.routes[t.pair.presentity.Domain()].side
	defer func() {
		g.recovered(t.op.ID, "a notification", recover())
		g.finish(&result{
			operation: opNotify, id: t.op.ID, from: from, to: r.side, began: t.began, state: t.op.State,
			sender: t.pair.presentity, recipient: t.pair.watcher, status: status,
		})
		heard := &watch.Hearing{Session: t.op.Watch.Session, Status: status}
		effects, _ := t.watches.step(t.pair, watch.Event{Heard: heard}, nil, nil)
		t.watches.do(t.pair, effects)
	}()
	t.op.Deadline = time.Now().Add(g.limits.DirectWait)
	hops, failed := g.nextHops(ctx, r, t.pair.watcher, t.op.Deadline)
	if failed.Outcome != 0 {
		status = failed
		return
	}
	if g.observe != nil {
		g.observe(Observation{From: from.name, To: r.side.name, Notify: t.op})
	}
	if status = r.side.adapter.Notify(ctx, hops, t.op); status.Outcome == 0 {
		status = adapters.Failed(adapters.ReasonInternal, "")
	}
}
