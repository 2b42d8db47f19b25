package admission

import (
	"cmp"
	"math"
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
	target = 10 * time.Millisecond
	// working is the share of the processors from which on the process is held to be at work. Below it, it is others who keep it waiting, or it waits for one
	// goroutine: what stands then has to stand for longer until anything is refused.
	working = 0.5
	// starved is the delay that the rate is steered to then.
	starved = 100 * time.Millisecond
	// gain is by how much of itself the rate is cut for each second that the delay is over the target.
	gain = 4.0
	// behind is for how long what is read may have waited until less is answered.
	behind = 30 * time.Millisecond
	// answers is how many of those that are refused are answered for each that is taken. The rest is not worth an answer: see Ignore.
	answers = 0.6
	// enough is how many times as many are answered at most in an interval, whatever their lots are: who sends may choose them.
	enough = 4.0
	// patience is for how many intervals the delay must be over the target before anything is refused.
	patience = 3
	// hurry is after how many intervals without delay more may be answered than usual.
	hurry = 8
	// calm is for how many intervals nothing may have been refused until all is taken again.
	calm = 10
	// burst is how much of its rate a flow may take at once: what comes at once waits for each other.
	burst = 20 * time.Millisecond
	// silent is for how many intervals nothing may have come of a flow until it has no share any more.
	silent = 20
	// returning is how many pieces of a flow without a share are taken.
	returning = 2
	// floor is the least rate that all together have, per second: who sends less than this is never refused for the processor's sake.
	floor = 500
	// idle is the share of the processors up to which there is something left to answer with.
	idle = 0.85
	// cheap is how many refusals cost what one piece of work does.
	cheap = 6.5
	// half is the share of its work from which on it is known what all of it would be.
	half = 0.5
	// seen is the share of its work from which on a flow is as good as seen whole.
	seen = 0.95
	// fewAhead is how many pieces of work may wait inside of the process in any case.
	fewAhead = 64
	// The most that was done counts for trusted of itself, and is worth fading of that an interval later: half of it after two seconds.
	trusted, fading = 0.8, 0.97
	// slowly is fading for what the process could do if it had nothing else to do: half of it after a quarter of a minute.
	slowly = 0.995
	// lasting smooths what tells whether something behind this process is the narrow place: it takes some two seconds.
	lasting = 0.05
	// few is what a flow may ask for in a second and have all of it seen.
	few = 50
	// remembered is for how many intervals it is remembered what was seen: in T2 all comes again that was sent before (RFC 3261 §17.1.2.2), and some of it later,
	// because its client has much to do as well.
	remembered = 48
	// least is the share of a flow's work that is seen at least: of less nobody could say how much there is.
	least = 0.01
	// slack is by how much more than its share a flow may have taken by lot; its credit keeps it to the share.
	slack = 1.1
	// all is the Pass of a flow all of whose work is to be seen.
	all = math.MaxUint32
	// maxFlows bounds the flows. Those that come later share one.
	maxFlows = 16384
	// soon is for how long work may have waited in a queue up to which there is room for it whatever the rate says. Where all has waited for more than tooLate
	// times the target, and that for lateFor, there is none for those over their share.
	soon, tooLate, lateFor = 5 * time.Millisecond, 1.5, 20 * time.Millisecond
	// full is the share of the memory's cap from which on no new work is taken; from roomy on it is again.
	full, roomy = 0.95, 0.90
	// highest is the rate that is as good as none.
	highest = 1e7
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
	// Delay is how long half of the goroutines waited at least for a processor since it was asked last. That is a standing delay: where the
	// process is held up for a while and then does all there is, most wait for hardly anything.
	Delay() time.Duration
	// Memory is what the process needs of the memory that the system gives to the Go runtime, in octets; garbage that can be collected is no part of it.
	Memory() int64
	// Busy is what share of the processors that it may use the process had since it was asked last, 0 to 1; 1 where that is not known.
	Busy() float64
}

