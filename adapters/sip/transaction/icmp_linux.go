package transaction

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// reportErrors asks the system to keep ICMP errors of a socket together with the datagrams that caused them: a socket without a peer
// learns of none otherwise. RFC 3261 §18.4: "Host, network, port or protocol unreachable errors, or parameter problem errors SHOULD
// cause the transport layer to inform the transport user of a failure in sending."
func reportErrors(network, _ string, c syscall.RawConn) error {
	var err error
	control := c.Control(func(fd uintptr) {
		if strings.HasSuffix(network, "4") {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		}
	})
	if control != nil {
		return control
	}
	return err
}

// maxReported bounds the errors that are read at once.
const maxReported = 64

// undelivered reads the ICMP errors that wait and ends the transactions of the datagrams that did not arrive. The error carries the
// datagram itself, so the transaction is found by its branch; it is believed only if the destination is that of the transaction.
func (s *udpSocket) undelivered() {
	raw, err := s.pc.SyscallConn()
	if err != nil {
		return
	}
	data, oob := make([]byte, 2048), make([]byte, 512)
	for range maxReported {
		var n, oobn int
		var to unix.Sockaddr
		var failed error
		err := raw.Control(func(fd uintptr) {
			n, oobn, _, to, failed = unix.Recvmsg(int(fd), data, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		})
		if err != nil || failed != nil {
			return
		}
		errno, ok := extendedError(oob[:oobn])
		if !ok {
			continue
		}
		if tx := s.layer.clients.find(branchOf(data[:n])); tx != nil && addrPortOf(to) == withoutZone(tx.target) {
			tx.fail(fmt.Errorf("%w: %s: %w", ErrTransport, tx.target, errno), true)
		}
	}
}

// extendedError reads struct sock_extended_err and reports whether it is a failure of delivery. Time exceeded, source quench and
// packets that are too big are none (RFC 3261 §18.4: "SHOULD be ignored").
func extendedError(oob []byte) (syscall.Errno, bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !v4 && !v6 || len(m.Data) < 16 {
			continue
		}
		errno := syscall.Errno(binary.NativeEndian.Uint32(m.Data))
		kind := m.Data[5]
		const unreachable4, parameter4, unreachable6, parameter6 = 3, 12, 1, 4
		switch {
		case errno == syscall.EMSGSIZE:
			return 0, false
		case v4 && kind != unreachable4 && kind != parameter4 && m.Data[4] == unix.SO_EE_ORIGIN_ICMP:
			return 0, false
		case v6 && kind != unreachable6 && kind != parameter6 && m.Data[4] == unix.SO_EE_ORIGIN_ICMP6:
			return 0, false
		}
		return errno, true
	}
	return 0, false
}

// branchOf finds the branch of a request that we wrote ourselves.
func branchOf(b []byte) string {
	_, rest, ok := strings.Cut(string(b), ";branch="+wire.MagicCookie)
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, ";\r"); i >= 0 {
		return wire.MagicCookie + rest[:i]
	}
	return ""
}

func addrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func withoutZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}
