//go:build !linux

package load

import (
	"net"
	"time"
)

// stampRoom is how many octets of control messages tell when a datagram came.
const stampRoom = 0

// stampArrivals does nothing: the time of reading counts.
func stampArrivals(*net.UDPConn) {}

// waited is not known.
func waited([]byte, time.Time) time.Duration { return 0 }

// yielding does nothing.
func yielding() {}
