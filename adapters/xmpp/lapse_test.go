package xmpp

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// "The state at the receiver transitions from "active" to "idle" under three conditions: 1. A status message with status "idle" is received. 2.
// A content message is received. 3. The refresh interval expires." (RFC 3994 §3.3)
func TestComposingLapses(t *testing.T) {
	const composing, idle, message = adapters.ActivityComposing, adapters.ActivityActive, adapters.ActivityNone
	type step struct {
		after   time.Duration
		what    adapters.Activity
		refresh time.Duration
	}
	for _, c := range []struct {
		name  string
		steps []step
		want  time.Duration // after the last step; 0: never
	}{
		{"the default", []step{{0, composing, 0}}, 120 * time.Second},
		{"its own interval", []step{{0, composing, 90 * time.Second}}, 90 * time.Second},
		{"said again", []step{{0, composing, 0}, {100 * time.Second, composing, 0}}, 120 * time.Second},
		{"idle", []step{{0, composing, 0}, {time.Second, idle, 0}}, 0},
		{"a message", []step{{0, composing, 0}, {time.Second, message, 0}}, 0},
		{"composing after idle", []step{{0, composing, 0}, {time.Second, idle, 0}, {time.Second, composing, 0}}, 120 * time.Second},
		{"an interval of a day", []step{{0, composing, 24 * time.Hour}}, longestComposing},
		{"idle from the beginning", []step{{0, idle, 0}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w lapses
				told := make(chan adapters.MessageOp, 8)
				for _, s := range c.steps {
					time.Sleep(s.after)
					op := between("im:romeo@example.net", "im:juliet@example.com")
					op.Activity, op.ActivityRefresh, op.Thread = s.what, s.refresh, "t"
					if !w.follow(op, nil, func(l *lapse) { told <- l.op }) {
						t.Fatal("there was no room")
					}
				}
				began := time.Now()
				select {
				case op := <-told:
					if took := time.Since(began); took != c.want || op.Activity != idle || op.Thread != "t" || op.From.Address.String() != "im:romeo@example.net" {
						t.Errorf("after %v: %+v", took, op)
					}
				case <-time.After(48 * time.Hour):
					if c.want != 0 {
						t.Error("it never lapsed")
					}
				}
				if len(w.pending) != 0 || len(told) != 0 {
					t.Errorf("%d are left, %d told", len(w.pending), len(told))
				}
			})
		})
	}
}

func TestComposingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w lapses
		for i := range maxComposing + 10 {
			op := between("im:u"+strconv.Itoa(i)+"@example.net", "im:juliet@example.com")
			op.Activity = adapters.ActivityComposing
			if got := w.follow(op, nil, func(*lapse) { t.Error("told after the end") }); got != (i < maxComposing) {
				t.Fatalf("the %dth: %v", i, got)
			}
		}
		w.end()
		time.Sleep(time.Hour)
		op := between("im:romeo@example.net", "im:juliet@example.com")
		op.Activity = adapters.ActivityComposing
		if w.follow(op, nil, nil) {
			t.Error("one begins after the end")
		}
	})
}
