package watch

import (
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// Step takes one event at time now and returns what to do. now must not go back further than the timers can bear: it is
// the monotonic time of the process.
func (s *State) Step(now time.Time, e Event) []Effect {
	t := turn{State: s, now: now, taken: e.Taken}
	if t.taken.IsZero() {
		t.taken = now
	}
	switch {
	case e.Again && t.obsolete(&e):
		t.drop(DropOutdated)
		if e.Asked != nil {
			t.respond(adapters.Success, 0, adapters.WatchTerminated, 0)
		}
	case e.Asked != nil:
		t.asked(e.Asked)
	case e.Told != nil:
		t.told(e.Told)
	case e.Answered != nil:
		t.answered(e.Answered)
	case e.Heard != nil:
		t.heard(e.Heard)
	case e.Attended != nil:
		t.attended(*e.Attended)
	case e.Leaving:
		t.leaving()
	case e.Severed:
		t.sever()
	case e.Tried:
		t.try()
	case e.Mended:
		t.mend()
	case e.WatcherMended:
		t.mendWatcher()
	case e.Tick:
		t.tick()
	}
	return t.effects
}

// turn is one Step.
type turn struct {
	*State
	now     time.Time
	taken   time.Time // when what is said was taken from who says it
	effects []Effect
}

func (t *turn) respond(o adapters.Outcome, r adapters.Reason, state adapters.WatchState, d time.Duration) {
	t.effects = append(t.effects, Effect{Respond: &adapters.WatchStatus{
		Status: adapters.Status{Outcome: o, Reason: r}, State: state, Duration: d,
	}})
}

func (t *turn) request(r Request) { t.effects = append(t.effects, Effect{Request: &r}) }

func (t *turn) drop(why Drop) { t.effects = append(t.effects, Effect{Dropped: why}) }

// tell says n to the session id.
func (t *turn) tell(id string, n adapters.NotifyOp) {
	n.Watch = adapters.WatchID{Watcher: t.watcher, Presentity: t.presentity, Session: id}
	n.Whole = true
	t.telling++
	if i := t.session(id); i >= 0 {
		t.sessions[i].told = t.telling
	}
	if id == "" {
		t.toldBare = t.telling
		if t.rules.OneByOne {
			t.sayOwed(&n)
		}
	}
	t.effects = append(t.effects, Effect{Tell: &n, Serial: t.telling})
}

// tellPresent tells one session how the watch stands: its state, what is left of it and what is known of the presentity.
// "if the SIP-to-XMPP gateway does not have meaningful information ... the NOTIFY MUST be empty" (RFC 8048 §5.3.2):
// Presence is nil then. But a watch that was told something, which is not known any more, is told so by a document without a tuple:
// an empty NOTIFY takes nothing back.
func (t *turn) tellPresent(w Session, known *pidf.Presence, n adapters.NotifyOp) {
	n.State = adapters.WatchPending
	if t.rules.OneByOne && len(n.Withdrawn) > 0 {
		n.State = adapters.WatchNeutral // of "pending" nothing is told, and what she may believe to be there must be taken back
	}
	if t.auth == Granted {
		n.State = adapters.WatchActive
		if n.Presence = known; known != nil {
			n.Sealed = t.sealed
		}
		switch {
		case w.Fetch:
		case known != nil:
			t.toldSome = true
		case t.toldSome && !t.rules.OneByOne && w.told != 0 && t.doubtAt.IsZero():
			n.Presence = t.compose(nil)
		}
	}
	if !w.Until.IsZero() {
		n.Duration = w.Until.Sub(t.now)
	}
	if w.Fetch {
		n.State, n.End, n.Duration = adapters.WatchTerminated, adapters.EndTimeout, 0
	}
	t.tell(w.ID, n)
}

// tellOne tells the session w how things stand.
func (t *turn) tellOne(w Session, change adapters.AuthorizationChange) {
	n, known := adapters.NotifyOp{Change: change}, t.tellable()
	if t.rules.OneByOne && !w.Fetch {
		n.Withdrawn = t.show(known)
	}
	t.tellPresent(w, known, n)
}

// asked is a wish of the watcher's side.
func (t *turn) asked(op *adapters.WatchOp) {
	switch op.Verb {
	case adapters.WatchAsk:
		t.ask(op)
	case adapters.WatchOpen:
		t.open(op)
	case adapters.WatchClose:
		t.close(op)
	case adapters.WatchCancel:
		t.cancel(op)
	case adapters.WatchFetch:
		t.fetch(op)
	default:
		t.respond(adapters.Failure, adapters.ReasonBadRequest, adapters.WatchNeutral, 0)
	}
}

// ask is an explicit request for an authorization (RFC 8048 §5.2.1).
func (t *turn) ask(op *adapters.WatchOp) {
	w, ok := t.enter(op)
	if !ok {
		return
	}
	if t.taken.After(t.wanted) {
		t.wanted = t.taken // what was cancelled before is not about this
	}
	if t.auth == Granted {
		// Asked again for what it has: the answer is the same as the first time (RFC 6121 §3.1.3).
		t.respond(adapters.Success, 0, adapters.WatchActive, op.Duration)
		t.tellOne(w, adapters.AuthorizationGranted)
		t.reach(op, false)
		return
	}
	if t.auth = Asked; t.taken.After(t.since) {
		t.since = t.taken // nor what was decided before
	}
	t.owed, t.revoking = adapters.AuthorizationUnchanged, false // what she was told before is obsolete
	t.respond(adapters.Indeterminate, 0, adapters.WatchPending, op.Duration)
	t.reach(op, false)
}

// open starts or refreshes a watch.
func (t *turn) open(op *adapters.WatchOp) {
	if op.Watch.Session == "" && t.owed == adapters.AuthorizationRefused {
		// Her server does not know yet that she was refused.
		t.respond(adapters.Success, 0, adapters.WatchTerminated, 0)
		t.retell()
		return
	}
	if t.over(op) {
		return
	}
	existed := t.session(op.Watch.Session) >= 0
	w, ok := t.enter(op)
	if !ok {
		return
	}
	state := adapters.WatchPending
	switch {
	case t.auth == Granted:
		state = adapters.WatchActive
	case t.auth == None && op.Watch.Session == "":
		// A watcher whose protocol asks in words opens without asking: its server holds the authorization (an XMPP
		// server probes for a roster item that is "to" or "both", RFC 6121 §4.3.1), and we have lost ours. If the
		// presentity's side thinks otherwise, it says so.
		t.auth, t.since = Granted, t.taken
		t.revoking = false
		state = adapters.WatchActive
	case t.auth == None:
		t.auth, t.since = Asked, t.taken
		t.revoking = false
		t.respond(adapters.Indeterminate, 0, state, op.Duration)
		t.tellOne(w, adapters.AuthorizationUnchanged)
		t.reach(op, true)
		return
	}
	t.respond(adapters.Success, 0, state, op.Duration)
	if op.Watch.Session != "" || t.known() != nil {
		t.tellOne(w, adapters.AuthorizationUnchanged)
	}
	// A refresh that finds nothing open, nor about to be, is a wish too: of who was not found an hour ago, or of whom a server said so.
	if !existed || op.Watch.Session == "" || t.upstream == Closed && t.retryAt.IsZero() || t.overdue() {
		t.reach(op, false)
	}
}

// enter adds or refreshes the session that op speaks of, and answers op if that cannot be.
func (t *turn) enter(op *adapters.WatchOp) (Session, bool) {
	w := Session{ID: op.Watch.Session}
	if op.Duration > 0 {
		w.Until = t.now.Add(op.Duration)
	}
	t.attendsStale = t.attends && w.ID == "" // she is there now, whatever her server says of the moment before
	if i := t.session(w.ID); i >= 0 {
		w.told, w.missed = t.sessions[i].told, t.sessions[i].missed
		t.sessions[i] = w
		return w, true
	}
	if len(t.sessions) >= t.rules.Sessions {
		t.respond(adapters.Failure, adapters.ReasonOverloaded, adapters.WatchNeutral, 0)
		return w, false
	}
	t.sessions = append(t.sessions, w)
	t.revived(w.ID)
	return w, true
}

// reach makes the presentity's side be watched. New tells that the user there has not been asked yet.
func (t *turn) reach(op *adapters.WatchOp, isNew bool) {
	r := Request{
		Verb: adapters.WatchOpen, Duration: t.rules.Duration, Note: op.Note, NoteLang: op.NoteLang, Name: op.WatcherName, Instance: op.Instance,
	}
	switch {
	case t.rules.AsksExplicitly && t.auth == Asked:
		under := t.upstream != Closed || !t.retryAt.IsZero()
		if !isNew && op.Verb != adapters.WatchAsk && under {
			return // asked before, no second request is shown to the user
		}
		r.Verb = adapters.WatchAsk
	case t.upstream == Opening:
		return
	}
	t.begin(r)
}

// begin asks the presentity's side to be asked or watched. Only the answer to the last such request counts.
func (t *turn) begin(r Request) {
	t.asking++
	r.Serial = t.asking
	t.upstream, t.openedAt, t.retryAt, t.probeAt, t.severed = Opening, t.now, time.Time{}, time.Time{}, false
	if r.Verb == adapters.WatchAsk {
		t.askedAt, t.askTaken = t.now, false
	}
	t.attendLater()
	t.request(r)
}

// close ends one watch; the authorization stays.
func (t *turn) close(op *adapters.WatchOp) {
	i := t.session(op.Watch.Session)
	t.respond(adapters.Success, 0, adapters.WatchTerminated, 0)
	if i < 0 {
		return
	}
	t.end(i, adapters.EndTimeout)
}

// end ends the session at i for reason why, and stops watching the presentity's side with the last one.
//
// "Sending a SIP NOTIFY request to the SIP User Agent containing a PIDF document specifying that the XMPP contact now has
// a basic status of 'closed', including a Subscription-State header ... of 'terminated' with a reason of 'timeout'" and "an
// XMPP <presence/> stanza of type 'unavailable' to the XMPP contact" (RFC 8048 §5.3.3).
func (t *turn) end(i int, why adapters.EndReason) {
	n := adapters.NotifyOp{State: adapters.WatchTerminated, End: why}
	if t.auth == Granted {
		n.Presence = t.knownClosed()
	}
	if t.rules.OneByOne {
		n.Withdrawn = t.show(n.Presence)
	}
	id := t.sessions[i].ID
	t.sessions = slices.Delete(t.sessions, i, i+1)
	t.tellEnd(id, n)
	t.leave()
}

// leave stops watching the presentity's side when nobody watches any more; fetches that still wait are answered by what they asked
// for themselves.
//
// A question that was not answered is forgotten with the last watch. The presentity's server keeps it: when the watcher comes back and
// asks again, it "MUST auto-reply" if the user has approved meanwhile, and shows no second request if not (RFC 6121 §3.1.3).
func (t *turn) leave() {
	if t.watching() {
		return
	}
	t.retryAt, t.probeAt, t.attempt = time.Time{}, time.Time{}, 0
	t.attendAt, t.doubtAt, t.lasts = time.Time{}, time.Time{}, 0
	t.unsaid, t.toldSome, t.restored, t.severed = false, false, false, false
	if !t.rules.OneByOne {
		t.shown = nil
	}
	if !t.indebted() {
		t.debtAt, t.debts = time.Time{}, 0
	}
	if t.auth == Asked {
		t.auth = None
	}
	if t.upstream != Closed {
		t.upstream = Closed
		t.request(Request{Verb: adapters.WatchClose})
	}
	t.unknow()
}

// cancel gives the authorization back (RFC 8048 §5.2.3). The watcher is told at once and not, as the text has it, upon the other
// side's acknowledgement: cancelling must also work while the other side is away (RFC 2779 §5.1.7).
func (t *turn) cancel(op *adapters.WatchOp) {
	t.respond(adapters.Success, 0, adapters.WatchTerminated, 0)
	had := t.auth != None || len(t.sessions) > 0
	t.auth = None
	withdrawn := t.withdrawAll()
	if t.upstream != Closed || had {
		t.upstream = Closed
		if t.rules.AsksExplicitly {
			t.revoke()
		} else {
			t.request(Request{Verb: adapters.WatchClose})
		}
	}
	told := t.sessions
	if t.session(op.Watch.Session) < 0 {
		told = append([]Session{{ID: op.Watch.Session}}, told...)
	}
	for _, w := range told {
		t.tellEnd(w.ID, adapters.NotifyOp{
			State: adapters.WatchTerminated, End: adapters.EndRejected,
			Change: adapters.AuthorizationRefused, Withdrawn: withdrawn,
		})
	}
	t.sessions = nil
	t.leave()
}

// fetch asks once (RFC 8048 §7).
func (t *turn) fetch(op *adapters.WatchOp) {
	if op.Watch.Session == "" && (t.auth == Granted || t.owed == adapters.AuthorizationRefused) {
		// COMPAT(Prosody, 0.12.3): when a user comes online it probes from her full address, which is also what a client's own
		// question looks like (RFC 8048 §7.1), instead of from the bare one (RFC 6121 §4.3.1). Answered as a question it would leave
		// her with what is true at that moment for as long as she is there, so it opens a watch (RFC 8048 §5.2.2). Of who was never
		// approved it stays a question: anybody's client may put one. Who was refused and has not heard of it hears it now.
		t.open(op)
		return
	}
	if i := t.session(op.Watch.Session); i >= 0 && !t.sessions[i].Fetch {
		// A watch is open, so what is known is as fresh as it gets.
		state := adapters.WatchPending
		if t.auth == Granted {
			state = adapters.WatchActive
		}
		t.respond(adapters.Success, 0, state, 0)
		t.tellOne(t.sessions[i], adapters.AuthorizationUnchanged)
		return
	}
	if len(t.sessions) >= t.rules.Sessions {
		t.respond(adapters.Failure, adapters.ReasonOverloaded, adapters.WatchNeutral, 0)
		return
	}
	w := Session{ID: op.Watch.Session, Fetch: true, Until: t.now.Add(t.rules.FetchWait)}
	t.respond(adapters.Success, 0, adapters.WatchNeutral, 0)
	// One that waits under the same name is replaced.
	t.sessions = slices.DeleteFunc(t.sessions, func(x Session) bool { return x.ID == w.ID })
	switch {
	case t.auth == Granted && t.upstream == Open && t.known() != nil:
		t.tellOne(w, adapters.AuthorizationUnchanged)
		return
	case t.auth == Asked && t.rules.AsksExplicitly:
		// A probe by a watcher that was not approved yet is answered with "unsubscribed" (RFC 6121 §4.3.2), which would end
		// the request that the user has not decided. There is nothing to be told before.
		t.tellOne(w, adapters.AuthorizationUnchanged)
		return
	}
	t.sessions = append(t.sessions, w)
	t.revived(w.ID)
	t.request(Request{Verb: adapters.WatchFetch, Instance: op.Instance})
}
