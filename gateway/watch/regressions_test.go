package watch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
	"github.com/isthmus-gateway/isthmus/pidf"
)

func failed(r adapters.Reason) adapters.WatchStatus {
	return adapters.WatchStatus{Status: adapters.Failed(r, "")}
}

// A fetch that outlives the last watch leaves no timer behind: one that is due for ever made the clock's loop spin.
func TestFetchOutlivesTheLastWatch(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
	s.step("approved", change(adapters.AuthorizationGranted), "tell d active GRANTED")
	s.step("a second phone", asked(adapters.WatchOpen, "e", time.Hour), "respond success active", "tell e active", "request open")
	s.step("the link is down", answered(adapters.WatchOpen, failed(adapters.ReasonDomainTimeout)))
	s.step("a poll", asked(adapters.WatchFetch, "f", 0), "respond success neutral", "request fetch")
	s.step("one leaves", asked(adapters.WatchClose, "d", 0), "respond success terminated", "tell d terminated timeout ID-=closed")
	s.step("the other too", asked(adapters.WatchClose, "e", 0), "respond success terminated", "tell e terminated timeout ID-=closed")
	for range 10 {
		wake := s.state.Wake()
		if wake.IsZero() {
			break
		}
		s.now = wake
		s.state.Step(s.now, tick)
	}
	if !s.state.Wake().IsZero() {
		t.Error("it never rests")
	}
}

// The last watch ends while a poll waits: the presentity's side is told, and what it said is not kept for later.
func TestLastWatchEndsBesideAFetch(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
	s.step("approved", change(adapters.AuthorizationGranted), "tell d active GRANTED")
	s.step("a poll", asked(adapters.WatchFetch, "f", 0), "respond success neutral", "request fetch")
	s.step("Expires 0", asked(adapters.WatchClose, "d", 0),
		"respond success terminated", "tell d terminated timeout ID-=closed", "request close")
	s.step("the poll's answer", stanza("balcony", "open"), "tell f terminated timeout ID-balcony=open")
	s.now = s.now.Add(24 * time.Hour)
	s.step("back a day later: that was yesterday's presence", asked(adapters.WatchOpen, "e", time.Hour),
		"respond success active", "tell e active", "request open")
}

// An approval that comes while nobody watches opens nothing, and presence that comes with it is not told to a later watcher.
func TestApprovalWhileNobodyWatches(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("probe", asked(adapters.WatchOpen, "", 0), "respond success active", "request open")
	s.step("404", answered(adapters.WatchOpen, failed(adapters.ReasonNotFound)), "tell  terminated noresource failure=not-found")
	e := notified(adapters.WatchActive, 0, document(romeo, "a"))
	e.Told.Change = adapters.AuthorizationGranted
	s.step("a NOTIFY of the dialog that there is not", e, "drop unasked")
	if s.state.Upstream() != watch.Closed {
		t.Error("it is watched for nobody")
	}
}

// An approval that nobody asked for, while a poll waits, is not kept, and the poll goes on waiting.
func TestApprovalDuringAFetch(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.step("a poll", asked(adapters.WatchFetch, "f", 0), "respond success neutral", "request fetch")
	s.step("subscribed", change(adapters.AuthorizationGranted), "drop unasked")
	s.step("presence", stanza("balcony", "open"), "tell f terminated timeout ID-balcony=open")
	if !s.state.Idle() {
		t.Error("a poll left something")
	}
}

// The answer to a request that was overtaken does not count as the answer to the one that is under way.
func TestAnswerToAnEarlierRequest(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
	first := s.asked
	s.step("Expires 0", asked(adapters.WatchClose, "d", 0), "respond success terminated", "tell d terminated timeout", "request close")
	s.step("again", asked(adapters.WatchOpen, "e", time.Hour), "respond indeterminate pending", "tell e pending", "request ask")
	late := answered(adapters.WatchAsk, failed(adapters.ReasonDomainTimeout))
	late.Answered.Serial = first
	s.step("the first could not be sent", late)
	if s.state.Upstream() != watch.Opening {
		t.Error("the second is under way, and counts as failed")
	}
	s.step("the second was", answered(adapters.WatchAsk, succeeded()))
	if s.state.Upstream() != watch.Open {
		t.Error("it was taken, and does not count as open")
	}
}

