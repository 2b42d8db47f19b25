package watch

import (
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// A debt is what a side must be told and has not taken: the watcher's side, that she was approved or refused, or that something is gone;
// the presentity's side, that an authorization was given back. It is said again, less and less often, until it is taken or obsolete:
// what is newer takes its place.

// owe sets when debts are paid again.
func (t *turn) owe() {
	if t.debtSince.IsZero() || t.debts == 0 {
		t.debtSince = t.now
	}
	t.debtAt = t.now.Add(t.wait(t.debts))
	t.debts = min(t.debts, 100) + 1
}

// sayOwed has n say what the watcher has not taken of the authorization, if nothing that is under way does: once she has taken what comes later, nobody
// would say it any more. What n says of the authorization is owed until it is taken.
func (t *turn) sayOwed(n *adapters.NotifyOp) {
	if n.Change == adapters.AuthorizationUnchanged && n.State == adapters.WatchActive && t.toldOwed == 0 && t.owed == adapters.AuthorizationGranted {
		n.Change = t.owed
	}
	if n.Change != adapters.AuthorizationUnchanged {
		t.owed, t.toldOwed = n.Change, t.telling
	}
}

// settled takes in that a debt was paid.
func (t *turn) settled() {
	if !t.indebted() && !t.unsaid && !slices.ContainsFunc(t.sessions, func(w Session) bool { return w.missed }) {
		t.debtAt, t.debtSince, t.debts = time.Time{}, time.Time{}, 0
	}
}

// payDebts says again what was not taken, or gives up.
func (t *turn) payDebts() {
	for _, e := range slices.Clone(t.ending) {
		t.tellEnding(e)
	}
	if t.now.Sub(t.debtSince) > t.rules.DebtLife {
		t.owed, t.gone, t.revoking, t.unsaid, t.ending = adapters.AuthorizationUnchanged, nil, false, false, nil
		for i := range t.sessions {
			t.sessions[i].missed = false
		}
		t.settled()
		return
	}
	if t.revoking {
		t.revoke()
	}
	if t.owed != adapters.AuthorizationUnchanged || len(t.gone) > 0 || t.unsaid {
		t.retell()
	}
	t.settled() // where the sessions that it was about are gone
}

// revoke tells the presentity's side that the authorization was given back. "Cancelling a presence authorization" must work while that side
// is away too (RFC 2779 §5.1.7).
func (t *turn) revoke() {
	t.asking++
	t.revoking, t.revoked = true, t.asking
	t.request(Request{Verb: adapters.WatchCancel, Serial: t.asking})
}

// revocationAnswered is the answer to that.
func (t *turn) revocationAnswered(a *Answer) {
	if !t.revoking || a.Serial != t.revoked {
		return
	}
	if a.Status.Outcome == adapters.Failure && away(a.Status.Reason) && t.rules.DebtLife > 0 {
		t.owe()
		return
	}
	t.revoking = false
	t.settled()
}

// tellEnd tells the session id that it is over. Where a session has a name (a SIP dialog) nothing else is left of it, so that this is kept until
// it was taken: a crash must not leave its watcher with what it was told last.
func (t *turn) tellEnd(id string, n adapters.NotifyOp) {
	t.tell(id, n)
	if id == "" {
		return
	}
	t.ending = slices.DeleteFunc(t.ending, func(e ending) bool { return e.id == id })
	if len(t.ending) < t.rules.Sessions {
		t.ending = append(t.ending, ending{id, n.End, n.Presence != nil, t.telling})
	}
}

// tellEnding tells once more that a watch is over.
func (t *turn) tellEnding(e ending) {
	n := adapters.NotifyOp{State: adapters.WatchTerminated, End: e.end}
	if e.end == adapters.EndRejected && t.auth == None { // else she has asked again since
		n.Change = adapters.AuthorizationRefused
	}
	if e.shown {
		n.Presence = t.knownClosed()
	}
	t.tellEnd(e.id, n)
}

// over answers op if it is of a watch that was refused and whose watcher's side has not taken that yet: a refresh would have the user asked once more.
func (t *turn) over(op *adapters.WatchOp) bool {
	i := slices.IndexFunc(t.ending, func(e ending) bool { return e.id == op.Watch.Session })
	if i < 0 || t.ending[i].end != adapters.EndRejected {
		return false
	}
	t.respond(adapters.Success, 0, adapters.WatchTerminated, 0)
	t.tellEnding(t.ending[i])
	return true
}

// revived takes in that the session id is used again: its end is not told any more.
func (t *turn) revived(id string) {
	t.ending = slices.DeleteFunc(t.ending, func(e ending) bool { return e.id == id })
	t.settled()
}

// retell tells the watcher's side how things stand, with what it has not taken. Of several sessions those are told that have missed something: one that
// never takes anything is no reason to tell the others again.
func (t *turn) retell() {
	t.unsaid = false
	switch {
	case t.watching() && !t.rules.OneByOne && t.owed == adapters.AuthorizationUnchanged && len(t.gone) == 0:
		for _, w := range slices.Clone(t.sessions) {
			if w.missed && !w.Fetch {
				t.tellOne(w, adapters.AuthorizationUnchanged)
			}
		}
	case t.watching():
		t.tellAll(t.owed)
	case t.owed == adapters.AuthorizationRefused:
		t.tell("", adapters.NotifyOp{
			State: adapters.WatchTerminated, End: adapters.EndRejected, Change: t.owed, Withdrawn: t.show(nil),
		})
	case t.owed == adapters.AuthorizationGranted:
		t.tell("", adapters.NotifyOp{State: adapters.WatchActive, Change: t.owed, Withdrawn: t.show(nil)})
	case len(t.gone) > 0:
		t.tell("", adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndTimeout, Withdrawn: t.show(nil)})
	}
}

