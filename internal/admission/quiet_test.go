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