// Controller finds the rate of new work. It has no goroutine: it looks at things when work comes.
type Controller struct {
	sensors Sensors
	base    time.Time // what due counts from: the system's clock may be set back meanwhile
	cap     atomic.Int64
	active  atomic.Bool  // something may be refused
	due     atomic.Int64 // when look is to be called next, in nanoseconds since base
	turn    atomic.Uint64
	ahead   atomic.Int64 // see Ahead
	limit   atomic.Int64 // the age from which on a queue is late, in nanoseconds
	done    atomic.Int64
	m       measures

	mu     sync.Mutex
	flows  map[string]*Flow
	others *Flow
	queues []*Queue
	last   time.Time
	late   int // intervals in a row
	quiet  int
	easy   int // intervals in a row without delay
	// drowning is for how many intervals in a row more was to be refused than can be answered.
	drowning int
	brimful  bool
	rate     float64
	backlog  bool    // what is read of a queue has waited for long
	spare    float64 // pieces that anyone may have in this interval
	// answerable is how many are answered at most in this interval, over UDP.
	answerable int
	taken      int // in this interval
	judged     int // of these, those that somebody says are done: not what streams bring
	refused    int
	said       int     // of these, those that an answer is owed
	service    float64 // answered a second, smoothed
	peak       float64 // the most of that, some seconds ago worth less
	could      float64 // the same, for longer
	// narrow has what was judged and what was answered a second, smoothed for longer.
	narrow  struct{ taken, done float64 }
	streams float64 // what streams brought a second, which nobody says is done, smoothed as much
	// marks has those of what came while something was refused, ticks counts the intervals, and ended is when that was over.
	marks memory
	ticks uint32
	ended time.Time
	// recovering says that some flow's load has dropped, and refusals is how many are answered a second then.
	recovering bool
	refusals   float64
}

