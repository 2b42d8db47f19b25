package load

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Config is what a run is made from.
type Config struct {
	Binary    string // the isthmus to put under load
	Directory string // takes its configuration, log and store
	// Procs bounds the GOMAXPROCS of the gateway; 0: as the Go runtime would have it. With one for the gateway the rest of the machine is the load's.
	Procs int
	// Store gives the gateway a store on Directory.
	Store bool
	// Memory is the cap of the gateway's memory, in octets; 0: its default.
	Memory int64
	// Quiet has the gateway log warnings and worse alone. Otherwise it writes a line for each operation, its default.
	Quiet bool
	// Step is how long each step of the search for the capacity is, Time how long each load over it is on.
	Step, Time time.Duration
	// Capacity is taken as it is, if it is not 0: messages a second.
	Capacity float64
	// Factors are the loads, in capacities.
	Factors []float64
	// Log takes a line for each thing that is done.
	Log io.Writer
}

// Load is what came of one load.
type Load struct {
	Factor     float64       `json:"factor"`
	Offered    float64       `json:"offered_per_second"`
	Goodput    float64       `json:"goodput_per_second"`
	Share      float64       `json:"goodput_of_capacity"`
	P50        time.Duration `json:"accepted_p50_ns"`
	P99        time.Duration `json:"accepted_p99_ns"`
	P999       time.Duration `json:"accepted_p999_ns"`
	RefusedP99 time.Duration `json:"refused_p99_ns"`
	Refused    float64       `json:"refused_per_second"`
	RetryAfter uint64        `json:"with_retry_after"`
	Other      uint64        `json:"other_answers"`
	Again      float64       `json:"retransmissions_per_second"`
	Late       uint64        `json:"delivered_though_refused"`
	Twice      uint64        `json:"delivered_twice"`
	CPU        float64       `json:"gateway_cores"`
	RSS        int64         `json:"gateway_rss"`
	Lost       uint64        `json:"lost_before_read"`
	Back       time.Duration `json:"back_to_normal_ns"`
}

func newLoad(factor, capacity float64, v *interval) Load {
	c := v.sum()
	l := Load{
		Factor: factor, Offered: v.perSecond(c.Offered), Goodput: v.perSecond(c.Good), P50: c.AcceptedAfter.Quantile(0.5), P99: c.AcceptedAfter.Quantile(0.99), P999: c.AcceptedAfter.Quantile(0.999),
		RefusedP99: c.RefusedAfter.Quantile(0.99), Refused: v.perSecond(c.Refused), RetryAfter: c.RetryAfter, Other: c.OtherAnswers, Again: v.perSecond(c.Again),
		Late: c.Late, Twice: c.Twice, CPU: v.cpu.Seconds() / v.lasted.Seconds(), RSS: v.rss,
	}
	if capacity > 0 {
		l.Share = l.Goodput / capacity
	}
	return l
}

// normal is what the gateway does below its capacity: it takes everything, and answers soon.
func normal(v *interval) bool {
	c := v.sum()
	return c.Offered > 0 && c.Refused+c.OtherAnswers == 0 && float64(c.Taken) >= 0.98*float64(c.Offered) && float64(c.Good) >= 0.98*float64(c.Offered) &&
		c.AcceptedAfter.Quantile(0.99) <= normalP99
}

// firstWave is how long a load is on before it is measured: what was lost while nothing was refused yet comes again for so long, and would be a
// large part of a short measurement.
const firstWave = 4 * time.Second

// defaultMemory is what limits.memory is where it is not given.
const defaultMemory = 2 << 30

// normalP99 bounds the latency of normal operation (THREATS T-OV-01).
const normalP99 = 50 * time.Millisecond

