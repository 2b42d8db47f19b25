//go:build !linux

package store

import "errors"

// allocate is not there on this system.
func allocate(string, int64) error { return errors.ErrUnsupported }
