package main

import (
	"context"
	"errors"
	"os"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/integration/demo"
)

// demoCommand shows four crossings through the gateway that serve runs, between parts in this process on loopback.
type demoCommand struct {
	JSON bool `name:"json" help:"Print one JSON object for each crossing, and one at the end."`
}

// Run implements the command.
func (c demoCommand) Run(ctx context.Context, p process) error {
	assembleWatched := func(ctx context.Context, cfg *configs.Config, see demo.Watcher) (demo.Gateway, error) {
		logger, _ := newLogger(p.err, cfg.Log)
		a, err := assemble(cfg, surroundings{logger: logger, tap: see.Tap, observe: see.Observe})
		if err != nil {
			return nil, err
		}
		if err := a.start(ctx); err != nil {
			return nil, errors.Join(err, a.close())
		}
		return watched{a}, nil
	}
	err := demo.Run(ctx, demo.Options{Assemble: assembleWatched, Out: p.out, JSON: c.JSON, Colour: isTerminal(p)})
	if errors.Is(err, demo.ErrNotArrived) {
		return silentError{} // it was shown what did not
	}
	return err
}

// isTerminal tells whether a person looks at the output through a terminal that knows colour, and has not asked for none.
func isTerminal(p process) bool {
	f, ok := p.out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	term, _ := p.environment("TERM")
	_, plain := p.environment("NO_COLOR")
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && term != "" && term != "dumb" && !plain
}

// watched is a running assembly as the demo wants it.
type watched struct{ *assembly }

// SIPAddress implements demo.Gateway. The demo's two listeners take any port each; its user agent speaks to the UDP one and
// opens connections to the TCP one, so they are told apart.
func (w watched) SIPAddress(transport string) string {
	for _, l := range w.sip.Addrs() {
		if l.Transport.String() == transport {
			return l.Address.String()
		}
	}
	return ""
}

// Ready implements demo.Gateway.
func (w watched) Ready() bool {
	for _, l := range w.links() {
		if !l.Up {
			return false
		}
	}
	return true
}

// Shutdown implements demo.Gateway.
func (w watched) Shutdown(ctx context.Context) error {
	return errors.Join(w.shutdown(ctx), w.close())
}
