package xmpp

import (
	"context"
	"strings"
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
			l.pace(nil)
			time.Sleep(110 * time.Millisecond)
		}
		began := time.Now()
		for range 10 {
			l.pace(nil)
		}
		if d := time.Since(began); d < time.Second {
			t.Fatalf("10 stanzas are read in %v", d)
		}
		began = time.Now()
		l.box.take(nil, maxBatch, true, began)
		for range 1000 {
			l.pace(nil)
		}
		if d := time.Since(began); d >= limits.PingTimeout/2 {
			t.Errorf("what stands behind 1,000 stanzas is read after %v, and the stream ends after %v", d, limits.PingTimeout)
		}
	})
}

// What we wrote is acknowledged on the stream that is held up, and while nothing is acknowledged nothing more can be sent. Then the stream is read, and
// what is too much on it is refused; the next in time is not.
func TestAcknowledgementsPassAHeldStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := admission.New(admission.Config{Memory: 1000, Sensors: brimful{}})
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
		core := &counting{}
		a.h, a.base = core, t.Context()
		l := a.links()[0]
		scope, _ := strictxml.NewScope(nil, "", stanza.SpaceComponent)
		r := stanza.NewReader(stanza.SpaceComponent, a.lim().XML)
		receive := func(octets string) {
			s, err := r.Read([]byte(octets), scope)
			if err != nil {
				t.Fatal(err)
			}
			l.receive(s)
		}
		message := func(kind, content string) string {
			return "<message from='juliet@example.com/balcony' to='romeo@example.net' id='1'" + kind + ">" + content + "</message>"
		}
		for range 5 {
			receive(message("", "<body>Art thou not Romeo?</body>"))
			time.Sleep(110 * time.Millisecond)
		}
		if core.messages != 5 {
			t.Fatalf("%d of 5 messages are taken before", core.messages)
		}
		l.box.add(&item{octets: []byte("x"), done: make(chan adapters.Status, 1)})
		_, _, ping := l.box.take(nil, maxBatch, false, time.Now())
		receive(message("", "<body>Art thou not Romeo?</body>"))
		if core.messages != 6 {
			t.Errorf("%d of 6 messages are taken while the acknowledgement is not late", core.messages)
		}
		time.Sleep(ackPatience)
		began := time.Now()
		for range 1000 {
			receive(message("", "<body>Art thou not Romeo?</body>"))
		}
		if d := time.Since(began); d > 0 || core.messages != 6 || len(l.box.replies) != 1000 {
			t.Errorf("what stands behind 1,000 stanzas is read after %v, and %d of them are refused, %d taken", d, len(l.box.replies), core.messages-6)
		}
		if e := string(l.box.replies[0].octets); !strings.Contains(e, "<resource-constraint ") || !strings.Contains(e, "type='wait'") {
			t.Errorf("refused with %s", e)
		}
		receive(message("", "<composing xmlns='http://jabber.org/protocol/chatstates'/>")) // nobody is told of its loss
		if len(l.box.replies) != 1000 || core.messages != 7 {
			t.Errorf("a chat state: %d refusals", len(l.box.replies))
		}
		l.box.acknowledge(ping)
		receive(message("", "<body>Art thou not Romeo?</body>"))
		if core.messages != 8 {
			t.Error("with the acknowledgement nothing is taken")
		}
	})
}

// What a stream of ours counts is acknowledged on that one. A stream that is held up is not the reason why that is late, unless it is the same, and what
// comes on it is held up and not refused.
func TestAcknowledgementsElsewhereRefuseNothing(t *testing.T) {
	for name, c := range map[string]struct{ bidi, pinged, room bool }{
		"counted on another stream": {room: true},
		"counted on the same":       {bidi: true},
		"pinged":                    {pinged: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				admitted, err := admission.New(admission.Config{Memory: 1000, Sensors: brimful{}})
				if err != nil {
					t.Fatal(err)
				}
				limits := Limits{}.orDefault()
				a := &Adapter{flows: flows{admission: admitted}}
				a.now.Store(&world{limits: limits})
				l := &path{a: a, name: func() string { return "server" }, box: newOutbox(limits, func() {})}
				for range 5 { // it takes a moment until that is seen
					l.pace(nil)
					time.Sleep(110 * time.Millisecond)
				}
				l.box.add(&item{octets: []byte("x"), done: make(chan adapters.Status, 1)})
				if c.pinged {
					l.box.take(nil, maxBatch, false, time.Now())
				} else {
					l.box.takeCounted(nil, maxBatch, time.Now())
				}
				time.Sleep(ackPatience)
				began := time.Now()
				room := l.pace(&arrival{patience: new(patience), bidi: c.bidi})
				if held := time.Since(began) > 0; room != c.room || held != c.room {
					t.Errorf("room: %v, held up: %v", room, held)
				}
			})
		})
	}
}

// counting is a core that counts what it takes.
type counting struct {
	nobody
	messages int
}

func (c *counting) Message(context.Context, *adapters.MessageOp, func(adapters.Status)) { c.messages++ }

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

