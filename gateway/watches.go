package gateway

import (
	"container/heap"
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// watches runs the state machine of package watch for every pair: it brings it the events, keeps its timers, and does what
// it says. A shard's lock guards the states of the shard; it is never held while anything waits, so a network reader may
// call in.
type watches struct {
	gateway *Gateway
	lanes   *lanes
	pacer   *pacer
	bounds  watchBounds
	born    time.Time
	seed    maphash.Seed
	held    atomic.Int64
	shards  [watchShards]watchShard

	mu     sync.Mutex
	limits *Limits // of which the rules are
	rules  map[watchWay]*watch.Rules
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
	// unclosed are the pairs of which the end of a watch is to be sent again: there was no room for it.
	unclosed map[pair]struct{}
}

// job is the effects of one step.
type job struct {
	of      *watched
	effects []watch.Effect
	respond func(adapters.WatchStatus) // set if the step's event asked, called exactly once
	// write is what must be on the disk before the effects are done; nil: nothing. erase: what is there must be gone.
	write []byte
	erase bool
	// kept is called when it is, with errNotOwner if it will not be: another gateway goes on with the pair.
	kept func(error)
	fate error
}

// watched is one state, and when it wants to be woken.
type watched struct {
	pair  pair
	state *watch.State
	wake  time.Time
	index int    // in the heap; -1: not there
	mark  uint64 // of what is kept on the disk, or on its way there; 0: nothing
	// counted tells that the bounds of its watcher, its presentity and its domain count it: those of an authorization that nobody uses do not.
	counted bool
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
		born:    time.Now(),
		seed:    maphash.MakeSeed(),
		// A lane of a pair holds at most a few requests, or a few notifications for each of its sessions.
		lanes: newLanes(watchLanes(g.limits())),
	}
	w.bounds = newWatchBounds(g.limits)
	w.pacer = newPacer(g.limits().WatchRate, func(t *watchRequest) bool {
		wanted := w.wants(t) // else it was overtaken while it waited
		if wanted {
			w.send(t)
		}
		return wanted
	})
	for i := range w.shards {
		w.shards[i].states = make(map[pair]*watched)
		w.shards[i].todo = make(map[pair][]job)
		w.shards[i].unclosed = make(map[pair]struct{})
	}
	return w
}

// watchLanes is how many requests and notifications may wait for one pair, and in all.
func watchLanes(l *Limits) (perLane, inAll int) { return 4*l.WatchSessions + 16, 4 * l.Watches }

// bound takes on new limits: those of the pairs that are there stay as they are.
func (w *watches) bound(l *Limits) {
	w.lanes.bound(watchLanes(l))
	w.pacer.bound(l.WatchRate)
}

func (w *watches) start() {
	w.born = time.Now()
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		s.timer = time.AfterFunc(time.Hour, func() { w.tick(s) })
		s.timer.Stop()
		if len(s.wakes) > 0 { // restored
			s.timer.Reset(time.Until(s.wakes[0].wake))
		}
		s.mu.Unlock()
	}
}

// stop ends the timers and drops what waits for the network: it is asked and told again after a restart.
func (w *watches) stop() {
	w.pacer.stop()
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

func (w *watches) pairs() int { return int(w.held.Load()) }

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
	h.offer(op, to, end)
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
	leaving := leaves(op) && h.side.attendant != nil // before the operation is the gateway's
	h.say(op, pairOf(op.Watch), false)
	if leaving {
		// Who tells a contact that she leaves may watch that contact.
		h.say(op, pair{watcher: op.Watch.Presentity, presentity: op.Watch.Watcher}, true)
	}
}

// stepInput is one event for a pair, and what belongs to it.
type stepInput struct {
	event watch.Event
	// of is the state whose effect the event is the outcome of, nil for any other event: it is no news to one that has taken its place, which
	// counts its effects from the beginning.
	of *watched
	// presentity is the route of who is asked for, with an event that asks: with it a state is made where there is none.
	presentity *route
	// respond answers an event that asks; kept, unless nil, is called when what the event changed survives a crash, as far as the store can write now:
	// see decide.
	respond func(adapters.WatchStatus)
	kept    func(error)
}

// tell brings what the presentity's side said.
func (w *watches) tell(p pair, op *adapters.NotifyOp) {
	in := stepInput{event: watch.Event{Told: op}}
	if op.Kept != nil {
		in.kept = func(error) { op.Kept() }
	}
	w.step(p, in)
}

