package watch_test

import (
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
)

var (
	severed       = watch.Event{Severed: true}
	mended        = watch.Event{Mended: true}
	watcherMended = watch.Event{WatcherMended: true}
)

// lossy are rules under which what is known may be in doubt.
func lossy(asksExplicitly bool) *watch.Rules {
	r := rules(asksExplicitly)
	r.Grace, r.Doubt, r.Recheck = 20*time.Second, time.Minute, time.Hour
	return r
}

// watchingTwo is Romeo (SIP) watching Juliet (XMPP), who has two devices.
func watchingTwo(t *testing.T) *script {
	t.Helper()
	s := newScript(t, romeo, juliet, lossy(true))
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", 10*time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
	s.step("subscribed", change(adapters.AuthorizationGranted), "tell d active GRANTED")
	s.step("balcony", stanza("balcony", "open"), "tell d active ID-balcony=open")
	s.step("chamber", stanza("chamber", "open"), "tell d active ID-balcony=open ID-chamber=open")
	return s
}

func (s *script) after(d time.Duration) *script {
	s.now = s.now.Add(d)
	return s
}

// T-PR-11: the way to the presentity's side breaks. What was told stands for a short while; then it is unknown, and never a stale "open".
// When the way is back the presentity is asked, and only what is said again is so.
func TestT_PR_11_LossOfTheWay(t *testing.T) {
	t.Run("it stays away", func(t *testing.T) {
		s := watchingTwo(t)
		s.step("lost", severed)
		s.step("lost twice", severed)
		s.after(19*time.Second).step("it stands", tick)
		s.after(time.Second).step("unknown", tick, "tell d active -ID-balcony -ID-chamber")
		s.after(time.Hour).step("found out by itself, seldom", tick, "request open")
		s.step("still away", answered(adapters.WatchOpen, failed(adapters.ReasonDomainTimeout)))
		s.step("back", mended)
		s.step("at once", tick, "request open")
		s.step("taken", answered(adapters.WatchOpen, succeeded()))
		s.step("she is there", stanza("balcony", "open"), "tell d active ID-balcony=open")
	})
	t.Run("it is back soon, and one device is not", func(t *testing.T) {
		s := watchingTwo(t)
		s.step("lost", severed)
		s.after(10*time.Second).step("back", mended, "request open")
		s.step("taken", answered(adapters.WatchOpen, succeeded()))
		s.step("one answers", stanza("chamber", "open"), "tell d active ID-balcony=open ID-chamber=open")
		s.after(10*time.Second).step("the other does not", tick, "tell d active ID-chamber=open -ID-balcony")
		s.after(time.Hour).step("and that is all", tick)
	})
	t.Run("it is back soon, and both are there", func(t *testing.T) {
		s := watchingTwo(t)
		s.step("lost", severed)
		s.step("back", mended, "request open")
		s.step("one", stanza("chamber", "open"), "tell d active ID-balcony=open ID-chamber=open")
		s.step("the other", stanza("balcony", "open"), "tell d active ID-balcony=open ID-chamber=open")
		s.after(time.Hour).step("nothing is in doubt", tick)
	})
	t.Run("her server says that nobody is there", func(t *testing.T) {
		s := watchingTwo(t)
		s.step("lost", severed)
		s.step("back", mended, "request open")
		s.step("unavailable of the bare address",
			watch.Event{Told: &adapters.NotifyOp{Whole: true, Presence: document(juliet, "=closed")}}, "tell d active ID-balcony=closed ID-chamber=closed")
		s.after(time.Hour).step("nothing is in doubt", tick)
	})
	t.Run("her server says nothing", func(t *testing.T) {
		s := watchingTwo(t)
		s.step("lost", severed)
		s.step("back", mended, "request open")
		s.step("taken", answered(adapters.WatchOpen, succeeded()))
		s.after(20*time.Second).step("unknown", tick, "tell d active -ID-balcony -ID-chamber")
	})
	t.Run("who tries whether it carries", func(t *testing.T) {
		s := watchingTwo(t)
		s.step("lost", severed)
		s.step("tried", watch.Event{Tried: true}, "request open")
		s.step("not under way twice", watch.Event{Tried: true})
		s.step("it does not", answered(adapters.WatchOpen, failed(adapters.ReasonDomainTimeout)), "tell d active -ID-balcony -ID-chamber")
		s.after(30*time.Second).step("again", tick, "request open")
		s.step("it does", answered(adapters.WatchOpen, succeeded()))
		s.step("so it is back: she was asked just now", mended)
	})
	t.Run("while she has not decided", func(t *testing.T) {
		s := newScript(t, romeo, juliet, lossy(true))
		s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", 10*time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
		s.step("taken", answered(adapters.WatchAsk, succeeded()))
		s.step("lost", severed)
		s.step("back: what she decided meanwhile was lost", mended, "request ask")
	})
	t.Run("a side that keeps its watches itself", func(t *testing.T) {
		s := newScript(t, juliet, romeo, lossy(false))
		s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
		s.step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active GRANTED ID-a=open")
		s.step("its way is back", mended)
	})
	t.Run("nobody watches", func(t *testing.T) {
		s := watchingTwo(t)
		s.step("Expires 0", asked(adapters.WatchClose, "d", 0),
			"respond success terminated", "tell d terminated timeout ID-balcony=closed ID-chamber=closed", "request close")
		s.step("lost", severed)
		s.step("back", mended)
		if !s.state.Resting() {
			t.Error("a way that breaks wakes a pair that rests")
		}
	})
}

