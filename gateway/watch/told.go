package watch

import (
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/pidf"
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
	t.attempt = 0
	t.opened()
	if t.auth != Granted {
		return
	}
	t.owed = adapters.AuthorizationUnchanged // an approval that was not taken yet is none any more
	t.lose()
	t.auth, t.askTaken, t.askedAt = Asked, true, t.now
}

// opened takes in that the presentity's side watches.
func (t *turn) opened() {
	t.upstream, t.retryAt, t.askTaken, t.restored = Open, time.Time{}, true, false
	if t.attendAt.IsZero() {
		t.attendLater()
	}
}

// lose is the end of what was known: the watchers are told that it is not known any more, if they were told anything.
func (t *turn) lose() {
	t.doubtAt = time.Time{}
	had := len(t.shown) > 0 || !t.rules.OneByOne && t.known() != nil
	t.unknow()
	if had && t.auth == Granted {
		t.tellAll(adapters.AuthorizationUnchanged)
	}
}

// probeWait is how long presence that follows an approval may take, before it is asked for.
const probeWait = 5 * time.Second

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
		t.auth, t.since = Granted, t.taken
	}
	if !t.watching() {
		// Told what it has, while nobody watches: nothing is opened by it, and what it says of presence would be stale when
		// somebody does.
		if op.Presence != nil {
			t.drop(DropUnasked)
		}
		return
	}
	t.attempt = 0
	t.opened()
	if t.rules.AsksExplicitly && op.Presence == nil && t.known() == nil {
		// "the contact's server MUST then also send current presence to the user" (RFC 6121 §3.1.5), but not where it answers for a user who
		// approved before (RFC 6121 §3.1.3).
		t.probeAt = t.now.Add(probeWait)
	}
	// Told what it has, without presence, there is nothing to tell.
	if t.learn(op) || change != adapters.AuthorizationUnchanged {
		t.tellAll(change)
		t.settleDevices()
	}
	t.emptied(op)
}

// refused is the refusal, at once or later: "permanently cancelled" (RFC 8048 §5.2.2), and every watcher is told.
func (t *turn) refused() {
	told := t.sessions
	if len(told) == 0 && t.auth != None {
		told = []Session{{}}
	}
	last, withdrawn := t.lastDocument(), t.withdrawAll()
	t.auth, t.upstream, t.sessions, t.revoking = None, Closed, nil, false
	for _, w := range told {
		t.tellEnd(w.ID, adapters.NotifyOp{
			State: adapters.WatchTerminated, End: adapters.EndRejected, Presence: last.of(w),
			Change: adapters.AuthorizationRefused, Withdrawn: withdrawn,
		})
	}
	t.leave()
}

// lastDocument is what the watchers are left with who were shown something, when the presentity's side ends their watch for good: all of it closed.
// A state of the watch alone takes nothing back from who keeps the two apart.
//
// COMPAT(Kamailio, 5.6, rls): it takes a NOTIFY without a body for none, and goes on showing what it was told last, until that expires.
func (t *turn) lastDocument() lastDocument {
	if t.rules.OneByOne || t.auth != Granted || !t.toldSome {
		return lastDocument{}
	}
	return lastDocument{t.knownClosed()}
}

type lastDocument struct{ p *pidf.Presence }

