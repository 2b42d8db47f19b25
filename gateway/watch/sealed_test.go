package watch_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// TestSealed: what the presentity's device signed is told with what it says, to each watch that opens, and until her side says something else or
// is not heard any more; never while the watch is pending, and never with the end.
func TestSealed(t *testing.T) {
	for _, whole := range []bool{false, true} {
		state := watch.New(romeo, juliet, rules(!whole))
		now := start
		object := &adapters.Content{Type: "application/pkcs7-mime", Octets: []byte("x")}
		says := func(sealed *adapters.Content, b pidf.Basic) watch.Event {
			return watch.Event{Told: &adapters.NotifyOp{Instance: "balcony", Whole: whole, Sealed: sealed, State: adapters.WatchActive, Presence: &pidf.Presence{
				Entity: pidf.MustParseURI("pres:juliet@example.com"), Tuples: []pidf.Tuple{{ID: pidf.TupleID("balcony"), Status: pidf.Status{Basic: b}}},
			}}}
		}
		opens := func(verb adapters.WatchVerb, session string) watch.Event {
			return watch.Event{Asked: &adapters.WatchOp{Verb: verb, Duration: 1e12, Watch: adapters.WatchID{Watcher: romeo, Presentity: juliet, Session: session}}}
		}
		mood := watch.Event{Told: &adapters.NotifyOp{Presence: &pidf.Presence{
			Entity:  pidf.MustParseURI("pres:juliet@example.com"),
			Persons: []pidf.Person{{ID: pidf.MustParseID("person"), Rich: &pidf.Rich{Moods: []pidf.Mood{{Values: []pidf.Feeling{pidf.FeelingSad}}}}}},
		}}}
		pending := says(object, pidf.BasicOpen)
		pending.Told.State = adapters.WatchPending
		for _, c := range []struct {
			name   string
			event  watch.Event
			sealed bool
			skip   bool // where presence is told as a whole
		}{
			{"asked", opens(adapters.WatchOpen, "d"), false, false},
			{"said while pending", pending, false, false},
			{"approved", watch.Event{Told: &adapters.NotifyOp{Change: adapters.AuthorizationGranted, State: adapters.WatchActive}}, false, false},
			{"signed", says(object, pidf.BasicOpen), true, false},
			{"a question", opens(adapters.WatchFetch, "f"), true, false},
			{"another watch", opens(adapters.WatchOpen, "e"), true, false},
			{"a mood says nothing of it", mood, true, true},
			{"not signed", says(nil, pidf.BasicOpen), false, false},
			{"signed again", says(object, pidf.BasicOpen), true, false},
			{"the end of a watch", opens(adapters.WatchClose, "e"), false, false},
			{"her side is not heard any more", watch.Event{Told: &adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndProbation}}, false, false},
			{"and a watch after that", opens(adapters.WatchOpen, "g"), false, false},
		} {
			if c.skip && whole {
				continue
			}
			now = now.Add(1e9)
			told := false
			for _, f := range state.Step(now, c.event) {
				if f.Tell == nil {
					continue
				}
				if f.Tell.Sealed != nil && (f.Tell.Presence == nil || f.Tell.Sealed != object) {
					t.Errorf("whole %v: %s: told %+v", whole, c.name, f.Tell)
				}
				told = told || f.Tell.Sealed != nil
			}
			if told != c.sealed {
				t.Errorf("whole %v: %s: the object was told: %v", whole, c.name, told)
			}
		}
	}
}
