package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// NominalConfig is what a run at a nominal load is made from.
type NominalConfig struct {
	Config
	// Rate is how many operations there are a second; 0: Share of the capacity, which is searched for if Config.Capacity is 0.
	Rate, Share float64
	// Users is how many there are of each kind.
	Users int
	// LateEvery: one MESSAGE of so many is answered after LateBy, so that there is time for a second one to come.
	LateEvery int
	LateBy    time.Duration
}

// NominalReport is what came of it.
type NominalReport struct {
	// Capacity is the highest rate of the mix, in operations a second, at which everything is done, and in time; 0: nobody asked.
	Capacity float64       `json:"capacity_per_second,omitempty"`
	Rate     float64       `json:"rate_per_second"`
	Lasted   time.Duration `json:"lasted_ns"`
	Rows     []NominalRow  `json:"rows"`
	// Pending is how many MESSAGE transactions to one Request-URI were pending at once at most, on the wire (RFC 3428 §8); Late how many were answered late
	// to see that.
	Pending int     `json:"pending_per_uri"`
	Late    uint64  `json:"answered_late"`
	Cores   float64 `json:"gateway_cores"`
	RSS     int64   `json:"gateway_rss"`
	// Missed names each goal that was not reached.
	Missed []string `json:"missed"`
}