// of is the document for the session w: none for one that was told nothing yet.
func (d lastDocument) of(w Session) *pidf.Presence {
	if w.told == 0 || w.Fetch {
		return nil
	}
	return d.p
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
		// With what the end says of presence. What was known before is not known any more.
		if !t.learn(op) {
			t.endFetchesWith(nil)
		}
		t.endFetches()
	}
	if op.End == adapters.EndInvariant && t.auth == Granted && t.watching() {
		// "The subscription has been terminated because the resource state is guaranteed not to change for the foreseeable future"
		// (RFC 6665 §4.1.3): what is known stays true.
		t.retryAt, t.doubtAt = time.Time{}, time.Time{}
		for i := range t.devices {
			t.devices[i].Doubted = false
		}
		if t.learn(op) {
			t.tellAll(adapters.AuthorizationUnchanged)
			t.settleDevices()
		}
		return
	}
	if !t.watching() {
		t.unknow()
		return
	}
	switch op.End {
	case adapters.EndDeactivated, adapters.EndTimeout:
		// "the subscriber SHOULD retry immediately with a new subscription" and "Clients MAY re-subscribe immediately"
		// (RFC 6665 §4.1.3). But a side that ends each watch as soon as it is opened must not keep us busy.
		if op.RetryAfter > 0 || t.now.Sub(t.openedAt) < t.rules.RetryFirst {
			t.later(op.RetryAfter)
			break
		}
		t.retryAt = t.now
		if t.rules.Doubt > 0 && t.auth == Granted {
			// Nothing is taken back that will be said again in a moment.
			t.doubtAt = time.Time{}
			t.doubt(t.rules.Doubt)
			return
		}
	case adapters.EndNoResource, adapters.EndInvariant:
		t.restored = false
		// "Clients SHOULD NOT attempt to re-subscribe" (RFC 6665 §4.1.3): the next wish of the watcher's side will. Who waits for a decision
		// waits no longer: nobody is left to make it.
		t.retryAt = time.Time{}
		if t.auth == Asked {
			t.failed(adapters.Failed(adapters.ReasonNotFound, ""))
			return
		}
	default:
		t.later(op.RetryAfter)
	}
	t.lose()
}

// later sets the time of the next attempt: what the far side asked for, or a wait that doubles.
func (t *turn) later(asked time.Duration) {
	wait := t.wait(t.attempt)
	t.attempt = min(t.attempt, 100) + 1
	t.retryAt = t.now.Add(max(wait, asked))
}

// wait is how long to wait after so many failures.
func (t *turn) wait(failures uint8) time.Duration {
	wait := t.rules.RetryFirst << min(failures, 16)
	if wait <= 0 || wait > t.rules.RetryMost {
		wait = t.rules.RetryMost
	}
	if t.rules.Spread {
		// Between the wait and a quarter more, another quarter each time.
		wait += wait / 4 * time.Duration((t.seed+uint32(failures)*2654435761)>>16&0xff) / 0x100
	}
	return wait
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
		t.opened() // also where the answer to our request was lost
	case t.upstream == Opening:
		t.upstream = Open
	}
	if !t.learn(op) {
		t.emptied(op)
		return
	}
	if t.auth != Granted {
		// Only a fetch is open: it is answered with what its server lets it see, and nothing is kept.
		t.endFetches()
		t.unknow()
		return
	}
	t.tellAll(adapters.AuthorizationUnchanged)
	t.settleDevices()
	if !t.watching() {
		t.unknow() // a fetch was answered, and nobody keeps it up to date from here on
	}
}

// tellAll tells every session how things stand. Fetches end with it if there is presence to answer them with.
func (t *turn) tellAll(change adapters.AuthorizationChange) {
	known := t.tellable()
	var withdrawn []pidf.ID
	if t.watching() {
		withdrawn = t.withdraw(known)
	}
	for _, w := range t.sessions {
		if known != nil || !w.Fetch {
			t.tellPresent(w, known, adapters.NotifyOp{Change: change, Withdrawn: withdrawn})
		}
	}
	t.sessions = slices.DeleteFunc(t.sessions, func(w Session) bool { return known != nil && w.Fetch })
}

// endFetches answers the open fetches with what is known, whether or not the watcher has an authorization: the
// presentity's own side decided what to tell.
func (t *turn) endFetches() { t.endFetchesWith(t.known()) }

