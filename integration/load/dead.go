package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DeadConfig is what a run with a dead destination is made from.
type DeadConfig struct {
	Config
	// Rate is how many messages a second go elsewhere, each way; 0: a fifth of the capacity, which is searched for if Config.Capacity is 0.
	Rate float64
	// Queued is how many messages wait for the dead destination, Pairs how many senders and how many recipients they have.
	Queued, Pairs int
	// Settle is how long the load elsewhere is on before it counts; 0: 35 s.
	Settle time.Duration
	// DirectWait and ReturnRate are the gateway's limits of these names; 0: its defaults.
	DirectWait time.Duration
	ReturnRate int
}

// DeadReport is what came of it.
type DeadReport struct {
	Capacity float64 `json:"capacity_per_second,omitempty"`
	Rate     float64 `json:"rate_per_second"`
	// Queued is how many messages waited, Refused how many more were not taken.
	Queued  uint64 `json:"queued"`
	Refused uint64 `json:"queue_refused"`
	// Others are what went elsewhere: before, while the destination was dead, and after it had come back.
	Others []DeadRow `json:"others"`
	// Found is how long after its return the first message arrived, FirstTen how many did in the ten seconds from then on, Drained when the last did.
	Found    time.Duration `json:"found_ns"`
	FirstTen int           `json:"first_ten_seconds"`
	Seconds  []int         `json:"arrived_by_second"`
	Drained  time.Duration `json:"drained_ns"`
	Lost     uint64        `json:"lost"`
	Twice    uint64        `json:"twice"`
	Disorder uint64        `json:"out_of_order"`
	RSS      int64         `json:"gateway_rss"`
	// Missed names each goal that was not reached.
	Missed []string `json:"missed"`
}

