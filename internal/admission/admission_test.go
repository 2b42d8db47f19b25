package admission

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

// server stands for a process that can do so much a second: what it took and has not done yet makes it late.
type server struct {
	capacity float64 // a second
	waiting  float64
	memory   int64 // MiB
	others   float64
}

func (s *server) Delay() time.Duration {
	return time.Duration(s.waiting / s.capacity * float64(time.Second))
}
func (s *server) Memory() int64 { return s.memory << 20 }

// Busy is 1 less the share of the processors that others have taken from it.
func (s *server) Busy() float64 { return 1 - s.others }

// client offers so much a second to one flow.
type client struct {
	flow  *Flow
	rate  float64
	obeys bool
	owed  float64
	lots  *rand.Rand
	stand Standing
	taken int
	sent  int
}

// play lets time pass, a millisecond at a time, and counts what was taken.
func play(c *Controller, s *server, now *time.Time, d time.Duration, clients ...*client) {
	for i, x := range clients {
		x.taken, x.sent = 0, 0
		if x.lots == nil {
			x.lots = rand.New(rand.NewPCG(5, uint64(i)))
		}
	}
	done := 0.0
	for end := now.Add(d); now.Before(end); *now = now.Add(time.Millisecond) {
		for _, x := range clients {
			rate := x.rate
			if x.obeys {
				rate *= 1 - float64(x.flow.Loss())/100
			}
			for x.owed += rate / 1000; x.owed >= 1; x.owed-- {
				x.sent++
				if x.flow.Judge(*now, piece(x.lots.Uint32()), x.stand) == Take {
					x.taken++
					s.waiting++
				}
			}
		}
		for done += min(s.waiting, s.capacity/1000); done >= 1; done-- {
			s.waiting--
			clients[0].flow.Done()
		}
	}
}

