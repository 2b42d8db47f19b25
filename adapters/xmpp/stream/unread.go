package stream

import "net"

// unreadMost is how many octets of a stream that is not read the system is asked to hold; the rest stays with who sends. A system left to itself
// holds tens of megabytes for a fast sender, and what acknowledges our own stanzas stands behind all of it.
const unreadMost = 128 << 10

// boundUnread sets that for a connection of TCP. Where the system refuses it, it holds what it likes.
func boundUnread(conn net.Conn) {
	if c, ok := conn.(interface{ SetReadBuffer(octets int) error }); ok {
		c.SetReadBuffer(unreadMost) //nolint:errcheck // see above
	}
}
