package admission

import (
	"testing"
	"time"
)

// Whoever sends little and seldom is not shut out by another's flood: neither with new work nor within its dialogs: "in-dialog and responses
// served before new work; per-peer fairness".
func TestTheSeldomAreServed(t *testing.T) {
	for _, capacity := range []float64{500, 10_000} {
		s := &server{capacity: capacity}
		c, err := New(Config{Sensors: s})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1_800_000_000, 0)
		loud := &client{flow: c.Flow("loud"), rate: 5 * capacity}
		seldom, dialogs := c.Flow("seldom"), c.Flow("dialogs")
		play(c, s, &now, 10*time.Second, loud)
		taken, urgent := 0, 0
		const times = 20
		for range times {
			play(c, s, &now, 3*time.Second, loud)
			if !c.Active() {
				t.Fatal("there is no overload")
			}
			if seldom.Admit(now) {
				taken++
			}
			if dialogs.AdmitUrgent(now) {
				urgent++
			}
		}
		if taken < times || urgent < times {
			t.Errorf("capacity %.0f: of %d requests, one in three seconds, %d were taken, and %d of those within dialogs", capacity, times, taken, urgent)
		}
	}
}

// Streams that share a flow are held up together, and no longer than their flood is on: what they brought then is no debt of those that bring a little
// afterwards.
func TestAFloodOfStreamsIsOver(t *testing.T) {
	s := &server{capacity: 1000}
	c, err := New(Config{Sensors: s})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	loud, streams := &client{flow: c.Flow("loud"), rate: 5000}, c.Flow("streams")
	play(c, s, &now, 3*time.Second, loud)
	for range 240 { // a minute of 1,000 streams, each held up for 250 ms
		for range 1000 {
			streams.Wait(now)
		}
		play(c, s, &now, 250*time.Millisecond, loud)
	}
	loud.rate = 100 // there is room for all now
	held := 0
	for i := range 240 {
		if streams.Wait(now) > 0 && i >= 40 {
			held++
		}
		play(c, s, &now, 250*time.Millisecond, loud)
	}
	if held > 0 || c.Active() {
		t.Errorf("from 10 s after the flood on %d of 200 stanzas, four a second, are held up; overload %v", held, c.Active())
	}
}

// What belongs to something that was taken before comes first, too, where its peer was silent meanwhile and has no share: all that was to be told to a peer's
// watches comes at once.
func TestWhoWasSilentHasDialogs(t *testing.T) {
	s := &server{capacity: 5000}
	c, err := New(Config{Sensors: s})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	loud, dialogs := &client{flow: c.Flow("loud"), rate: 25_000}, c.Flow("dialogs")
	dialogs.Admit(now)
	for range 5 {
		play(c, s, &now, 4*time.Second, loud) // silent has passed
		if !c.Active() {
			t.Fatal("there is no overload")
		}
		for i := range 50 {
			if !dialogs.AdmitUrgent(now) {
				t.Fatalf("of 50 requests within dialogs that came at once %d were taken", i)
			}
		}
	}
	taken := 0
	for range 10_000 {
		if dialogs.AdmitUrgent(now) {
			taken++
		}
	}
	if taken > 500 {
		t.Errorf("of 10,000 that came at once %d were taken", taken)
	}
}
