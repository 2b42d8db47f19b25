package watch

import (
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// told is something that the presentity's side said.
func (t *turn) told(op *adapters.NotifyOp) {
	switch {
	case op.Change == adapters.AuthorizationRefused:
		t.refused()
	case op.Change == adapters.AuthorizationGranted:
		t.granted(op)
	case op.State == adapters.WatchTerminated:
		t.terminated(op)
	case op.State == adapters.WatchPending:
		// "it MUST respond to them on the SIP side but refrain from sending any presence stanzas" (RFC 8048 §5.2.1). What
		// the document says, if there is one, is not kept either.
		if op.Presence != nil {
			t.drop(DropPending)
		}
		t.pending()
	case op.State == adapters.WatchActive && t.auth == Asked:
		// The first that is active is the approval: "The XMPP-to-SIP gateway also generates a <presence/> stanza of type
		// "subscribed"" (RFC 8048 §5.2.1).
		t.granted(op)
	default:
		t.news(op)
	}
}

// fetching tells whether somebody waits for the answer to a fetch.
func (t *turn) fetching() bool {
	return slices.ContainsFunc(t.sessions, func(w Session) bool { return w.Fetch })
}

// pending is the presentity's side saying that its user has not decided. It has the last word on an authorization that was taken for
// granted, or was granted once: what was told is withdrawn, and nothing more is told until it says "active".
func (t *turn) pending() {
	if !t.watching() {
		return
	}
	t.attempt, t.retryAt, t.upstream = 0, time.Time{}, Open
	if t.auth != Granted {
		return
	}
	withdrawn := t.instances()
	t.unknow()
	if len(withdrawn) > 0 {
		t.tellAll(adapters.NotifyOp{Withdrawn: withdrawn})
	}
	t.auth = Asked
}

// granted is the approval.
func (t *turn) granted(op *adapters.NotifyOp) {
	if t.auth == None {
		// Nobody asked; a fetch does not. An approval beforehand is not kept: the request that comes later will be answered
		// again.
		t.drop(DropUnasked)
		return
	}
	change := adapters.AuthorizationUnchanged
	if t.auth == Asked {
		change = adapters.AuthorizationGranted
		t.auth = Granted
	}
	if !t.watching() {
		// Told what it has, while nobody watches: nothing is opened by it, and what it says of presence would be stale when
		// somebody does.
		if op.Presence != nil {
			t.drop(DropUnasked)
		}
		return
	}
	t.upstream, t.attempt, t.retryAt = Open, 0, time.Time{}
	withdrawn, _ := t.learn(op)
	t.tellAll(adapters.NotifyOp{Change: change, Withdrawn: withdrawn})
	t.settleDevices()
}

// refused is the refusal, at once or later: "permanently cancelled" (RFC 8048 §5.2.2), and every watcher is told.
func (t *turn) refused() {
	told := t.sessions
	if len(told) == 0 && t.auth != None {
		told = []Session{{}}
	}
	withdrawn := t.instances()
	t.auth, t.upstream, t.sessions, t.retryAt, t.attempt = None, Closed, nil, time.Time{}, 0
	t.unknow()
	for _, w := range told {
		t.tell(w.ID, adapters.NotifyOp{
			State: adapters.WatchTerminated, End: adapters.EndRejected,
			Change: adapters.AuthorizationRefused, Withdrawn: withdrawn,
		})
	}
}

// terminated is the end of the watch on the presentity's side. Only a rejection speaks of the authorization; after any
// other reason the watcher still has it, what was known is no longer, and the watch is opened again in its time
// (RFC 6665 §4.1.3).
func (t *turn) terminated(op *adapters.NotifyOp) {
	if op.End == adapters.EndRejected {
		t.refused()
		return
	}
	t.upstream = Closed
	if t.fetching() {
		t.learn(op)
		t.endFetches()
	}
	withdrawn := t.instances()
	t.unknow()
	if t.auth == Granted && len(withdrawn) > 0 {
		t.tellAll(adapters.NotifyOp{Withdrawn: withdrawn})
	}
	if !t.watching() {
		return
	}
	switch op.End {
	case adapters.EndDeactivated, adapters.EndTimeout:
		// "the subscriber SHOULD retry immediately with a new subscription" and "Clients MAY re-subscribe immediately"
		// (RFC 6665 §4.1.3). But a side that ends each watch as soon as it is opened must not keep us busy.
		if op.RetryAfter > 0 || t.now.Sub(t.openedAt) < t.rules.RetryFirst {
			t.later(op.RetryAfter)
			return
		}
		t.retryAt = t.now
	case adapters.EndNoResource, adapters.EndInvariant:
		// "Clients SHOULD NOT attempt to re-subscribe" (RFC 6665 §4.1.3): the next wish of the watcher's side will. Who waits for a decision
		// waits no longer: nobody is left to make it.
		t.retryAt = time.Time{}
		if t.auth == Asked {
			t.failed(adapters.Failed(adapters.ReasonNotFound, ""))
		}
	default:
		t.later(op.RetryAfter)
	}
}

// later sets the time of the next attempt: what the far side asked for, or a wait that doubles.
func (t *turn) later(asked time.Duration) {
	wait := t.rules.RetryFirst << min(t.attempt, 16)
	if wait <= 0 || wait > t.rules.RetryMost {
		wait = t.rules.RetryMost
	}
	t.attempt++
	t.retryAt = t.now.Add(max(wait, asked))
}

// news is presence without a change of the watch.
func (t *turn) news(op *adapters.NotifyOp) {
	switch {
	case t.auth == Asked && !t.fetching():
		t.drop(DropPending)
		return
	case len(t.sessions) == 0 || t.auth == None && !t.fetching():
		t.drop(DropUnasked)
		return
	}
	t.attempt = 0
	switch {
	case !t.watching():
	case op.State == adapters.WatchActive:
		t.upstream, t.retryAt = Open, time.Time{} // also where the answer to our request was lost
	case t.upstream == Opening:
		t.upstream = Open
	}
	withdrawn, changed := t.learn(op)
	if !changed {
		return
	}
	if t.auth != Granted {
		// Only a fetch is open: it is answered with what its server lets it see, and nothing is kept.
		t.endFetches()
		t.unknow()
		return
	}
	t.tellAll(adapters.NotifyOp{Withdrawn: withdrawn})
	t.settleDevices()
	if !t.watching() {
		t.unknow() // a fetch was answered, and nobody keeps it up to date from here on
	}
}

// tellAll tells every session how things stand. Fetches end with it if there is presence to answer them with.
func (t *turn) tellAll(n adapters.NotifyOp) {
	has := t.known() != nil
	for _, w := range t.sessions {
		if has || !w.Fetch {
			t.tellPresent(w, n)
		}
	}
	t.sessions = slices.DeleteFunc(t.sessions, func(w Session) bool { return has && w.Fetch })
}

// endFetches answers the open fetches with what is known, whether or not the watcher has an authorization: the
// presentity's own side decided what to tell.
func (t *turn) endFetches() {
	for _, w := range t.sessions {
		if w.Fetch {
			t.tell(w.ID, adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndTimeout, Presence: t.known()})
		}
	}
	t.sessions = slices.DeleteFunc(t.sessions, func(w Session) bool { return w.Fetch })
}

