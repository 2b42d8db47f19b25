//go:build !linux

package load

// segmentControl is nil: each datagram goes alone.
func segmentControl(int) []byte { return nil }
