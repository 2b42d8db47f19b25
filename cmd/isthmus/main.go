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

	"github.com/isthmus-gateway/isthmus/internal/timerslack"
)

func main() {
	// Of the commands that carry traffic; what the others do is done before it would count.
	carries := map[string]bool{"serve": true, "bench": true, "overload": true}
	if len(os.Args) > 1 && carries[os.Args[1]] {
		timerslack.Widen()
	}
	// The logger has no other place for this than a variable of its package; nothing else in the program sets it.
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	os.Exit(run(context.Background(), os.Args[1:], process{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, environment: os.LookupEnv, signals: listen,
	}))
}

// listen delivers the signals that end the gateway, and SIGHUP, which reads the certificates anew and would end the process if it were
// left to its default.
func listen() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}