// answered is the outcome of a request to the presentity's side.
func (t *turn) answered(a *Answer) {
	switch a.Verb {
	case adapters.WatchAsk, adapters.WatchOpen:
	case adapters.WatchFetch:
		if a.Status.Outcome == adapters.Failure {
			t.endFetches()
		}
		return
	default:
		return // closing is done whatever the other side says of it
	}
	if t.upstream != Opening || a.Serial != t.asking {
		return // overtaken by a notification, by the watcher's leaving, or by a request that was made after that
	}
	if a.Status.Outcome != adapters.Failure {
		// Taken. The state stays neutral until the presentity's side says "active" (RFC 8048 §5.2.1), and only what it says
		// counts as a success: one that takes every request and never notifies is asked less and less often.
		t.upstream = Open
		return
	}
	if s := a.Status.State; a.Status.End == adapters.EndNone && (s == adapters.WatchActive || s == adapters.WatchPending) {
		// A refresh that failed leaves the watch that was there: "valid for the duration of the most recently known
		// "Expires" value" (RFC 6665 §4.1.2.2). The adapter refreshes it in its time.
		t.upstream = Open
		return
	}
	t.upstream = Closed
	switch {
	case a.Status.End == adapters.EndRejected:
		t.refused()
	case impossible(a.Status.Reason):
		t.failed(a.Status.Status)
	default:
		t.later(a.Status.RetryAfter)
	}
}

