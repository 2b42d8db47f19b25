package watch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

var (
	watcherAddress    = cpim.MustParseAddress("pres:romeo@example.net")
	presentityAddress = cpim.MustParseAddress("pres:juliet@example.com")
	noon              = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func testRules(asksExplicitly bool) *Rules {
	return &Rules{
		AsksExplicitly: asksExplicitly, Sessions: 3, Devices: 2, Duration: time.Hour, FetchWait: 2 * time.Second,
		RetryFirst: 30 * time.Second, RetryMost: 30 * time.Minute, Doubt: time.Minute, Grace: 20 * time.Second, Recheck: time.Hour,
	}
}

// tuples is a document of Juliet's, each written "name=open" or "name=closed".
func tuples(list ...pidf.Tuple) *pidf.Presence {
	return &pidf.Presence{Entity: pidf.MustParseURI(presentityAddress.String()), Tuples: list}
}

func tuple(name string, basic pidf.Basic) pidf.Tuple {
	return pidf.Tuple{ID: pidf.TupleID(name), Status: pidf.Status{Basic: basic}}
}

// fault says in what way s cannot be, "" if it can. These hold between any two steps.
func (s *State) fault(now time.Time) string {
	ids := map[string]bool{}
	for _, w := range s.sessions {
		if ids[w.ID] {
			return "two sessions are named " + w.ID
		}
		ids[w.ID] = true
		if w.Fetch && w.Until.IsZero() {
			return "a fetch has no end"
		}
	}
	known := s.document != nil || len(s.devices) > 0
	switch {
	case len(s.sessions) > s.rules.Sessions:
		return "more sessions than there may be"
	case len(s.devices) > s.rules.Devices:
		return "more devices than there may be"
	case s.document != nil && len(s.devices) > 0:
		return "presence is known both as a whole and device by device"
	case !s.watching() && s.upstream != Closed:
		return "the presentity's side is watched for nobody"
	case !s.watching() && !s.retryAt.IsZero():
		return "the presentity's side will be asked for nobody"
	case !s.watching() && known:
		return "presence is kept that nobody keeps up to date"
	case s.doubtAt.IsZero() && slices.ContainsFunc(s.devices, func(d Device) bool { return d.Doubted }):
		return "a device is in doubt for ever"
	case s.auth == Asked && !s.watching():
		return "a question stays open that nobody waits for"
	case s.auth == None && s.watching():
		return "somebody watches who has not even asked"
	case s.auth != Granted && known:
		return "presence is kept that may not be told"
	case s.upstream != Closed && !s.retryAt.IsZero():
		return "what is open will be opened"
	case s.Idle() && (known || len(s.sessions) > 0 || !s.Wake().IsZero()):
		return "an idle state holds something"
	case s.Resting() && !s.Wake().IsZero():
		return "a resting state wants to be woken"
	}
	return ""
}

// stepFault says in what way the effects of one step are wrong, "" if they are right. before is a copy from before the step.
func stepFault(before, after *State, e Event, effects []Effect) string {
	responds := 0
	told := map[string]int{}
	for i, f := range effects {
		switch {
		case f.Respond != nil:
			responds++
			if f.Respond.Outcome == 0 {
				return "an answer without an outcome"
			}
			if i > 0 {
				return "something is done before the answer"
			}
		case f.Request != nil:
			if v := f.Request.Verb; (v == adapters.WatchAsk || v == adapters.WatchOpen) && f.Request.Serial != after.asking {
				return "a request whose answer will not count"
			}
			if f.Request.Verb == adapters.WatchAsk && !after.rules.AsksExplicitly {
				return "an explicit request to a side that has none"
			}
		case f.Tell != nil:
			if why := tellFault(before, after, f.Tell); why != "" {
				return why
			}
			told[f.Tell.Watch.Session]++
		case f.Dropped == "" && !f.Attend:
			return "an effect without content"
		}
	}
	want := 0
	if e.Asked != nil {
		want = 1
	}
	if responds != want {
		return fmt.Sprintf("%d answers, want %d", responds, want)
	}
	for id, n := range told {
		if n > 1 {
			return fmt.Sprintf("session %q is told %d times in one step", id, n)
		}
	}
	// A session that is gone was told so, unless it was heard to be gone.
	for _, w := range before.sessions {
		gone := after.session(w.ID) < 0
		if gone && told[w.ID] == 0 && e.Heard == nil {
			return fmt.Sprintf("session %q ended without a word", w.ID)
		}
	}
	return ""
}

func tellFault(before, after *State, n *adapters.NotifyOp) string {
	id := n.Watch.Session
	fetch := func(s *State) bool { i := s.session(id); return i >= 0 && s.sessions[i].Fetch }
	// Answered within the step that asked: it never becomes a session.
	poll := fetch(before) || before.session(id) < 0 && after.session(id) < 0 && n.State == adapters.WatchTerminated
	if n.Presence != nil && before.auth != Granted && after.auth != Granted && !poll {
		return "presence is told although the watcher is not authorized"
	}
	if n.Presence != nil && n.State == adapters.WatchPending {
		return "presence is told while pending"
	}
	if n.Change == adapters.AuthorizationGranted && after.auth != Granted {
		return "an approval is told that was not given"
	}
	if n.Change == adapters.AuthorizationRefused && after.auth != None {
		return "a refusal is told that was not kept"
	}
	if n.State == adapters.WatchTerminated && after.session(id) >= 0 {
		return "an end is told of a watch that goes on"
	}
	if n.State != adapters.WatchTerminated && after.session(id) < 0 {
		return "a watch is told that there is not"
	}
	if n.Watch.Watcher != after.watcher || n.Watch.Presentity != after.presentity {
		return "somebody else is told"
	}
	return ""
}

func (s *State) clone() *State {
	c := *s
	c.sessions, c.devices = slices.Clone(s.sessions), slices.Clone(s.devices)
	c.shown, c.gone = slices.Clone(s.shown), slices.Clone(s.gone)
	return &c
}

func (s *State) text() string {
	return fmt.Sprintf("explicit=%v auth=%v upstream=%d sessions=%v retry=%v devices=%d document=%v",
		s.rules.AsksExplicitly, s.auth, s.upstream, s.sessions, s.retryAt, len(s.devices), s.document != nil)
}

// everyState calls f with every state that may be between two steps, in each of the three dimensions and what depends on them.
func everyState(f func(*State)) {
	watch, other := Session{ID: "d1", Until: noon.Add(time.Hour)}, Session{ID: "d2", Until: noon.Add(time.Minute)}
	fetch, lasting := Session{ID: "f", Fetch: true, Until: noon.Add(2 * time.Second)}, Session{}
	for _, explicit := range []bool{false, true} {
		for _, auth := range []Authorization{None, Asked, Granted} {
			for _, upstream := range []Upstream{Closed, Opening, Open} {
				for _, sessions := range [][]Session{
					nil,
					{watch},
					{watch, other},
					{fetch},
					{watch, fetch},
					{watch, other, fetch},
					{lasting},
					{lasting, fetch},
					{{Fetch: true, Until: fetch.Until}},
				} {
					for _, retry := range []time.Time{{}, noon, noon.Add(30 * time.Second)} {
						for known := range 3 {
							s := New(watcherAddress, presentityAddress, testRules(explicit))
							s.auth, s.upstream, s.sessions, s.retryAt, s.asking = auth, upstream, slices.Clone(sessions), retry, 7
							switch known {
							case 1:
								s.document = tuples(tuple("a", pidf.BasicOpen))
							case 2:
								s.devices = []Device{
									{Instance: "balcony", Tuple: tuple("balcony", pidf.BasicOpen)},
									{Instance: "chamber", Tuple: tuple("chamber", pidf.BasicClosed)},
								}
							}
							if s.fault(noon) == "" {
								f(s)
							}
						}
					}
				}
			}
		}
	}
}

type namedEvent struct {
	name string
	Event
}

// everyEvent returns an event of every kind, in all the forms that are told apart.
func everyEvent() []namedEvent {
	var all []namedEvent
	add := func(e Event, format string, args ...any) {
		all = append(all, namedEvent{fmt.Sprintf(format, args...), e})
	}
	for verb := range adapters.WatchFetch + 2 { // with 0 and one that there is not
		for _, session := range []string{"", "d1", "f", "new"} {
			for _, d := range []time.Duration{0, time.Hour} {
				add(Event{Asked: &adapters.WatchOp{Verb: verb, Watch: adapters.WatchID{Session: session}, Duration: d}},
					"asked verb %d session %q for %v", verb, session, d)
			}
		}
	}
	documents := []*pidf.Presence{
		nil, tuples(), tuples(tuple("", pidf.BasicClosed)), tuples(tuple("balcony", pidf.BasicOpen)),
		tuples(tuple("balcony", pidf.BasicClosed)), tuples(tuple("garden", pidf.BasicOpen), tuple("b", pidf.BasicAbsent)),
	}
	for i, doc := range documents {
		for _, whole := range []bool{true, false} {
			for state := adapters.WatchNeutral; state <= adapters.WatchTerminated; state++ {
				for end := adapters.EndNone; end <= adapters.EndInvariant; end++ {
					if state != adapters.WatchTerminated && end != adapters.EndNone {
						continue
					}
					if end != adapters.EndNone && end != adapters.EndTimeout && doc != nil {
						continue // what the document says does not depend on why the watch ended
					}
					for change := adapters.AuthorizationUnchanged; change <= adapters.AuthorizationRefused; change++ {
						instance := ""
						if !whole && doc != nil && len(doc.Tuples) > 0 {
							instance, _ = doc.Tuples[0].ID.Resource()
						}
						add(Event{Told: &adapters.NotifyOp{
							State: state, End: end, Change: change, Whole: whole, Presence: doc, Instance: instance,
						}}, "told %v %v change %d document %d whole %v", state, end, change, i, whole)
					}
				}
			}
		}
	}
	for verb := adapters.WatchAsk; verb <= adapters.WatchFetch; verb++ {
		for _, serial := range []uint64{6, 7} {
			for _, state := range []adapters.WatchState{adapters.WatchNeutral, adapters.WatchActive} {
				for outcome := adapters.Success; outcome <= adapters.Indeterminate; outcome++ {
					for _, r := range []adapters.Reason{
						adapters.ReasonNone, adapters.ReasonNotFound, adapters.ReasonForbidden, adapters.ReasonDomainTimeout,
						adapters.ReasonOverloaded,
					} {
						if (outcome == adapters.Failure) != (r != adapters.ReasonNone) {
							continue
						}
						for _, end := range []adapters.EndReason{adapters.EndNone, adapters.EndRejected} {
							add(Event{Answered: &Answer{Verb: verb, Serial: serial, Status: adapters.WatchStatus{
								Status: adapters.Status{Outcome: outcome, Reason: r}, State: state, End: end,
							}}}, "answered %v serial %d %v %v %v %v", verb, serial, state, outcome, r, end)
						}
					}
				}
			}
		}
	}
	for _, session := range []string{"", "d1", "f", "new"} {
		add(Event{Heard: &Hearing{Session: session, Status: adapters.Succeeded()}}, "heard %q success", session)
		for _, r := range adapters.Reasons() {
			add(Event{Heard: &Hearing{Session: session, Status: adapters.Failed(r, "")}}, "heard %q %v", session, r)
		}
	}
	add(Event{Severed: true}, "severed")
	add(Event{Tried: true}, "tried")
	add(Event{Mended: true}, "mended")
	add(Event{WatcherMended: true}, "watcher mended")
	add(Event{Tick: true}, "tick")
	add(Event{}, "nothing")
	return all
}

// Every event in every state: one answer to who asked and none else, presence to nobody who may not have it, every end told once,
// and a state afterwards that may be. As a state that may be only leads to such states, the same holds of all histories.
func TestEveryEventInEveryState(t *testing.T) {
	events := everyEvent()
	states := 0
	everyState(func(s *State) {
		states++
		for _, e := range events {
			times := []time.Time{noon}
			if e.Tick || e.Asked != nil {
				times = append(times, noon.Add(30*time.Second), noon.Add(2*time.Hour))
			}
			for _, now := range times {
				after := s.clone()
				effects := after.Step(now, e.Event)
				why := stepFault(s, after, e.Event, effects)
				if why == "" {
					why = after.fault(now)
				}
				if wake := after.Wake(); why == "" && e.Tick && !wake.IsZero() && !wake.After(now) {
					why = "a tick leaves something due, so time would stand still"
				}
				if why == "" && e.Answered != nil && e.Answered.Serial == s.asking && after.asking == s.asking && after.upstream == Opening &&
					(e.Answered.Verb == adapters.WatchAsk || e.Answered.Verb == adapters.WatchOpen) {
					why = "it was answered, and is opening for ever"
				}
				if why != "" {
					t.Errorf("%s\n  state: %s\n  event: %s at %v\n  after: %s", why, s.text(), e.name, now.Sub(noon), after.text())
				}
			}
			if t.Failed() {
				t.FailNow() // one is enough to read
			}
		}
	})
	if states < 40 {
		t.Errorf("only %d states were tried", states)
	}
}

// Random histories: the same rules, and nothing is stuck. When everybody has left and time has passed, nothing but an authorization is
// kept, and nothing is asked of anybody any more.
func TestRandomHistories(t *testing.T) {
	events := everyEvent()
	rapid.Check(t, func(t *rapid.T) {
		s := New(watcherAddress, presentityAddress, testRules(rapid.Bool().Draw(t, "explicit")))
		now := noon
		var open []*Request // not answered
		step := func(name string, e Event) {
			before := s.clone()
			effects := s.Step(now, e)
			if why := stepFault(before, s, e, effects); why != "" {
				t.Fatalf("%s: %s\n  before: %s\n  after: %s", name, why, before.text(), s.text())
			}
			if why := s.fault(now); why != "" {
				t.Fatalf("%s: %s\n  before: %s\n  after: %s", name, why, before.text(), s.text())
			}
			for _, f := range effects {
				if f.Request != nil {
					open = append(open, f.Request)
				}
			}
		}
		answer := func(i int, st adapters.WatchStatus) {
			r := open[i]
			open = slices.Delete(open, i, i+1)
			step("answer to "+r.Verb.String(), Event{Answered: &Answer{Verb: r.Verb, Serial: r.Serial, Status: st}})
		}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			if len(open) > 0 && rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
				st := adapters.WatchStatus{Status: adapters.Succeeded()}
				switch rapid.IntRange(0, 3).Draw(t, "outcome") {
				case 1:
					st.Status = adapters.Failed(adapters.ReasonDomainTimeout, "")
				case 2:
					st.Status, st.End = adapters.Failed(adapters.ReasonForbidden, ""), adapters.EndRejected
				case 3:
					st.Status = adapters.Failed(adapters.ReasonNotFound, "")
				}
				answer(rapid.IntRange(0, len(open)-1).Draw(t, "which"), st)
			} else {
				e := events[rapid.IntRange(0, len(events)-1).Draw(t, "event")]
				if e.Answered == nil { // those are made above, from what was asked
					step(e.name, e.Event)
				}
			}
			if len(open) == 0 && s.upstream == Opening {
				t.Fatalf("opening, and nothing was asked: %s", s.text())
			}
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "later")))
			if wake := s.Wake(); !wake.IsZero() && !wake.After(now) {
				step("tick", Event{Tick: true})
				if wake := s.Wake(); !wake.IsZero() && !wake.After(now) {
					t.Fatalf("still due after a tick: %s", s.text())
				}
			}
		}
		// The end: everybody leaves, everything is answered, the timers run out.
		for _, w := range slices.Clone(s.sessions) {
			if !w.Fetch {
				step("close", Event{Asked: &adapters.WatchOp{Verb: adapters.WatchClose, Watch: adapters.WatchID{Session: w.ID}}})
			}
		}
		for len(open) > 0 {
			answer(0, adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")})
		}
		for i := 0; !s.Wake().IsZero(); i++ {
			if i > 10 {
				t.Fatalf("it never rests: %s", s.text())
			}
			now = s.Wake()
			step("tick", Event{Tick: true})
		}
		for _, end := range slices.Clone(s.ending) {
			step("the end is taken", Event{Heard: &Hearing{Session: end.id, Serial: end.serial, Status: adapters.Succeeded()}})
		}
		if len(open) > 0 || !s.Resting() {
			t.Fatalf("something is left: %s", s.text())
		}
	})
}
