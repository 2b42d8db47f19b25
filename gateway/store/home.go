package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Housed is a store in a directory that one process at a time can have open.
type Housed interface {
	// Home names that directory and the run of the system that it is open in; "" if there is none, or it cannot be told. Whoever has a store of the
	// same Home open knows that every process that had it before has ended: its lock was let go of.
	Home() string
}

var identity = regexp.MustCompile(`^[0-9a-f]{32}\n$`)

// homeOf is the Home of a directory whose lock is held. The lock's file holds a random name, made with it: a directory that was deleted and made anew is
// another one, though it may have the same place on the disk. A copy of a directory has another place, and on another machine, or after a start of
// this one, the system's run is another: there the lock proves nothing of who has the first.
func homeOf(lock *os.File) string {
	run, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	place, ok := placeOf(lock)
	if !ok {
		return ""
	}
	var b [64]byte
	n, _ := lock.ReadAt(b[:], 0) // it ends before
	name := string(b[:n])
	if !identity.MatchString(name) {
		var random [16]byte
		rand.Read(random[:]) //nolint:errcheck // it never fails
		name = hex.EncodeToString(random[:]) + "\n"
		if err := lock.Truncate(0); err != nil {
			return ""
		}
		if _, err := lock.WriteAt([]byte(name), 0); err != nil {
			return ""
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s", strings.TrimSpace(string(run)), place, name))
	return hex.EncodeToString(sum[:16])
}

// Home implements Housed.
func (s *Store) Home() string { return s.home }
