package xmpp_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/internal/admission"
)

// heldSensors say how full the memory is.
type heldSensors struct{ memory atomic.Int64 }

func (*heldSensors) Delay() time.Duration { return 0 }
func (s *heldSensors) Memory() int64      { return s.memory.Load() }
func (*heldSensors) Busy() float64        { return 1 }

// T-OV-02: over XMPP new work is held up instead of refused: the stream is read slowly while there is overload, so that the other side's queue grows and not ours;
// nothing is lost by it, and afterwards it is read as fast as before.
func TestT_OV_02_AStreamIsReadSlowly(t *testing.T) {
	sensors := &heldSensors{}
	control, err := admission.New(admission.Config{Memory: 1000, Sensors: sensors})
	if err != nil {
		t.Fatal(err)
	}
	core := newRecorder()
	_, p := started(t, listen(t), core, func(c *xmpp.Config) { c.Admission = control })
	say := func(first, count int) {
		for i := range count {
			p.say(fmt.Sprintf("<message type='chat' id='m%d' from='juliet@%s/x' to='romeo@%s'><body>%d</body></message>", first+i, xmppDomain, sipDomain, first+i))
		}
	}
	say(0, 1)
	next(t, core.messages, "a message before")
	sensors.memory.Store(990)
	await(t, "overload is noticed", func() bool {
		control.Flow("test").Admit(time.Now())
		return control.Active()
	})
	const held = 8
	began := time.Now()
	say(1, held)
	for range held {
		next(t, core.messages, "a message that was held up")
	}
	// Each but the last one keeps the next from being read for 250 ms.
	if d := time.Since(began); d < (held-1)*200*time.Millisecond {
		t.Errorf("%d messages during overload were read within %v", held, d)
	}
	sensors.memory.Store(10)
	await(t, "overload is over", func() bool {
		// What is taken and never done would keep the rate down.
		if f := control.Flow("test"); f.Admit(time.Now()) {
			f.Done()
		}
		return !control.Active()
	})
	say(1+held, 100)
	for range 100 {
		next(t, core.messages, "a message afterwards")
	}
}
