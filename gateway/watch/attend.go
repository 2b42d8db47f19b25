package watch

import (
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// The watch of a watcher whose side can be asked whether she is online (XMPP) lasts as long as she is: "the notification dialog ...
// during the XMPP user's active presence session" (RFC 8048 §5.2.2). Nobody has to tell us that she left, so her server is asked before
// each refresh of what is watched for her (RFC 8048 §8.1).

// attendLater sets the time of the next question: before the adapter of the presentity's side refreshes the watch, which it does when
// three quarters of its duration are over.
func (t *turn) attendLater() {
	t.attendAt = time.Time{}
	if i := t.session(""); !t.rules.Attends || i < 0 || t.sessions[i].Fetch {
		return
	}
	every := t.lasts
	if every <= 0 {
		every = t.rules.Duration
	}
	if every = every * 6 / 10; every > 0 {
		t.attendAt = t.now.Add(every)
	}
}

// attend asks whether the watcher is online, and tells whether there is a question under way now.
func (t *turn) attend() bool {
	if i := t.session(""); !t.rules.Attends || i < 0 || t.sessions[i].Fetch {
		return false
	}
	if !t.attends {
		t.attends = true
		t.effects = append(t.effects, Effect{Attend: true})
	}
	return true
}

// leaving is a sign that she may be offline; her server knows.
func (t *turn) leaving() {
	if t.upstream != Closed {
		t.attend()
	}
}

// attended is the answer. Only one that says that she is absent ends anything: a server that says nothing to strangers must not cost
// her what she watches. The authorization stays in any case, and so does a question that is not old: a SIP notifier tells of its decision in this watch
// alone, and her server need not ask again when she comes back ("SHOULD", RFC 6121 §3.1.2).
func (t *turn) attended(a adapters.Attendance) {
	stale := t.attendsStale
	if t.attends, t.attendsStale = false, false; stale {
		a = adapters.AttendanceUnknown
	}
	i := t.session("")
	if i < 0 || t.sessions[i].Fetch {
		return
	}
	if a == adapters.AttendanceAbsent && (t.auth != Asked || t.now.Sub(t.since) >= t.rules.DebtLife) {
		t.end(i, adapters.EndTimeout)
		return
	}
	if t.restored && t.upstream == Closed && t.retryAt.IsZero() {
		t.reopen()
	}
}