// step brings one event to the state of p and does what it wants done, in the order of the steps: if another goroutine is doing what an
// earlier step of p wanted, that one does this too. Where there is no room for the state of an event that asks, it returns the bound
// that was met, and respond was not called. Any other event for a pair without a state tells nobody anything.
func (w *watches) step(p pair, in stepInput) watchBound {
	s := w.shard(p)
	s.mu.Lock()
	x := s.states[p]
	if in.of != nil && x != in.of {
		s.mu.Unlock()
		return boundNone
	}
	if x == nil {
		full, rules := boundNone, (*watch.Rules)(nil)
		if in.presentity != nil {
			rules = w.rulesOf(p)
		}
		switch {
		case in.presentity == nil || in.event.Asked == nil:
			s.mu.Unlock()
			if in.event.Told != nil {
				w.gateway.metrics.dropped.WithLabelValues(string(watch.DropUnasked)).Inc()
			}
			if in.kept != nil {
				in.kept(nil)
			}
			return boundNone
		case s.closed || rules == nil:
			full = boundPairs
		case in.event.Asked.Verb != adapters.WatchClose: // the end of what there is not leaves nothing
			full = w.room(s, p)
		}
		if full != boundNone {
			s.mu.Unlock()
			return full
		}
		p = pair{p.watcher.Clone(), p.presentity.Clone()}
		x = w.open(s, p, watch.New(p.watcher, p.presentity, rules))
	} else if in.presentity != nil && !x.counted && uses(in.event.Asked) {
		if full := w.bounds.met(p); full != boundNone {
			s.mu.Unlock()
			return full
		}
	}
	j := job{of: x, effects: x.state.Step(time.Now(), in.event), respond: in.respond, kept: in.kept}
	w.note(x, &j)
	w.settle(s, x)
	mine := s.enqueue(x.pair, j)
	s.mu.Unlock()
	if mine {
		w.work(s, x.pair)
	}
	return boundNone
}

// watchWay is which sides a watch goes between.
type watchWay struct{ watcher, presentity *side }

// rulesOf returns the rules of p, which all pairs between the same sides share. nil if a domain has no route.
func (w *watches) rulesOf(p pair) *watch.Rules {
	g := w.gateway
	from, to := g.routeOf(p.watcher.Domain()), g.routeOf(p.presentity.Domain())
	if from == nil || to == nil {
		return nil
	}
	way, limits := watchWay{from.side, to.side}, g.limits()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.limits != limits { // they were replaced; the pairs that are there keep their rules
		w.limits, w.rules = limits, make(map[watchWay]*watch.Rules)
	}
	r := w.rules[way]
	if r == nil {
		r = &watch.Rules{
			AsksExplicitly: to.side.caps.AsksExplicitly,
			OneByOne:       from.side.caps.OneByOne,
			Attends:        from.side.attendant != nil,
			Sessions:       limits.WatchSessions,
			Devices:        limits.Devices,
			Duration:       limits.WatchDuration,
			FetchWait:      limits.FetchWait,
			RetryFirst:     watchRetryFirst,
			RetryMost:      watchRetryMost,
			Spread:         true,
			Doubt:          watchDoubt,
			Grace:          watchGrace,
			Recheck:        watchRecheck,
			AskAgain:       watchAskAgain,
			DebtLife:       watchDebtLife,
			Late:           g.node != nil,
		}
		w.rules[way] = r
	}
	return r
}

// open takes the state of p in; settle must follow. The shard's lock is held.
func (w *watches) open(s *watchShard, p pair, state *watch.State) *watched {
	x := &watched{pair: p, index: -1, state: state}
	s.states[p] = x
	w.held.Add(1)
	return x
}

// room tells which bound keeps one more state from being made. When all are taken, an authorization that nobody uses makes room: the
// presentity's side keeps it too. It is looked for among a few states only, so that a full table costs no more than that. The shard's
// lock is held.
func (w *watches) room(s *watchShard, p pair) watchBound {
	if full := w.bounds.met(p); full != boundNone {
		return full
	}
	if w.held.Load() < int64(w.gateway.limits().Watches) {
		return boundNone
	}
	const most = 64
	seen := 0
	for _, x := range s.states { // in no order
		if x.state.Resting() {
			w.forget(s, x)
			if x.mark != 0 {
				w.gateway.keeper.put(watchFact(x.pair), nil, nil)
			}
			return boundNone
		}
		if seen++; seen == most {
			break
		}
	}
	return boundPairs
}

// forget drops x. The shard's lock is held.
func (w *watches) forget(s *watchShard, x *watched) {
	if x.index >= 0 {
		heap.Remove(&s.wakes, x.index)
	}
	delete(s.states, x.pair)
	w.held.Add(-1)
	w.count(x, false)
}

// enqueue puts j behind what p still wants done. It returns true if the caller is to do it, with work. The shard's lock is held.
func (s *watchShard) enqueue(p pair, j job) (mine bool) {
	if len(j.effects) == 0 && j.respond == nil && j.write == nil && j.kept == nil && !j.erase {
		return false
	}
	waiting, taken := s.todo[p]
	s.todo[p] = append(waiting, j)
	return !taken
}

