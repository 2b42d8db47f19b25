package gateway

import (
	"context"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// send puts a request into its pair's lane.
func (w *watches) send(t *watchRequest) {
	switch {
	case w.lanes.add(laneKey{kind: laneWatch, from: t.pair.watcher, to: t.pair.presentity}, t):
	case t.request.Verb == adapters.WatchClose:
		w.closeLater(t)
	default:
		// As if the presentity's side had refused: the state machine tries again in its time.
		w.answer(t, adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "")})
	}
}

// closeAgain is how soon the end of a watch is sent again that the lane had no room for. Nothing else would end what is open there: its adapter keeps
// it alive.
const closeAgain = time.Second

// closeLater sends t again, unless somebody watches by then. A pair waits for one such time.
func (w *watches) closeLater(t *watchRequest) {
	s := w.shard(t.pair)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, waits := s.unclosed[t.pair]; waits || s.closed {
		return
	}
	s.unclosed[t.pair] = struct{}{}
	time.AfterFunc(closeAgain, func() {
		s.mu.Lock()
		delete(s.unclosed, t.pair)
		x := s.states[t.pair]
		over := !s.closed && (x == nil || x.state.Upstream() == watch.Closed)
		s.mu.Unlock()
		if over {
			w.send(t)
		}
	})
}

// wants tells whether the state still waits for what t asks.
func (w *watches) wants(t *watchRequest) bool {
	s := w.shard(t.pair)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states[t.pair] == t.of && t.of.state.Wants(t.request.Serial)
}

// watchRequest is a Request effect on its way to the presentity's side.
type watchRequest struct {
	watches *watches
	of      *watched
	pair    pair
	request *watch.Request
	began   time.Time
	id      string
}

// run implements task.
func (t *watchRequest) run(ctx context.Context) {
	g := t.watches.gateway
	leave, mine := g.stay(t.pair)
	if !mine {
		t.watches.answered(t, adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "")})
		return
	}
	defer leave()
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
	if r == nil {
		status.Status = adapters.Failed(adapters.ReasonDomainNotFound, "") // it was there when the watch began
		return
	}
	if g.observe != nil {
		g.observe(Observation{From: g.sideOf(t.pair.watcher.Domain()).label(), To: r.side.name, Watch: op})
	}
	failpoint.Hit("watch-ask-before")
	status = g.askSide(ctx, r, op)
	failpoint.Hit("watch-ask-after")
}

// answer is answered, and writes the operation's line.
func (w *watches) answer(t *watchRequest, status adapters.WatchStatus) {
	g := w.gateway
	if status.Outcome == 0 {
		status.Status = adapters.Failed(adapters.ReasonInternal, "")
	}
	g.finish(&result{
		operation: opWatch, id: t.id, from: g.sideOf(t.pair.watcher.Domain()), to: g.sideOf(t.pair.presentity.Domain()),
		began: t.began, verb: t.request.Verb, sender: t.pair.watcher, recipient: t.pair.presentity, status: status.Status,
	})
	w.answered(t, status)
}

// answered brings the outcome of a request back to its state.
func (w *watches) answered(t *watchRequest, status adapters.WatchStatus) {
	w.step(t.pair, stepInput{of: t.of, event: watch.Event{Answered: &watch.Answer{Verb: t.request.Verb, Serial: t.request.Serial, Status: status}}})
}

// telling is a Tell effect on its way to the watcher's side.
type telling struct {
	watches *watches
	of      *watched
	pair    pair
	op      *adapters.NotifyOp
	serial  uint64
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
	leave, mine := g.stay(t.pair)
	if !mine {
		t.watches.heard(t, adapters.Failed(adapters.ReasonOverloaded, ""))
		return
	}
	defer leave()
	status := adapters.Failed(adapters.ReasonInternal, "")
	r, from := g.routeOf(t.pair.watcher.Domain()), g.sideOf(t.pair.presentity.Domain())
	defer func() {
		g.recovered(t.op.ID, "a notification", recover())
		g.finish(&result{
			operation: opNotify, id: t.op.ID, from: from, to: g.sideOf(t.pair.watcher.Domain()), began: t.began, state: t.op.State,
			sender: t.pair.presentity, recipient: t.pair.watcher, status: status,
		})
		t.watches.heard(t, status)
	}()
	t.op.Deadline = time.Now().Add(g.limits().DirectWait)
	if r == nil {
		status = adapters.Failed(adapters.ReasonDomainNotFound, "") // it was there when the watch began
		return
	}
	if g.observe != nil {
		g.observe(Observation{From: from.label(), To: r.side.name, Notify: t.op})
	}
	failpoint.Hit("watch-tell-before")
	if status = g.tellSide(ctx, r, t.op); status.Outcome == 0 {
		status = adapters.Failed(adapters.ReasonInternal, "")
	}
	failpoint.Hit("watch-tell-after")
}

// heard brings the outcome of a notification to its state.
func (w *watches) heard(t *telling, status adapters.Status) {
	heard := &watch.Hearing{Session: t.op.Watch.Session, Serial: t.serial, Status: status}
	w.step(t.pair, stepInput{of: t.of, event: watch.Event{Heard: heard}})
}
