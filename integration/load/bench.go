package load

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"time"

	"github.com/isthmus-gateway/isthmus/configs"
)

// Mode is which way messages go.
type Mode string

// The modes of a bench.
const (
	SIPToXMPP Mode = "sip-xmpp"
	XMPPToSIP Mode = "xmpp-sip"
	BothWays  Mode = "both"
	// Presence is not of messages: many users of the SIP side watch one of the XMPP side.
	Presence Mode = "presence"
)

// BenchConfig is what a bench is made from.
type BenchConfig struct {
	Binary    string // the isthmus to measure
	Directory string // takes its configuration, log and store
	// Own is the text of an operator's configuration, nil: the defaults; Folder is where the files that it names are.
	Own    []byte
	Folder string
	// Modes are measured one after the other, each with a gateway of its own.
	Modes []Mode
	// Procs bounds the GOMAXPROCS of the gateway; 0: as the Go runtime would have it.
	Procs int
	// Step is how long each step of the search for the highest rate is on, Time how long the runs are whose figures are reported.
	Step, Time time.Duration
	// Rate is where the figures are taken and the search is left out; 0: search, and take them at half of the highest rate without loss.
	Rate float64
	// Settle is how long what was offered may take to arrive when no more comes; 0: 3 s.
	Settle time.Duration
	// Users is how many senders each side has, and how many recipients; Body the octets of a message's text at least.
	Users, Body int
	// Watchers is how many watch one user, in the mode Presence.
	Watchers int
	// Log takes a line for each thing that is done.
	Log io.Writer
}

// BenchReport is what came of a bench.
type BenchReport struct {
	Processors int    `json:"processors"`
	Go         string `json:"go"`
	Procs      int    `json:"gateway_procs"`
	Users      int    `json:"users"`
	Body       int    `json:"body_octets"`
	// Replaced says what of the operator's configuration the bench put its own in the place of.
	Replaced []string   `json:"replaced,omitempty"`
	Rows     []BenchRow `json:"rows"`
}

