//go:build !linux

package xmpp

import (
	"net"
	"time"
)

// unacknowledged knows nothing on this system.
func unacknowledged(net.Conn) (n int, ok bool) { return 0, false }

// boundSilence leaves it to TCP.
func boundSilence(net.Conn, time.Duration) {}
