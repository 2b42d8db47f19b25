// Package admission decides which new work a gateway takes when more comes than it can do, so that what it takes is still done in time: "The
// overload mechanism shall strive to maintain the overall useful throughput" (RFC 5390 §6). It looks at how late the process is, not at
// how much waits: for how long a socket was not read empty, how long goroutines wait for a processor, and how full the memory is. From that
// it finds the rate at which work may be taken, and divides it among those who ask, each an equal share as far as it needs one.
//
// Nothing is refused and nothing is divided while the process keeps up.
package admission