// capacity finds the largest load at which all is normal, within a twentieth: one that is so for three steps on end, and the next one above is not, tried twice.
// So it is neither found too high by one lucky step nor too low by one pause of the machine, by which every share of it would look better than it is.
func (b *bed) capacity(ctx context.Context, c Config) (float64, error) {
	if c.Capacity > 0 {
		_, err := b.play([]float64{c.Capacity / 4}, 0, time.Second) // so that nothing begins cold
		return c.Capacity, err
	}
	good, bad := 0.0, 0.0
	for rate := 1000.0; ctx.Err() == nil; {
		ok, err := b.holds(c, rate, c.Step)
		if err != nil {
			return 0, err
		}
		if ok {
			good = rate
		} else {
			bad = rate
		}
		switch {
		case bad == 0:
			rate *= 2
		case good == 0 && bad < 20:
			return 0, fmt.Errorf("the gateway is not even normal at %.0f messages a second", bad)
		case bad > 1.05*good:
			rate = max((good+bad)/2, bad/2)
		default:
			if ok, err = b.holds(c, good, 3*c.Step); ok || err != nil {
				return good, err
			}
			bad, good = good, 0.9*good // which was normal once, or something below it
			rate = good
		}
	}
	return 0, ctx.Err()
}

// holds tells whether all is normal at a rate for d, in one of two tries.
func (b *bed) holds(c Config, rate float64, d time.Duration) (bool, error) {
	for range 2 {
		v, err := b.play([]float64{rate}, c.Step/4, d)
		if err != nil {
			return false, err
		}
		sum, ok := v.sum(), normal(&v)
		fmt.Fprintf(c.Log, "%7.0f/s for %v: offered %.0f, good %.0f, refused %.0f, other %v, p99 %v, %.2f cores, normal %v\n", rate, d, v.perSecond(sum.Offered), v.perSecond(sum.Good),
			v.perSecond(sum.Refused), sum.Codes, sum.AcceptedAfter.Quantile(0.99), v.cpu.Seconds()/v.lasted.Seconds(), ok)
		if ok {
			return true, nil
		}
		b.silence(5 * time.Second)
	}
	return false, nil
}

// Report is what came of a run.
type Report struct {
	Capacity   float64    `json:"capacity_per_second"`
	Loads      []Load     `json:"loads"`
	Shares     Shares     `json:"shares"`
	Reflection Reflection `json:"reflection"`
	// Memory is the cap of the gateway's memory, in octets.
	Memory int64 `json:"memory_cap"`
	// Missed names each goal that was not reached.
	Missed []string `json:"missed"`
}

// judge compares with the goals of THREATS T-OV-02 and T-OV-06. There a peer with ten times the load may take half of what another asks for; here a tenth,
// because that other one asks for no more than its share.
func (r *Report) judge() {
	goal := func(ok bool, format string, args ...any) {
		if !ok {
			r.Missed = append(r.Missed, fmt.Sprintf(format, args...))
		}
	}
	for _, l := range r.Loads {
		least := 0.9
		if l.Factor > 5 {
			least = 0.8
		} else if l.Factor > 2 {
			least = 0.85
		}
		goal(l.Share >= least, "%.0f C: %.2f of the capacity, and %.2f is the goal", l.Factor, l.Share, least)
		goal(l.P99 <= 500*time.Millisecond, "%.0f C: p99 of what was taken %v, and 500ms is the goal", l.Factor, l.P99)
		goal(l.RefusedP99 <= 50*time.Millisecond, "%.0f C: p99 of refusals %v, and 50ms is the goal", l.Factor, l.RefusedP99)
		goal(r.Memory == 0 || l.RSS <= r.Memory, "%.0f C: %d MiB resident, and %d MiB is the cap", l.Factor, l.RSS>>20, r.Memory>>20)
		goal(l.RetryAfter == 0, "%.0f C: %d answers with Retry-After", l.Factor, l.RetryAfter)
		goal(l.Back <= 10*time.Second, "%.0f C: back to normal after %v, and 10s is the goal", l.Factor, l.Back)
	}
	goal(r.Shares.QuietTaken >= 0.9, "the quiet peer had %.2f of what it asked for beside a loud one", r.Shares.QuietTaken)
	goal(r.Shares.SentOfCapacity <= 1.1, "the obedient client sent %.2f of the capacity", r.Shares.SentOfCapacity)
	goal(r.Reflection.Octets <= 1.2 && r.Reflection.Packets <= 1, "a forged request is answered with %.2f of its octets in %.2f packets", r.Reflection.Octets, r.Reflection.Packets)
}

