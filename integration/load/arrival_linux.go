package load

import (
	"encoding/binary"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// stampRoom is how many octets of control messages tell when a datagram came.
const stampRoom = 64

// stampArrivals has the system note when each datagram comes to a socket: who reads it late, because the load takes the processor, measures the gateway
// nevertheless.
func stampArrivals(conn *net.UDPConn) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) }) // without it the time of reading counts
	}
}

// waited is how long before now a datagram with these control messages came; 0 where that is not known.
func waited(control []byte, now time.Time) time.Duration {
	const header = unix.SizeofCmsghdr // of a multiple of 8 octets, where a time has 16
	if len(control) < header+16 || binary.NativeEndian.Uint32(control[header-8:]) != unix.SOL_SOCKET || binary.NativeEndian.Uint32(control[header-4:]) != unix.SO_TIMESTAMPNS {
		return 0
	}
	at := time.Unix(int64(binary.NativeEndian.Uint64(control[header:])), int64(binary.NativeEndian.Uint64(control[header+8:])))
	return max(0, now.Sub(at))
}

// yielding gives the calling goroutine a thread of its own that lets the others of this process run first: what reads the answers, and the XMPP server,
// must not be kept waiting by what makes the load. It ends with the goroutine.
func yielding() {
	runtime.LockOSThread()
	const less = 8
	if own, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid()); err == nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), min(20-own+less, 19)) // the system call tells 20 less the niceness
	}
}
