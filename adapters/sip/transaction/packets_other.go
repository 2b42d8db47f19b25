//go:build !linux

package transaction

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// packetBatch reads and writes one datagram with each system call, where there is none for several.
type packetBatch struct {
	pc    *net.UDPConn
	v4    bool
	queue []packetOut
	in    []byte
	oob   []byte
	n     int
	noob  int
	from  netip.AddrPort
}

type packetOut struct {
	octets []byte
	to     netip.AddrPort
	from   netip.Addr
}

func newPacketBatch(pc *net.UDPConn, v4, reads bool) (*packetBatch, error) {
	b := &packetBatch{pc: pc, v4: v4}
	if reads {
		b.in, b.oob = make([]byte, maxDatagram), make([]byte, 128)
	} else {
		b.queue = make([]packetOut, datagrams)
	}
	return b, nil
}

func (b *packetBatch) read() (n int, err error) {
	if b.n, b.noob, _, b.from, err = b.pc.ReadMsgUDPAddrPort(b.in, b.oob); err != nil {
		return 0, err
	}
	return 1, nil
}

func (b *packetBatch) datagram(int) (octets []byte, from netip.AddrPort, to netip.Addr) {
	var ip net.IP
	if b.v4 {
		var cm ipv4.ControlMessage
		if cm.Parse(b.oob[:b.noob]) == nil {
			ip = cm.Dst
		}
	} else {
		var cm ipv6.ControlMessage
		if cm.Parse(b.oob[:b.noob]) == nil {
			ip = cm.Dst
		}
	}
	to, _ = netip.AddrFromSlice(ip)
	return b.in[:b.n], netip.AddrPortFrom(b.from.Addr().Unmap(), b.from.Port()), to.Unmap()
}

func (b *packetBatch) put(i int, octets []byte, to netip.AddrPort, from netip.Addr) bool {
	b.queue[i] = packetOut{octets, to, from}
	return true
}

func (b *packetBatch) write(first, last int) (int, error) {
	if first >= last {
		return 0, errors.New("transaction: nothing to write")
	}
	p := &b.queue[first]
	if _, _, err := b.pc.WriteMsgUDPAddrPort(p.octets, sourceControl(p.from), p.to); err != nil {
		return 0, err
	}
	return 1, nil
}
