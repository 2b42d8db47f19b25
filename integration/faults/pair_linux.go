package faults

import (
	"net"
	"os"
	"syscall"
)

// pair returns both ends of a connection, the second of them for another process.
func pair(name string) (near net.Conn, far *os.File, err error) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(ends[0]), name)
	defer f.Close()
	far = os.NewFile(uintptr(ends[1]), name)
	if near, err = net.FileConn(f); err != nil {
		far.Close()
	}
	return near, far, err
}
