package cgroup

import (
	"math"
	"testing"
	"testing/fstest"
)

// files are a system with these, by their paths.
func files(texts map[string]string) fstest.MapFS {
	system := fstest.MapFS{}
	for name, text := range texts {
		system[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return system
}

const (
	mount2  = "22 27 0:21 / /proc rw,relatime - proc proc rw\n31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 master:3 - cgroup2 cgroup rw,nsdelegate\n"
	mounts1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n35 31 0:32 /docker/a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	groups1 = "5:memory:/docker/a/b\n3:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/a\n0::/docker/a\n"
)

func TestLimits(t *testing.T) {
	for name, test := range map[string]struct {
		files      map[string]string
		processors float64 // 0: not known
		memory     uint64  // 0: not known
	}{
		"nothing to read": {nil, 0, 0},
		"no mount":        {map[string]string{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": "22 27 0:21 / /proc rw - proc proc rw\n"}, 0, 0},
		"a container's own namespace": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/cpu.max": "50000 100000\n", "sys/fs/cgroup/memory.max": "268435456\n",
		}, 0.5, 256 << 20},
		"no limit": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "max\n",
		}, 0, math.MaxUint64},
		"the parent's limits": {map[string]string{
			"proc/self/cgroup": "0::/a/b/c\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/a/b/c/cpu.max": "max 100000\n", "sys/fs/cgroup/a/b/c/memory.max": "1073741824\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/cpu.max": "150000 100000\n", "sys/fs/cgroup/a/memory.max": "134217728\n",
		}, 1.5, 128 << 20},
		"memory is not handed on": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/a/b/cgroup.procs": "", "sys/fs/cgroup/a/memory.max": "134217728\n",
		}, 0, 128 << 20},
		"version 1": {map[string]string{
			"proc/self/cgroup": groups1, "proc/self/mountinfo": mounts1,
			"sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_quota_us": "25000\n", "sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/memory/b/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
		}, 0.25, 64 << 20},
		"a path with a space": {map[string]string{
			"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": "31 23 0:28 / /sys/my\\040groups rw - cgroup2 cgroup rw\n",
			"sys/my groups/a/cpu.max": "200000 100000\n", "sys/my groups/a/memory.max": "max\n",
		}, 2, math.MaxUint64},
		"outside of what can be seen": {map[string]string{
			"proc/self/cgroup": "0::/../../init\n", "proc/self/mountinfo": mount2, "sys/fs/cgroup/memory.max": "1\n", "sys/fs/cgroup/cpu.max": "1 1\n",
		}, 0, 0},
		"no number": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mount2, "sys/fs/cgroup/cpu.max": "much 100000\n", "sys/fs/cgroup/memory.max": "much\n",
		}, 0, 0},
		"no period": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mount2, "sys/fs/cgroup/cpu.max": "1000 0\n",
		}, 0, math.MaxUint64},
		"the group is not there": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": mount2, "sys/fs/cgroup/memory.max": "max\n",
		}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n, known := Processors(files(test.files))
			if known != (test.processors > 0) || known && n != test.processors {
				t.Errorf("%v processors, %v; should be %v", n, known, test.processors)
			}
			octets, known := Memory(files(test.files))
			if known != (test.memory > 0) || octets != test.memory {
				t.Errorf("%d octets, %v; should be %d", octets, known, test.memory)
			}
		})
	}
}

// What the system of this machine says can be read, or is not known: it does not fail otherwise.
func TestSystem(t *testing.T) {
	if n, ok := Processors(System()); ok && n <= 0 {
		t.Errorf("%v processors", n)
	}
	if octets, ok := Memory(System()); ok && octets < 1<<20 {
		t.Errorf("%d octets", octets)
	}
}