func (t *turn) endFetchesWith(p *pidf.Presence) {
	var sealed *adapters.Content
	if p != nil {
		sealed = t.sealed
	}
	for _, w := range t.sessions {
		if w.Fetch {
			t.tell(w.ID, adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndTimeout, Presence: p, Sealed: sealed})
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
	case adapters.WatchCancel:
		t.revocationAnswered(a)
		return
	default:
		return // closing is done whatever the other side says of it
	}
	if a.Serial != t.asking || t.upstream != Opening && !t.endedBy(a.Status) {
		return // overtaken by a notification, by the watcher's leaving, or by a request that was made after that
	}
	if a.Status.Outcome != adapters.Failure {
		// Taken. The state stays neutral until the presentity's side says "active" (RFC 8048 §5.2.1), and only what it says
		// counts as a success: one that takes every request and never notifies is asked less and less often.
		t.upstream = Open
		if a.Verb == adapters.WatchAsk {
			t.askTaken = true
		}
		if a.Status.Duration > 0 {
			t.lasts = a.Status.Duration
			t.attendLater()
		}
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
	case impossible(a.Status.Status):
		t.failed(a.Status.Status)
	default:
		t.later(a.Status.RetryAfter)
		t.lose()
	}
}

// endedBy tells that a failure counts although a notification overtook it: a NOTIFY that was on its way when a refresh was refused says
// nothing of it. 403, 489 and 603 cancel the authorization whatever else was heard (RFC 8048 §5.2.2), and a watch that is over on the
// presentity's side must not be taken for one that is there.
func (t *turn) endedBy(s adapters.WatchStatus) bool {
	if s.Outcome != adapters.Failure || t.auth == None {
		return false
	}
	return s.End == adapters.EndRejected || t.upstream == Open && s.State == adapters.WatchTerminated
}

// impossible tells that trying again changes nothing. What RFC 8048 §5.2.2 calls "a transient error" (423, 481), a timeout and a fault of
// a server are none, whatever reason their codes have otherwise.
func impossible(s adapters.Status) bool {
	if s.Code == 408 || s.Code == 423 || s.Code == 481 || s.Code/100 == 5 {
		return false
	}
	switch s.Reason {
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
	last, withdrawn := t.lastDocument(), t.withdrawAll()
	for _, w := range told {
		t.tellEnd(w.ID, adapters.NotifyOp{
			State: adapters.WatchTerminated, End: adapters.EndNoResource, Presence: last.of(w), Withdrawn: withdrawn, Failure: why,
		})
	}
	t.leave()
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
	due := func(at *time.Time) bool {
		is := !at.IsZero() && !at.After(t.now)
		if is {
			*at = time.Time{} // whether or not anything is to be done, the time is over: Wake must not name it again
		}
		return is
	}
	if due(&t.doubtAt) {
		t.disbelieve()
	}
	if due(&t.debtAt) {
		t.payDebts()
	}
	if at := t.askAgainAt(); due(&at) {
		t.begin(Request{Again: true, Verb: adapters.WatchAsk, Duration: t.rules.Duration})
	}
	if due(&t.probeAt) && t.auth == Granted && t.upstream == Open && t.watching() && t.known() == nil {
		t.begin(Request{Again: true, Verb: adapters.WatchOpen, Duration: t.rules.Duration})
	}
	if due(&t.attendAt) && t.upstream != Closed {
		t.attend()
		t.attendLater()
	}
	if !due(&t.retryAt) || !t.watching() || t.upstream != Closed {
		return
	}
	if t.restored && t.attend() {
		return // a watch of hers goes on if she is there: "it first sends an XMPP <presence/> stanza of type "probe"" (RFC 8048 §8.1)
	}
	t.reopen()
}

// reopen asks the presentity's side again for what is wanted.
func (t *turn) reopen() {
	verb := adapters.WatchOpen
	if t.rules.AsksExplicitly && t.auth == Asked {
		verb = adapters.WatchAsk
	}
	t.restored = false
	t.begin(Request{Again: true, Verb: verb, Duration: t.rules.Duration})
}
