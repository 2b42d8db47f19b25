// Command isthmus is the gateway and its tools: `isthmus --help` lists them, `isthmus config` is the configuration's reference.
//
// Exit codes: 0 done, 1 the input or a peer is at fault, 2 usage, a wrong configuration included. What is asked for goes to
// standard output, everything else to standard error.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
)

func main() {
	// The logger has no other place for this than a variable of its package; nothing else in the program sets it.
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	os.Exit(run(context.Background(), os.Args[1:], process{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, environment: os.LookupEnv, signals: listen,
	}))
}

// listen delivers the signals that end the gateway. SIGHUP is one of them: there is no reload, and left to its default it would end
// the process with everything that is under way. So it drains, and whoever supervises the process starts it with the new
// configuration (`isthmus check` tells beforehand whether that is right).
func listen() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}
