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
	Binary   string        `type:"existingfile" help:"The isthmus to put under load; this one by default."`
	Procs    int           `default:"1" help:"The GOMAXPROCS of the gateway; 0: as it would be. The rest of the machine is the load's."`
	Step     time.Duration `default:"2s" help:"How long each step of the search for the capacity is."`
	Time     time.Duration `default:"5s" help:"How long each load is on."`
	Capacity float64       `help:"Take this for the capacity, in messages a second, and do not search."`
	Factor   []float64     `default:"2,5,10" help:"The loads, in capacities."`
	JSON     bool          `name:"json" help:"Print the report as JSON on standard output; what is done goes to standard error in any case."`
	Quiet    bool          `help:"The gateway logs warnings alone, instead of a line for each message."`
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
	report, err := driver.Overload(ctx, driver.Config{
		Binary: c.Binary, Directory: dir, Procs: c.Procs, Step: c.Step, Time: c.Time, Capacity: c.Capacity, Factors: c.Factor, Quiet: c.Quiet, Log: p.err,
	})
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
