// Package cgroup reads what the control groups of the process allow it: processors and memory (cgroups(7), Documentation/admin-guide/cgroup-v2.rst of the
// kernel). A group has no more than those above it, so the least of all that can be seen counts. It reads once: the limits that hold at the start.
package cgroup

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// System is the file system that the kernel tells these things in.
func System() fs.FS { return os.DirFS("/") }

// Processors is how many processors the process may use in the long run, which may be a part of one; ok is false if that is not limited, or not known.
func Processors(system fs.FS) (n float64, ok bool) {
	groups, v2, err := find(system, "cpu")
	if err != nil {
		return 0, false
	}
	n = math.Inf(1)
	for _, group := range groups {
		quota, period := "", ""
		if v2 {
			text, err := fs.ReadFile(system, path.Join(group, "cpu.max"))
			if err != nil {
				continue
			}
			quota, period, _ = strings.Cut(strings.TrimSpace(string(text)), " ")
		} else {
			q, err := fs.ReadFile(system, path.Join(group, "cpu.cfs_quota_us"))
			if err != nil {
				continue
			}
			p, err := fs.ReadFile(system, path.Join(group, "cpu.cfs_period_us"))
			if err != nil {
				continue
			}
			quota, period = strings.TrimSpace(string(q)), strings.TrimSpace(string(p))
		}
		q, err := strconv.ParseInt(quota, 10, 64)
		if err != nil || q <= 0 { // "max", or -1
			continue
		}
		if p, err := strconv.ParseInt(period, 10, 64); err == nil && p > 0 {
			n = min(n, float64(q)/float64(p))
		}
	}
	return n, !math.IsInf(n, 1)
}

// Memory is how many octets the process may have, math.MaxUint64 if that is not limited; ok is false if it is not known.
func Memory(system fs.FS) (octets uint64, ok bool) {
	groups, v2, err := find(system, "memory")
	if err != nil {
		return 0, false
	}
	name := "memory.limit_in_bytes"
	if v2 {
		name = "memory.max"
	}
	octets = math.MaxUint64
	for _, group := range groups {
		text, err := fs.ReadFile(system, path.Join(group, name))
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := fs.Stat(system, group); err != nil {
				return 0, false
			}
			continue // the root has none, nor has a group whose parent does not hand the memory on
		}
		if err != nil {
			return 0, false
		}
		limit := strings.TrimSpace(string(text))
		if limit == "max" {
			continue
		}
		n, err := strconv.ParseUint(limit, 10, 64)
		if err != nil {
			return 0, false
		}
		octets = min(octets, n)
	}
	return octets, true
}

var errNotFound = errors.New("no control group")

// find returns the directories of the process's group and of all above it that can be seen, where a controller has them, and whether they are of version 2. A
// controller that a hierarchy of version 1 has is none of version 2 (cgroups(7)).
func find(system fs.FS, controller string) (groups []string, v2 bool, err error) {
	own, v2, err := own(system, controller)
	if err != nil {
		return nil, false, err
	}
	text, err := fs.ReadFile(system, "proc/self/mountinfo")
	if err != nil {
		return nil, false, err
	}
	for line := range strings.Lines(string(text)) {
		root, point, ok := mount(line, controller, v2)
		if !ok {
			continue
		}
		rel, ok := below(own, root)
		if !ok {
			continue
		}
		for at := rel; ; at = path.Dir(at) {
			groups = append(groups, strings.TrimPrefix(path.Join(point, at), "/"))
			if at == "/" {
				return groups, v2, nil
			}
		}
	}
	return nil, false, errNotFound
}

// own is the path of the process's group in the hierarchy that has a controller.
func own(system fs.FS, controller string) (group string, v2 bool, err error) {
	text, err := fs.ReadFile(system, "proc/self/cgroup")
	if err != nil {
		return "", false, err
	}
	for line := range strings.Lines(string(text)) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, at, ok := strings.Cut(rest, ":")
		if !ok || !strings.HasPrefix(at, "/") {
			continue
		}
		if has(controllers, controller) {
			return at, false, nil
		}
		if id == "0" {
			group, v2 = at, true
		}
	}
	if group == "" {
		return "", false, errNotFound
	}
	return group, v2, nil
}

// mount reads a line of mountinfo (proc_pid_mountinfo(5)): which group is at which place, if it is of the hierarchy.
func mount(line, controller string, v2 bool) (root, point string, ok bool) {
	before, after, ok := strings.Cut(line, " - ")
	fields, kind := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(kind) < 3 {
		return "", "", false
	}
	if v2 && kind[0] != "cgroup2" || !v2 && (kind[0] != "cgroup" || !has(kind[2], controller)) {
		return "", "", false
	}
	return unescape(fields[3]), unescape(fields[4]), true
}

// below is the path of a group as seen from another one, which it is in.
func below(group, root string) (rel string, ok bool) {
	if root != "/" {
		if group != root && !strings.HasPrefix(group, root+"/") {
			return "", false
		}
		group = group[len(root):]
	}
	if group == "/.." || strings.HasPrefix(group, "/../") {
		return "", false // outside of what this namespace can see
	}
	return path.Join("/", group), true
}

func has(list, one string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if item == one {
			return true
		}
	}
	return false
}

// unescape reads what the kernel writes a path as: space, tab, newline and backslash are a backslash and three octal digits.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
