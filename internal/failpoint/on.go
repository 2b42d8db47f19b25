//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
)

// variable holds where the process ends, and how many more times it passes there.
const variable = "ISTHMUS_FAILPOINT"

// Hit ends the process if this is where it is to end.
func Hit(at string) {
	name, count, _ := strings.Cut(os.Getenv(variable), ":")
	if at != name {
		return
	}
	// Two that pass at the same time may count as one: the point is passed once more then.
	if n, err := strconv.Atoi(count); err == nil && n > 1 {
		if os.Setenv(variable, name+":"+strconv.Itoa(n-1)) == nil {
			return
		}
	}
	if p, err := os.FindProcess(os.Getpid()); err == nil && p.Kill() == nil {
		select {} // nothing more of the process runs
	}
}

// Unsynced tells whether the store is not to sync (ISTHMUS_UNSYNCED=1): for a test of what finds the messages that are lost then.
func Unsynced() bool { return os.Getenv("ISTHMUS_UNSYNCED") == "1" }
