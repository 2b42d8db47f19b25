package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config is what Run needs.
type Config struct {
	// Binary is the isthmus command; it is run as `serve -c FILE`.
	Binary string
	// Failpoints tells that Binary was built with -tags failpoints: it is ended at its named points too.
	Failpoints bool
	// Nodes is how many gateways share one store, three or more, and have faults of their own; 0: one gateway with a store of its own.
	Nodes int
	// Kinds are the faults to choose from, as the summary names them; empty: all.
	Kinds []string
	// OSCrash plays rounds in which the gateway's whole machine is ended: it runs in a virtual one (QEMU). Binary must be static then.
	OSCrash bool
	// Unsynced has the store in that machine not sync, which loses messages: to see that the rounds can fail. Binary was built with
	// -tags failpoints.
	Unsynced bool
	// Rounds are played in all, default 20, by Workers at once, default 2, each with a gateway of its own.
	Rounds, Workers int
	// Seed makes the load and the faults; a round's are those of Seed and its number. What the machine does beside is not repeated.
	Seed uint64
	// Directory is where configurations, logs and stores go. What a violation was seen in stays there.
	Directory string
	// Log gets a line for each round with a violation. nil: none.
	Log io.Writer
}

// Counts are what the ledger saw.
type Counts struct {
	Offered      int `json:"offered"`
	Acknowledged int `json:"acknowledged"` // of those that came over SIP: XMPP components acknowledge nothing
	Delivered    int `json:"delivered"`
	Notified     int `json:"notified"` // their senders were told of a failure after they had been acknowledged
	Copies       int `json:"copies"`   // deliveries and notices beyond the first
	Crashes      int `json:"crashes"`
	// Takeovers are how often another gateway did what one had done that is gone, and Slowest the longest time until then, in seconds.
	Takeovers int     `json:"takeovers,omitempty"`
	Slowest   float64 `json:"slowest_takeover,omitempty"`
}

func (c *Counts) add(o Counts) {
	c.Offered += o.Offered
	c.Acknowledged += o.Acknowledged
	c.Delivered += o.Delivered
	c.Notified += o.Notified
	c.Copies += o.Copies
	c.Crashes += o.Crashes
	c.Takeovers += o.Takeovers
	c.Slowest = max(c.Slowest, o.Slowest)
}

// KindSummary is what became of the rounds with one kind of fault.
type KindSummary struct {
	Rounds     int `json:"rounds"`
	Violations int `json:"violations"` // rounds with at least one
	Counts
}

// Round is a round that broke something.
type Round struct {
	Number     int      `json:"round"`
	Fault      string   `json:"fault"`
	Violations []string `json:"violations"`
	Directory  string   `json:"directory"`
}

// Summary is what a run found.
type Summary struct {
	Seed    uint64                 `json:"seed"`
	Seconds float64                `json:"seconds"`
	Total   KindSummary            `json:"total"`
	Kinds   map[string]KindSummary `json:"kinds"`
	Broken  []Round                `json:"broken,omitempty"`
}

