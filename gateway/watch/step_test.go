package watch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
	"github.com/isthmus-gateway/isthmus/pidf"
)

var (
	juliet = cpim.MustParseAddress("pres:juliet@example.com") // XMPP
	romeo  = cpim.MustParseAddress("pres:romeo@example.net")  // SIP
	start  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// rules are those of a presentity on the SIP side, or on the XMPP side where a request is a message of its own.
func rules(asksExplicitly bool) *watch.Rules {
	return &watch.Rules{
		AsksExplicitly: asksExplicitly, Sessions: 3, Devices: 2, Duration: time.Hour, FetchWait: 2 * time.Second,
		RetryFirst: 30 * time.Second, RetryMost: 30 * time.Minute,
	}
}

// script plays events and compares the effects, one line each, so that a flow reads as in the RFC.
type script struct {
	t     *testing.T
	state *watch.State
	now   time.Time
	asked uint64 // the serial of the last request, which the next answer is to
}

func newScript(t *testing.T, watcher, presentity cpim.Address, r *watch.Rules) *script {
	t.Helper()
	return &script{t: t, state: watch.New(watcher, presentity, r), now: start}
}

func (s *script) step(why string, e watch.Event, want ...string) {
	s.t.Helper()
	var got []string
	if e.Answered != nil && e.Answered.Serial == 0 {
		e.Answered.Serial = s.asked
	}
	for _, f := range s.state.Step(s.now, e) {
		got = append(got, print(f))
		if f.Tell != nil && f.Tell.Watch.Session != "" && f.Tell.State == adapters.WatchTerminated { // which its watcher's side takes
			if more := s.state.Step(s.now, watch.Event{Heard: &watch.Hearing{Session: f.Tell.Watch.Session, Serial: f.Serial, Status: adapters.Succeeded()}}); more != nil {
				s.t.Fatalf("%s: an end that was taken brings %v", why, more)
			}
		}
		if f.Request != nil && f.Request.Serial != 0 {
			s.asked = f.Request.Serial
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Fatalf("%s\n got: %s\nwant: %s", why, strings.Join(got, "\n      "), strings.Join(want, "\n      "))
	}
}

func print(f watch.Effect) string {
	switch {
	case f.Respond != nil:
		return strings.TrimSpace(fmt.Sprintf("respond %s %s %s", f.Respond.Outcome, f.Respond.State, reason(f.Respond.Reason)))
	case f.Request != nil:
		return strings.TrimSpace(fmt.Sprintf("request %s %s", f.Request.Verb, f.Request.Note))
	case f.Tell != nil:
		line := "tell " + f.Tell.Watch.Session + " " + f.Tell.State.String()
		if f.Tell.End != adapters.EndNone {
			line += " " + f.Tell.End.String()
		}
		switch f.Tell.Change {
		case adapters.AuthorizationGranted:
			line += " GRANTED"
		case adapters.AuthorizationRefused:
			line += " REFUSED"
		}
		if f.Tell.Failure.Outcome != 0 {
			line += " failure=" + f.Tell.Failure.Reason.String()
		}
		if f.Tell.Presence != nil {
			for _, u := range f.Tell.Presence.Tuples {
				line += " " + u.ID.String() + "=" + u.Status.Basic.String()
			}
		}
		for _, id := range f.Tell.Withdrawn {
			line += " -" + id.String()
		}
		return line
	case f.Attend:
		return "attend"
	default:
		return "drop " + string(f.Dropped)
	}
}

func reason(r adapters.Reason) string {
	if r == adapters.ReasonNone {
		return ""
	}
	return r.String()
}

func asked(v adapters.WatchVerb, session string, d time.Duration) watch.Event {
	return watch.Event{Asked: &adapters.WatchOp{Verb: v, Watch: adapters.WatchID{Session: session}, Duration: d}}
}

func answered(v adapters.WatchVerb, s adapters.WatchStatus) watch.Event {
	return watch.Event{Answered: &watch.Answer{Verb: v, Status: s}}
}

func succeeded() adapters.WatchStatus { return adapters.WatchStatus{Status: adapters.Succeeded()} }

func document(entity cpim.Address, tuples ...string) *pidf.Presence {
	p := &pidf.Presence{Entity: pidf.MustParseURI(entity.String())}
	for _, t := range tuples {
		name, basic, _ := strings.Cut(t, "=")
		b := pidf.BasicOpen
		if basic == "closed" {
			b = pidf.BasicClosed
		}
		p.Tuples = append(p.Tuples, pidf.Tuple{ID: pidf.TupleID(name), Status: pidf.Status{Basic: b}})
	}
	return p
}

// notified is a SIP NOTIFY: the whole document and the watch's state.
func notified(state adapters.WatchState, end adapters.EndReason, p *pidf.Presence) watch.Event {
	return watch.Event{Told: &adapters.NotifyOp{State: state, End: end, Whole: true, Presence: p}}
}

// stanza is an XMPP presence stanza of one device.
func stanza(instance, basic string) watch.Event {
	return watch.Event{Told: &adapters.NotifyOp{Instance: instance, Presence: document(juliet, instance+"="+basic)}}
}

func change(c adapters.AuthorizationChange) watch.Event {
	return watch.Event{Told: &adapters.NotifyOp{Change: c}}
}

var tick = watch.Event{Tick: true}

// RFC 8048 §5.2.1: "Requesting a Presence Authorization", XMPP to SIP, frames F1 to F15.
func TestXMPPUserWatchesSIPUser(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("F1: subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	s.step("F1 again while under way: no second SUBSCRIBE", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending")
	s.step("F4: 200", answered(adapters.WatchOpen, succeeded()))
	// "If the XMPP-to-SIP gateway initially receives one or more NOTIFY messages with a Subscription-State header ... whose value is
	// "pending" (F6), then it MUST respond to them on the SIP side but refrain from sending any presence stanzas".
	s.step("F6: pending, with a body that leaks", notified(adapters.WatchPending, 0, document(romeo, "dr4hcr0st3lup4c")), "drop pending")
	s.step("F10: active", notified(adapters.WatchActive, 0, document(romeo, "dr4hcr0st3lup4c")), "tell  active GRANTED ID-dr4hcr0st3lup4c=open")
	s.step("a change", notified(adapters.WatchActive, 0, document(romeo, "other")), "tell  active ID-other=open -ID-dr4hcr0st3lup4c")
	s.step("unsubscribe", asked(adapters.WatchCancel, "", 0),
		"respond success terminated", "request close", "tell  terminated rejected REFUSED -ID-other")
	if !s.state.Idle() {
		t.Error("after unsubscribe nothing is left to remember")
	}
}

// T-PR-07: a refusal always crosses (RFC 8048 §5.2.2: 403, 489 and 603 are permanent).
func TestT_PR_07_SIPRefusal(t *testing.T) {
	for _, c := range []struct {
		name string
		e    watch.Event
	}{
		{"403 to SUBSCRIBE", answered(adapters.WatchOpen, adapters.WatchStatus{
			Status: adapters.Failed(adapters.ReasonForbidden, ""), End: adapters.EndRejected,
		})},
		{"NOTIFY terminated;reason=rejected", notified(adapters.WatchTerminated, adapters.EndRejected, nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, juliet, romeo, rules(false))
			s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
			s.step(c.name, c.e, "tell  terminated rejected REFUSED")
			if !s.state.Idle() {
				t.Error("a refused watch is forgotten")
			}
		})
	}
}

// A passing failure keeps the wish, and is tried again with a wait that doubles up to its bound.
func TestPassingFailureIsTriedAgain(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	busy := adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")}
	for _, wait := range []time.Duration{30, 60, 120, 240, 480, 960, 1800, 1800} {
		s.step("504", answered(adapters.WatchOpen, busy))
		if got := s.state.Wake().Sub(s.now); got != wait*time.Second {
			t.Fatalf("next attempt in %v, want %v", got, wait*time.Second)
		}
		s.now = s.now.Add(wait*time.Second - time.Millisecond)
		s.step("too early", tick)
		s.now = s.now.Add(time.Millisecond)
		s.step("due", tick, "request open")
	}
	slow := busy
	slow.RetryAfter = time.Hour
	s.step("503 with Retry-After beyond the bound", answered(adapters.WatchOpen, slow))
	if got := s.state.Wake().Sub(s.now); got != time.Hour {
		t.Errorf("next attempt in %v, want what the far side asked for", got)
	}
}

func TestHopelessFailureIsTold(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("subscribe", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	gone := adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonNotFound, "")}
	s.step("404", answered(adapters.WatchOpen, gone), "tell  terminated noresource failure=not-found")
	if !s.state.Idle() {
		t.Error("nothing is left to do")
	}
}

