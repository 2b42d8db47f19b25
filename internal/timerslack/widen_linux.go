package timerslack

import (
	"os"
	"runtime"
	"syscall"
)

// The operations of prctl(2).
const (
	prSetTimerslack = 29
	prGetTimerslack = 30
)

// marker is in the environment of a process that has begun anew, so that it does so once, whatever the kernel makes of it.
const marker = "ISTHMUS_TIMER_SLACK"

// Widen gives every thread of the process at least Slack. To be called first in main, since it begins the program anew: a thread has the slack of the
// thread that made it, and the runtime's monitor is there before main; but what a thread has when it executes a program is the first of all
// threads' then. A process that was begun with as much (systemd's TimerSlackNSec) goes on as it is, and so does one that may not, or cannot, begin anew:
// it is a little slower.
func Widen() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, again := os.LookupEnv(marker); again {
		_ = os.Unsetenv(marker) // not for its children
		return
	}
	have, _, fault := syscall.RawSyscall(syscall.SYS_PRCTL, prGetTimerslack, 0, 0)
	if fault != 0 || have >= uintptr(Slack) {
		return
	}
	program, err := os.Executable()
	if err != nil {
		return
	}
	if _, _, fault = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerslack, uintptr(Slack), 0); fault != 0 {
		return
	}
	_ = syscall.Exec(program, os.Args, append(os.Environ(), marker+"=1")) // returns only with a fault, and then the program goes on
}
