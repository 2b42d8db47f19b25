package watch_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// TestPerson: what a user whose devices are told one by one says of herself is told with them, to nobody while she is not there, and no longer
// than it is true.
func TestPerson(t *testing.T) {
	state := watch.New(romeo, juliet, rules(true))
	now := start
	feels := func(f ...pidf.Feeling) *adapters.NotifyOp {
		person := pidf.Person{ID: pidf.MustParseID("person")}
		if len(f) > 0 {
			person.Rich = &pidf.Rich{Moods: []pidf.Mood{{Values: f}}}
		}
		return &adapters.NotifyOp{Presence: &pidf.Presence{Entity: pidf.MustParseURI("pres:juliet@example.com"), Persons: []pidf.Person{person}}}
	}
	device := func(b pidf.Basic) *adapters.NotifyOp {
		return &adapters.NotifyOp{Instance: "balcony", Presence: &pidf.Presence{
			Entity: pidf.MustParseURI("pres:juliet@example.com"), Tuples: []pidf.Tuple{{ID: pidf.TupleID("balcony"), Status: pidf.Status{Basic: b}}},
		}}
	}
	told := func(e watch.Event) (documents []*pidf.Presence) {
		now = now.Add(1e9)
		for _, f := range state.Step(now, e) {
			if f.Tell != nil {
				documents = append(documents, f.Tell.Presence)
			}
		}
		return documents
	}
	told(watch.Event{Asked: &adapters.WatchOp{Verb: adapters.WatchOpen, Duration: 1e12, Watch: adapters.WatchID{Watcher: romeo, Presentity: juliet, Session: "d"}}})
	if d := told(watch.Event{Told: feels(pidf.FeelingSad)}); len(d) > 0 {
		t.Fatalf("told while pending: %v", d)
	}
	told(watch.Event{Told: &adapters.NotifyOp{Change: adapters.AuthorizationGranted, State: adapters.WatchActive}})
	for _, c := range []struct {
		name string
		op   *adapters.NotifyOp
		told bool
		mood pidf.Feeling // "" for none
	}{
		{"in love, and not there yet", feels(pidf.FeelingInLove), false, ""},
		{"she comes", device(pidf.BasicOpen), true, pidf.FeelingInLove},
		{"the same again", feels(pidf.FeelingInLove), false, ""},
		{"happy", feels(pidf.FeelingHappy), true, pidf.FeelingHappy},
		{"she goes", device(pidf.BasicClosed), true, ""},
		{"and comes back", device(pidf.BasicOpen), true, pidf.FeelingHappy},
		{"she says no more", feels(), true, ""},
	} {
		d := told(watch.Event{Told: c.op})
		if len(d) > 0 != c.told {
			t.Fatalf("%s: told %d documents", c.name, len(d))
		}
		if len(d) == 0 {
			continue
		}
		var mood pidf.Feeling
		if len(d[0].Persons) > 0 {
			mood = d[0].Persons[0].Rich.Moods[0].Values[0]
		}
		if mood != c.mood {
			t.Errorf("%s: told %q", c.name, mood)
		}
	}
	told(watch.Event{Told: feels(pidf.FeelingSad)})
	told(watch.Event{Told: &adapters.NotifyOp{Change: adapters.AuthorizationRefused}})
	told(watch.Event{Heard: &watch.Hearing{Session: "d", Serial: 100, Status: adapters.Succeeded()}})
	if !state.Idle() {
		t.Error("something is kept after the refusal")
	}
}