// RFC 8048 §5.2.2 and RFC 6665 §4.1.3: what ends a watch and what ends an authorization.
func TestEndsOfAWatch(t *testing.T) {
	for _, c := range []struct {
		end   adapters.EndReason
		retry time.Duration // -1: not by itself
		auth  watch.Authorization
	}{
		{adapters.EndDeactivated, 0, watch.Granted},
		{adapters.EndTimeout, 0, watch.Granted},
		{adapters.EndProbation, 30 * time.Second, watch.Granted},
		{adapters.EndGiveUp, 30 * time.Second, watch.Granted},
		{adapters.EndNone, 30 * time.Second, watch.Granted},
		{adapters.EndNoResource, -1, watch.Granted},
		{adapters.EndInvariant, -1, watch.Granted},
	} {
		t.Run(c.end.String(), func(t *testing.T) {
			s := newScript(t, juliet, romeo, rules(false))
			s.step("probe at login", asked(adapters.WatchOpen, "", 0), "respond success active", "request open")
			s.step("200", answered(adapters.WatchOpen, succeeded()))
			s.step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active ID-a=open")
			s.now = s.now.Add(time.Hour)
			if c.end == adapters.EndInvariant {
				// "the resource state is guaranteed not to change for the foreseeable future" (RFC 6665 §4.1.3).
				s.step("terminated: the state stays what it is", notified(adapters.WatchTerminated, c.end, nil))
			} else {
				s.step("terminated: the state is unknown now", notified(adapters.WatchTerminated, c.end, nil), "tell  active -ID-a")
			}
			if s.state.Authorization() != c.auth {
				t.Errorf("authorization %v, want %v", s.state.Authorization(), c.auth)
			}
			switch wake := s.state.Wake(); {
			case c.retry < 0 && !wake.IsZero():
				t.Errorf("tries again in %v, want not by itself", wake.Sub(s.now))
			case c.retry >= 0 && wake.Sub(s.now) != c.retry:
				t.Errorf("tries again in %v, want %v", wake.Sub(s.now), c.retry)
			}
			if c.end == adapters.EndInvariant {
				s.step("the next wish opens again", asked(adapters.WatchOpen, "", 0), "respond success active", "tell  active ID-a=open", "request open")
			} else {
				s.step("the next wish opens again", asked(adapters.WatchOpen, "", 0), "respond success active", "request open")
			}
		})
	}
}

