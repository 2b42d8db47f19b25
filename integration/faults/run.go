package faults

import (
	"context"
	"encoding/json"
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
	// Presence plays rounds of presence instead of messages: users of both sides who watch each other.
	Presence bool
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
	// Ready is how long a gateway may take from its start until it serves (I8), default 5 s.
	Ready time.Duration
	// Directory is where configurations, logs and stores go. What a violation was seen in stays there.
	Directory string
	// Log gets a line for each round with a violation. nil: none.
	Log io.Writer
	// Results gets a Result, as a line of JSON, when a round has been played. nil: none.
	Results io.Writer

	mounts bool    // this machine lets a small disk be mounted
	moment *moment // of OSCrash
}

// Counts are what the ledger saw. In rounds of presence Offered is what users wished and said, Acknowledged what they decided, Delivered what XMPP users
// were told of presence and Notified what SIP users were.
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
	// Moved is the longest time until the far side of a SIP dialog of a gateway that is gone heard from the one that has it now, in seconds.
	Moved float64 `json:"slowest_dialog,omitempty"`
	// Fenced are the leases that others lost too when a gateway was ended.
	Fenced int `json:"fenced,omitempty"`
}

func (c *Counts) add(o Counts) {
	c.Offered += o.Offered
	c.Acknowledged += o.Acknowledged
	c.Delivered += o.Delivered
	c.Notified += o.Notified
	c.Copies += o.Copies
	c.Crashes += o.Crashes
	c.Takeovers += o.Takeovers
	c.Fenced += o.Fenced
	c.Slowest = max(c.Slowest, o.Slowest)
	c.Moved = max(c.Moved, o.Moved)
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

// Result is what became of one round.
type Result struct {
	Number  int     `json:"round"`
	Kind    string  `json:"kind"`
	Seconds float64 `json:"seconds"`
	// Led tells that the gateway that was ended led the writing of leases in its cluster.
	Led bool `json:"led,omitempty"`
	Counts
	Violations []string `json:"violations,omitempty"`
}

// Summary is what a run found.
type Summary struct {
	// Interrupted tells that the run was ended before its last round. The rounds that were being played then are not in it.
	Interrupted bool `json:"interrupted,omitempty"`
	// SlowestStart is the longest that a gateway took to serve, in seconds.
	SlowestStart float64                `json:"slowest_start"`
	Seed         uint64                 `json:"seed"`
	Seconds      float64                `json:"seconds"`
	Total        KindSummary            `json:"total"`
	Kinds        map[string]KindSummary `json:"kinds"`
	Broken       []Round                `json:"broken,omitempty"`
}

// Run plays the rounds. An error says that it could not play; what the rounds found is in the summary. When ctx ends, the
// gateways of the rounds that have begun are killed, and what the others found is returned.
func Run(ctx context.Context, c Config) (Summary, error) {
	if c.Rounds <= 0 {
		c.Rounds = 20
	}
	if c.Workers <= 0 {
		c.Workers = 2
	}
	there := clusterKinds
	if c.Nodes == 0 {
		there = []string{failpoints}
		for _, k := range kinds() {
			there = append(there, k.name)
		}
	}
	if c.Nodes > 0 && (c.Nodes < 3 || c.OSCrash || c.Failpoints) {
		return Summary{}, errors.New("faults: of several gateways there are three or more, without failpoints and crashes of the system")
	}
	if c.Presence {
		if there = append(slices.Clone(presenceKinds), failpoints); c.Nodes > 0 {
			there = presenceClusterKinds
		}
		if c.OSCrash {
			return Summary{}, errors.New("faults: rounds of presence are on this machine")
		}
	}
	for _, k := range c.Kinds {
		if !slices.Contains(there, k) {
			return Summary{}, fmt.Errorf("faults: no kind %q: there are %s", k, strings.Join(there, ", "))
		}
	}
	if c.Ready <= 0 {
		c.Ready = 5 * time.Second
	}
	c.mounts = !c.OSCrash && canMount(c.Directory)
	if c.OSCrash {
		at := filepath.Join(c.Directory, "machine")
		var err error
		if c.moment, err = newMoment(ctx, c.Binary, at); err != nil {
			return Summary{}, err
		}
		defer os.RemoveAll(at)
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
				start := time.Now()
				o, err := c.round(ctx, n)
				mu.Lock()
				if ctx.Err() == nil { // else it was not played to its end
					fault = errors.Join(fault, err)
					sum.add(&o)
					if err == nil {
						fault = errors.Join(fault, c.result(n, time.Since(start), &o))
					}
					if o.broken != nil && c.Log != nil {
						fmt.Fprintf(c.Log, "round %d (%s): %d violations, see %s\n%s\n", n, o.broken.Fault, len(o.broken.Violations), o.broken.Directory, o.broken.Violations[0])
					}
				}
				mu.Unlock()
			}
		})
	}
