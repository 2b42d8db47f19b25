//go:build !linux

package faults

import (
	"fmt"
	"os"
)

// Guest is the first process of a virtual machine, which runs Linux.
func Guest() {
	fmt.Fprintln(os.Stderr, "this is the first process of the virtual machine that `isthmus faults --os-crash` starts, and nothing else")
	os.Exit(2)
}