// A side that takes every watch and ends it at once is asked less and less often.
func TestWatchThatEndsAtOnce(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("probe at login", asked(adapters.WatchOpen, "", 0), "respond success active", "request open")
	for _, wait := range []time.Duration{30, 60, 120, 240, 480, 960, 1800, 1800} {
		s.step("200", answered(adapters.WatchOpen, succeeded()))
		s.step("deactivated", notified(adapters.WatchTerminated, adapters.EndDeactivated, nil))
		if got := s.state.Wake().Sub(s.now); got != wait*time.Second {
			t.Fatalf("asked again in %v, want %v", got, wait*time.Second)
		}
		s.now = s.now.Add(wait * time.Second)
		s.step("due", tick, "request open")
	}
}

// RFC 8048 §5.3.1 to §5.3.3: a SIP user watches an XMPP user.
func TestSIPUserWatchesXMPPUser(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d1", time.Hour), "respond indeterminate pending", "tell d1 pending", "request ask")
	s.step("written", answered(adapters.WatchAsk, succeeded()))
	s.step("refresh: no second request to the user", asked(adapters.WatchOpen, "d1", time.Hour), "respond success pending", "tell d1 pending")
	s.step("a second phone: neither", asked(adapters.WatchOpen, "d2", time.Hour), "respond success pending", "tell d2 pending")
	s.step("presence before the approval is nobody's (T-PR-06)", stanza("balcony", "open"), "drop pending")
	s.step("subscribed", change(adapters.AuthorizationGranted), "tell d1 active GRANTED", "tell d2 active GRANTED")
	s.step("presence", stanza("balcony", "open"), "tell d1 active ID-balcony=open", "tell d2 active ID-balcony=open")
	s.step("a second device", stanza("chamber", "open"),
		"tell d1 active ID-balcony=open ID-chamber=open", "tell d2 active ID-balcony=open ID-chamber=open")
	s.step("more than are told of", stanza("garden", "open"), "drop devices")
	s.step("one goes", stanza("balcony", "closed"),
		"tell d1 active ID-balcony=closed ID-chamber=open", "tell d2 active ID-balcony=closed ID-chamber=open")
	s.step("refresh carries what is known", asked(adapters.WatchOpen, "d1", time.Hour), "respond success active", "tell d1 active ID-chamber=open")
	// "Sending a SIP NOTIFY request to the SIP User Agent containing a PIDF document specifying that the XMPP contact now has a
	// basic status of "closed" ... "terminated" with a reason of "timeout"" (RFC 8048 §5.3.3).
	s.step("Expires 0", asked(adapters.WatchClose, "d1", 0), "respond success terminated", "tell d1 terminated timeout ID-chamber=closed")
	s.now = s.now.Add(time.Hour)
	s.step("the other expires, the last one", tick, "tell d2 terminated timeout ID-chamber=closed", "request close")
	if s.state.Authorization() != watch.Granted || s.state.Idle() {
		t.Error("the authorization outlives the watches")
	}
	s.step("back again: no request, a probe", asked(adapters.WatchOpen, "d3", time.Hour), "respond success active", "tell d3 active", "request open")
	s.step("unsubscribed", change(adapters.AuthorizationRefused), "tell d3 terminated rejected REFUSED")
	if !s.state.Idle() {
		t.Error("a refused watch is forgotten")
	}
}