give:
	for n := 1; n <= c.Rounds; n++ {
		mu.Lock()
		stop := fault != nil
		mu.Unlock()
		if stop {
			break
		}
		select {
		case numbers <- n:
		case <-ctx.Done():
			break give
		}
	}
	close(numbers)
	wait.Wait()
	sum.Interrupted = ctx.Err() != nil
	sum.Seconds = time.Since(began).Seconds()
	return sum, fault
}

// result writes down what became of a round.
func (c *Config) result(number int, took time.Duration, o *outcome) error {
	if c.Results == nil {
		return nil
	}
	r := Result{Number: number, Kind: o.kind, Seconds: took.Seconds(), Led: o.led, Counts: o.counts}
	if o.broken != nil {
		r.Violations = o.broken.Violations
	}
	return json.NewEncoder(c.Results).Encode(&r)
}

// outcome is that of one round.
type outcome struct {
	counts  Counts
	led     bool
	kind    string
	broken  *Round
	slowest time.Duration // start of its gateway
}

// add counts a round.
func (s *Summary) add(o *outcome) {
	k := s.Kinds[o.kind]
	for _, to := range [...]*KindSummary{&k, &s.Total} {
		to.Rounds++
		to.add(o.counts)
		if o.broken != nil {
			to.Violations++
		}
	}
	s.Kinds[o.kind] = k
	if o.broken != nil {
		s.Broken = append(s.Broken, *o.broken)
	}
	s.SlowestStart = max(s.SlowestStart, o.slowest.Seconds())
}

// round plays one in a directory of its own.
func (c *Config) round(ctx context.Context, number int) (o outcome, err error) {
	dir := filepath.Join(c.Directory, fmt.Sprintf("round-%04d", number))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return o, err
	}
	var bad []string
	var what string
	switch {
	case c.Presence && c.Nodes > 0:
		bad, what, err = c.presenceClusterRound(ctx, number, dir, &o)
	case c.Presence:
		bad, what, err = c.presenceRound(ctx, number, dir, &o)
	case c.OSCrash:
		o.counts, o.kind, bad, what, err = c.osRound(ctx, number, dir)
	case c.Nodes > 0:
		bad, what, err = c.clusterRound(number, dir, &o)
	default:
		bad, what, err = c.localRound(ctx, number, dir, &o)
	}
	switch {
	case err != nil:
		return o, fmt.Errorf("round %d (%s): %w", number, what, err)
	case len(bad) > 0:
		o.broken = &Round{number, what, bad, dir}
		return o, nil
	}
	return o, os.RemoveAll(dir)
}

// localRound plays one with a gateway on this machine.
func (c *Config) localRound(ctx context.Context, number int, dir string, o *outcome) (bad []string, what string, err error) {
	p, err := newPlay(c, dir, number)
	if err != nil {
		return nil, "", err
	}
	defer p.close()
	defer context.AfterFunc(ctx, p.abandon)()
	o.kind = p.fault.name
	bad, err = p.play()
	o.counts = p.ledger.counts()
	o.counts.Crashes = p.crashes
	for _, d := range p.ready {
		o.slowest = max(o.slowest, d)
	}
	return bad, p.fault.String(), err
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
		fmt.Fprintf(w, "%d takeovers, the slowest after %.1f s; %d leases of others lost meanwhile\n", n, s.Total.Slowest, s.Total.Fenced)
		if s.Total.Moved > 0 {
			fmt.Fprintf(w, "the slowest SIP dialog was heard of from another gateway after %.1f s\n", s.Total.Moved)
		}
	}
	fmt.Fprintf(w, "seed %d, %.0f s, slowest start %.1f s\n", s.Seed, s.Seconds, s.SlowestStart)
	if s.Interrupted {
		fmt.Fprintln(w, "ended before the last round")
	}
	for _, r := range s.Broken {
		for _, v := range r.Violations[:min(len(r.Violations), 10)] {
			fmt.Fprintf(w, "round %d, %s: %s\n", r.Number, r.Fault, v)
		}
		if n := len(r.Violations) - 10; n > 0 {
			fmt.Fprintf(w, "round %d, %s: %d more, see --json\n", r.Number, r.Fault, n)
		}
	}
}
