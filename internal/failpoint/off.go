//go:build !failpoints

package failpoint

// Hit does nothing in this build.
func Hit(string) {}

// Unsynced is false in this build.
func Unsynced() bool { return false }
