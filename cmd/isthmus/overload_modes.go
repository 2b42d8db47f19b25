package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	driver "github.com/isthmus-gateway/isthmus/integration/load"
)

// The least that the modes of `isthmus overload` take.
const (
	leastStep = time.Second / 10
	mostUsers = 100_000
)

// nominal plays what users do, below the capacity.
func (c *overloadCommand) nominal(ctx context.Context, cfg driver.Config, out io.Writer) error {
	if c.Rate < 0 || c.Share <= 0 || c.Users < 1 || c.Users > mostUsers || c.Step < leastStep || c.Time < leastStep {
		return fmt.Errorf("--users is 1 to %d, --share more than 0, --step and --time %v or more", mostUsers, leastStep)
	}
	cfg.Store = true
	report, err := driver.Nominal(ctx, driver.NominalConfig{Config: cfg, Rate: c.Rate, Share: c.Share, Users: c.Users, LateEvery: 1000, LateBy: 20 * time.Millisecond})
	if err != nil && len(report.Rows) == 0 {
		return err
	}
	return c.tell(out, report, report.Print, report.Missed, err)
}

// tell prints a report. What was missed, and what ended the run, is the exit code's to say.
func (c *overloadCommand) tell(out io.Writer, report any, table func(io.Writer), missed []string, ended error) error {
	if !c.JSON {
		table(out)
	} else {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return err
		}
	}
	if ended == nil && len(missed) > 0 {
		return silentError{}
	}
	return ended
}

// dead has one destination die with messages that wait for it, and come back.
func (c *overloadCommand) dead(ctx context.Context, cfg driver.Config, out io.Writer) error {
	if c.Rate < 0 || c.Queued < 1 || c.Queued > 200_000 || c.Step < leastStep || c.Time < time.Second {
		return fmt.Errorf("--queued is 1 to 200000, --step %v or more, --time 1s or more", leastStep)
	}
	report, err := driver.Dead(ctx, driver.DeadConfig{Config: cfg, Rate: c.Rate, Queued: c.Queued, Pairs: min(c.Queued, 1000), DirectWait: c.DirectWait, ReturnRate: c.ReturnRate})
	if err != nil {
		return err
	}
	return c.tell(out, report, report.Print, report.Missed, nil)
}

// full has the memory of a gateway that may have little of it filled.
func (c *overloadCommand) full(ctx context.Context, cfg driver.Config, out io.Writer) error {
	if c.Memory < 128 || c.Memory > 1<<14 || c.Rate < 0 || c.Time < leastStep {
		return fmt.Errorf("--memory is 128 to %d, --time %v or more", 1<<14, leastStep)
	}
	cfg.Memory = int64(c.Memory) << 20
	if c.Rate == 0 {
		c.Rate = 1000
	}
	report, err := driver.Full(ctx, driver.FullConfig{Config: cfg, Rate: c.Rate, Body: 20_000})
	if err != nil {
		return err
	}
	return c.tell(out, report, report.Print, report.Missed, nil)
}
