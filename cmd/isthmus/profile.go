//go:build profile

package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// profileVariable names the file that a profile of the processor's time is written to.
const profileVariable = "ISTHMUS_PROFILE"

// profiled begins a profile at SIGUSR1 and ends it at the next one, in a build with -tags profile; docs/performance.md says what for. It
// returns what ends it with the program.
func profiled(p process) func() {
	name, ok := p.environment(profileVariable)
	if !ok {
		return func() {}
	}
	asked, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		defer close(done)
		var file *os.File
		for range asked {
			if file == nil {
				file = begin(p, name)
				continue
			}
			pprof.StopCPUProfile()
			if err := file.Close(); err != nil {
				fmt.Fprintln(p.err, "profile:", err)
			}
			file = nil
		}
		if file != nil {
			pprof.StopCPUProfile()
			_ = file.Close()
		}
	}()
	return func() {
		signal.Stop(asked)
		close(asked)
		<-done
	}
}

// begin opens the file of a profile, and has it written to from now on; nil: it cannot be.
func begin(p process, name string) *os.File {
	file, err := os.Create(name)
	if err == nil {
		if err = pprof.StartCPUProfile(file); err == nil {
			return file
		}
		_ = file.Close()
	}
	fmt.Fprintln(p.err, "profile:", err)
	return nil
}
