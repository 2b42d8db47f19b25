package admission

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// interval is how often the rate is looked at.
	interval = 100 * time.Millisecond
	// target is the delay that the rate is steered to.
	target = 15 * time.Millisecond
	// patience is for how many intervals the delay must be over the target before anything is refused.
	patience = 3
	// calm is for how many intervals nothing may have been refused until all is taken again.
	calm = 10
	// burst is how much of its rate a flow may take at once: what comes at once waits for each other.
	burst = 20 * time.Millisecond
	// idle is for how many intervals nothing may have come of a flow until it has no share any more.
	idle = 20
	// returning is how many pieces of a flow without a share are taken.
	returning = 2
	// floor is the least rate that all together have, per second: who sends less than this is never refused for the processor's sake.
	floor = 200
	// maxFlows bounds the flows. Those that come later share one.
	maxFlows = 16384
	// full is the share of the memory's cap from which on no new work is taken; from roomy on it is again.
	full, roomy = 0.95, 0.90
)

// Config is what a Controller is made from.
type Config struct {
	// Memory is the cap of what the Go runtime has of the system, in octets; 0: none.
	Memory int64
	// Registerer takes the metrics; nil: nobody does.
	Registerer prometheus.Registerer
	// Sensors replaces what the process says of itself; nil: the Go runtime is asked.
	Sensors Sensors
}

// Sensors tell how the process does.
type Sensors interface {
	// Delay is how long nine of ten goroutines waited at most for a processor since it was asked last.
	Delay() time.Duration
	// Memory is what the Go runtime has of the system, in octets.
	Memory() int64
}

// Controller finds the rate of new work. It has no goroutine: it looks at things when work comes.
type Controller struct {
	sensors Sensors
	cap     atomic.Int64
	active  atomic.Bool // something may be refused
	due     atomic.Int64
	done    atomic.Int64
	m       measures

	mu      sync.Mutex
	flows   map[string]*Flow
	others  *Flow
	queues  []*Queue
	last    time.Time
	late    int // intervals in a row
	quiet   int
	brimful bool
	rate    float64
	began   float64 // the first rate of this overload
	spare   float64 // pieces that anyone may have in this interval
	taken   int     // in this interval
	refused int
	service float64 // answered a second, smoothed
}

// New makes a controller that takes everything until the process is late. It fails if a metric is registered already.
func New(cfg Config) (*Controller, error) {
	c := &Controller{sensors: cfg.Sensors, flows: map[string]*Flow{}}
	if c.sensors == nil {
		c.sensors = newRuntimeSensors()
	}
	c.cap.Store(cfg.Memory)
	c.others = &Flow{c: c, name: "others", send: 1}
	if err := c.m.register(cfg.Registerer); err != nil {
		return nil, err
	}
	return c, nil
}

// SetMemory replaces the cap.
func (c *Controller) SetMemory(octets int64) { c.cap.Store(octets) }

// Flow returns the flow of a name, always the same one. A nil Controller has nil flows.
func (c *Controller) Flow(name string) *Flow {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flows[name]
	if f == nil {
		if len(c.flows) >= maxFlows {
			return c.others
		}
		f = &Flow{c: c, name: name, send: 1, silence: idle, credit: returning}
		c.flows[name] = f
	}
	return f
}

// Queue makes a queue whose reader says when it is empty. A nil Controller has nil queues.
func (c *Controller) Queue() *Queue {
	if c == nil {
		return nil
	}
	q := &Queue{c: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queues = append(c.queues, q)
	return q
}

// Forget gives up a queue that is read no more.
func (c *Controller) Forget(q *Queue) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queues = slices.DeleteFunc(c.queues, func(o *Queue) bool { return o == q })
}

// Active tells whether new work may be refused now. It is one atomic load.
func (c *Controller) Active() bool { return c != nil && c.active.Load() }

