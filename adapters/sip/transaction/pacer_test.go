package transaction

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/admission"
)

// A system that gives one datagram with each reading does not tell whether there are more: its socket is not taken for empty, as if there were always room.
func TestWhatIsLeftIsNotKnownEverywhere(t *testing.T) {
	for _, test := range []struct {
		name   string
		drains bool
		want   admission.Standing
	}{{"several with each reading", true, admission.Short}, {"one with each reading", false, admission.Unknown}} {
		control, err := admission.New(admission.Config{})
		if err != nil {
			t.Fatal(err)
		}
		p := &pacer{control: control, queue: control.Queue(), drains: test.drains}
		for i := range 3 {
			p.read(time.Now().Add(time.Duration(i)*time.Millisecond), 1, false)
		}
		if got := p.queue.Stand(); got != test.want {
			t.Errorf("%s: the queue stands as %v, should be %v", test.name, got, test.want)
		}
		p.end()
	}
}

// Where the process has no processor to spare, the reader leaves in the socket what would only wait behind others inside, where its age is not known and nothing
// can be refused cheaply; but it never stops for long, because what waits may wait for a recipient.
func TestReaderWaitsForWhatIsInside(t *testing.T) {
	for _, test := range []struct {
		name          string
		busy          float64
		waiting, each int // how many wait, and how many fewer each time that somebody looks
		owed          int64
		least, most   time.Duration
	}{
		{"they are done soon", 1, 2000, 100, 0, time.Millisecond, 2 * time.Millisecond},
		{"they wait for somebody", 1, 2000, 0, 0, settleMost, settleMost + keepUpStep},
		{"few", 1, 40, 0, 0, 0, 0},
		{"the processors are idle", 0.5, 2000, 0, 0, 0, 0},
		{"some responses are awaited", 1, 2000, 0, fewOwed, settleMost, settleMost + keepUpStep},
		{"many responses are awaited, which stand behind what is not read", 1, 2000, 0, fewOwed + 1, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				control, err := admission.New(admission.Config{Sensors: steady(test.busy)})
				if err != nil {
					t.Fatal(err)
				}
				flow := control.Flow("x")
				for range 300 { // 50,000 a second: 500 in the delay that is wanted
					for range 50 {
						flow.Admit(time.Now())
						flow.Done()
					}
					time.Sleep(time.Millisecond)
				}
				var owed atomic.Int64
				owed.Store(test.owed)
				p := &pacer{control: control, owed: &owed, waiting: func() int {
					n := test.waiting
					test.waiting -= test.each
					return n
				}}
				began := time.Now()
				p.keepUp()
				if d := time.Since(began); d < test.least || d > test.most {
					t.Errorf("the reader waits for %v, should %v to %v", d, test.least, test.most)
				}
			})
		})
	}
}

// steady is a process that is never late, and has that share of its processors.
type steady float64

func (steady) Delay() time.Duration { return 0 }
func (steady) Memory() int64        { return 0 }
func (s steady) Busy() float64      { return float64(s) }