// Overload finds the capacity C and offers more than that (THREATS T-OV-02), lets a loud peer and an obedient one have their shares, and counts
// what comes back of forged requests (T-OV-06).
func Overload(ctx context.Context, c Config) (r Report, err error) {
	b, err := newBed(c, nil, nil)
	if err != nil {
		return r, err
	}
	defer b.close()
	if r.Memory = c.Memory; r.Memory == 0 {
		r.Memory = defaultMemory
	}
	if r.Reflection, err = b.reflect(); err != nil {
		return r, err
	}
	fmt.Fprintf(c.Log, "forged requests: %d, at most %.2f of their octets come back, in %.2f packets\n", r.Reflection.Requests, r.Reflection.Octets, r.Reflection.Packets)
	if r.Capacity, err = b.capacity(ctx, c); err != nil {
		return r, err
	}
	capacity := r.Capacity
	fmt.Fprintf(c.Log, "capacity %.0f messages a second\n", capacity)
	for _, factor := range c.Factors {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		lost := Dropped(b.gateway.SIP)
		v, err := b.play([]float64{factor * capacity}, firstWave, c.Time)
		if err != nil {
			return r, err
		}
		l := newLoad(factor, capacity, &v)
		l.Lost = Dropped(b.gateway.SIP) - lost
		if l.Back, err = b.back(capacity / 2); err != nil {
			return r, err
		}
		sum := v.sum()
		fmt.Fprintf(c.Log, "%.0f C: offered %.0f/s, good %.0f/s, %.2f of C; accepted p50 %v, p99 %v; refused p99 %v, codes %v; again %.0f/s, late %d, twice %d; %.2f cores, rss %d MiB; back after %v\n",
			factor, l.Offered, l.Goodput, l.Share, l.P50, l.P99, l.RefusedP99, sum.Codes, l.Again, l.Late, l.Twice, l.CPU, l.RSS>>20, l.Back)
		r.Loads = append(r.Loads, l)
	}
	if r.Shares, err = b.shares(ctx, capacity, c.Time); err != nil {
		return r, err
	}
	fmt.Fprintf(c.Log, "shares: the quiet peer had %.2f of what it asked for, the loud one %.2f of all; the obedient one sent %.2f of what it would have, %.2f C\n",
		r.Shares.QuietTaken, r.Shares.LoudOfAll, r.Shares.Sent, r.Shares.SentOfCapacity)
	r.judge()
	for _, m := range r.Missed {
		fmt.Fprintln(c.Log, "missed:", m)
	}
	return r, nil
}

// back is how long it takes, once the load has dropped, until messages are treated as normal for half a second.
func (b *bed) back(rate float64) (time.Duration, error) {
	began := time.Now()
	for _, a := range b.agents {
		a.Rate(0)
		a.Anew()
	}
	for {
		at := time.Now()
		v, err := b.play([]float64{rate}, 0, 500*time.Millisecond)
		if err != nil || normalAgain(&v) {
			return at.Sub(began), err
		}
		if at.Sub(began) > time.Minute {
			return at.Sub(began), nil
		}
	}
}

// normalAgain is normal by what is answered alone: copies of what was sent before are still under way.
func normalAgain(v *interval) bool {
	c := v.sum()
	return c.Taken > 0 && c.AcceptedAfter.Quantile(0.99) <= normalP99 && float64(c.Refused) <= 0.001*float64(c.Taken)
}
