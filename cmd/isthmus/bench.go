package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/isthmus-gateway/isthmus/configs"
	driver "github.com/isthmus-gateway/isthmus/integration/load"
)

// benchCommand measures a gateway of its own on loopback.
type benchCommand struct {
	Config   string        `short:"c" type:"existingfile" placeholder:"FILE" help:"Measure with this configuration: its limits, policy, log, store and mappings. Its peers are played on loopback. Without it: the defaults."`
	Mode     []string      `enum:"sip-xmpp,xmpp-sip,both,presence" default:"sip-xmpp,xmpp-sip,both" help:"Which ways: sip-xmpp, xmpp-sip, both (at once); or presence: many SIP users watch one XMPP user."`
	Binary   string        `type:"existingfile" help:"The isthmus to measure; this one by default."`
	Procs    int           `default:"0" help:"The GOMAXPROCS of the gateway; 0: as it would be."`
	Step     time.Duration `default:"3s" help:"How long each step of the search for the highest rate is."`
	Time     time.Duration `default:"10s" help:"How long the runs are on whose figures are reported."`
	Rate     float64       `help:"Do not search: take the figures at so many messages a second, each way."`
	Users    int           `default:"1000" help:"How many senders and how many recipients each side has."`
	Body     int           `default:"100" help:"How many octets the text of a message has, at least; over UDP a request is at most 1300 octets."`
	Watchers int           `default:"1000" help:"How many watch one user, in the mode presence; the limit limits.watches.per_presentity is 10000 by default."`
	SVG      string        `name:"svg" type:"path" placeholder:"FILE" help:"Draw the latencies into this file."`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
}

// maxUsers bounds the users of a bench, whose numbers are parts of addresses.
const maxUsers = 1_000_000

// Run executes it.
func (c *benchCommand) Run(ctx context.Context, p process) (err error) {
	if c.Users < 1 || c.Users > maxUsers || c.Body < 0 || c.Body > 60000 || c.Rate < 0 || c.Step < time.Second/10 || c.Time < time.Second/10 || c.Procs < 0 || c.Watchers < 1 || c.Watchers >= maxUsers {
		return fmt.Errorf("--users and --watchers are 1 to %d, --body 0 to 60000, --rate and --procs 0 or more, --step and --time 100ms or more", maxUsers)
	}
	config := driver.BenchConfig{Binary: c.Binary, Procs: c.Procs, Step: c.Step, Time: c.Time, Rate: c.Rate, Users: c.Users, Body: c.Body, Watchers: c.Watchers, Log: p.err}
	for _, m := range c.Mode {
		config.Modes = append(config.Modes, driver.Mode(m))
	}
	if config.Binary == "" {
		if config.Binary, err = os.Executable(); err != nil {
			return err
		}
	}
	if c.Config != "" {
		if config.Own, err = os.ReadFile(c.Config); err != nil {
			return err
		}
		// What is wrong with it is said before anything starts, as check says it; its secrets are not needed.
		if _, err := configs.Parse(c.Config, config.Own); err != nil {
			return err
		}
		config.Folder = filepath.Dir(c.Config)
	}
	if config.Directory, err = os.MkdirTemp("", "isthmus-bench-"); err != nil {
		return err
	}
	ctx, cancel := p.untilSignal(ctx)
	defer cancel()
	report, err := driver.Bench(ctx, config)
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w (its configuration and log are in %s)", err, config.Directory)
	}
	defer os.RemoveAll(config.Directory) //nolint:errcheck // it is in the folder for temporary files
	if c.SVG != "" {
		f, ferr := os.Create(c.SVG)
		if ferr != nil {
			return ferr
		}
		if ferr := errors.Join(report.SVG(f), f.Close()); ferr != nil {
			return ferr
		}
	}
	if !c.JSON {
		report.Print(p.out)
		return err
	}
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	return errors.Join(e.Encode(report), err)
}
