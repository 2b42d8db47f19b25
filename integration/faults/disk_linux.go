package faults

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// smallDisk mounts a file system of 64 MiB in memory on a directory. It needs the right to mount.
func smallDisk(dir string) (unmount func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := syscall.Mount("isthmus-faults", dir, "tmpfs", 0, "size=64m,mode=0700"); err != nil {
		return nil, err
	}
	return func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }, nil
}

// canMount tells whether smallDisk works here.
func canMount(dir string) bool {
	unmount, err := smallDisk(filepath.Join(dir, "mount-test"))
	if err != nil {
		return false
	}
	unmount()
	return true
}

// fill takes all that is left on the disk of a directory, until the func is called.
func fill(dir string) (free func(), err error) {
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	block := make([]byte, 64<<10)
	for err == nil {
		if _, err = f.Write(block); err != nil && len(block) > 1 {
			block, err = block[:len(block)/2], nil
		}
	}
	if f.Close(); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, io.ErrShortWrite) {
		return nil, err
	}
	return func() { os.Remove(name) }, nil
}
