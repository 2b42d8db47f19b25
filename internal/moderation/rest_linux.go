package moderation

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newRest returns how one rests, and what gives up what that holds of the system; nil if the system refuses it.
func newRest() (rest func(time.Duration), end func()) {
	b := newBell()
	if b == nil {
		return nil, nil
	}
	return func(d time.Duration) {
		doze(d)
		// The reader finds what has come without asking the scheduler, which would not look at other sockets then.
		b.ring()
	}, b.close
}

// doze sleeps without telling the scheduler, so that the processor is not given to another thread. A signal ends it, as that of a collector that wants all
// goroutines to stop.
//
// The kernel may make the sleep of a thread longer by its timer slack (see package timerslack); for this one it may not.
func doze(d time.Duration) {
	slack, _, _ := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0)
	unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(time.Microsecond), 0)
	ts := unix.NsecToTimespec(int64(d))
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
	unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, slack, 0)
}

// bell has the scheduler look at the network: a goroutine that waits for its sound is woken when it has, together with those whose sockets are ready. By itself
// the scheduler looks when nothing else can run, or after 10 ms, and one goroutine that finds its socket ready each time keeps it from that.
type bell struct {
	file *os.File
	raw  syscall.RawConn
	wait func(fd uintptr) bool // made once
	rung bool
}

// newBell returns nil if there is none to be had.
func newBell() *bell {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil
	}
	b := &bell{file: os.NewFile(uintptr(fd), "eventfd")}
	b.wait = func(fd uintptr) bool {
		if b.rung {
			return true
		}
		b.rung = true
		one := uint64(1)
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
		return errno != 0
	}
	// Only what the runtime's poller watches has a deadline.
	if b.raw, err = b.file.SyscallConn(); err != nil || b.file.SetReadDeadline(time.Time{}) != nil {
		b.close()
		return nil
	}
	return b
}

// ring returns when the scheduler has looked. The counter is not read: each sound is an event by itself, and there are enough numbers for a million
// years.
func (b *bell) ring() {
	b.rung = false
	_ = b.raw.Read(b.wait) // a fault is no wait
}

func (b *bell) close() { _ = b.file.Close() }