// Run plays the rounds. An error says that it could not play; what the rounds found is in the summary. When ctx ends, rounds that have
// begun are played to their end.
func Run(ctx context.Context, c Config) (Summary, error) {
	if c.Rounds <= 0 {
		c.Rounds = 20
	}
	if c.Workers <= 0 {
		c.Workers = 2
	}
	there := kinds
	if c.Nodes > 0 {
		there = clusterKinds
	}
	if c.Nodes > 0 && (c.Nodes < 3 || c.OSCrash || c.Failpoints) {
		return Summary{}, errors.New("faults: of several gateways there are three or more, without failpoints and crashes of the system")
	}
	for _, k := range c.Kinds {
		if !slices.Contains(there, k) {
			return Summary{}, fmt.Errorf("faults: no kind %q: there are %s", k, strings.Join(there, ", "))
		}
	}
	began := time.Now()
	sum := Summary{Seed: c.Seed, Kinds: map[string]KindSummary{}}
	var mu sync.Mutex
	var fault error
	numbers := make(chan int)
	var wait sync.WaitGroup
	for range min(c.Workers, c.Rounds) {
		wait.Go(func() {
			for n := range numbers {
				counts, kind, r, err := c.round(ctx, n)
				mu.Lock()
				fault = errors.Join(fault, err)
				k := sum.Kinds[kind]
				for _, s := range [...]*KindSummary{&k, &sum.Total} {
					s.Rounds++
					s.add(counts)
					if r != nil {
						s.Violations++
					}
				}
				sum.Kinds[kind] = k
				if r != nil {
					sum.Broken = append(sum.Broken, *r)
					if c.Log != nil {
						fmt.Fprintf(c.Log, "round %d (%s): %d violations, %q, see %s\n", r.Number, r.Fault, len(r.Violations), r.Violations[0], r.Directory)
					}
				}
				mu.Unlock()
			}
		})
	}
	for n := 1; n <= c.Rounds && ctx.Err() == nil; n++ {
		mu.Lock()
		stop := fault != nil
		mu.Unlock()
		if stop {
			break
		}
		numbers <- n
	}
	close(numbers)
	wait.Wait()
	sum.Seconds = time.Since(began).Seconds()
	return sum, fault
}

// round plays one in a directory of its own.
func (c *Config) round(ctx context.Context, number int) (counts Counts, kind string, broken *Round, err error) {
	dir := filepath.Join(c.Directory, fmt.Sprintf("round-%04d", number))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return counts, "", nil, err
	}
	if c.OSCrash {
		counts, kind, bad, fault, err := c.osRound(ctx, number, dir)
		switch {
		case err != nil:
			return counts, kind, nil, fmt.Errorf("round %d (%s): %w", number, fault, err)
		case len(bad) > 0:
			return counts, kind, &Round{number, fault, bad, dir}, nil
		}
		return counts, kind, nil, os.RemoveAll(dir)
	}
	if c.Nodes > 0 {
		return c.clusterRound(number, dir)
	}
	p, err := newPlay(c, dir, number)
	if err != nil {
		return counts, "", nil, err
	}
	defer p.close()
	kind = p.fault.kind
	bad, err := p.play()
	counts = p.ledger.counts()
	counts.Crashes = p.crashes
	if err != nil {
		return counts, kind, nil, fmt.Errorf("round %d (%s): %w", number, p.fault, err)
	}
	if len(bad) > 0 {
		return counts, kind, &Round{number, p.fault.String(), bad, dir}, nil
	}
	return counts, kind, nil, os.RemoveAll(dir)
}

// Print writes the summary as a table.
func (s *Summary) Print(w io.Writer) {
	row := func(name string, k KindSummary) {
		fmt.Fprintf(w, "%-24s %7d %8d %8d %8d %9d %9d %7d %10d\n", name, k.Rounds, k.Crashes, k.Offered, k.Acknowledged, k.Delivered, k.Notified, k.Copies, k.Violations)
	}
	fmt.Fprintf(w, "%-24s %7s %8s %8s %8s %9s %9s %7s %10s\n", "fault", "rounds", "crashes", "offered", "acked", "delivered", "notified", "copies", "violations")
	for _, name := range slices.Sorted(maps.Keys(s.Kinds)) {
		row(name, s.Kinds[name])
	}
	row("all", s.Total)
	if n := s.Total.Takeovers; n > 0 {
		fmt.Fprintf(w, "%d takeovers, the slowest after %.1f s\n", n, s.Total.Slowest)
	}
	fmt.Fprintf(w, "seed %d, %.0f s\n", s.Seed, s.Seconds)
	for _, r := range s.Broken {
		for _, v := range r.Violations[:min(len(r.Violations), 10)] {
			fmt.Fprintf(w, "round %d, %s: %s\n", r.Number, r.Fault, v)
		}
		if n := len(r.Violations) - 10; n > 0 {
			fmt.Fprintf(w, "round %d, %s: %d more, see --json\n", r.Number, r.Fault, n)
		}
	}
}