// "refrain from sending any presence stanzas" (RFC 8048 §5.2.1) also where the watcher's server takes the authorization for granted: the
// contact's side has the last word.
func TestPendingTakesAnAuthorizationBack(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("probe at login", asked(adapters.WatchOpen, "", 0), "respond success active", "request open")
	s.step("200", answered(adapters.WatchOpen, succeeded()))
	s.step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active ID-a=open")
	s.step("pending", notified(adapters.WatchPending, 0, nil), "tell  active -ID-a")
	s.step("subscribe: it is not told \"subscribed\"", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	s.step("active", notified(adapters.WatchActive, 0, document(romeo, "b")), "tell  active GRANTED ID-b=open")
}

// A server answers the probe of a watcher that was not approved yet with "unsubscribed" (RFC 6121 §4.3.2). A poll must not bring
// that about while the user is being asked.
func TestFetchWhilePending(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
	s.step("a poll", asked(adapters.WatchFetch, "f", 0), "respond success neutral", "tell f terminated timeout")
	s.step("a poll by the name of the watch", asked(adapters.WatchFetch, "d", 0), "respond success pending", "tell d pending")
}

// A question is forgotten with the last watch, and asked again with the next: the XMPP server answers it if the user has decided.
func TestQuestionIsAskedAgain(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
	s.now = s.now.Add(time.Hour)
	s.step("expired", tick, "tell d terminated timeout", "request close")
	if !s.state.Idle() {
		t.Error("a question that nobody waits for is kept for ever")
	}
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "e", time.Hour), "respond indeterminate pending", "tell e pending", "request ask")
}

// A refresh that failed leaves the watch "valid for the duration of the most recently known "Expires" value" (RFC 6665 §4.1.2.2).
func TestRefreshThatFailed(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("probe at login", asked(adapters.WatchOpen, "", 0), "respond success active", "request open")
	s.step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active ID-a=open")
	s.step("probe by a second client", asked(adapters.WatchOpen, "", 0), "respond success active", "tell  active ID-a=open", "request open")
	s.step("503, but the dialog lives", answered(adapters.WatchOpen, adapters.WatchStatus{
		Status: adapters.Failed(adapters.ReasonInternal, ""), State: adapters.WatchActive, Duration: time.Minute,
	}))
	if s.state.Upstream() != watch.Open || !s.state.Wake().IsZero() {
		t.Error("a watch that is open is opened again")
	}
}

// Only some failures of a NOTIFY end the watch (RFC 6665 §4.2.2).
func TestFailureOfANotification(t *testing.T) {
	for _, c := range []struct {
		name string
		why  adapters.Reason
		ends bool
	}{
		{"481 Subscription does not exist", adapters.ReasonNotFound, true},
		{"Timer F", adapters.ReasonDomainTimeout, true},
		{"480 Temporarily Unavailable", adapters.ReasonRecipientUnavailable, true},
		{"416 Unsupported URI Scheme", adapters.ReasonNotAcceptable, true},
		{"501 Not Implemented", adapters.ReasonNotImplemented, true},
		{"401 Unauthorized", adapters.ReasonNotAuthenticated, false},
		{"407 Proxy Authentication Required", adapters.ReasonRegistrationRequired, false},
		{"500 Server Internal Error", adapters.ReasonInternal, false},
		{"491 Request Pending", adapters.ReasonUnexpectedRequest, false},
		{"no room in the queue", adapters.ReasonOverloaded, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, romeo, juliet, rules(true))
			s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
			s.step("subscribed", change(adapters.AuthorizationGranted), "tell d active GRANTED")
			s.state.Step(s.now, watch.Event{Heard: &watch.Hearing{Session: "d", Status: adapters.Failed(c.why, "")}})
			if ended := len(s.state.Sessions()) == 0; ended != c.ends {
				t.Errorf("the watch ended: %v, want %v", ended, c.ends)
			}
		})
	}
}

// "noresource" to somebody who waits for a decision: nobody is left to make it, and the watcher is told (RFC 6665 §4.1.3).
func TestNoResourceWhilePending(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	s.step("pending", notified(adapters.WatchPending, 0, nil))
	s.step("gone", notified(adapters.WatchTerminated, adapters.EndNoResource, nil), "tell  terminated noresource failure=not-found")
	if !s.state.Idle() {
		t.Error("it waits for ever")
	}
}

