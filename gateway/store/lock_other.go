//go:build !unix

package store

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDirectory keeps other processes out of a directory as far as a file that nobody else may create does. A process that was killed
// leaves it behind; it is then to be removed by hand.
func lockDirectory(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return f, nil
}

// placeOf is where a file is on this machine's disks, which is not known here.
func placeOf(*os.File) (string, bool) { return "", false }