// heard is the outcome of telling the watcher's side. A session that is not there any more is over (SIP 481), and so is one that does
// not answer: "the notifier SHOULD remove the subscription" (RFC 6665 §4.2.2). Any other failure is of that one notification, and it
// is said again unless a newer one is on its way.
func (t *turn) heard(h *Hearing) {
	if i := slices.IndexFunc(t.ending, func(e ending) bool { return e.id == h.Session && e.serial <= h.Serial }); i >= 0 {
		if h.Status.Outcome == adapters.Failure && passing(h.Status.Reason) && t.rules.DebtLife > 0 {
			t.owe() // it may not have reached the watcher's side at all
			return
		}
		t.ending = slices.Delete(t.ending, i, i+1)
		t.settled()
		return
	}
	i := t.session(h.Session)
	newest := i >= 0 && t.sessions[i].told == h.Serial || h.Session == "" && t.toldBare == h.Serial
	if h.Session == "" {
		// Else her server took it, and says that she does not want it or is not there.
		t.heardBare(h.Serial, newest, h.Status.Outcome != adapters.Failure || !away(h.Status.Reason))
	}
	if h.Status.Outcome != adapters.Failure {
		if newest {
			if i >= 0 {
				t.sessions[i].missed = false
			}
			t.settled()
		}
		return
	}
	if h.Session == "" && !away(h.Status.Reason) {
		return
	}
	if i >= 0 && h.Session != "" && !passing(h.Status.Reason) {
		t.sessions = slices.Delete(t.sessions, i, i+1)
		t.leave()
		return
	}
	if newest && t.rules.DebtLife > 0 && (i >= 0 || t.indebted()) {
		if t.unsaid = i >= 0; t.unsaid {
			t.sessions[i].missed = true
		}
		t.owe()
	}
}

// heardBare takes in whether the Tell for Session "" with this serial was taken.
func (t *turn) heardBare(serial uint64, newest, taken bool) {
	if newest && taken {
		t.gone = nil
	}
	if t.toldOwed != 0 && serial >= t.toldOwed {
		if t.toldOwed = 0; taken {
			t.owed = adapters.AuthorizationUnchanged
		}
	}
	switch {
	case taken && newest && t.owed != adapters.AuthorizationUnchanged && t.debtAt.IsZero() && t.rules.DebtLife > 0:
		t.owe() // what came behind it was taken, and it was not
	case taken:
		t.settled()
	}
}

// away tells that a failure is of the way to a side and not of what was said: nobody answered for it, or nobody could.
func away(r adapters.Reason) bool {
	switch r {
	case adapters.ReasonDomainTimeout, adapters.ReasonDomainNotFound, adapters.ReasonOverloaded, adapters.ReasonInternal,
		adapters.ReasonOutcomeUnknown, adapters.ReasonUndefined:
		return true
	default:
		return false
	}
}

// passing tells that a notification failed for a reason which says nothing of the watch: none of the codes for which "the notifier
// MUST remove the corresponding subscription" (RFC 6665 §4.2.2) has it.
func passing(r adapters.Reason) bool {
	switch r {
	case adapters.ReasonInternal, adapters.ReasonOverloaded, adapters.ReasonServiceUnavailable, adapters.ReasonDomainNotFound,
		adapters.ReasonUndefined, adapters.ReasonUnexpectedRequest, adapters.ReasonOutcomeUnknown, adapters.ReasonTooLarge,
		adapters.ReasonNotAuthenticated, adapters.ReasonRegistrationRequired:
		return true
	default:
		return false
	}
}
