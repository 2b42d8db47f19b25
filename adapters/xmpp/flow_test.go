package xmpp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/admission"
)

// brimful is a process whose memory is at its cap.
type brimful struct{}

func (brimful) Delay() time.Duration { return 0 }
func (brimful) Memory() int64        { return 1000 }

// Streams are read slowly while there is too much, and the answer to a ping stands behind what is read slowly. It is read all the same before the stream
// would count as dead: with 1,000 stanzas before it, and 250 ms for each, it would come after four minutes.
func TestHoldingUpEndsNoStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := admission.New(admission.Config{Memory: 1000, Sensors: brimful{}})
		if err != nil {
			t.Fatal(err)
		}
		limits := Limits{}.orDefault()
		a := &Adapter{flows: flows{admission: c}}
		a.now.Store(&world{limits: limits})
		l := &path{a: a, name: func() string { return "server" }, box: newOutbox(limits, func() {})}
		for range 5 { // it takes a moment until that is seen
			l.pace()
			time.Sleep(110 * time.Millisecond)
		}
		began := time.Now()
		for range 10 {
			l.pace()
		}
		if d := time.Since(began); d < time.Second {
			t.Fatalf("10 stanzas are read in %v", d)
		}
		began = time.Now()
		l.box.take(nil, maxBatch, true, began)
		for range 1000 {
			l.pace()
		}
		if d := time.Since(began); d >= limits.PingTimeout/2 {
			t.Errorf("what stands behind 1,000 stanzas is read after %v, and the stream ends after %v", d, limits.PingTimeout)
		}
	})
}