// NominalRow is one kind of operation.
type NominalRow struct {
	Kind    string        `json:"kind"`
	Offered uint64        `json:"offered"`
	Done    uint64        `json:"done"`
	Refused uint64        `json:"refused"`
	Lost    uint64        `json:"lost"`
	Twice   uint64        `json:"twice"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	P999    time.Duration `json:"p999_ns"`
	Most    time.Duration `json:"most_ns"`
}

// The goals of THREATS T-OV-01.
const (
	nominalP50  = 5 * time.Millisecond
	nominalP99  = normalP99
	nominalP999 = 250 * time.Millisecond
)

// played is what was seen of a mix at one rate.
type played struct {
	rows   [len(kinds)]tally
	lasted time.Duration
	cpu    time.Duration
	rss    int64
}

// whole tells whether everything was done, and nothing refused.
func (v *played) whole() bool {
	for i := range v.rows {
		if t := &v.rows[i]; t.done < t.offered || t.refused > 0 || t.offered == 0 {
			return false
		}
	}
	return true
}

// latency is that of all kinds together.
func (v *played) latency() (h Histogram) {
	for i := range v.rows {
		h.Merge(&v.rows[i].in)
	}
	return h
}

func (v *played) offered() (n uint64) {
	for i := range v.rows {
		n += v.rows[i].offered
	}
	return n
}

func (v *played) add(rows [len(kinds)]tally) {
	for i := range rows {
		v.rows[i].add(&rows[i])
	}
}

// mixSettle bounds how long what was begun may take to end when no more comes.
const mixSettle = 10 * time.Second

// play puts a rate on for d and waits for what is under way; log, if it is there, has a line each minute.
func (m *mix) play(ctx context.Context, rate float64, d time.Duration, log io.Writer) (v played, err error) {
	m.take()
	began, before := time.Now(), m.gateway.Usage()
	m.setRate(rate)
	look := began.Add(time.Minute)
	for end := began.Add(d); time.Now().Before(end) && ctx.Err() == nil && !m.gateway.Dead(); time.Sleep(min(100*time.Millisecond, max(0, time.Until(end)))) {
		v.rss = max(v.rss, m.gateway.Usage().RSS)
		if now := time.Now(); now.After(look) {
			look = look.Add(time.Minute)
			v.add(m.take())
			if log != nil {
				h := v.latency()
				fmt.Fprintf(log, "after %v: %d operations, p50 %v, p99 %v, p99.9 %v, at most %v\n", now.Sub(began).Round(time.Second), v.offered(), h.Quantile(0.5), h.Quantile(0.99), h.Quantile(0.999), h.Quantile(1))
			}
		}
	}
	v.lasted = time.Since(began)
	v.cpu = m.gateway.Usage().CPU - before.CPU
	m.setRate(0)
	for end := time.Now().Add(mixSettle); ; time.Sleep(20 * time.Millisecond) {
		if v.add(m.take()); v.whole() && m.phone.pending() == 0 || time.Now().After(end) {
			break
		}
	}
	if m.gateway.Dead() {
		err = errors.New("the gateway ended under load: see its log")
	}
	return v, errors.Join(err, ctx.Err())
}

// capacity finds the highest rate at which everything is done in time, within a tenth.
func (m *mix) capacity(ctx context.Context, c NominalConfig) (float64, error) {
	good, bad := 0.0, 0.0
	for rate := 1000.0; ; {
		v, err := m.play(ctx, rate, c.Step, nil)
		if err != nil {
			return 0, err
		}
		h := v.latency()
		ok := v.whole() && h.Quantile(0.99) <= nominalP99 && float64(v.offered()) >= 0.95*rate*v.lasted.Seconds()
		fmt.Fprintf(c.Log, "%7.0f/s: offered %.0f/s, p50 %v, p99 %v, %.2f cores, normal %v\n", rate, float64(v.offered())/v.lasted.Seconds(), h.Quantile(0.5), h.Quantile(0.99),
			v.cpu.Seconds()/v.lasted.Seconds(), ok)
		if ok {
			good = rate
		} else {
			bad = rate
		}
		switch {
		case bad == 0:
			rate *= 1.5
		case bad <= 1.1*good:
			return good, nil
		case bad < 20:
			return 0, errors.New("the gateway is not even normal at 20 operations a second")
		default:
			rate = max((good+bad)/2, bad/1.6)
		}
	}
}

// Nominal has everybody do what users do, at a share of what the gateway can carry, and measures how long each thing takes (THREATS T-OV-01).
func Nominal(ctx context.Context, c NominalConfig) (r NominalReport, err error) {
	m, err := newMix(c.Config, c.Users, c.LateEvery, c.LateBy)
	if err != nil {
		return r, err
	}
	defer m.close()
	if err := m.open(ctx); err != nil {
		return r, err
	}
	if r.Rate = c.Rate; r.Rate == 0 {
		if r.Capacity = c.Capacity; r.Capacity == 0 {
			if r.Capacity, err = m.capacity(ctx, c); err != nil {
				return r, err
			}
		}
		r.Rate = c.Share * r.Capacity
		fmt.Fprintf(c.Log, "capacity %.0f operations a second, offered from now on: %.0f\n", r.Capacity, r.Rate)
	}
	v, err := m.play(ctx, r.Rate, c.Time, c.Log)
	if err != nil && !errors.Is(err, context.Canceled) {
		return r, err
	}
	r.Lasted, r.Cores, r.RSS = v.lasted, v.cpu.Seconds()/v.lasted.Seconds(), v.rss
	for i := range v.rows {
		t := &v.rows[i]
		r.Rows = append(r.Rows, NominalRow{
			Kind: kinds[i], Offered: t.offered, Done: t.done, Refused: t.refused, Twice: t.twice, Lost: t.offered - min(t.done+t.refused, t.offered),
			P50: t.in.Quantile(0.5), P99: t.in.Quantile(0.99), P999: t.in.Quantile(0.999), Most: t.in.Quantile(1),
		})
	}
	r.Pending, _, r.Late = m.pending.seen()
	r.judge()
	return r, err
}

// judge compares with the goals of THREATS T-OV-01.
func (r *NominalReport) judge() {
	goal := func(ok bool, format string, args ...any) {
		if !ok {
			r.Missed = append(r.Missed, fmt.Sprintf(format, args...))
		}
	}
	for _, row := range r.Rows {
		goal(row.Offered > 0, "%s: there was none", row.Kind)
		goal(row.Refused == 0, "%s: %d were refused", row.Kind, row.Refused)
		goal(row.Lost == 0, "%s: %d were lost", row.Kind, row.Lost)
		goal(row.Twice == 0, "%s: %d came twice", row.Kind, row.Twice)
		goal(row.P50 <= nominalP50, "%s: p50 %v, and %v is the goal", row.Kind, row.P50, nominalP50)
		goal(row.P99 <= nominalP99, "%s: p99 %v, and %v is the goal", row.Kind, row.P99, nominalP99)
		goal(row.P999 <= nominalP999, "%s: p99.9 %v, and %v is the goal", row.Kind, row.P999, nominalP999)
	}
	goal(r.Pending <= 1, "%d MESSAGE transactions to one Request-URI were pending at once (RFC 3428 §8)", r.Pending)
}

// Print writes it as a table.
func (r *NominalReport) Print(w io.Writer) {
	fmt.Fprintf(w, "%.0f operations a second for %v; %.2f cores, %d MiB resident\n\n", r.Rate, r.Lasted.Round(time.Second), r.Cores, r.RSS>>20)
	fmt.Fprintf(w, "%-17s %10s %10s %8s %6s %6s %9s %9s %9s %9s\n", "", "offered", "done", "refused", "lost", "twice", "p50", "p99", "p99.9", "at most")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%-17s %10d %10d %8d %6d %6d %9v %9v %9v %9v\n", row.Kind, row.Offered, row.Done, row.Refused, row.Lost, row.Twice,
			row.P50.Round(10*time.Microsecond), row.P99.Round(10*time.Microsecond), row.P999.Round(10*time.Microsecond), row.Most.Round(10*time.Microsecond))
	}
	fmt.Fprintf(w, "\nMESSAGE transactions pending to one Request-URI: at most %d (%d were answered late to see that)\n", r.Pending, r.Late)
	printMissed(w, r.Missed)
}

func printMissed(w io.Writer, missed []string) {
	for _, m := range missed {
		fmt.Fprintln(w, "missed:", m)
	}
}