// Who cancels and asks again while the first request is under way is asked for again, although the old watch says "active" meanwhile: it is about to
// be closed, and nobody would open another (found by isthmus faults --presence).
func TestT_PR_11_NewsOfTheOldWatchOpensNothing(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	s.step("unsubscribe", asked(adapters.WatchCancel, "", 0), "respond success terminated", "request close", "tell  terminated rejected REFUSED")
	s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	last := s.asked
	s.step("the old watch", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active GRANTED ID-a=open")
	if !s.state.Wants(last) {
		t.Error("the request that waits for its turn is left out")
	}
	s.step("unsubscribe", asked(adapters.WatchCancel, "", 0), "respond success terminated", "request close", "tell  terminated rejected REFUSED -ID-a")
	if s.state.Wants(last) {
		t.Error("a request that nobody wants any more is sent")
	}
}

// The end of a watch that could not be handed to the watcher's side is told again: nothing else would ever take back what she was shown, and a refresh
// meanwhile must not have the user who has refused asked once more.
func TestT_PR_16_EndThatWasNotTaken(t *testing.T) {
	r := rules(true)
	r.DebtLife = time.Hour
	s := newScript(t, romeo, juliet, r)
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
	s.step("subscribed", change(adapters.AuthorizationGranted), "tell d active GRANTED")
	s.step("presence", stanza("balcony", "open"), "tell d active ID-balcony=open")
	// play is step, without an end that is taken by itself.
	play := func(e watch.Event, want string) (serial uint64) {
		t.Helper()
		var got []string
		for _, f := range s.state.Step(s.now, e) {
			got = append(got, print(f))
			serial = max(serial, f.Serial)
		}
		if strings.Join(got, ", ") != want {
			t.Fatalf(" got: %s\nwant: %s", strings.Join(got, ", "), want)
		}
		return serial
	}
	heard := func(serial uint64, st adapters.Status) watch.Event {
		return watch.Event{Heard: &watch.Hearing{Session: "d", Serial: serial, Status: st}}
	}
	const end = "tell d terminated rejected REFUSED ID-=closed"
	last := play(change(adapters.AuthorizationRefused), "tell d terminated rejected REFUSED ID-balcony=closed -ID-balcony")
	play(heard(last, adapters.Failed(adapters.ReasonDomainNotFound, "")), "")
	last = play(asked(adapters.WatchOpen, "d", time.Hour), "respond success terminated, "+end)
	play(heard(last, adapters.Failed(adapters.ReasonOverloaded, "")), "")
	if s.now = s.state.Wake(); s.now.IsZero() {
		t.Fatal("it is not told again")
	}
	last = play(tick, end)
	play(heard(last, adapters.Succeeded()), "")
	if !s.state.Idle() {
		t.Error("it was taken, and is kept")
	}
}

// A watch that only expired, and whose end was not taken, goes on when it is refreshed.
func TestRefreshOfAWatchThatExpired(t *testing.T) {
	r := rules(true)
	r.DebtLife = time.Hour
	s := newScript(t, romeo, juliet, r)
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
	s.step("subscribed", change(adapters.AuthorizationGranted), "tell d active GRANTED")
	s.now = s.now.Add(time.Hour)
	for _, f := range s.state.Step(s.now, tick) {
		if f.Tell != nil {
			s.state.Step(s.now, watch.Event{Heard: &watch.Hearing{Session: "d", Serial: f.Serial, Status: adapters.Failed(adapters.ReasonOverloaded, "")}})
		}
	}
	s.step("a refresh", asked(adapters.WatchOpen, "d", time.Hour), "respond success active", "tell d active", "request open")
	s.now = s.now.Add(time.Minute)
	s.step("nothing is told of the end any more", tick)
}

// Who is not there when she is decided about is told when she comes back, or her server is at once: a SIP notifier that is not asked any more tells
// nobody, and a server need not repeat a request of its user's (RFC 6121 §3.1.2). A request of somebody who stays away is given up in the end.
func TestT_PR_08_PendingWhileTheWatcherIsAway(t *testing.T) {
	r := rules(false)
	r.OneByOne, r.Attends, r.DebtLife = true, true, 7*24*time.Hour
	absent := adapters.AttendanceAbsent
	pending := func(t *testing.T) *script {
		s := newScript(t, juliet, romeo, r)
		s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
		s.step("200", answered(adapters.WatchOpen, succeeded()))
		s.step("pending", notified(adapters.WatchPending, 0, nil))
		s.after(time.Hour).step("before the refresh", tick, "attend")
		s.step("she is not there", watch.Event{Attended: &absent})
		return s
	}
	t.Run("approved", func(t *testing.T) {
		s := pending(t)
		s.after(24*time.Hour).step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active GRANTED ID-a=open")
		s.after(time.Hour).step("before the refresh", tick, "attend")
		s.step("she is not there: only the authorization is left", watch.Event{Attended: &absent}, "tell  terminated timeout ID-a=closed", "request close")
	})
	t.Run("after a restart", func(t *testing.T) {
		s := pending(t)
		record := s.state.Record()
		s.state = watch.Restore(juliet, romeo, r, &record, s.now, time.Second)
		s.after(time.Second).step("taken up", tick, "attend")
		s.step("she is not there", watch.Event{Attended: &absent}, "request open")
	})
	t.Run("nobody decides", func(t *testing.T) {
		s := pending(t)
		s.after(7*24*time.Hour).step("before the refresh", tick, "attend")
		s.step("she is not there", watch.Event{Attended: &absent}, "tell  terminated timeout", "request close")
		if !s.state.Idle() {
			t.Error("a request that nobody waits for is kept for ever")
		}
	})
}

// The clock may be set while a watch that was taken up goes on: when it expires is reckoned by the time that passes, like every other time of a
// state, or it would be over hours late, and hold up others that are due.
func TestRestoredTimesFollowNoClock(t *testing.T) {
	now := time.Now()
	record := watch.Record{Authorization: "granted", Since: now.Round(0), Sessions: []watch.RecordSession{{ID: "d", Until: now.Add(time.Hour).Round(0)}}}
	s := watch.Restore(romeo, juliet, rules(true), &record, now, time.Second)
	until := s.Sessions()[0].Until
	if !until.Equal(now.Add(time.Hour)) || until == until.Round(0) { // == sees the monotonic reading, Equal does not
		t.Errorf("it expires at %s", until)
	}
	if again := s.Record(); again.Sessions[0] != record.Sessions[0] {
		t.Errorf("kept: %+v", again)
	}
}

// "if the newest timestamp in presence information is older than the newest timestamp in the last received presence information, it should be considered
// outdated" (RFC 3863 §6). A presence server passes on the times of its user agents: when the device that had the newest has gone, the document that says so is
// older by that rule, and is no replay, because nothing that is left in it is older.
func TestDeviceWithTheNewestTimeGoes(t *testing.T) {
	at := func(p *pidf.Presence, times ...string) *pidf.Presence {
		for i := range times {
			p.Tuples[i].Timestamp = datetime.MustParse(times[i], datetime.PIDF)
		}
		return p
	}
	const ten, eleven, noon = "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", "2026-01-01T12:00:00Z"
	s := newScript(t, juliet, romeo, rules(false))
	s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	s.step("two devices", notified(adapters.WatchActive, 0, at(document(romeo, "desk", "phone"), eleven, noon)), "tell  active GRANTED ID-desk=open ID-phone=open")
	s.step("a replay", notified(adapters.WatchActive, 0, at(document(romeo, "desk", "phone"), ten, eleven)), "drop outdated")
	s.step("another", notified(adapters.WatchActive, 0, at(document(romeo, "desk"), ten)), "drop outdated")
	s.step("the phone has gone", notified(adapters.WatchActive, 0, at(document(romeo, "desk"), eleven)), "tell  active ID-desk=open -ID-phone")
}

// A session that never takes what it is told is told again less and less often, whatever others of the same watcher take; and they are not told again on
// its account.
func TestOneDeafSessionIsToldLessAndLessOften(t *testing.T) {
	for _, c := range []struct {
		name  string
		order []string
	}{{"the deaf one answers first", []string{"deaf", "good"}}, {"the deaf one answers last", []string{"good", "deaf"}}} {
		t.Run(c.name, func(t *testing.T) {
			r := rules(true)
			r.DebtLife = 24 * time.Hour
			s := newScript(t, romeo, juliet, r)
			for _, id := range []string{"deaf", "good"} {
				s.state.Step(s.now, asked(adapters.WatchOpen, id, 48*time.Hour))
			}
			told := map[string]int{}
			// play hands what is told to the watcher's side, and its answers back.
			play := func(e watch.Event) {
				serials := map[string]uint64{}
				for _, f := range s.state.Step(s.now, e) {
					if f.Tell != nil {
						serials[f.Tell.Watch.Session] = f.Serial
						told[f.Tell.Watch.Session]++
					}
				}
				for _, id := range c.order {
					if serials[id] == 0 {
						continue
					}
					st := adapters.Succeeded()
					if id == "deaf" {
						st = adapters.Failed(adapters.ReasonInternal, "")
					}
					s.state.Step(s.now, watch.Event{Heard: &watch.Hearing{Session: id, Serial: serials[id], Status: st}})
				}
			}
			play(change(adapters.AuthorizationGranted))
			play(stanza("balcony", "open"))
			clear(told)
			for end := s.now.Add(40 * time.Hour); ; {
				at := s.state.Wake()
				if at.IsZero() || at.After(end) {
					break
				}
				s.now = at
				play(tick)
			}
			// 30 s, doubled up to 30 min, for a day.
			if told["deaf"] < 45 || told["deaf"] > 60 || told["good"] != 0 {
				t.Errorf("told again: %v", told)
			}
			if len(s.state.Sessions()) != 2 {
				t.Error("a session has ended")
			}
			// It hears what comes later, and what it takes is settled.
			c.order = nil
			for _, f := range s.state.Step(s.now, stanza("chamber", "open")) {
				s.state.Step(s.now, watch.Event{Heard: &watch.Hearing{Session: f.Tell.Watch.Session, Serial: f.Serial, Status: adapters.Succeeded()}})
			}
			if w := s.state.Wake(); w.Before(s.now.Add(time.Hour)) {
				t.Errorf("all is taken, and it wakes in %v", w.Sub(s.now))
			}
		})
	}
}
