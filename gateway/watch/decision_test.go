package watch

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// restarted is what another process has of s.
func restarted(t *testing.T, s *State, now time.Time) *State {
	t.Helper()
	octets, err := json.Marshal(s.Record())
	if err != nil {
		t.Fatal(err)
	}
	var r Record
	if err := json.Unmarshal(octets, &r); err != nil {
		t.Fatal(err)
	}
	return Restore(s.watcher, s.presentity, s.rules, &r, now, 0)
}

// What is said late counts only against what was there when it was taken, also for who has read the pair from the store.
func TestLateDecisions(t *testing.T) {
	begin := time.Date(2026, 11, 23, 4, 0, 0, 123456789, time.UTC)
	for _, c := range []struct {
		name   string
		auth   Authorization
		event  Event
		before Authorization // taken before the authorization was what it is
		after  Authorization
	}{
		{"approval", Asked, Event{Told: &adapters.NotifyOp{Change: adapters.AuthorizationGranted, State: adapters.WatchActive}}, Asked, Granted},
		{"refusal of a request", Asked, Event{Told: &adapters.NotifyOp{Change: adapters.AuthorizationRefused, State: adapters.WatchTerminated}}, Asked, None},
		{"refusal", Granted, Event{Told: &adapters.NotifyOp{Change: adapters.AuthorizationRefused, State: adapters.WatchTerminated}}, Granted, None},
		{"rejected", Granted, Event{Told: &adapters.NotifyOp{End: adapters.EndRejected, State: adapters.WatchTerminated}}, Granted, None},
		{"cancellation", Granted, Event{Asked: &adapters.WatchOp{Verb: adapters.WatchCancel}}, Granted, None},
		{"another end", Granted, Event{Told: &adapters.NotifyOp{End: adapters.EndTimeout, State: adapters.WatchTerminated}}, Granted, Granted},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, late := range []time.Duration{-2 * time.Second, -500 * time.Millisecond, 0, time.Second} {
				rules := &Rules{AsksExplicitly: true, Sessions: 4, Devices: 4, Duration: time.Hour, RetryFirst: time.Minute, RetryMost: time.Hour}
				s := New(watcherAddress, presentityAddress, rules)
				s.Step(begin, Event{Asked: &adapters.WatchOp{Verb: adapters.WatchOpen, Watch: adapters.WatchID{Watcher: watcherAddress, Presentity: presentityAddress, Session: "d"}, Duration: time.Hour}})
				if c.auth == Granted {
					s.Step(begin.Add(time.Minute), Event{Told: &adapters.NotifyOp{Change: adapters.AuthorizationGranted}, Taken: begin})
				}
				s = restarted(t, s, begin.Add(2*time.Minute))
				if s.Authorization() != c.auth {
					t.Fatalf("%v, want %v", s.Authorization(), c.auth)
				}
				e, want := c.event, c.before
				e.Taken, e.Again = begin.Add(late), true
				if late > 0 || c.name == "approval" && late > -time.Second {
					want = c.after
				}
				responds := 0
				for _, x := range s.Step(begin.Add(3*time.Minute), e) {
					if x.Respond != nil {
						responds++
					}
				}
				if s.Authorization() != want || (e.Asked != nil) != (responds == 1) {
					t.Errorf("taken %v later: %v, want %v, %d answers", late, s.Authorization(), want, responds)
				}
			}
		})
	}
}

// Who asks once more for what she has makes no decision of the other side older, and only what she cancelled before that is out of date: also for who has
// read the pair from the store. Where nothing comes late, as there are no other gateways, it is not written down.
func TestAskedAgainForWhatIsGranted(t *testing.T) {
	begin := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	id := adapters.WatchID{Watcher: watcherAddress, Presentity: presentityAddress}
	refusal := Event{Told: &adapters.NotifyOp{Change: adapters.AuthorizationRefused, State: adapters.WatchTerminated}}
	cancellation := Event{Asked: &adapters.WatchOp{Verb: adapters.WatchCancel, Watch: id}}
	for _, c := range []struct {
		name  string
		event Event
		taken time.Duration // after the request; it was granted a minute after that, and asked for again after two
		want  Authorization
	}{
		{"refusal before the grant", refusal, 30 * time.Second, Granted},
		{"refusal between", refusal, 90 * time.Second, None},
		{"cancellation between", cancellation, 90 * time.Second, Granted},
		{"cancellation behind", cancellation, 150 * time.Second, None},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, several gateways: %t", c.name, late), func(t *testing.T) {
				s := New(watcherAddress, presentityAddress, &Rules{
					AsksExplicitly: true, Sessions: 4, Devices: 4, Duration: time.Hour, RetryFirst: time.Minute, RetryMost: time.Hour, Late: late,
				})
				ask := Event{Asked: &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: id}}
				s.Step(begin, ask)
				s.Step(begin.Add(time.Minute), Event{Told: &adapters.NotifyOp{Change: adapters.AuthorizationGranted}})
				kept := s.Mark()
				s.Step(begin.Add(2*time.Minute), ask)
				if written := s.Mark() != kept; written != late {
					t.Errorf("it is written down: %t", written)
				}
				kept = s.Mark()
				ask.Taken = begin.Add(time.Second) // one that was forwarded, and comes late
				if s.Step(begin.Add(3*time.Minute), ask); s.Mark() != kept {
					t.Error("one that comes late is written down again")
				}
				if late {
					s = restarted(t, s, begin.Add(3*time.Minute))
				}
				e := c.event
				e.Taken, e.Again = begin.Add(c.taken), true
				if s.Step(begin.Add(4*time.Minute), e); s.Authorization() != c.want {
					t.Errorf("%v, want %v", s.Authorization(), c.want)
				}
			})
		}
	}
}