func setup(t *testing.T) (*Controller, *server, time.Time) {
	t.Helper()
	s := &server{capacity: 10_000}
	c, err := New(Config{Sensors: s, Memory: 1000 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return c, s, time.Unix(1_800_000_000, 0)
}

// Nothing is refused while the process keeps up.
func TestAllIsTakenBelowCapacity(t *testing.T) {
	c, s, now := setup(t)
	x := &client{flow: c.Flow("x"), rate: 9000}
	play(c, s, &now, 10*time.Second, x)
	if x.taken != x.sent || c.Active() {
		t.Errorf("%d of %d taken, active %v", x.taken, x.sent, c.Active())
	}
}

// T-OV-02: at 2, 5 and 10 times the capacity as much is done as can be done, what is taken is done soon, and when the load drops all is taken
// again.
func TestT_OV_02_GoodputStays(t *testing.T) {
	for _, factor := range []float64{2, 5, 10} {
		c, s, now := setup(t)
		x := &client{flow: c.Flow("x"), rate: factor * s.capacity}
		play(c, s, &now, 5*time.Second, x) // it takes a moment to find the rate
		late := time.Duration(0)
		total := 0
		for range 50 {
			play(c, s, &now, 100*time.Millisecond, x)
			late, total = max(late, s.Delay()), total+x.taken
		}
		if share := float64(total) / (5 * s.capacity); share < 0.85 || late > 200*time.Millisecond {
			t.Errorf("%.0f times the capacity: %.2f of it was taken, and waited up to %v", factor, share, late)
		}
		x.rate = s.capacity / 2
		play(c, s, &now, 5*time.Second, x)
		play(c, s, &now, time.Second, x)
		if x.taken != x.sent || c.Active() {
			t.Errorf("%.0f times the capacity, and back: %d of %d taken, active %v", factor, x.taken, x.sent, c.Active())
		}
	}
}

// T-OV-02: a peer that offers ten times as much takes nothing from one that stays within its share.
func TestT_OV_02_Shares(t *testing.T) {
	c, s, now := setup(t)
	loud, quiet := &client{flow: c.Flow("loud"), rate: 40_000}, &client{flow: c.Flow("quiet"), rate: 4000}
	play(c, s, &now, 5*time.Second, loud, quiet)
	play(c, s, &now, 5*time.Second, loud, quiet)
	if quiet.taken < quiet.sent*95/100 {
		t.Errorf("%d of %d of the quiet peer were taken", quiet.taken, quiet.sent)
	}
	if loud.taken < 20_000 || loud.taken > 40_000 {
		t.Errorf("%d of the loud peer were taken in 5 s, beside %d", loud.taken, quiet.taken)
	}
	quiet.rate = 40_000
	play(c, s, &now, 5*time.Second, loud, quiet)
	play(c, s, &now, 5*time.Second, loud, quiet)
	if ratio := float64(loud.taken) / float64(quiet.taken); ratio < 0.8 || ratio > 1.25 {
		t.Errorf("two that offer the same: %d and %d", loud.taken, quiet.taken)
	}
}

// T-OV-02: clients that obey overload control (RFC 7339) send about what can be done within 10 s, and then hardly anything is refused.
func TestT_OV_02_Converges(t *testing.T) {
	c, s, now := setup(t)
	x := &client{flow: c.Flow("x"), rate: 50_000, obeys: true}
	play(c, s, &now, 10*time.Second, x)
	play(c, s, &now, 5*time.Second, x)
	if sent := float64(x.sent) / 5; sent > 1.25*s.capacity || sent < 0.7*s.capacity {
		t.Errorf("%.0f a second were sent to one that can do %.0f", sent, s.capacity)
	}
}

// What belongs to something that was taken before is taken before new work.
func TestUrgentComesFirst(t *testing.T) {
	c, s, now := setup(t)
	x := &client{flow: c.Flow("x"), rate: 50_000}
	play(c, s, &now, 3*time.Second, x)
	if !c.Active() {
		t.Fatal("there is no overload")
	}
	refused := 0
	for range 20 {
		play(c, s, &now, 100*time.Millisecond, x)
		for range 10 {
			if !x.flow.AdmitUrgent(now) {
				refused++
			}
		}
	}
	if refused > 0 {
		t.Errorf("%d of 200 were refused", refused)
	}
	flood := 0
	for range 100_000 {
		if x.flow.AdmitUrgent(now) {
			flood++
		}
	}
	if flood > 20_000 {
		t.Errorf("%d of what says that it is urgent were taken at once", flood)
	}
}

// When the memory is full no new work is taken, until there is room again.
func TestMemoryIsKept(t *testing.T) {
	c, s, now := setup(t)
	x := &client{flow: c.Flow("x"), rate: 1000}
	play(c, s, &now, time.Second, x)
	s.memory = 960
	play(c, s, &now, 200*time.Millisecond, x)
	play(c, s, &now, time.Second, x)
	if x.taken > 0 {
		t.Errorf("%d were taken with the memory full", x.taken)
	}
	s.memory = 920 // between: it stays as it is
	play(c, s, &now, time.Second, x)
	if x.taken > 0 {
		t.Errorf("%d were taken with the memory nearly full", x.taken)
	}
	s.memory = 500
	play(c, s, &now, 3*time.Second, x)
	play(c, s, &now, time.Second, x)
	if x.taken != x.sent {
		t.Errorf("%d of %d were taken with room again", x.taken, x.sent)
	}
}

// A stream is held up instead of refused, and never for longer than 250 ms.
func TestStreamsAreHeldUp(t *testing.T) {
	c, s, now := setup(t)
	x, stream := &client{flow: c.Flow("x"), rate: 50_000}, c.Flow("stream")
	play(c, s, &now, 3*time.Second, x)
	play(c, s, &now, 200*time.Millisecond, x)
	most := time.Duration(0)
	for range 10_000 {
		most = max(most, stream.Wait(now))
	}
	if most <= 0 || most > 250*time.Millisecond {
		t.Errorf("a stream that brings 10,000 at once is held up for %v", most)
	}
}

// What counts is for how long everything waited that was read in an interval: a queue that is empty once is no standing one.
func TestStandingQueue(t *testing.T) {
	c, _, now := setup(t)
	q := c.Queue()
	q.Read(now, false, 300*time.Millisecond)
	q.Read(now.Add(time.Second), true, 0)
	if d, s := q.wait(), q.Standing(now.Add(time.Second)); d != 0 || s != 0 {
		t.Errorf("a queue that was empty once stands for %v, its octets waited %v", s, d)
	}
	q.Read(now.Add(time.Second), false, 70*time.Millisecond)
	q.Read(now.Add(2*time.Second), false, 50*time.Millisecond)
	q.Read(now.Add(3*time.Second), false, 60*time.Millisecond)
	if d, s := q.wait(), q.Standing(now.Add(3*time.Second)); d != 50*time.Millisecond || s != 2*time.Second {
		t.Errorf("a queue that was never empty for 2 s, and in which all waited 50 ms: %v, %v", s, d)
	}
	q.Read(now.Add(4*time.Second), false, -1)
	if d := q.wait(); d != 2*target {
		t.Errorf("a standing queue that does not tell ages: %v", d)
	}
	if d := q.wait(); d != 0 {
		t.Errorf("nothing was read, and waited %v", d)
	}
	c.Forget(q)
	if len(c.queues) != 0 {
		t.Error("a queue that is given up is there")
	}
}

// Without a controller, and for nobody's flow, everything is taken.
func TestNoController(t *testing.T) {
	var c *Controller
	f, q := c.Flow("x"), c.Queue()
	q.Read(time.Now(), false, 0)
	c.Forget(q)
	f.Done()
	if c.Active() || !f.Admit(time.Now()) || !f.AdmitUrgent(time.Now()) || f.Wait(time.Now()) != 0 || f.Loss() != 0 {
		t.Error("something is refused by nobody")
	}
}

// The Go runtime tells what is asked of it.
func TestRuntimeSensors(t *testing.T) {
	var limit atomic.Int64
	s := newRuntimeSensors(&limit)
	s.Delay()
	if d := s.Delay(); d < 0 {
		t.Errorf("a delay of %v", d)
	}
	if s.Memory() <= 0 {
		t.Errorf("memory of %d octets", s.Memory())
	}
}

// With a quota of less than a processor the runtime uses two at once; a process that has all of its quota is as busy as it can be.
func TestBusyIsOfTheQuota(t *testing.T) {
	for _, test := range []struct {
		quota   float64
		threads int
		want    float64
	}{{0, 4, 4}, {0.5, 2, 0.5}, {1.5, 2, 1.5}, {3, 3, 3}, {16, 2, 2}} {
		if got := (&runtimeSensors{quota: test.quota}).processors(test.threads); got != test.want {
			t.Errorf("a quota of %v, %d threads: %v processors, should be %v", test.quota, test.threads, got, test.want)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	for name, active := range map[string]bool{"idle": false, "overload": true} {
		b.Run(name, func(b *testing.B) {
			c, err := New(Config{Sensors: &server{capacity: 1000}})
			if err != nil {
				b.Fatal(err)
			}
			f, now := c.Flow("x"), time.Now()
			f.Admit(now)
			if active {
				c.engage(1000)
			}
			b.ReportAllocs()
			for b.Loop() {
				f.Admit(now)
			}
		})
	}
}

// The memory's cap holds too when work comes seldom: what came long ago says nothing of the processor, but the memory is as full as it is.
func TestMemoryIsFullHoweverSeldomWorkComes(t *testing.T) {
	c, s, now := setup(t)
	f := c.Flow("seldom")
	s.memory = 990
	taken := 0
	for range 20 {
		now = now.Add(2 * time.Second)
		if f.Admit(now) {
			taken++
		}
	}
	if taken > 1 {
		t.Errorf("%d of 20 were taken while the memory was full", taken)
	}
	s.memory = 100
	for range 3 {
		now = now.Add(2 * time.Second)
		f.Admit(now)
	}
	if c.Active() {
		t.Error("the memory is free again, and work is still refused")
	}
}