// BenchRow is what came of one mode.
type BenchRow struct {
	Mode Mode `json:"mode"`
	// Highest is the highest rate without loss, refusal or backlog, in messages a second, each way; 0: it was not searched for.
	Highest float64 `json:"highest_per_second"`
	// Rate is the one that the rest was measured at, each way.
	Rate float64 `json:"rate_per_second"`
	// Whole tells whether all messages of that run arrived, once, and in time.
	Whole     bool          `json:"whole"`
	Offered   uint64        `json:"offered"`
	Delivered uint64        `json:"delivered"`
	Refused   uint64        `json:"refused"`
	Twice     uint64        `json:"delivered_twice"`
	CPU       time.Duration `json:"cpu_a_message_ns"`
	Cores     float64       `json:"cores"`
	Idle      int64         `json:"idle_rss"`
	RSS       int64         `json:"rss"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	P999      time.Duration `json:"p999_ns"`
	Most      time.Duration `json:"most_ns"`
	// Watchers is how many were told of each change, and Opened how many of their watches were opened a second, in the mode Presence. There Rate
	// is how many NOTIFY requests a second came of a change.
	Watchers int     `json:"watchers,omitempty"`
	Opened   float64 `json:"opened_per_second,omitempty"`
	// Latency is how long each message took from the one side to the other.
	Latency Histogram `json:"-"`
}

// bench is a gateway with both its sides.
type bench struct {
	gateway *Gateway
	agent   *Agent
	server  *Server
	talker  *talker
	mode    Mode
	fanout  *fanout       // in the mode Presence
	pause   time.Duration // likewise: between two changes
	settle  time.Duration // how long what was offered may take to arrive when no more comes
}

// Bench measures.
func Bench(ctx context.Context, c BenchConfig) (r BenchReport, err error) {
	r = BenchReport{Processors: runtime.NumCPU(), Go: runtime.Version(), Procs: c.Procs, Users: c.Users, Body: c.Body}
	for _, mode := range c.Modes {
		one := benchMode
		if mode == Presence {
			one = func(ctx context.Context, c BenchConfig, _ Mode) (BenchRow, []string, error) {
				return benchPresence(ctx, c)
			}
		}
		row, replaced, err := one(ctx, c, mode)
		r.Replaced = replaced
		if err != nil {
			return r, err
		}
		r.Rows = append(r.Rows, row)
	}
	return r, nil
}

func benchMode(ctx context.Context, c BenchConfig, mode Mode) (row BenchRow, replaced []string, err error) {
	b, replaced, err := newBench(c, mode)
	if err != nil {
		return row, replaced, err
	}
	defer b.close()
	row = BenchRow{Mode: mode, Idle: b.gateway.Usage().RSS, Rate: c.Rate}
	if c.Rate == 0 {
		if row.Highest, err = b.search(ctx, c); err != nil {
			return row, replaced, err
		}
		row.Rate = math.Floor(row.Highest / 2)
	}
	v, err := b.measure(ctx, row.Rate, c.Time)
	if err != nil {
		return row, replaced, err
	}
	row.Whole = v.whole(row.Rate)
	row.Offered, row.Delivered, row.Refused, row.Twice = v.offered, v.delivered, v.refused, v.twice
	row.Cores, row.RSS, row.Latency = v.cpu.Seconds()/v.lasted.Seconds(), v.rss, v.latency
	if v.delivered > 0 {
		row.CPU = v.cpu / time.Duration(v.delivered)
	}
	row.quantiles()
	fmt.Fprintf(c.Log, "%s: %s\n", mode, v.line(row.Rate))
	return row, replaced, nil
}

// quantiles takes them from the histogram.
func (r *BenchRow) quantiles() {
	h := &r.Latency
	r.P50, r.P99, r.P999, r.Most = h.Quantile(0.5), h.Quantile(0.99), h.Quantile(0.999), h.Quantile(1)
}

func newBench(c BenchConfig, mode Mode) (b *bench, replaced []string, err error) {
	b = &bench{mode: mode, settle: c.Settle}
	if b.settle <= 0 {
		b.settle = settle
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.gateway, err = NewGateway(c.Binary, c.Directory, c.Procs); err != nil {
		return b, nil, err
	}
	if b.agent, err = NewAgent("agent", "127.0.0.1", b.gateway.SIP); err != nil {
		return b, nil, err
	}
	var other func([]byte, func(string))
	if mode == Presence {
		b.fanout = newFanout(c.Watchers, b.gateway.SIP)
		other = b.fanout.stanza
	}
	if b.server, err = NewServer(other, b.agent); err != nil {
		return b, nil, err
	}
	text, sides, err := configs.OnLoopback(c.Own, c.Folder, c.Directory, configs.LoopbackPorts{SIP: b.gateway.SIP, Admin: b.gateway.Admin, Agent: b.agent.Port(), Component: b.server.Port()})
	if err != nil {
		return b, nil, err
	}
	b.agent.Domain, b.agent.OtherDomain, b.server.Domain = sides.SIP, sides.XMPP, sides.SIP
	b.agent.Users, b.agent.Recipients, b.agent.Body = c.Users, c.Users, c.Body
	b.talker = newTalker(b.server, sides.XMPP, sides.SIP, c.Users, c.Body)
	b.agent.Flushed = b.talker.flush
	b.talker.run(b.agent)
	heard := b.talker.heard
	if b.fanout != nil {
		if b.pause, err = pauseOf(text); err != nil {
			return b, nil, err
		}
		b.fanout.between(sides.SIP, sides.XMPP)
		heard = func(request []byte, from net.Addr) {
			b.fanout.heard(request)
			b.talker.heard(request, from)
		}
	}
	b.agent.Run(heard)
	return b, sides.Replaced, b.gateway.Start(text, 30*time.Second)
}

func (b *bench) close() {
	if b.gateway != nil {
		b.gateway.Stop()
	}
	if b.talker != nil {
		b.talker.close()
		b.agent.Close()
	}
	if b.server != nil {
		b.server.Close()
	}
}

// run is what was seen of one rate.
type run struct {
	offered, delivered, refused, twice uint64
	worst                              uint64 // the fewest that were offered in one direction
	lasted, cpu                        time.Duration
	rss                                int64
	latency                            Histogram
}

// whole tells whether everything that was meant to be offered was, and arrived once and in time.
func (v *run) whole(rate float64) bool {
	return v.delivered == v.offered && v.refused == 0 && v.twice == 0 && float64(v.worst) >= 0.98*rate*v.lasted.Seconds()
}

func (v *run) line(rate float64) string {
	return fmt.Sprintf("%.0f/s: %d offered, %d delivered, %d refused, %d twice, p50 %v, p99 %v, %.2f cores, rss %d MiB, whole %v",
		rate, v.offered, v.delivered, v.refused, v.twice, v.latency.Quantile(0.5), v.latency.Quantile(0.99), v.cpu.Seconds()/v.lasted.Seconds(), v.rss>>20, v.whole(rate))
}

// settle is how long what was offered may take to arrive when no more comes, where the configuration says nothing.
const settle = 3 * time.Second

// measure offers a rate for d, and waits for what is under way.
func (b *bench) measure(ctx context.Context, rate float64, d time.Duration) (v run, err error) {
	b.agent.Take()
	b.talker.take()
	before, began := b.gateway.Usage(), time.Now()
	if b.mode != XMPPToSIP {
		b.agent.Rate(rate)
	}
	if b.mode != SIPToXMPP {
		b.talker.setRate(rate)
	}
	for end := began.Add(d); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(min(100*time.Millisecond, max(0, time.Until(end)))) {
		v.rss = max(v.rss, b.gateway.Usage().RSS)
	}
	v.lasted = time.Since(began)
	b.agent.Rate(0)
	b.talker.setRate(0)
	for end := time.Now().Add(b.settle); time.Now().Before(end) && (b.agent.Open() > 0 || b.talker.missing() > 0); {
		time.Sleep(10 * time.Millisecond)
	}
	after := b.gateway.Usage()
	v.cpu, v.rss = after.CPU-before.CPU, max(v.rss, after.RSS)
	s, x := b.agent.Take(), b.talker.take()
	v.worst = math.MaxUint64
	if b.mode != XMPPToSIP {
		v.worst = s.Offered
	}
	if b.mode != SIPToXMPP {
		v.worst = min(v.worst, x.offered)
	}
	v.offered, v.delivered, v.twice = s.Offered+x.offered, s.Delivered+x.delivered, s.Twice+x.twice
	v.refused = s.Refused + s.OtherAnswers + b.server.Errors.Swap(0)
	v.latency = s.DeliveredIn
	v.latency.Merge(&x.in)
	if b.gateway.Dead() {
		return v, fmt.Errorf("the gateway ended under load: see its log")
	}
	return v, ctx.Err()
}

// search finds the highest rate at which everything arrives, to within a twentieth, and confirms it with a longer run.
func (b *bench) search(ctx context.Context, c BenchConfig) (float64, error) {
	good, bad := 0.0, 0.0
	for rate := 1000.0; bad == 0 || bad > 1.05*good; {
		v, err := b.measure(ctx, rate, c.Step)
		if err != nil {
			return 0, err
		}
		fmt.Fprintf(c.Log, "%s: %s\n", b.mode, v.line(rate))
		if v.whole(rate) {
			good = rate
		} else {
			bad = rate
		}
		switch {
		case bad == 0:
			rate *= 1.5
		case bad < 10:
			return 0, fmt.Errorf("nothing arrives whole even at %.0f messages a second: see the gateway's log", bad)
		default:
			rate = max((good+bad)/2, bad/1.5)
		}
	}
	for ; good >= 10; good *= 0.96 {
		v, err := b.measure(ctx, good, 2*c.Step)
		if err != nil {
			return 0, err
		}
		fmt.Fprintf(c.Log, "%s: confirmed: %s\n", b.mode, v.line(good))
		if v.whole(good) {
			break
		}
	}
	return math.Floor(good), nil
}
