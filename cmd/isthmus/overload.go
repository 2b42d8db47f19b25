package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	driver "github.com/isthmus-gateway/isthmus/integration/load"
)

// overloadCommand puts a gateway of its own under more load than it can carry.
type overloadCommand struct {
	Mode     string        `enum:"factors,nominal,dead,memory" default:"factors" help:"factors: more than it can carry. nominal: what users do, messages, presence and watches, at a share of what it can carry, with a store. dead: one destination dies, and comes back. memory: its memory is filled."`
	Binary   string        `type:"existingfile" help:"The isthmus to put under load; this one by default."`
	Procs    int           `default:"1" help:"The GOMAXPROCS of the gateway; 0: as it would be. The rest of the machine is the load's."`
	Step     time.Duration `default:"2s" help:"How long each step of the search for the capacity is."`
	Time     time.Duration `default:"5s" help:"How long each load is on."`
	Capacity float64       `help:"Take this for the capacity, in messages a second, and do not search."`
	Factor   []float64     `default:"2,5,10" help:"The loads, in capacities."`
	JSON     bool          `name:"json" help:"Print the report as JSON on standard output; what is done goes to standard error in any case."`
	Rate     float64       `help:"Nominal: so many operations a second; dead: so many messages a second elsewhere, each way. The capacity is not searched for. Memory: so many messages a second; 0: 1000."`
	Share    float64       `default:"0.6" help:"Nominal: this share of the capacity."`
	Users    int           `default:"1000" help:"Nominal: how many users there are of each kind: who write, who watch, who are watched."`
	Queued   int           `default:"50000" help:"Dead: how many messages wait for the dead destination."`
	Memory   int           `default:"160" help:"Memory: the cap of the gateway's memory, in MiB."`
	// The gateway's own defaults are best measured; a short run wants other ones.
	DirectWait time.Duration `help:"Dead: limits.messages.direct_wait of the gateway; 0: its default."`
	ReturnRate int           `help:"Dead: limits.messages.return_rate of the gateway; 0: its default."`
	Quiet      bool          `help:"The gateway logs warnings alone, instead of a line for each message."`
}

// Run executes it.
func (c *overloadCommand) Run(ctx context.Context, p process) (err error) {
	if c.Binary == "" {
		if c.Binary, err = os.Executable(); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "isthmus-overload-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := p.untilSignal(ctx) // so that the gateway ends with it
	defer cancel()
	cfg := driver.Config{
		Binary: c.Binary, Directory: dir, Procs: c.Procs, Step: c.Step, Time: c.Time, Capacity: c.Capacity, Factors: c.Factor, Quiet: c.Quiet, Log: p.err,
	}
	switch c.Mode {
	case "nominal":
		return c.nominal(ctx, cfg, p.out)
	case "dead":
		return c.dead(ctx, cfg, p.out)
	case "memory":
		return c.full(ctx, cfg, p.out)
	}
	report, err := driver.Overload(ctx, cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(p.out)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	}
	if err == nil && len(report.Missed) > 0 {
		return silentError{}
	}
	return err
}
