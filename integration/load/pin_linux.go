package load

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// pin keeps all threads of a process, and those that they make, on some of the machine's processors: from first on, so many.
func pin(pid, first, count int) error {
	var set unix.CPUSet
	for i := range count {
		set.Set(first + i)
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			if err := unix.SchedSetaffinity(id, &set); err != nil {
				return err
			}
		}
	}
	return nil
}

// apart has the gateway on the last processors, one for each of procs, and the load on the others, where there are as many. What it returns gives
// the load back what it had.
func apart(gateway, procs int) (func(), error) {
	all := runtime.NumCPU()
	if procs <= 0 || procs >= all {
		return func() {}, nil
	}
	if err := pin(gateway, all-procs, procs); err != nil {
		return func() {}, err
	}
	if err := pin(os.Getpid(), 0, all-procs); err != nil {
		return func() {}, err
	}
	return func() {
		_ = pin(os.Getpid(), 0, all) // it had them before
	}, nil
}

// beside has a process on the gateway's processors.
func beside(pid, procs int) error {
	if all := runtime.NumCPU(); procs < all {
		return pin(pid, all-procs, procs)
	}
	return nil
}