// work does what p wants done until there is no more, or until something has to be on the disk first: then who has written it goes on.
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
		for i, j := range waiting {
			if j.write == nil && !j.erase {
				w.do(p, j)
				continue
			}
			rest := waiting[i+1:]
			failpoint.Hit("watch-store-before")
			w.gateway.keeper.put(watchFact(p), j.write, func(err error) {
				failpoint.Hit("watch-store-after")
				switch {
				case errors.Is(err, errNotOwner):
					// Another gateway goes on with the pair, from what was kept before.
					j.fate = err
					j.effects = []watch.Effect{{Respond: &adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")}}}
				case err != nil:
					w.gateway.metrics.watchesUnstored.Inc()
				}
				go func() {
					w.do(p, j)
					s.mu.Lock()
					s.todo[p] = append(rest, s.todo[p]...)
					s.mu.Unlock()
					w.work(s, p)
				}()
			})
			return
		}
	}
}

// The waits before a watch that ended for a passing reason is opened again.
const (
	watchRetryFirst = 30 * time.Second
	watchRetryMost  = 30 * time.Minute
	// watchDoubt is longer than the presentity's side may take to say something: the answer to a request (25 s) and the wait for a
	// NOTIFY (Timer N, 32 s; RFC 6665 §4.1.2.4).
	watchDoubt = time.Minute
	// watchGrace is how long a link may be away before what came over it is unknown: one that is only set up anew is back sooner.
	watchGrace = 30 * time.Second
	// watchRecheck is how old the last probe may be when a watcher refreshes.
	watchRecheck = time.Hour
	// watchAskAgain is when a user who has not decided is asked again.
	watchAskAgain = 24 * time.Hour
	// watchDebtLife is how long an approval, a refusal or an end that the other side did not take is said again.
	watchDebtLife = 7 * 24 * time.Hour
)

// settle keeps the timer of x right, and what the bounds count, and forgets x when it holds nothing. The shard's lock is held.
func (w *watches) settle(s *watchShard, x *watched) {
	if x.state.Idle() {
		w.forget(s, x)
		return
	}
	w.count(x, !x.state.Resting())
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

// notHere is how soon it is looked again whether what is due may be done: while a part is only being taken, or given up, or this gateway is cut off
// from the store, nobody could be asked or told anything.
const notHere = time.Second

// tick brings a Tick to every state of s that is due.
func (w *watches) tick(s *watchShard) {
	var due []*watched
	var mine []pair
	s.mu.Lock()
	now := time.Now()
	var early []*watched
	for len(s.wakes) > 0 && !s.wakes[0].wake.After(now) && !s.closed {
		x := heap.Pop(&s.wakes).(*watched)
		if w.gateway.here(x.pair) {
			due = append(due, x)
		} else {
			early = append(early, x)
		}
	}
	for _, x := range early {
		x.wake = now.Add(notHere)
		heap.Push(&s.wakes, x)
	}
	for _, x := range due {
		j := job{of: x, effects: x.state.Step(now, watch.Event{Tick: true})}
		w.note(x, &j)
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
		w.effect(j.of, e)
	}
	if respond != nil {
		w.answerWatcher(respond, adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonInternal, "")})
	}
	if j.kept != nil {
		w.nowKept(func() { j.kept(j.fate) })
	}
}

// nowKept calls kept; a panic of the adapter in it must not keep the pair from what else is to be done.
func (w *watches) nowKept(kept func()) {
	defer func() { w.gateway.recovered("", "an acknowledgement", recover()) }()
	kept()
}

// answerWatcher calls respond. A panic of the adapter in it must not keep the pair from what else is to be done.
func (w *watches) answerWatcher(respond func(adapters.WatchStatus), s adapters.WatchStatus) {
	defer func() { w.gateway.recovered("", "an answer", recover()) }()
	respond(s)
}

func (w *watches) effect(of *watched, e watch.Effect) {
	g, p := w.gateway, of.pair
	switch {
	case e.Dropped != "":
		g.metrics.dropped.WithLabelValues(string(e.Dropped)).Inc()
	case e.Request != nil:
		t := &watchRequest{watches: w, of: of, pair: p, request: e.Request, began: time.Now(), id: g.ids.operation()}
		if e.Request.Verb == adapters.WatchOpen || e.Request.Again {
			w.pacer.add(t) // many that want to open at once wait for each other; whoever asks for something else does not
			return
		}
		if e.Request.Verb == adapters.WatchClose || e.Request.Verb == adapters.WatchCancel {
			w.pacer.leave(p)
		}
		w.send(t)
	case e.Attend:
		if !w.lanes.add(laneKey{kind: laneAttend, from: p.watcher, to: p.presentity}, &attending{watches: w, of: of, pair: p}) {
			w.attended(of, adapters.AttendanceUnknown)
		}
	case e.Tell != nil:
		t := &telling{watches: w, of: of, pair: p, op: e.Tell, serial: e.Serial, began: time.Now()}
		t.op.ID = g.ids.operation()
		if !w.lanes.addNewest(laneKey{kind: laneNotify, from: p.presentity, to: p.watcher}, t) {
			g.metrics.dropped.WithLabelValues("overloaded").Inc()
			w.heard(t, adapters.Failed(adapters.ReasonOverloaded, ""))
		}
	}
}
