//go:build !linux

package heapfloor

// inHugePages does nothing where huge pages cannot be asked for.
func inHugePages(uint64, bool) {}
