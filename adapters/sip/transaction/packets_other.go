//go:build !linux

package transaction

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

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
		b.queue = make([]packetOut, 0, writeBatch)
	}
	return b, nil
}

// read gives datagrams to handle as they come, one each time, until it has a fault to return.
func (b *packetBatch) read(handle func(n int) (ready bool)) (err error) {
	for {
		if b.n, b.noob, _, b.from, err = b.pc.ReadMsgUDPAddrPort(b.in, b.oob); err != nil {
			return err
		}
		handle(1)
	}
}

// endWith does nothing: each reading finds out that the socket is closed.
func (b *packetBatch) endWith(*atomic.Bool) {}

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

// drains reports that a reading says nothing of what is left: it is of one datagram.
func (b *packetBatch) drains() bool { return false }

// segments reports that no message becomes several datagrams.
func (b *packetBatch) segments() bool { return false }

func (b *packetBatch) begin() { b.queue = b.queue[:0] }

func (b *packetBatch) message(to netip.AddrPort, from netip.Addr, _ int, _ bool) {
	b.queue = append(b.queue, packetOut{to: to, from: from})
}

func (b *packetBatch) piece(octets []byte) { b.queue[len(b.queue)-1].octets = octets }

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

func (b *packetBatch) came(int) time.Time { return time.Time{} }

func stamp(syscall.RawConn, bool) {}

func (b *packetBatch) each(int) int { return 0 }

func (b *packetBatch) full(int) bool { return false }

func (b *packetBatch) expect(int, int) {}

// gather reports that the system does not give several datagrams as one message.
func gather(syscall.RawConn, bool) bool { return false }
