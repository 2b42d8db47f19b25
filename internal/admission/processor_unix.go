//go:build unix

package admission

import (
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is how long the process has had processors for.
func processorTime() (time.Duration, bool) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
