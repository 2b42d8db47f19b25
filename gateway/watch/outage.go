package watch

import (
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// While the way to the presentity's side is broken, she may say that she is gone and not be heard. So what was told before is in doubt from
// then on: for a short while it stands, because most ways are back soon; then the watchers are told that it is unknown. When the way is
// back her side is asked again (RFC 6121 §4.3.1), and each device that is not named in the answer is gone: a server tells of those that
// are available and of no others (RFC 6121 §4.3.2).

// sever is the loss of the way to the presentity's side. Where nothing is open the next attempt is on its timer, and nothing is known.
func (t *turn) sever() {
	if !t.watching() || t.upstream == Closed || t.severed {
		return
	}
	t.severed = true
	t.doubt(t.rules.Grace)
}

// try asks over a way that was just lost, for one pair of all, because it may well carry again and nobody would know: a stream between
// servers is only opened when there is something to say.
func (t *turn) try() {
	if !t.watching() || t.upstream != Open || !t.rules.AsksExplicitly {
		return
	}
	verb := adapters.WatchOpen
	if t.auth == Asked {
		verb = adapters.WatchAsk
	}
	t.begin(Request{Again: true, Verb: verb, Duration: t.rules.Duration})
}

// mend is its return. Of a way that was not known to be lost it is the first that is heard: who was asked just now was asked over it.
func (t *turn) mend() {
	severed := t.severed
	t.severed = false
	if t.revoking && !t.debtAt.IsZero() {
		t.debts = 0
		t.payDebts()
	}
	switch {
	case !t.watching() || t.upstream == Opening:
		return // what is under way has an end of its own
	case t.upstream == Closed && t.retryAt.IsZero():
		return // it was not closed for the way's sake
	case t.upstream == Closed:
		t.attempt, t.retryAt = 0, t.now // the next Tick asks, after what it asks before (see tick)
		return
	case !t.rules.AsksExplicitly:
		return // the adapter keeps what is open there alive
	case !severed && t.now.Sub(t.openedAt) < t.rules.RetryFirst:
		return
	}
	t.attempt = 0
	if t.auth == Asked {
		// The decision may have been told to nobody. The user is shown no second request (RFC 6121 §A.3.1).
		t.begin(Request{Again: true, Verb: adapters.WatchAsk, Duration: t.rules.Duration})
		return
	}
	t.doubtAt = time.Time{}
	t.doubt(t.rules.Grace)
	t.begin(Request{Again: true, Verb: adapters.WatchOpen, Duration: t.rules.Duration})
}

// mendWatcher is the return of the way to the watcher's side: what it did not take is said at once, and as it may have restarted, and have
// nobody there any more, it is asked whether she is.
func (t *turn) mendWatcher() {
	if !t.debtAt.IsZero() {
		t.debts = 0
		t.payDebts()
	}
	if t.upstream != Closed {
		t.attend()
	}
}

// doubt puts all that is known in doubt for so long, unless it is in doubt already and for less.
func (t *turn) doubt(wait time.Duration) {
	if t.document == nil && len(t.devices) == 0 && len(t.shown) == 0 && !t.severed {
		return
	}
	for i := range t.devices {
		t.devices[i].Doubted = true
	}
	if at := t.now.Add(wait); t.doubtAt.IsZero() || at.Before(t.doubtAt) {
		t.doubtAt = at
	}
}

// emptied takes in a notification that a watch is active, and nothing else. "if the SIP-to-XMPP gateway does not have meaningful information about the
// availability state of the XMPP user, then the NOTIFY MUST be empty" (RFC 8048 §5.3.2): who knew something before knows it no more. What was told
// stands for a while, because a notifier that was just asked, or lost what it knew, may say it again in a moment.
//
// COMPAT(Kamailio, 5.6): its presence server says so of who has gone, with the next refresh, and of everybody after it has lost its tables.
func (t *turn) emptied(op *adapters.NotifyOp) {
	if op.Whole && op.Presence == nil && op.State == adapters.WatchActive && t.auth == Granted && t.watching() {
		t.doubt(t.rules.Doubt)
	}
}

// believe takes in that the presentity's side said something. While a device is in doubt, the others are waited for, not as long as for
// the first: they are told of in one go.
func (t *turn) believe() {
	if !slices.ContainsFunc(t.devices, func(d Device) bool { return d.Doubted }) {
		t.doubtAt = time.Time{}
		return
	}
	if at := t.now.Add(t.rules.Grace / 2); t.doubtAt.IsZero() || at.Before(t.doubtAt) {
		t.doubtAt = at
	}
}

// disbelieve is the end of the wait: what is still in doubt is not so.
func (t *turn) disbelieve() {
	severed := t.severed
	t.severed = false
	if slices.ContainsFunc(t.devices, func(d Device) bool { return !d.Doubted }) {
		t.devices = slices.DeleteFunc(t.devices, func(d Device) bool { return d.Doubted })
		t.sealed = nil // it may be of one that is gone
		t.tellAll(adapters.AuthorizationUnchanged)
		t.settleDevices()
		return
	}
	t.lose()
	if severed && t.watching() && t.upstream != Closed {
		// Its return is told. Should nobody tell it, it is found out, seldom enough to be no load on what is away.
		t.upstream = Closed
		t.attempt = 100
		t.later(0)
	}
}

// overdue tells whether the presentity's side should be asked again although it is watched.
func (t *turn) overdue() bool {
	return t.rules.AsksExplicitly && t.rules.Recheck > 0 && t.auth == Granted && t.upstream == Open && t.now.Sub(t.openedAt) >= t.rules.Recheck
}
