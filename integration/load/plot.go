package load

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Print writes the report as a table and plots for people.
func (r *BenchReport) Print(w io.Writer) {
	procs := fmt.Sprint(r.Procs)
	if r.Procs == 0 {
		procs = "all"
	}
	fmt.Fprintf(w, "%d processors, %s; gateway on %s, the load beside it; %d senders and recipients a side, texts of %d octets and more\n", r.Processors, r.Go, procs, r.Users, r.Body)
	for _, x := range r.Replaced {
		fmt.Fprintf(w, "  not yours: %s\n", x)
	}
	fmt.Fprintf(w, "\n%-9s %11s %11s %6s %12s %9s %9s %9s %9s %9s\n", "", "highest/s", "measured/s", "whole", "CPU/message", "p50", "p99", "p99.9", "most", "memory")
	for _, x := range r.Rows {
		highest := "-"
		if x.Highest > 0 {
			highest = fmt.Sprintf("%.0f", x.Highest)
		}
		whole := "yes"
		if !x.Whole {
			whole = "NO"
		}
		fmt.Fprintf(w, "%-9s %11s %11.0f %6s %12s %9s %9s %9s %9s %6d MiB\n", x.Mode, highest, x.Rate, whole, short(x.CPU), short(x.P50), short(x.P99), short(x.P999), short(x.Most), x.RSS>>20)
		if x.Mode == Presence {
			fmt.Fprintf(w, "          a row of NOTIFY requests: one user watched by %d, opened at %.0f a second; the rate is that of one change of her presence\n", x.Watchers, x.Opened)
		}
		if !x.Whole {
			fmt.Fprintf(w, "          %d offered, %d delivered, %d of them twice, %d refused\n", x.Offered, x.Delivered, x.Twice, x.Refused)
		}
	}
	for _, x := range r.Rows {
		fmt.Fprintf(w, "\n%s, from the one side to the other, at %.0f a second:\n", x.Mode, x.Rate)
		x.Latency.plot(w)
	}
}

// short is a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

// octave counts what falls between two powers of two of microseconds.
type octave struct {
	upTo  time.Duration
	count uint64
}

// octaves are those from the first to the last that has any.
func (h *Histogram) octaves() (list []octave) {
	for slot, n := range h.buckets {
		if n == 0 {
			continue
		}
		upTo := time.Microsecond
		for upTo < upper(slot) {
			upTo *= 2
		}
		for len(list) > 0 && list[len(list)-1].upTo < upTo/2 {
			list = append(list, octave{upTo: 2 * list[len(list)-1].upTo})
		}
		if len(list) == 0 || list[len(list)-1].upTo != upTo {
			list = append(list, octave{upTo: upTo})
		}
		list[len(list)-1].count += n
	}
	return list
}

// plot writes a bar for each octave.
func (h *Histogram) plot(w io.Writer) {
	list := h.octaves()
	most, seen := uint64(1), uint64(0)
	for _, o := range list {
		most = max(most, o.count)
	}
	for _, o := range list {
		seen += o.count
		fmt.Fprintf(w, "  up to %8s %9d  %8.4f%%  %s\n", short(o.upTo), o.count, 100*float64(seen)/float64(h.count), strings.Repeat("#", int(math.Ceil(50*float64(o.count)/float64(most)))))
	}
}

// SVG draws latency by percentile, a line for each mode: both axes are logarithmic, so that the rare slow ones can be seen.
func (r *BenchReport) SVG(w io.Writer) error {
	const width, height, left, top, right, bottom = 760, 420, 70, 40, 20, 50
	colours := [...]string{"#1b6ca8", "#c0392b", "#27864a"}
	least, most := time.Hour, time.Duration(1)
	for _, x := range r.Rows {
		least, most = min(least, max(x.Latency.Quantile(0), time.Microsecond)), max(most, x.Latency.Quantile(1))
	}
	if least > most {
		least, most = time.Microsecond, time.Second
	}
	low, high := math.Floor(math.Log10(float64(least))), math.Ceil(math.Log10(float64(most)))
	high = max(high, low+1)
	const nines = 5.0
	px := func(q float64) float64 {
		return left + (width-left-right)*min(-math.Log10(max(1-q, 1e-9)), nines)/nines
	}
	py := func(d time.Duration) float64 {
		return height - bottom - (height-top-bottom)*(math.Log10(float64(max(d, 1)))-low)/(high-low)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/><text x="%d" y="20" font-size="14">Latency from the one side to the other, by percentile</text>`+"\n", width, height, left)
	for _, q := range []struct {
		q    float64
		name string
	}{{0, "0"}, {0.9, "90 %"}, {0.99, "99 %"}, {0.999, "99.9 %"}, {0.9999, "99.99 %"}, {0.99999, "99.999 %"}} {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", px(q.q), top, px(q.q), height-bottom, px(q.q), height-bottom+18, q.name)
	}
	for e := low; e <= high; e++ {
		d := time.Duration(math.Pow(10, e))
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, py(d), width-right, py(d), left-6, py(d)+4, short(d))
	}
	for i, x := range r.Rows {
		colour := colours[i%len(colours)]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, colour)
		for at := 0.0; at <= nines; at += 0.05 {
			q := 1 - math.Pow(10, -at)
			fmt.Fprintf(&b, "%.1f,%.1f ", px(q), py(x.Latency.Quantile(q)))
		}
		fmt.Fprintf(&b, "\"/>\n"+`<text x="%d" y="%d" fill="%s">%s at %.0f/s</text>`+"\n", left+10, top+16*(i+1), colour, x.Mode, x.Rate)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
