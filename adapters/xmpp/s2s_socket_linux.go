package xmpp

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// control runs f on the file descriptor below c, if it has one.
func control(c net.Conn, f func(fd int) error) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = f(int(fd)) })
	return err == nil && inner == nil
}

// unacknowledged returns how many octets were written to a connection and are not acknowledged by the other side's kernel. ok is false
// if that is not known.
func unacknowledged(c net.Conn) (n int, ok bool) {
	ok = control(c, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	return n, ok
}

// boundSilence has the kernel end a connection whose other side acknowledges nothing for so long.
func boundSilence(c net.Conn, d time.Duration) {
	control(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}
