package gateway

import (
	"context"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// attendWait is how long a watcher's server may take to say whether she is online.
const attendWait = 10 * time.Second

// attending is an Attend effect on its way to the watcher's side.
type attending struct {
	watches *watches
	of      *watched
	pair    pair
}

// run implements task.
func (t *attending) run(ctx context.Context) {
	g := t.watches.gateway
	leave, mine := g.stay(t.pair)
	if !mine {
		t.watches.attended(t.of, adapters.AttendanceUnknown)
		return
	}
	defer leave()
	answer := adapters.AttendanceUnknown
	defer func() {
		g.recovered("", "a question whether a watcher is online", recover())
		t.watches.attended(t.of, answer)
	}()
	r := g.routeOf(t.pair.watcher.Domain())
	if r == nil || r.side.attendant == nil {
		return
	}
	op := &adapters.AttendOp{
		ID: g.ids.operation(), Watch: adapters.WatchID{Watcher: t.pair.watcher, Presentity: t.pair.presentity}, Deadline: time.Now().Add(attendWait),
	}
	ctx, cancel := context.WithDeadline(ctx, op.Deadline)
	defer cancel()
	answer = g.attendSide(ctx, r, op)
}

// attended brings the answer to its state.
func (w *watches) attended(of *watched, answer adapters.Attendance) {
	w.gateway.metrics.attendances.WithLabelValues(answer.String()).Inc()
	w.step(of.pair, stepInput{of: of, event: watch.Event{Attended: &answer}})
}

// leaves tells whether op says that a device of the presentity is gone.
func leaves(op *adapters.NotifyOp) bool {
	return op.State == adapters.WatchNeutral && op.Change == adapters.AuthorizationUnchanged && op.Presence != nil &&
		len(op.Presence.Tuples) == 1 && op.Presence.Tuples[0].Status.Basic == pidf.BasicClosed
}