// The way to the watcher's side is back: what it did not take is said at once, and her server is asked whether she is there.
func TestT_PR_11_WatchersSideIsBack(t *testing.T) {
	r := lossy(false)
	r.OneByOne, r.Attends, r.DebtLife = true, true, time.Hour
	s := newScript(t, juliet, romeo, r)
	s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	s.step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active GRANTED ID-a=open")
	s.step("not taken", watch.Event{Heard: &watch.Hearing{Serial: 1, Status: failed(adapters.ReasonDomainTimeout).Status}})
	s.step("back", watcherMended, "tell  active GRANTED ID-a=open", "attend")
	absent := adapters.AttendanceAbsent
	s.step("she is not", watch.Event{Attended: &absent}, "tell  terminated timeout ID-a=closed", "request close")
}

// An approval that was written down, and lost with the process before it was told, is told with the presence that comes next: when that was taken,
// nobody would say it any more (round 30 of `isthmus faults --presence --failpoints --seed 20261137`).
func TestT_PR_11_ApprovalIsToldAfterARestart(t *testing.T) {
	r := lossy(false)
	r.OneByOne, r.DebtLife = true, time.Hour
	s := newScript(t, juliet, romeo, r)
	s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	s.step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active GRANTED ID-a=open")
	kept := s.state.Record()
	s.state = watch.Restore(juliet, romeo, r, &kept, s.now, 0)
	s.step("the next NOTIFY", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active GRANTED ID-a=open")
	s.step("another", notified(adapters.WatchActive, 0, document(romeo, "b")), "tell  active ID-b=open -ID-a")
	s.step("the first was taken", watch.Event{Heard: &watch.Hearing{Serial: 1, Status: adapters.Succeeded()}})
	s.step("and the second", watch.Event{Heard: &watch.Hearing{Serial: 2, Status: adapters.Succeeded()}})
	if got := s.state.Record().Owed; got != "" {
		t.Errorf("%q is owed still", got)
	}
}

// An approval that was not taken is owed still when what came behind it was.
func TestT_PR_11_ApprovalIsLostBeforeWhatFollows(t *testing.T) {
	r := lossy(false)
	r.OneByOne, r.DebtLife = true, time.Hour
	s := newScript(t, juliet, romeo, r)
	s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	s.step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active GRANTED ID-a=open")
	s.step("another", notified(adapters.WatchActive, 0, document(romeo, "b")), "tell  active ID-b=open -ID-a")
	s.step("the first was not taken", watch.Event{Heard: &watch.Hearing{Serial: 1, Status: failed(adapters.ReasonDomainTimeout).Status}})
	s.step("the second was", watch.Event{Heard: &watch.Hearing{Serial: 2, Status: adapters.Succeeded()}})
	s.after(time.Minute).step("it is said again", tick, "tell  active GRANTED ID-b=open")
}

// A refresh by a watcher has a presentity's side asked again that has no refresh of its own, if that was long ago: a server that died
// without a word, while nothing was to be said to it, is found out.
func TestRefreshAsksAgain(t *testing.T) {
	s := watchingTwo(t)
	s.after(59*time.Minute).step("early", asked(adapters.WatchOpen, "d", 10*time.Hour), "respond success active", "tell d active ID-balcony=open ID-chamber=open")
	s.after(2*time.Minute).step("late", asked(adapters.WatchOpen, "d", 10*time.Hour),
		"respond success active", "tell d active ID-balcony=open ID-chamber=open", "request open")
	s.step("it is dead", answered(adapters.WatchOpen, failed(adapters.ReasonDomainTimeout)), "tell d active -ID-balcony -ID-chamber")
}

// "if the SIP-to-XMPP gateway does not have meaningful information about the availability state of the XMPP user, then the NOTIFY MUST be empty" (RFC
// 8048 §5.3.2). COMPAT(Kamailio, 5.6): so of who has gone, with the next refresh. What was shown does not stay for ever.
func TestEmptyNotificationTakesBack(t *testing.T) {
	empty := func() watch.Event {
		return watch.Event{Told: &adapters.NotifyOp{State: adapters.WatchActive, Whole: true}}
	}
	r := rules(false)
	r.Doubt = time.Minute
	watched := func(t *testing.T) *script {
		s := newScript(t, juliet, romeo, r)
		s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
		s.step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active GRANTED ID-a=open")
		return s
	}
	t.Run("nothing more is heard", func(t *testing.T) {
		s := watched(t)
		s.step("active, and nothing", empty())
		s.now = s.now.Add(r.Doubt / 2)
		s.step("not yet", tick)
		s.now = s.now.Add(r.Doubt / 2)
		s.step("he is not known to be there", tick, "tell  active -ID-a")
		s.step("again, and there is nothing to take back", empty())
	})
	t.Run("he is there after all", func(t *testing.T) {
		s := watched(t)
		s.step("active, and nothing", empty())
		s.step("a document", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active ID-a=open")
		s.now = s.now.Add(r.Doubt)
		s.step("it stands", tick)
	})
	t.Run("a body that was not understood says nothing", func(t *testing.T) {
		s := watched(t)
		s.step("active", watch.Event{Told: &adapters.NotifyOp{State: adapters.WatchActive}})
		s.now = s.now.Add(r.Doubt)
		s.step("it stands", tick)
	})
	t.Run("pending says it otherwise", func(t *testing.T) {
		s := newScript(t, juliet, romeo, r)
		s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
		s.step("the approval", empty(), "tell  active GRANTED")
		s.now = s.now.Add(r.Doubt)
		s.step("nothing was told", tick)
	})
}
