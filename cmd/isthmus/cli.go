package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/isthmus-gateway/isthmus/configs"
)

// The exit codes.
const (
	exitDone  = 0
	exitFault = 1 // the input or a peer is at fault
	exitUsage = 2 // flags, arguments or the configuration
)

// process is what a command has of the world, so that tests give it another.
type process struct {
	in          io.Reader
	out, err    io.Writer
	environment configs.Environment
	// signals begins the delivery of the signals that end the gateway; the func ends it.
	signals func() (<-chan os.Signal, func())
}

// untilSignal returns a context that the first signal ends, for commands that then report what they have. The func must be called.
func (p process) untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals, end := p.signals()
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); end() }
}

// commands is the command line.
type commands struct {
	Bench     benchCommand     `cmd:"" help:"Measure how many messages a gateway carries here, with your configuration, and how fast."`
	Demo      demoCommand      `cmd:"" help:"Show messages and presence cross between SIP and XMPP, both ways, with nothing installed."`
	Serve     serveCommand     `cmd:"" help:"Run the gateway."`
	Check     checkCommand     `cmd:"" help:"Validate a configuration, look up its names, read its secrets; change nothing."`
	Config    configCommand    `cmd:"" help:"Print the configuration reference: every key, its default, its bounds."`
	Reload    reloadCommand    `cmd:"" help:"Have a running gateway read its configuration again, as SIGHUP does, and say what came of it."`
	Resolve   resolveCommand   `cmd:"" help:"Look up where messages to an address go: every question, every answer, the targets in order."`
	Faults    faultsCommand    `cmd:"" help:"Break a gateway again and again, and check that no message was lost, told of twice or delivered out of order."`
	Inspect   inspectCommand   `cmd:"" help:"Parse one CPIM, PIDF, SIP message, stanza, JID, URI or timestamp; print it as JSON, or say what is wrong with it."`
	Overload  overloadCommand  `cmd:"" help:"Put a gateway under more load than it can carry, and measure what still flows."`
	Queue     queueCommand     `cmd:"" help:"List, show, retry or drop what a running gateway has stored: messages that wait, and dead letters."`
	Translate translateCommand `cmd:"" help:"Translate one message, notification or watch between SIP, XMPP and CPIM, and show the canonical form."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

// usageError is a fault of the command line itself.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// silentError ends a command with exit code 1 after it has said itself what is wrong.
type silentError struct{}

func (silentError) Error() string { return "failed" }

// stopped is how kong ends a command line that only asks for help.
type stopped struct{ code int }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, p process) (code int) {
	defer func() {
		if r := recover(); r != nil {
			s, ok := r.(stopped)
			if !ok {
				panic(r)
			}
			code = s.code
		}
	}()
	var c commands
	parser, err := kong.New(&c,
		kong.Name("isthmus"),
		kong.Description("A gateway between SIP SIMPLE and XMPP over the canonical forms CPIM and PIDF."),
		kong.Writers(p.out, p.err),
		kong.Exit(func(code int) { panic(stopped{code}) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
	if err != nil {
		panic(err) // a fault in the struct tags above: every run would find it
	}
	line, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(p.err, "isthmus: %v (isthmus --help lists what there is)\n", err)
		return exitUsage
	}
	return exitCode(line.Run(), p.err)
}

// exitCode says what went wrong, and returns the code for it.
func exitCode(err error, w io.Writer) int {
	var faults configs.Faults
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &faults):
		for _, f := range faults {
			fmt.Fprintln(w, f)
		}
		fmt.Fprintf(w, "isthmus: the configuration has %d %s; `isthmus config` prints the reference\n", len(faults), plural(len(faults), "fault", "faults"))
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(w, "isthmus: %v\n", err)
		return exitUsage
	case errors.As(err, &silentError{}):
		return exitFault
	}
	fmt.Fprintf(w, "isthmus: %v\n", err)
	return exitFault
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
