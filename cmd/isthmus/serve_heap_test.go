package main

import (
	"testing"
	"testing/fstest"

	"github.com/isthmus-gateway/isthmus/internal/heapfloor"
)

// Nothing is taken at the start that a container has not: the kernel would end the process.
func TestTheHeapFitsItsContainer(t *testing.T) {
	const mib = 1 << 20
	for name, test := range map[string]struct {
		memory uint64
		group  string // "": cannot be read
		floor  uint64
		touch  bool
	}{
		"room":                   {2048 * mib, "max", heapfloor.Octets, true},
		"a container with room":  {2048 * mib, "1073741824", heapfloor.Octets, true},
		"a small container":      {2048 * mib, "134217728", 64 * mib, false},
		"a little less than it":  {2048 * mib, "1073741823", heapfloor.Octets, false},
		"little is configured":   {160 * mib, "max", 80 * mib, false},
		"nobody says how much":   {2048 * mib, "", heapfloor.Octets, false},
		"what is said is no sum": {2048 * mib, "much", heapfloor.Octets, false},
	} {
		t.Run(name, func(t *testing.T) {
			system := fstest.MapFS{}
			if test.group != "" {
				for path, text := range map[string]string{
					"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "sys/fs/cgroup/memory.max": test.group + "\n",
				} {
					system[path] = &fstest.MapFile{Data: []byte(text)}
				}
			}
			if floor, touch := heapOf(test.memory, system); floor != test.floor || touch != test.touch {
				t.Errorf("a heap of %d MiB, taken %v; should be %d, %v", floor/mib, touch, test.floor/mib, test.touch)
			}
		})
	}
}
