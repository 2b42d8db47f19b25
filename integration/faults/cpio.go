package faults

import (
	"fmt"
	"io"
)

// archive writes the kernel's first file system: the "new" format of cpio.
type archive struct {
	w   io.Writer
	err error
	at  int64
	ino int
}

func (a *archive) write(b []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(b)
		a.at += int64(len(b))
	}
}

func (a *archive) pad() {
	if n := a.at % 4; n != 0 {
		a.write(make([]byte, 4-n))
	}
}

func (a *archive) entry(name string, mode int, size int64, major, minor int) {
	a.ino++
	a.write(fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", a.ino, mode, 0, 0, 1, 0, size, 0, 0, major, minor, len(name)+1, 0))
	a.write(append([]byte(name), 0))
	a.pad()
}

func (a *archive) folder(name string) { a.entry(name, 0o40755, 0, 0, 0) }

func (a *archive) device(name string, major, minor int) { a.entry(name, 0o20600, 0, major, minor) }

func (a *archive) file(name string, mode int, octets []byte) {
	a.entry(name, 0o100000|mode, int64(len(octets)), 0, 0)
	a.write(octets)
	a.pad()
}

// end writes what ends it, and returns the first error.
func (a *archive) end() error {
	a.entry("TRAILER!!!", 0, 0, 0, 0)
	return a.err
}