// COMPAT(Kamailio, 5.6, rls): a resource list server shows what it was told last until somebody tells it otherwise in a document, whatever becomes of
// the watch. So who was shown something is told with a refusal that all of it is closed, and who was told nothing hears nothing.
func TestLastDocument(t *testing.T) {
	for _, c := range []struct {
		name, want string
		end        watch.Event
	}{
		{"she takes it back", "tell d1 terminated rejected REFUSED ID-balcony=closed -ID-balcony", change(adapters.AuthorizationRefused)},
		{"her server knows her no more", "tell d1 terminated rejected REFUSED ID-balcony=closed -ID-balcony", notified(adapters.WatchTerminated, adapters.EndRejected, nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, romeo, juliet, rules(true))
			s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d1", time.Hour), "respond indeterminate pending", "tell d1 pending", "request ask")
			s.step("subscribed", change(adapters.AuthorizationGranted), "tell d1 active GRANTED")
			s.step("presence", stanza("balcony", "open"), "tell d1 active ID-balcony=open")
			s.step(c.name, c.end, c.want)
		})
	}
	s := newScript(t, romeo, juliet, rules(true))
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d1", time.Hour), "respond indeterminate pending", "tell d1 pending", "request ask")
	s.step("subscribed", change(adapters.AuthorizationGranted), "tell d1 active GRANTED")
	s.step("taken back, and nothing was shown", change(adapters.AuthorizationRefused), "tell d1 terminated rejected REFUSED")
}

