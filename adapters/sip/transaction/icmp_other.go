//go:build !linux

package transaction

import "syscall"

// reportErrors does nothing: only Linux tells a socket without a peer which datagram an ICMP error is for. Elsewhere such a request
// ends by its timeout.
func reportErrors(string, string, syscall.RawConn) error { return nil }

func (s *udpSocket) undelivered() {}