// admit takes one piece of work of f, or does not. debt is how much the flow may have taken before its time.
func (c *Controller) admit(f *Flow, now time.Time, debt time.Duration) bool {
	at := now.UnixNano()
	if !c.active.Load() && at < c.due.Load() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if at >= c.due.Load() {
		c.look(now)
	}
	switch {
	case !c.active.Load():
	case c.brimful && debt == 0:
		c.refused++
		c.m.refused.Inc()
		return false
	default:
		f.earn(now)
		if f.credit < 1-f.rate*debt.Seconds() {
			if c.spare < 1 || debt > 0 {
				c.refused++
				c.m.refused.Inc()
				return false
			}
			c.spare--
		} else {
			f.credit--
		}
	}
	c.taken++
	return true
}

// pace takes one piece of work of f, and tells how long it should be until the next.
func (c *Controller) pace(f *Flow, now time.Time) time.Duration {
	at := now.UnixNano()
	if !c.active.Load() && at < c.due.Load() {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if at >= c.due.Load() {
		c.look(now)
	}
	c.taken++
	const most = 250 * time.Millisecond
	switch {
	case !c.active.Load():
		return 0
	case c.brimful:
		c.refused++
		return most
	}
	f.earn(now)
	// No more is owed than the longest wait makes up for: several streams may bring more meanwhile, and what comes after their flood must not wait for it.
	if f.credit = max(f.credit-1, -f.rate*most.Seconds()-1); f.credit >= 0 || f.rate <= 0 {
		return 0
	}
	c.refused++ // it is held back, which is as good a sign that there is too much
	return min(time.Duration(-f.credit/f.rate*float64(time.Second)), most)
}

// earn gives a flow what its rate has brought since the last time, at most a burst, and some pieces.
func (f *Flow) earn(now time.Time) {
	if d := now.Sub(f.at); d > 0 {
		f.credit = min(f.credit+f.rate*d.Seconds(), f.rate*burst.Seconds()+2)
		f.at = now
	}
}

// look is what is done once in an interval: it measures how late the process is, moves the rate, and divides it.
func (c *Controller) look(now time.Time) {
	c.due.Store(now.Add(interval).UnixNano())
	elapsed := now.Sub(c.last)
	c.last = now
	delay := c.sensors.Delay()
	c.m.delay.Set(delay.Seconds())
	least := float64(floor)
	for _, q := range c.queues {
		if s := q.standing(now); s > delay {
			// A reader that refuses as fast as it can, and does not keep up, is not helped much by taking less: the rest is the system's to drop.
			if delay <= target {
				least = max(least, c.began/2)
			}
			delay = min(s, 2*target)
		}
	}
	c.fullness()
	asked := c.demand(elapsed)
	done := float64(c.done.Swap(0)) / elapsed.Seconds()
	taken, refused := float64(c.taken)/elapsed.Seconds(), c.refused
	c.taken, c.refused = 0, 0
	if !c.active.Load() {
		taken = asked
	}
	if elapsed > 5*interval {
		// Hardly anything comes: what was measured is of long ago.
		c.late, c.service = 0, 0
		c.release()
		return
	}
	if c.service == 0 {
		c.service = done
	}
	c.service += (done - c.service) * 0.3
	over := delay > target
	if over {
		if c.late++; delay > 5*target {
			c.late++
		}
	} else {
		c.late = 0
	}
	switch {
	case c.brimful && !c.active.Load():
		c.engage(max(taken, floor))
	case !c.active.Load():
		if c.late >= patience && taken > floor {
			// What is answered is what can be done: more was taken for a while.
			c.engage(max(min(taken, c.service), taken/2, floor))
		}
	case over:
		c.quiet = 0
		if c.late == 1 && delay < 4*target {
			break // once is a pause of the collector, or of the machine
		}
		// By as much less as the process is late: a tenth at twice the target, a third from five times on. What was allowed and not taken is
		// no measure of what can be done.
		cut := min(0.02+0.08*float64(delay-target)/float64(target), 0.3)
		// Half of what is done can be taken while the rest is made up for.
		c.rate = max(min(c.rate, max(taken, c.service, 0.8*c.rate))*(1-cut), least, c.service/2)
	case refused > 0 || c.held():
		// The further away from the target, the faster.
		c.rate *= 1.02 + 0.06*float64(target-delay)/float64(target)
		c.quiet = 0
	default:
		if c.quiet++; c.quiet >= calm && !c.brimful {
			c.release()
			return
		}
	}
	if c.active.Load() {
		// Where something else than this process is the narrow place, what is taken is refused behind it, at a greater cost.
		if taken > 1.3*c.service {
			c.rate = max(min(c.rate, 1.3*c.service), floor)
		}
		c.divide(now)
	}
	c.m.rate.Set(c.rate)
}

// fullness looks at the memory.
func (c *Controller) fullness() {
	limit := float64(c.cap.Load())
	used := float64(c.sensors.Memory())
	c.brimful = limit > 0 && (used >= full*limit || c.brimful && used >= roomy*limit)
}

// engage begins to refuse what is over a rate.
func (c *Controller) engage(rate float64) {
	c.rate, c.began, c.quiet = rate, rate, 0
	c.active.Store(true)
	c.m.active.Set(1)
}

// held tells whether a client that obeys overload control still sends less than it would.
func (c *Controller) held() bool {
	for _, f := range c.flows {
		if f.silence < idle && f.send < 0.95 {
			return true
		}
	}
	return false
}

// release takes everything again.
func (c *Controller) release() {
	c.rate, c.quiet = 0, 0
	c.active.Store(false)
	c.m.active.Set(0)
	c.m.rate.Set(0)
	for _, f := range c.flows {
		f.send = 1
		f.loss.Store(0)
	}
}

// demand learns what each flow asks for, and returns what all do, per second.
func (c *Controller) demand(elapsed time.Duration) (all float64) {
	each := func(f *Flow) {
		n := f.arrived.Swap(0)
		if n == 0 {
			f.silence++
		} else {
			f.silence = 0
		}
		f.asked = float64(n) / elapsed.Seconds()
		all += f.asked
		if f.asked > f.wants {
			f.wants = f.asked
		} else {
			f.wants += (f.asked - f.wants) * 0.2
		}
	}
	for _, f := range c.flows {
		each(f)
	}
	each(c.others)
	return all
}

// divide gives each flow that asks as much as it asks for, as long as none gets less than another that asks for more (max-min fairness).
func (c *Controller) divide(now time.Time) {
	asking := make([]*Flow, 0, 16)
	for _, f := range c.flows {
		if f.silence < idle {
			asking = append(asking, f)
		} else {
			// It has no share, and shall not be refused for that when it comes back: what it brings first is taken, and gives it one again.
			f.rate, f.credit = 0, returning
		}
	}
	if c.others.silence < idle {
		asking = append(asking, c.others)
	}
	slices.SortFunc(asking, func(a, b *Flow) int { return cmp.Compare(a.would(), b.would()) })
	left := c.rate
	for i, f := range asking {
		share := left / float64(len(asking)-i)
		// A little more than it asked for, so that it may grow; what it does not use is nobody's loss for an interval.
		f.rate = min(f.would()*1.1+5, share)
		left -= f.rate
		f.ask(share)
		if f.at.IsZero() {
			f.at = now
		}
	}
	// For those who were not here when the rate was divided.
	c.spare = max(left, c.rate*0.02) * interval.Seconds()
}

// would is what it would send if it were not asked to send less.
func (f *Flow) would() float64 { return f.wants / max(f.send, 0.01) }

// ask computes what a client that obeys is asked for: so that of what it would send there comes what its share is.
func (f *Flow) ask(share float64) {
	if f.asked <= 0 {
		return
	}
	// Slowly, because what comes follows what was asked for by a round trip.
	to := min(max(f.send*share/f.asked, 0.01), 1)
	f.send += (to - f.send) * 0.4
	f.loss.Store(int32(100 * (1 - f.send)))
}
