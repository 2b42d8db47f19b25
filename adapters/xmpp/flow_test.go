package xmpp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/internal/admission"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// brimful is a process whose memory is at its cap.
type brimful struct{}

func (brimful) Delay() time.Duration { return 0 }
func (brimful) Memory() int64        { return 1000 }
func (brimful) Busy() float64        { return 1 }

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

// late is a process whose goroutines wait for so long.
type late struct{ delay time.Duration }

func (l *late) Delay() time.Duration { return l.delay }
func (*late) Memory() int64          { return 0 }
func (*late) Busy() float64          { return 1 }

// nobody is a core that takes everything.
type nobody struct{}

func (nobody) Message(context.Context, *adapters.MessageOp, func(adapters.Status))  {}
func (nobody) Watch(context.Context, *adapters.WatchOp, func(adapters.WatchStatus)) {}
func (nobody) Notify(context.Context, *adapters.NotifyOp)                           {}
func (nobody) Report(context.Context, *adapters.Report)                             {}

// Presence is work that is done when it was read, though nobody answers it: else nothing seems to be done while it comes, and the least rate there is
// holds for everybody.
func TestPresenceIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sensors := &late{}
		c, err := admission.New(admission.Config{Sensors: sensors})
		if err != nil {
			t.Fatal(err)
		}
		a, err := New(Config{
			Admission: c, Logger: zerolog.Nop(),
			Components: []Component{{Name: "main", Server: "127.0.0.1:5347", Domain: "example.net", Serves: []string{"example.com"}, Secret: NewSecret("x")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		a.h, a.base = nobody{}, t.Context()
		l := a.links()[0]
		scope, _ := strictxml.NewScope(nil, "", stanza.SpaceComponent)
		r := stanza.NewReader(stanza.SpaceComponent, a.lim().XML)
		read := func(d time.Duration) (n int) {
			for end := time.Now().Add(d); time.Now().Before(end); n++ {
				s, err := r.Read([]byte("<presence from='juliet@example.com/balcony' to='romeo@example.net'/>"), scope)
				if err != nil {
					t.Fatal(err)
				}
				l.receive(s)
				time.Sleep(time.Millisecond)
			}
			return n
		}
		read(time.Second)
		sensors.delay = 60 * time.Millisecond
		read(time.Second)
		if !c.Active() {
			t.Fatal("there is no overload")
		}
		sensors.delay = 5 * time.Millisecond // it keeps up
		read(5 * time.Second)
		if n := read(5 * time.Second); n < 2500 {
			t.Errorf("%d of 5,000 were read in 5 s", n)
		}
	})
}
