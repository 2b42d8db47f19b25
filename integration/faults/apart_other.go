//go:build !unix

package faults

import "syscall"

// apart does nothing where processes have no groups.
func apart() *syscall.SysProcAttr { return nil }