// crowded is a core that has hardly any room.
type crowded struct {
	nobody
	until time.Time
}

var _ adapters.Crowd = crowded{}

func (c crowded) Crowded() bool { return time.Now().Before(c.until) }
func (c crowded) Waiting() int  { return 0 }

// Overrun implements adapters.Crowd: one recipient does not answer.
func (c crowded) Overrun() bool { return false }

// overrun is a core to which more comes than it can do: it is crowded after so many messages, and has done them after so long.
type overrun struct {
	counting
	most  int
	every time.Duration
	from  int       // how many had come when nothing waited last
	full  time.Time // since when it is crowded
}

// Crowded implements adapters.Crowd.
func (c *overrun) Crowded() bool { return c.Waiting() > 0 && !c.full.IsZero() }

// Waiting implements adapters.Crowd.
func (c *overrun) Waiting() int {
	came := c.messages - c.from
	if came < c.most {
		return came
	}
	if c.full.IsZero() {
		c.full = time.Now()
	}
	left := came - int(float64(came)*float64(time.Since(c.full))/float64(c.every))
	if left <= 0 {
		c.from, c.full = c.messages, time.Time{}
		return 0
	}
	return left
}

// Overrun implements adapters.Crowd.
func (c *overrun) Overrun() bool { return true }

// While more comes than can be done, a stream is held up for as long as it takes, and nothing of it is refused; while nothing is done, no longer than for one
// recipient's sake.
func TestACrowdThatMovesIsWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		every       time.Duration
		least, most time.Duration // for 1,000 messages, of which each hundred makes a crowd
	}{
		"it moves":        {200 * time.Millisecond, 9 * 190 * time.Millisecond, 10 * 210 * time.Millisecond},
		"it stands still": {time.Hour, 490 * time.Millisecond, 600 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limits := Limits{}.orDefault()
				core := &overrun{most: 100, every: c.every}
				a := &Adapter{h: core}
				a.now.Store(&world{limits: limits})
				l := &path{a: a, name: func() string { return "server" }, box: newOutbox(limits, func() {})}
				began := time.Now()
				for range 1000 {
					l.pace(nil)
					core.messages++
				}
				if d := time.Since(began); d < c.least || d > c.most {
					t.Errorf("1,000 stanzas are read in %v", d)
				}
			})
		})
	}
}

// A stream waits for a core that has no room just now, and hardly for one that has none for long: that may be one recipient's fault.
func TestCrowdedCoreIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{}.orDefault()
		core := &crowded{until: time.Now().Add(200 * time.Millisecond)}
		a := &Adapter{h: core}
		a.now.Store(&world{limits: limits})
		l := &path{a: a, name: func() string { return "server" }, box: newOutbox(limits, func() {})}
		read := func(n int) time.Duration {
			began := time.Now()
			for range n {
				l.pace(nil)
			}
			return time.Since(began)
		}
		if d := read(1000); d < 200*time.Millisecond || d > 210*time.Millisecond {
			t.Errorf("a core that has room after 200 ms is waited for %v", d)
		}
		core.until = time.Now().Add(time.Hour)
		if d := read(1000); d < 250*time.Millisecond || d > 350*time.Millisecond {
			t.Errorf("then one without room is waited for %v", d)
		}
		began := time.Now()
		for time.Since(began) < time.Minute { // a stanza every 10 ms
			time.Sleep(10 * time.Millisecond)
			l.pace(nil)
			l.pace(nil)
		}
		if spent := l.patience.used; spent > patienceMost+2*patienceStep {
			t.Errorf("%v are spent", spent)
		}
		began = time.Now()
		for range 10_000 {
			time.Sleep(time.Millisecond)
			l.pace(nil)
		}
		if d := time.Since(began); d > 11*time.Second {
			t.Errorf("10,000 stanzas of 10 s are read in %v", d)
		}
		// However many pairs of domains a stream carries, it has this patience once.
		stream := &arrival{patience: new(patience)}
		began = time.Now()
		for range 64 {
			(&path{a: a, name: l.name, box: newOutbox(limits, func() {})}).pace(stream)
		}
		if d := time.Since(began); d < patienceMost || d > patienceMost+30*time.Millisecond {
			t.Errorf("with 64 pairs on it a stream is held up for %v", d)
		}
		time.Sleep(time.Minute) // there is patience again
		one := newOutbox(limits, func() {})
		one.add(&item{octets: []byte("x"), done: make(chan adapters.Status, 1)})
		one.take(nil, maxBatch, false, time.Now())
		began = time.Now()
		(&path{a: a, name: l.name, box: one}).pace(nil)
		if d := time.Since(began); d < ackPatience || d > ackPatience+2*patienceStep {
			t.Errorf("with an acknowledgement awaited, which may stand behind what is not read, a stream is held up for %v", d)
		}
		l.box.take(nil, maxBatch, true, time.Now())
		time.Sleep(limits.PingTimeout / 4) // the answer to the ping may stand behind what waits, and there is patience again
		if d := read(10); d > 0 {
			t.Errorf("with a ping due it waits %v", d)
		}
	})
}