// COMPAT(Prosody, 0.12.3): its probe at login comes from a full address, which the adapter reads as a question (RFC 8048 §7.1).
// She must hear of changes all the same.
func TestProbeAtLoginFromAFullAddress(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("she was approved", asked(adapters.WatchAsk, "", 0), "respond indeterminate pending", "request open")
	s.step("at once", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active GRANTED ID-a=open")
	s.step("and left", asked(adapters.WatchClose, "", 0), "respond success terminated", "tell  terminated timeout ID-a=closed", "request close")
	s.step("probe", asked(adapters.WatchFetch, "", 0), "respond success active", "request open")
	s.step("200", answered(adapters.WatchOpen, succeeded()))
	s.step("active", notified(adapters.WatchActive, 0, document(romeo, "a")), "tell  active ID-a=open")
	s.step("a change later", notified(adapters.WatchActive, 0, document(romeo, "a=closed")), "tell  active ID-a=closed")
}

// The same of who was never approved is a question and no more: no client's probe makes the gateway watch anybody for a stranger
// (THREATS.md T-PR-14). What comes later is told to nobody.
func TestT_PR_17_ProbeOfAStranger(t *testing.T) {
	s := newScript(t, juliet, romeo, rules(false))
	s.step("probe", asked(adapters.WatchFetch, "", 0), "respond success neutral", "request fetch")
	s.step("200", answered(adapters.WatchFetch, succeeded()))
	s.step("what the SIP side lets her see", notified(adapters.WatchTerminated, adapters.EndTimeout, document(romeo, "a")), "tell  terminated timeout ID-a=open")
	s.step("a change later", notified(adapters.WatchActive, 0, document(romeo, "a=closed")), "drop unasked")
	if !s.state.Idle() {
		t.Error("something is kept of a stranger's question")
	}
}

// An XMPP server that says "unavailable" of the bare address means every device (RFC 6121 §4.3.2).
func TestBareUnavailable(t *testing.T) {
	whole := watch.Event{Told: &adapters.NotifyOp{Whole: true, Presence: document(juliet, "=closed")}}
	s := newScript(t, romeo, juliet, rules(true))
	s.step("SUBSCRIBE", asked(adapters.WatchOpen, "d", time.Hour), "respond indeterminate pending", "tell d pending", "request ask")
	s.step("subscribed", change(adapters.AuthorizationGranted), "tell d active GRANTED")
	s.step("nobody is there", whole, "tell d active ID-=closed")
	s.step("then a device is", stanza("balcony", "open"), "tell d active ID-balcony=open")
	s.step("and another", stanza("chamber", "open"), "tell d active ID-balcony=open ID-chamber=open")
	s.step("all gone", whole, "tell d active ID-balcony=closed ID-chamber=closed")
	s.step("back", stanza("chamber", "open"), "tell d active ID-balcony=closed ID-chamber=open")
}

// RFC 8048 §7: polling.
func TestFetch(t *testing.T) {
	t.Run("answered", func(t *testing.T) {
		s := newScript(t, romeo, juliet, rules(true))
		s.step("SUBSCRIBE Expires 0", asked(adapters.WatchFetch, "f", 0), "respond success neutral", "request fetch")
		s.step("presence", stanza("balcony", "open"), "tell f terminated timeout ID-balcony=open")
		if !s.state.Idle() {
			t.Error("a fetch leaves nothing")
		}
	})
	t.Run("not answered", func(t *testing.T) {
		s := newScript(t, romeo, juliet, rules(true))
		s.step("SUBSCRIBE Expires 0", asked(adapters.WatchFetch, "f", 0), "respond success neutral", "request fetch")
		s.now = s.now.Add(2 * time.Second)
		// "the NOTIFY MUST be empty" when nothing is known (RFC 8048 §5.3.2).
		s.step("silence", tick, "tell f terminated timeout")
		if !s.state.Idle() {
			t.Error("a fetch leaves nothing")
		}
	})
	t.Run("refused", func(t *testing.T) {
		s := newScript(t, romeo, juliet, rules(true))
		s.step("SUBSCRIBE Expires 0", asked(adapters.WatchFetch, "f", 0), "respond success neutral", "request fetch")
		s.step("unsubscribed", change(adapters.AuthorizationRefused), "tell f terminated rejected REFUSED")
	})
}

// T-PR-21: presence that nobody asked for goes to nobody.
func TestT_PR_21_Unsolicited(t *testing.T) {
	for _, c := range []struct {
		name string
		e    watch.Event
	}{
		{"XMPP presence", stanza("balcony", "open")},
		{"XMPP subscribed", change(adapters.AuthorizationGranted)},
		{"SIP NOTIFY", notified(adapters.WatchActive, 0, document(romeo, "a"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, romeo, juliet, rules(true))
			s.step(c.name, c.e, "drop unasked")
			if !s.state.Idle() {
				t.Error("an unsolicited notification leaves nothing")
			}
		})
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.step("1", asked(adapters.WatchOpen, "1", time.Hour), "respond indeterminate pending", "tell 1 pending", "request ask")
	s.step("2", asked(adapters.WatchOpen, "2", time.Hour), "respond success pending", "tell 2 pending")
	s.step("3", asked(adapters.WatchOpen, "3", time.Hour), "respond success pending", "tell 3 pending")
	s.step("one too many", asked(adapters.WatchOpen, "4", time.Hour), "respond failure neutral overloaded")
	s.step("481 to a NOTIFY ends its watch", watch.Event{Heard: &watch.Hearing{
		Session: "2", Status: adapters.Failed(adapters.ReasonNotFound, ""),
	}})
	s.step("room again", asked(adapters.WatchOpen, "4", time.Hour), "respond success pending", "tell 4 pending")
}

// T-CP-14: "MUST NOT generate successive <presence> elements containing the same timestamp" (RFC 3863 §4.1.7), also when the
// clock steps back.
func TestT_CP_14_TimestampsRise(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.state.Step(s.now, asked(adapters.WatchOpen, "d", time.Hour))
	s.state.Step(s.now, change(adapters.AuthorizationGranted))
	var last string
	for i := range 1000 {
		if i == 500 {
			s.now = s.now.Add(-time.Minute)
		}
		for _, f := range s.state.Step(s.now, stanza("r", "open")) {
			stamp := f.Tell.Presence.Tuples[0].Timestamp.String()
			if stamp <= last {
				t.Fatalf("document %d has %s after %s", i, stamp, last)
			}
			last = stamp
		}
	}
}

// RFC 3863 §4.1.7: the timestamp is "the date and time of the status change of this tuple". So what is said again, as in the answer to a probe, is no
// newer than it was, and the device that changed last is the newest in each document; the newest of all is later in each than in the one before.
func TestTheDeviceThatChangedLastIsTheNewest(t *testing.T) {
	s := newScript(t, romeo, juliet, rules(true))
	s.state.Step(s.now, asked(adapters.WatchOpen, "d", time.Hour))
	s.state.Step(s.now, change(adapters.AuthorizationGranted))
	var last *pidf.Presence
	check := func(why, want string, effects []watch.Effect) {
		t.Helper()
		for _, f := range effects {
			if f.Tell == nil {
				continue
			}
			p := f.Tell.Presence
			newest := ""
			for i := range p.Tuples {
				if p.Tuples[i].Timestamp == p.Newest() {
					newest += p.Tuples[i].ID.String()
				}
				if was := pidfTuple(last, p.Tuples[i].ID); was != nil && p.Tuples[i].Timestamp.Before(was.Timestamp) {
					t.Errorf("%s: %s was of %s, and is of %s", why, was.ID, was.Timestamp, p.Tuples[i].Timestamp)
				}
			}
			if newest != want {
				t.Errorf("%s: the newest is %q, want %q", why, newest, want)
			}
			if last != nil && !p.Newest().After(last.Newest()) {
				t.Errorf("%s: of %s after %s", why, p.Newest(), last.Newest())
			}
			last = p
		}
	}
	say := func(why, want, instance, basic, note string, at time.Time) {
		t.Helper()
		s.now = s.now.Add(time.Second)
		e := stanza(instance, basic)
		e.Told.Presence.Tuples[0].Notes = []pidf.Note{{Text: note}}
		if !at.IsZero() {
			e.Told.Presence.Tuples[0].Timestamp = datetime.FromTime(at)
		}
		check(why, want, s.state.Step(s.now, e))
	}
	say("the first", "ID-a", "a", "open", "here", start)
	say("one that came before it, by its delay", "ID-a", "b", "open", "here", start.Add(-time.Hour))
	say("b changes", "ID-b", "b", "open", "there", time.Time{})
	say("a says the same again", "ID-b", "a", "open", "here", s.now.Add(time.Second))
	s.now = s.now.Add(time.Second)
	check("the watcher asks again", "ID-b", s.state.Step(s.now, asked(adapters.WatchOpen, "d", time.Hour)))
	say("a changes, with an old delay", "ID-a", "a", "open", "gone out", start.Add(-time.Hour))
	s.now = s.now.Add(-time.Minute) // the clock steps back
	say("b changes", "ID-b", "b", "open", "here", s.now)
	say("b goes", "ID-b", "b", "closed", "", time.Time{})
	s.now = s.now.Add(time.Second)
	check("and a is left", "ID-a", s.state.Step(s.now, asked(adapters.WatchOpen, "d", time.Hour)))
	say("a clock that is ahead", "ID-b", "b", "open", "", s.now.Add(24*time.Hour))
}

func pidfTuple(p *pidf.Presence, id pidf.ID) *pidf.Tuple {
	if p == nil {
		return nil
	}
	return p.Tuple(id)
}