// DeadRow is what was seen elsewhere in one of the three times.
type DeadRow struct {
	When    string        `json:"when"`
	Kind    string        `json:"kind"`
	Offered uint64        `json:"offered"`
	Refused uint64        `json:"refused"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	P999    time.Duration `json:"p999_ns"`
}

// The three times.
var deadTimes = [...]string{"before", "dead", "back"}

// deadDomain is the one whose server is dead.
const deadDomain = "dead.test"

// grave is an XMPP server of its own, to which the gateway is a component too: it is there, goes away, and comes back. Safe for use from several goroutines.
type grave struct {
	port   int
	sender *Agent // whose messages they are
	server *Server

	mu       sync.Mutex
	last     map[string]uint32 // of each pair: the number of the last message that arrived
	seen     map[uint32]bool
	arrived  []time.Time
	twice    uint64
	disorder uint64
}

// open has it there.
func (g *grave) open() (err error) {
	var l net.Listener
	if g.port == 0 {
		if l, err = listen(); err == nil {
			g.port = l.Addr().(*net.TCPAddr).Port
		}
	} else {
		l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", g.port))
	}
	if err == nil {
		g.server = newServerOn(l, SIPDomain, g.stanza)
	}
	return err
}

// stanza takes one stanza.
func (g *grave) stanza(stanza []byte, _ func(string)) {
	_, rest, ok := bytes.Cut(stanza, []byte(bodyPrefix))
	if !ok || !bytes.HasPrefix(stanza, []byte("<message")) {
		return
	}
	_, rest, _ = bytes.Cut(rest, []byte(" "))
	if number, ok := parseNumber(rest); ok {
		g.take(attribute(stanza, "from")+" "+attribute(stanza, "to"), number, time.Now())
		g.sender.Delivered([]uint32{number})
	}
}

// take counts one message of a pair; numbers grow, and may pass zero.
func (g *grave) take(pair string, number uint32, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen[number] {
		g.twice++
		return
	}
	g.seen[number] = true
	g.arrived = append(g.arrived, now)
	if last, known := g.last[pair]; known && int32(number-last) < 0 {
		g.disorder++
	}
	g.last[pair] = number
}

// count is how many have arrived.
func (g *grave) count() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return uint64(len(g.arrived))
}

// Dead has messages wait for a destination that is dead while others go elsewhere, and has it come back (THREATS T-OV-08).
func Dead(ctx context.Context, c DeadConfig) (r DeadReport, err error) {
	c.Store = true
	if c.Settle == 0 {
		c.Settle = 35 * time.Second
	}
	d := &dead{c: c, grave: &grave{last: map[string]uint32{}, seen: map[uint32]bool{}}}
	if err := d.grave.open(); err != nil {
		return r, err
	}
	defer func() { d.grave.server.Close() }()
	p := plan{
		routes: fmt.Sprintf("  - {domain: %s, via: xmpp, next_hops: [\"component:%s\"]}", deadDomain, deadDomain),
		links:  fmt.Sprintf(", {name: %s, server: \"127.0.0.1:%d\", domain: %s, serves: [%s], secret_file: secret}", deadDomain, d.grave.port, SIPDomain, deadDomain),
		ready:  d.ready,
	}
	if c.DirectWait > 0 {
		p.messages += fmt.Sprintf(", direct_wait: %s", c.DirectWait)
	}
	if c.ReturnRate > 0 {
		p.messages += fmt.Sprintf(", return_rate: %d", c.ReturnRate)
	}
	if d.bed, err = newBedFor(c.Config, p, d.served, nil); err != nil {
		return r, err
	}
	defer d.close()
	if r.Rate = c.Rate; r.Rate == 0 {
		if r.Capacity, err = d.capacity(ctx, c.Config); err != nil {
			return r, err
		}
		r.Rate = r.Capacity / 5
	}
	return r, d.play(ctx, &r)
}

// dead is such a run.
type dead struct {
	*bed
	c      DeadConfig
	talker *talker
	grave  *grave
	sender *Agent // of what is for the grave
}

func (d *dead) ready(b *bed) {
	d.talker = newTalker(b.server, XMPPDomain, SIPDomain, 1000, 0)
	d.talker.run(b.agents[0])
	b.agents[0].Flushed = d.talker.flush
	d.sender = b.agents[1]
	d.sender.OtherDomain, d.sender.Users, d.sender.Recipients = deadDomain, d.c.Pairs, d.c.Pairs
	d.grave.sender = d.sender
}

func (d *dead) served(_ *Agent, request []byte, from net.Addr) { d.talker.heard(request, from) }

func (d *dead) close() {
	d.talker.close()
	d.bed.close()
}

// The rates at which messages for the dead destination come: few a second while its first ones wait for an answer, since each of them holds a place of
// limits.messages.total, more when it is known to be dead. Of few messages a quarter and half a second, so that a short run is no load to speak of.
const (
	firstFill = 500.0
	laterFill = 2500.0
)

// fill has messages sent until so many wait, and waits until each has its answer.
func (d *dead) fill(ctx context.Context, r *DeadReport) error {
	began, wait := time.Now(), d.c.DirectWait
	if wait == 0 {
		wait = 25 * time.Second // the default
	}
	first, later := min(firstFill, float64(d.c.Queued)/4), min(laterFill, float64(d.c.Queued)/2)
	d.sender.Rate(later) // so that all are remembered
	d.sender.Rate(first)
	var c Counts
	take := func() {
		n := d.sender.Take()
		c.Offered, c.Taken, c.Refused = c.Offered+n.Offered, c.Taken+n.Taken, c.Refused+n.Refused+n.OtherAnswers+n.Unanswered
	}
	full := func() bool {
		if time.Since(began) > wait+time.Second {
			d.sender.Rate(later)
		}
		take()
		return c.Offered >= uint64(d.c.Queued)
	}
	if err := d.watch(ctx, r, full, wait+time.Minute+time.Duration(d.c.Queued)*time.Millisecond); err != nil {
		return err
	}
	d.sender.Rate(0)
	if err := d.watch(ctx, r, func() bool { return d.sender.Pending() == 0 }, wait+time.Minute); err != nil {
		return err
	}
	take()
	r.Queued, r.Refused = c.Taken, c.Offered-c.Taken
	if int(r.Queued) < d.c.Queued/2 {
		return fmt.Errorf("of %d messages %d were taken: see the gateway's log", c.Offered, c.Taken)
	}
	return nil
}

func (d *dead) setRate(rate float64) {
	d.agents[0].Rate(rate)
	d.talker.setRate(rate)
}

// others adds what went elsewhere since the last time to the report.
func (d *dead) others(r *DeadReport, when string) (whole bool) {
	s, x := d.agents[0].Take(), d.talker.take()
	for _, row := range []DeadRow{
		{Kind: "to XMPP", Offered: s.Offered, Refused: s.Refused + s.OtherAnswers + s.Unanswered, P50: s.DeliveredIn.Quantile(0.5), P99: s.DeliveredIn.Quantile(0.99), P999: s.DeliveredIn.Quantile(0.999)},
		{Kind: "to SIP", Offered: x.offered, Refused: d.server.Errors.Swap(0), P50: x.in.Quantile(0.5), P99: x.in.Quantile(0.99), P999: x.in.Quantile(0.999)},
	} {
		if row.When = when; when != "" {
			r.Others = append(r.Others, row)
		}
	}
	return s.Delivered >= s.Offered && x.delivered >= x.offered
}

// watch waits, and notes how much memory the gateway has.
func (d *dead) watch(ctx context.Context, r *DeadReport, until func() bool, most time.Duration) error {
	for end := time.Now().Add(most); time.Now().Before(end) && !until(); time.Sleep(50 * time.Millisecond) {
		r.RSS = max(r.RSS, d.gateway.Usage().RSS)
		if ctx.Err() != nil || d.gateway.Dead() {
			return errors.Join(ctx.Err(), errors.New("the gateway ended, or the run was ended"))
		}
	}
	return nil
}

func never() bool { return false }

// play has the destination die, and come back.
func (d *dead) play(ctx context.Context, r *DeadReport) error {
	d.setRate(r.Rate)
	// Nothing begins cold, and what is kept of transactions that have ended is all there: it grows for as long as they are kept (RFC 3261 §17.2.2, 64*T1).
	if err := d.watch(ctx, r, never, d.c.Settle); err != nil {
		return err
	}
	d.others(r, "")
	if err := d.watch(ctx, r, never, d.c.Time); err != nil {
		return err
	}
	d.others(r, deadTimes[0])
	fmt.Fprintf(d.c.Log, "%d messages for users of a server that is dead\n", d.c.Queued)
	d.grave.server.Close()
	if err := d.fill(ctx, r); err != nil {
		return err
	}
	fmt.Fprintf(d.c.Log, "%d wait, %d were refused\n", r.Queued, r.Refused)
	d.others(r, "")
	if err := d.watch(ctx, r, never, d.c.Time); err != nil {
		return err
	}
	d.others(r, deadTimes[1])
	back := time.Now()
	if err := d.grave.open(); err != nil {
		return err
	}
	if err := d.watch(ctx, r, never, d.c.Time); err != nil {
		return err
	}
	d.others(r, deadTimes[2])
	whole := func() bool { return d.grave.count() >= r.Queued }
	if err := d.watch(ctx, r, whole, 2*time.Minute+time.Duration(r.Queued)*10*time.Millisecond); err != nil {
		return err
	}
	d.setRate(0)
	quiet := func() bool {
		n, err := d.gateway.Metric("isthmus_store_entries")
		return err == nil && n == 0 && d.agents[0].Pending()+d.agents[0].Undelivered() == 0
	}
	if err := d.watch(ctx, r, quiet, time.Minute); err != nil {
		return err
	}
	if !quiet() {
		n, err := d.gateway.Metric("isthmus_store_entries")
		return errors.Join(err, fmt.Errorf("a minute after all had arrived %.0f are stored, %d pending, %d undelivered", n, d.agents[0].Pending(), d.agents[0].Undelivered()))
	}
	d.settle(r, back)
	return nil
}

// settle reckons what has arrived at the destination.
func (d *dead) settle(r *DeadReport, back time.Time) {
	g := d.grave
	g.mu.Lock()
	defer g.mu.Unlock()
	r.Twice, r.Disorder = g.twice, g.disorder
	r.Lost = r.Queued - min(uint64(len(g.arrived)), r.Queued)
	if len(g.arrived) == 0 {
		r.judge()
		return
	}
	first := g.arrived[0]
	r.Found, r.Drained = first.Sub(back), g.arrived[len(g.arrived)-1].Sub(first)
	for _, at := range g.arrived {
		second := int(at.Sub(first) / time.Second)
		for len(r.Seconds) <= second {
			r.Seconds = append(r.Seconds, 0)
		}
		r.Seconds[second]++
		if second < 10 {
			r.FirstTen++
		}
	}
	r.judge()
}

// judge compares with the goals of THREATS T-OV-08. What is within a millisecond is the same: the clock's tick and the histogram are not finer.
func (r *DeadReport) judge() {
	goal := func(ok bool, format string, args ...any) {
		if !ok {
			r.Missed = append(r.Missed, fmt.Sprintf(format, args...))
		}
	}
	before := map[string]time.Duration{}
	for _, o := range r.Others {
		if o.When == deadTimes[0] {
			before[o.Kind] = o.P99
			continue
		}
		was := before[o.Kind]
		goal(o.P99 <= was+max(was/5, time.Millisecond), "%s, %s: p99 %v, and %v before", o.Kind, o.When, o.P99, was)
		goal(o.Refused == 0, "%s, %s: %d were refused", o.Kind, o.When, o.Refused)
	}
	goal(r.Lost == 0, "%d were lost", r.Lost)
	goal(r.Twice == 0, "%d came twice", r.Twice)
	goal(r.Disorder == 0, "%d came out of order", r.Disorder)
	goal(r.Capacity == 0 || float64(r.FirstTen) <= r.Capacity, "%d messages in the first ten seconds, and a tenth of the capacity, %.0f a second, is the goal", r.FirstTen, r.Capacity/10)
}

// Print writes it as a table.
func (r *DeadReport) Print(w io.Writer) {
	fmt.Fprintf(w, "%.0f messages a second each way elsewhere; %d messages waited, %d were refused; %d MiB resident\n\n", r.Rate, r.Queued, r.Refused, r.RSS>>20)
	fmt.Fprintf(w, "%-8s %-8s %10s %8s %9s %9s %9s\n", "", "", "offered", "refused", "p50", "p99", "p99.9")
	for _, o := range r.Others {
		fmt.Fprintf(w, "%-8s %-8s %10d %8d %9v %9v %9v\n", o.When, o.Kind, o.Offered, o.Refused, o.P50.Round(10*time.Microsecond), o.P99.Round(10*time.Microsecond), o.P999.Round(10*time.Microsecond))
	}
	fmt.Fprintf(w, "\nThe first message arrived %v after the return, %d in the ten seconds from then on, the last after %v; %d lost, %d twice, %d out of order.\n",
		r.Found.Round(time.Millisecond), r.FirstTen, r.Drained.Round(time.Millisecond), r.Lost, r.Twice, r.Disorder)
	fmt.Fprintf(w, "In each second: %s\n", strings.Trim(fmt.Sprint(r.Seconds), "[]"))
	printMissed(w, r.Missed)
}

// Metric is the sum of the gateway's metrics of a name.
func (g *Gateway) Metric(name string) (sum float64, err error) {
	answer, err := (&http.Client{Timeout: 10 * time.Second}).Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", g.Admin))
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	found := false
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		if err != nil {
			return 0, err
		}
		found, sum = true, sum+value
	}
	if !found {
		return 0, fmt.Errorf("the gateway has no metric %s", name)
	}
	return sum, nil
}
