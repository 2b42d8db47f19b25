//go:build !unix

package configs

// openNonblock has no use where there are no named pipes in the file system.
const openNonblock = 0
