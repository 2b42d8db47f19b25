//go:build unix

package faults

import "syscall"

// apart puts a process into a group of its own.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