// impossible tells that trying again changes nothing.
func impossible(r adapters.Reason) bool {
	switch r {
	case adapters.ReasonNotFound, adapters.ReasonGone, adapters.ReasonAddressMalformed, adapters.ReasonBadRequest,
		adapters.ReasonNotImplemented, adapters.ReasonNotAllowed, adapters.ReasonLoop, adapters.ReasonUnsupportedContent:
		return true
	default:
		return false
	}
}

// failed ends the watches for a reason that will not pass. The authorization that was there before stays: a server that
// is set up wrong for an hour must not cost its users their contacts.
func (t *turn) failed(why adapters.Status) {
	told := t.sessions
	t.sessions, t.retryAt, t.attempt = nil, time.Time{}, 0
	asked := t.auth == Asked
	if asked {
		t.auth = None
	}
	withdrawn := t.instances()
	t.unknow()
	for _, w := range told {
		t.tell(w.ID, adapters.NotifyOp{
			State: adapters.WatchTerminated, End: adapters.EndNoResource, Withdrawn: withdrawn, Failure: why,
		})
	}
}

// heard is the outcome of telling the watcher's side. A session that is not there any more is over (SIP 481), and so is one that does
// not answer: "the notifier SHOULD remove the subscription" (RFC 6665 §4.2.2). Any other failure is of that one notification; the
// next one, or the refresh, says what it would have said.
func (t *turn) heard(h *Hearing) {
	i := t.session(h.Session)
	if i < 0 || h.Status.Outcome != adapters.Failure || h.Session == "" || passing(h.Status.Reason) {
		return
	}
	t.sessions = slices.Delete(t.sessions, i, i+1)
	t.leave()
}

// passing tells that a notification failed for a reason which says nothing of the watch: none of the codes for which "the notifier
// MUST remove the corresponding subscription" (RFC 6665 §4.2.2) has it.
func passing(r adapters.Reason) bool {
	switch r {
	case adapters.ReasonInternal, adapters.ReasonOverloaded, adapters.ReasonServiceUnavailable, adapters.ReasonDomainNotFound,
		adapters.ReasonUndefined, adapters.ReasonUnexpectedRequest, adapters.ReasonOutcomeUnknown, adapters.ReasonTooLarge:
		return true
	default:
		return false
	}
}

// tick ends what has expired and does again what is due.
func (t *turn) tick() {
	for i := 0; i < len(t.sessions); {
		w := t.sessions[i]
		if w.Until.IsZero() || w.Until.After(t.now) {
			i++
			continue
		}
		if w.Fetch {
			// Nobody answered: an empty notification is the truth (RFC 8048 §5.3.2).
			t.sessions = slices.Delete(t.sessions, i, i+1)
			t.tell(w.ID, adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndTimeout})
			continue
		}
		t.end(i, adapters.EndTimeout)
	}
	if t.retryAt.IsZero() || t.retryAt.After(t.now) {
		return
	}
	// Whether or not anything is to be done, the time is over: Wake must not name it again.
	t.retryAt = time.Time{}
	if !t.watching() || t.upstream != Closed {
		return
	}
	verb := adapters.WatchOpen
	if t.rules.AsksExplicitly && t.auth == Asked {
		verb = adapters.WatchAsk
	}
	t.begin(Request{Verb: verb, Duration: t.rules.Duration})
}
