package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/faults"
)

// faultsCommand runs the fault runner against this program.
type faultsCommand struct {
	Rounds     int           `default:"20" help:"How many rounds to play, each with one fault."`
	Workers    int           `default:"2" help:"How many rounds to play at once."`
	Nodes      int           `help:"Play with so many gateways that share one store, three or more; faults are those of a cluster then."`
	Presence   bool          `help:"Play rounds of presence instead of messages: users of both sides who watch each other. Also with --nodes."`
	Kind       []string      `placeholder:"KIND" help:"Play this kind of fault alone, as the summary names it: \"reload changed\". May be repeated."`
	Seed       uint64        `help:"The seed of load and faults; 0: a random one, which is printed."`
	Binary     string        `type:"existingfile" help:"The isthmus to break; this one by default."`
	Failpoints bool          `help:"The isthmus was built with -tags failpoints: also end it at its named points."`
	Backlog    int           `help:"Queue so many messages in one gateway instead, and kill and start it once for each round: when does it accept messages again?"`
	OSCrash    bool          `name:"os-crash" help:"End the gateway's whole machine instead: it runs in a virtual one (QEMU). The isthmus is static (CGO_ENABLED=0)."`
	Unsynced   bool          `help:"With --os-crash, of an isthmus built with -tags failpoints: its store does not sync, and messages must be lost."`
	Guest      bool          `hidden:"" help:"Be the first process of that machine."`
	Directory  string        `help:"Where configurations, logs and stores go, in a new directory there; the one for temporary files by default."`
	Results    string        `placeholder:"FILE" help:"Add a line of JSON to this file for each round."`
	Ready      time.Duration `default:"5s" help:"How long a gateway may take from its start until it serves."`
	JSON       bool          `name:"json" help:"Print the summary as JSON."`
}

// Run executes it.
func (c *faultsCommand) Run(ctx context.Context, p process) (err error) {
	if c.Guest {
		faults.Guest()
	}
	if c.Seed == 0 {
		c.Seed = uint64(rand.Uint32())
	}
	if c.Binary == "" {
		if c.Binary, err = os.Executable(); err != nil {
			return err
		}
	}
	if err := c.place(); err != nil {
		return err
	}
	// The summary of what was played is printed too when the run is ended early.
	ctx, cancel := p.untilSignal(ctx)
	defer cancel()
	cfg := faults.Config{
		Binary: c.Binary, Failpoints: c.Failpoints, OSCrash: c.OSCrash, Unsynced: c.Unsynced, Presence: c.Presence, Kinds: c.Kind, Nodes: c.Nodes, Rounds: c.Rounds,
		Workers: c.Workers, Seed: c.Seed, Directory: c.Directory, Ready: c.Ready, Log: p.err,
	}
	if c.Results != "" {
		f, err := os.OpenFile(c.Results, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		cfg.Results = f
	}
	fmt.Fprintf(p.err, "seed %d, in %s\n", c.Seed, c.Directory)
	if c.Backlog > 0 {
		return c.backlog(ctx, p, cfg)
	}
	sum, err := faults.Run(ctx, cfg)
	if c.JSON {
		e := json.NewEncoder(p.out)
		e.SetIndent("", "  ")
		if jerr := e.Encode(sum); jerr != nil {
			return jerr
		}
	} else {
		sum.Print(p.out)
	}
	if err != nil {
		return err
	}
	if sum.Total.Violations > 0 {
		return silentError{}
	}
	return nil
}

// place makes the directory that is played in: a new one in the one that is named. What is there, a store above all, is nobody's to open or to
// delete.
func (c *faultsCommand) place() (err error) {
	if c.Directory != "" {
		if err := os.MkdirAll(c.Directory, 0o700); err != nil {
			return err
		}
	}
	c.Directory, err = os.MkdirTemp(c.Directory, "isthmus-faults-")
	return err
}

// backlog measures starts with messages that wait.
func (c *faultsCommand) backlog(ctx context.Context, p process, cfg faults.Config) error {
	sum, err := faults.Backlog(ctx, cfg, c.Backlog)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(p.out)
		e.SetIndent("", "  ")
		if err := e.Encode(sum); err != nil {
			return err
		}
	} else {
		sum.Print(p.out)
	}
	if len(sum.Violations) > 0 {
		return silentError{}
	}
	return nil
}
