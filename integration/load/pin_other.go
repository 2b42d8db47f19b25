//go:build !linux

package load

// apart does nothing here.
func apart(int, int) (func(), error) { return func() {}, nil }

// beside does nothing.
func beside(int, int) error { return nil }