// New makes a controller that takes everything until the process is late. It fails if a metric is registered already.
func New(cfg Config) (*Controller, error) {
	c := &Controller{sensors: cfg.Sensors, base: time.Now(), flows: map[string]*Flow{}}
	c.due.Store(math.MinInt64)
	if c.sensors == nil {
		c.sensors = newRuntimeSensors(&c.cap)
	}
	c.cap.Store(cfg.Memory)
	c.others = &Flow{c: c, name: "others", send: 1, accept: 1}
	c.others.open()
	c.limit.Store(int64(tooLate * float64(target)))
	c.ahead.Store(math.MaxInt64)
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
		f = &Flow{c: c, name: name, send: 1, silence: silent, credit: returning, accept: 1}
		f.open()
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

// Ahead is how much of the work that was taken may wait inside the process where its readers could leave it outside: what is done in the delay that
// the rate is steered to. While the process has processors to spare it is any number: what waits then waits for somebody else.
func (c *Controller) Ahead() int {
	if c == nil {
		return math.MaxInt
	}
	return int(c.ahead.Load())
}

// Turn changes whenever the Pass of a flow may have changed. A nil Controller's is always 0.
func (c *Controller) Turn() uint64 {
	if c == nil {
		return 0
	}
	return c.turn.Load()
}

// judge decides about one piece of work of f. debt is how much the flow may have taken before its time; with some, the lot does not count.
func (c *Controller) judge(f *Flow, now time.Time, p Piece, debt time.Duration, stand Standing) Verdict {
	at := int64(now.Sub(c.base))
	if !c.active.Load() && at < c.due.Load() {
		f.arrived.Add(1)
		return Take
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if at >= c.due.Load() {
		c.look(now)
	}
	known := c.active.Load() && c.marks.note(p.Mark, c.ticks)
	switch {
	case debt > 0:
		f.urgent++
	case p.Lot >= f.pass.Load() && f.pass.Load() != all:
		c.m.ignored.Inc()
		return Ignore // it may be seen or not, so it is not counted
	default:
		f.arrived.Add(1)
		f.meet(p, known)
	}
	if c.active.Load() && (known && f.past(stand) || !c.fits(f, now, p.Lot, debt, stand)) {
		c.refused++
		f.said++
		if c.said++; c.said > c.answerable {
			c.m.ignored.Inc()
			return Ignore
		}
		c.m.refused.Inc()
		return Refuse
	}
	c.taken++
	c.judged++
	return Take
}

// fits tells whether there is room for one piece of work of f during overload, and takes it. The rate is right only in the long run; whether there is room
// now, the age of what is read tells: hardly any, and the processor would have nothing to do otherwise; too much, and those wait who ask for more than
// their share.
func (c *Controller) fits(f *Flow, now time.Time, lot uint32, debt time.Duration, stand Standing) bool {
	f.earn(now)
	if debt > 0 {
		// Who was silent has no rate, and yet such work.
		if f.credit < 1-max(f.rate, floor/10)*debt.Seconds() {
			return false
		}
		f.credit--
		f.had++
		return true
	}
	unlucky := f.accept < 1 && float64(lot) >= f.accept*float64(all)
	switch late := stand == Long && f.excess() > 0; {
	case c.brimful:
		return false
	case unlucky && f.recovering && f.fill >= 1 && stand != Long:
		f.fill--
	case unlucky:
		return false
	case f.credit >= 1 && !late:
		f.credit--
	case stand == Short:
	case c.spare >= 1 && f.accept >= 1 && !late:
		c.spare--
	default:
		f.turned++
		return false
	}
	f.had++
	return true
}

// pace takes one piece of work of f, and tells how long it should be until the next.
func (c *Controller) pace(f *Flow, now time.Time) time.Duration {
	at := int64(now.Sub(c.base))
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
	if f.excess() > 0 {
		c.refused++ // it is held back, and not only for what came at once, which is as good a sign that there is too much
	}
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
	c.due.Store(int64(now.Sub(c.base) + interval))
	if c.ticks++; !c.active.Load() && now.Sub(c.ended) > lately*interval {
		c.marks.forget() // by the time, because with hardly any work there are hardly any ticks
	}
	elapsed := now.Sub(c.last)
	c.last = now
	delay := c.sensors.Delay()
	c.backlog = false
	for _, q := range c.queues {
		wait := q.wait()
		delay, c.backlog = max(delay, wait), c.backlog || wait > behind
	}
	c.m.delay.Set(delay.Seconds())
	aim := target
	busy := c.sensors.Busy()
	free := busy < working
	if free {
		aim = starved
	}
	c.limit.Store(int64(tooLate * float64(aim)))
	c.fullness()
	asked, streamed := c.demand(elapsed)
	done := float64(c.done.Swap(0)) / elapsed.Seconds()
	taken, judged, refused := float64(c.taken)/elapsed.Seconds(), float64(c.judged)/elapsed.Seconds(), c.refused
	c.taken, c.judged, c.refused, c.said = 0, 0, 0, 0
	if !c.active.Load() {
		taken, judged = asked, asked-streamed
	}
	if elapsed > 5*interval {
		// Hardly anything comes: what was measured is of long ago.
		c.late, c.service, c.peak, c.streams = 0, 0, 0, 0
		c.ahead.Store(math.MaxInt64)
		if !c.brimful {
			c.release()
			return
		}
	}
	if c.service == 0 {
		c.service = done
		c.narrow.taken, c.narrow.done = done, done
	}
	c.service += (done - c.service) * 0.3
	c.streams += (streamed - c.streams) * 0.3
	c.peak = max(c.service, c.peak*fading)
	if !c.recovering {
		c.could *= slowly // else little comes, and nothing is known of more
	}
	c.could = max(c.service, c.could)
	c.narrow.taken += (judged - c.narrow.taken) * lasting
	c.narrow.done += (done - c.narrow.done) * lasting
	ahead := int64(math.MaxInt64)
	if busy >= idle {
		ahead = max(fewAhead, int64(c.service*target.Seconds()))
	}
	c.ahead.Store(ahead)
	// What streams bring is taken in any case, and only held up: for want of a better measure as much of it is done.
	served := c.service + c.streams
	over := delay > aim
	if over {
		if c.late++; delay > 10*aim {
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
			// What is answered is what can be done: more was taken for a while. But if nothing was done just now, because the process did not run, that was not
			// always so.
			c.engage(max(min(taken, c.service), taken/2, trusted*c.peak, floor))
		}
	case over:
		c.quiet, c.easy = 0, 0
		if c.late == 1 && delay < 4*aim {
			break // once is a pause of the collector, or of the machine
		}
		// What is done, less what makes up for the delay. What was allowed and not taken is no measure of what can be done, nor is one bad interval.
		cut := min(gain*(delay-aim).Seconds(), 0.3)
		c.rate = max(min(c.rate, max(served, 0.85*c.rate))*(1-cut), served/2, floor)
	case refused > 0 || c.held():
		// The further away from the target, the faster; and much faster where it was not for want of a processor that anything stood.
		c.easy++
		c.quiet = 0
		growth, most := 0.06, max(c.rate, 2*served) // more says nothing: it is not this rate that keeps anything out
		if free {
			growth, most = 0.3, math.Inf(1)
		}
		c.rate = min(c.rate*(1.01+growth*float64(aim-delay)/float64(aim)), most)
	default:
		if c.quiet++; c.quiet >= calm && !c.brimful {
			c.release()
			return
		}
	}
	if c.recovering {
		// The delay is that of answers to copies, which are fewer then.
		c.rate = min(max(c.rate, c.could), max(2*c.capable(), floor))
	}
	if c.active.Load() {
		// Where something else than this process is the narrow place, what is taken is refused behind it, at a greater cost.
		if c.narrow.taken > 1.3*c.narrow.done {
			c.rate = max(min(c.rate, 1.3*c.service+c.streams), floor)
		}
		c.divide(now, taken, busy)
	}
	c.m.rate.Set(c.rate)
}

// fullness looks at the memory.
func (c *Controller) fullness() {
	limit := float64(c.cap.Load())
	used := float64(c.sensors.Memory())
	c.brimful = limit > 0 && (used >= full*limit || c.brimful && used >= roomy*limit)
	c.marks.within(limit, used, c.brimful)
	c.rate = min(c.rate, highest) // it grows all the time while the memory alone is why things are refused
}

// engage begins to refuse what is over a rate.
func (c *Controller) engage(rate float64) {
	c.rate, c.quiet, c.easy, c.drowning, c.recovering = rate, 0, 0, 0, false
	c.active.Store(true)
	c.m.active.Set(1)
}

// held tells whether a client that obeys overload control still sends less than it would, or whether something may be ignored.
func (c *Controller) held() bool {
	for _, f := range c.flows {
		if f.silence < silent && (f.send < 0.95 || f.pass.Load() != all) {
			return true
		}
	}
	return false
}

// release takes everything again.
func (c *Controller) release() {
	c.rate, c.quiet, c.recovering, c.ended = 0, 0, false, c.last
	c.active.Store(false)
	c.m.active.Set(0)
	c.m.rate.Set(0)
	for _, f := range c.flows {
		f.send = 1
		f.loss.Store(0)
		f.open()
	}
	c.others.open()
	c.turn.Add(1)
}

// demand learns what each flow asks for, and returns what all do, per second, and how much of that streams brought.
func (c *Controller) demand(elapsed time.Duration) (all, streamed float64) {
	each := func(f *Flow) {
		// Of those whose lot is over pass nothing is known but that they are as many as that says.
		judged, brought := float64(f.arrived.Swap(0))/f.passing()+float64(f.urgent), float64(f.brought.Swap(0))
		f.urgent = 0
		f.stream = brought > judged
		streamed += brought / elapsed.Seconds()
		n := judged + brought
		if n == 0 {
			f.silence++
		} else {
			f.silence = 0
		}
		f.asked = n / elapsed.Seconds()
		f.mean += (f.asked - f.mean) * 0.3
		f.learn(elapsed, f.passing())
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
	return all, streamed
}

// divide, with what was taken a second and the share of the processors that this took, gives each flow that asks as much as it asks for, as long as none gets less than another that asks for more (max-min fairness).
func (c *Controller) divide(now time.Time, taken, busy float64) {
	asking := make([]*Flow, 0, 16)
	for _, f := range c.flows {
		if f.silence < silent {
			asking = append(asking, f)
		} else {
			// It has no share, and shall not be refused for that when it comes back: what it brings first is taken, and gives it one again.
			f.rate, f.credit = 0, returning
			f.open()
		}
	}
	if c.others.silence < silent {
		asking = append(asking, c.others)
	}
	slices.SortFunc(asking, func(a, b *Flow) int { return cmp.Compare(a.would(), b.would()) })
	left := c.rate
	for i, f := range asking {
		share := left / float64(len(asking)-i)
		// A little more than it asked for, so that it may grow; what it does not use is nobody's loss for an interval.
		f.share = share
		f.rate = min(f.would()*1.1+5, share)
		left -= f.rate
		f.ask(share)
		if f.at.IsZero() {
			f.at = now
		}
	}
	// For those who were not here when the rate was divided.
	c.spare = max(left, c.rate*0.02) * interval.Seconds()
	c.sift(asking, taken, busy)
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
