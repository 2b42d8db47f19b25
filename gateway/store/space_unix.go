//go:build unix

package store

import "syscall"

// space is how much room a directory's disk has and how much there is in all, in octets; ok is false if that is not known.
func space(dir string) (free, all uint64, ok bool) {
	var f syscall.Statfs_t
	if syscall.Statfs(dir, &f) != nil {
		return 0, 0, false
	}
	return uint64(f.Bavail) * uint64(f.Bsize), uint64(f.Blocks) * uint64(f.Bsize), true
}
