package transaction

import (
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2): a message and how many octets it has.
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// controlRoom is room for the control messages that say to or from which address of ours a datagram goes, and when it came.
const controlRoom = 128

// packetBatch is what one system call reads or writes: messages, each with its addresses. It is used by one goroutine at a
// time, and nothing in it is allocated once it is made.
type packetBatch struct {
	raw     syscall.RawConn
	v4      bool
	headers []mmsghdr
	vectors []unix.Iovec
	names   []unix.RawSockaddrInet6 // or RawSockaddrInet4, which is shorter
	control [][controlRoom]byte
	buffers [][]byte // of a reader
	count   int      // messages of a writer
	pieces  int      // vectors of a writer that are in use

	// What the call of now does; call is made once, so that it costs no allocation.
	call    func(fd uintptr) bool
	take    func(fd uintptr) bool // of a reader
	handle  func(n int) (ready bool)
	closed  *atomic.Bool // whether the socket is; nil: nobody says
	number  uintptr      // of the system call
	first   int
	last    int
	done    int
	failure syscall.Errno
}

// newPacketBatch is for a socket. A reader's has buffers.
func newPacketBatch(pc *net.UDPConn, v4, reads bool) (*packetBatch, error) {
	raw, err := pc.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &packetBatch{raw: raw, v4: v4, number: unix.SYS_SENDMMSG}
	b.call = b.system
	messages, pieces := writeBatch, 3*writeBatch
	if reads {
		messages, pieces = datagrams, datagrams
	}
	b.headers, b.vectors = make([]mmsghdr, messages), make([]unix.Iovec, pieces)
	b.names, b.control = make([]unix.RawSockaddrInet6, messages), make([][controlRoom]byte, messages)
	if reads {
		b.number = unix.SYS_RECVMMSG
		b.buffers = make([][]byte, datagrams)
		for i := range b.buffers {
			b.buffers[i] = make([]byte, maxDatagram)
			b.set(i, b.buffers[i])
			h := &b.headers[i]
			h.Namelen = unix.SizeofSockaddrInet6
			h.Control = &b.control[i][0]
			h.SetControllen(controlRoom)
		}
		b.take, b.last = b.receive, len(b.buffers)
	}
	return b, nil
}

// system makes the system call. It reports false if the socket is not ready. It does not wait, so Go's scheduler is not told: else the
// processor would be given to another thread, and wanted back, for each batch.
func (b *packetBatch) system(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall6(b.number, fd, uintptr(unsafe.Pointer(&b.headers[b.first])), uintptr(b.last-b.first), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			return false
		}
		if b.failure = errno; errno == 0 {
			b.done = int(n)
		}
		return true
	}
}

// set points message i at octets.
func (b *packetBatch) set(i int, octets []byte) {
	h, v := &b.headers[i], &b.vectors[i]
	v.Base = unsafe.SliceData(octets)
	v.SetLen(len(octets))
	h.Iov = v
	h.SetIovlen(1)
	h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
}

// read gives datagrams to handle as they come, how many there are each time, until it has a fault to return. handle tells whether to look for more at
// once, as it should where it knows that there are some: else the socket, if it was left empty, is not read until the poller says that something has come.
//
// That is one system call less for each time that it is left empty. It is safe because handle is called from within the wait: what comes after the
// socket was read is told to that wait, and to no later one which would forget it.
func (b *packetBatch) read(handle func(n int) (ready bool)) error {
	b.handle, b.failure = handle, 0
	if err := b.raw.Read(b.take); err != nil {
		return err
	}
	return b.failure
}

// endWith has reading end soon after closed is set, which is to be before the socket is closed.
func (b *packetBatch) endWith(closed *atomic.Bool) { b.closed = closed }

// receive reads and hands on until the socket is empty, and then reports false; true with a fault. Of a socket that is closed it reads no more: who closes it
// waits until nobody uses it, which might never be where more comes all the time.
func (b *packetBatch) receive(fd uintptr) bool {
	for {
		for i := range b.done { // the system has written into those
			h := &b.headers[i]
			h.Namelen = unix.SizeofSockaddrInet6
			h.SetControllen(controlRoom)
		}
		b.done = 0
		if !b.system(fd) {
			return false
		}
		if b.failure != 0 {
			return true
		}
		full := b.full(b.done)
		ready := b.handle(b.done)
		if !ready && !full || b.closed != nil && b.closed.Load() {
			return false
		}
	}
}

// datagram is message i that was read: its octets, who sent it, and the address of ours that it came to, if the socket tells that. The
// octets are valid until the next read. from is not valid if the system did not say who that is.
func (b *packetBatch) datagram(i int) (octets []byte, from netip.AddrPort, to netip.Addr) {
	h := &b.headers[i]
	return b.buffers[i][:min(int(h.n), maxDatagram)], b.sender(i), b.arrived(b.control[i][:min(uint64(h.Controllen), controlRoom)])
}

// each is how long each of the datagrams is that message i was made of by the system, because they came together (UDP_GRO of udp(7)); the last may be shorter. 0: it is one.
func (b *packetBatch) each(i int) int {
	control := b.control[i][:min(uint64(b.headers[i].Controllen), controlRoom)]
	if data := controlData(control, unix.SOL_UDP, unix.UDP_GRO, 4); data != nil {
		return max(0, int(*(*int32)(unsafe.Pointer(&data[0]))))
	}
	return 0
}

// full reports whether a reading of so many messages may have left some.
func (b *packetBatch) full(messages int) bool { return messages >= b.last }

// expect has the next reading ask for about as many datagrams as there is room for messages, where so many messages had so many datagrams.
func (b *packetBatch) expect(messages, count int) {
	if messages > 0 {
		b.last = max(2, min(datagrams, datagrams*messages/count))
	}
}

// gather has the system give datagrams that came together as one message, or no longer. It reports whether it can (since Linux 5.0).
func gather(raw syscall.RawConn, on bool) (ok bool) {
	value := 0
	if on {
		value = 1
	}
	err := raw.Control(func(fd uintptr) { ok = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, value) == nil })
	return ok && err == nil
}

func (b *packetBatch) sender(i int) netip.AddrPort {
	switch sa := &b.names[i]; sa.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port(&v4.Port))
	case unix.AF_INET6:
		a := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 && a.Is6() {
			zone := strconv.FormatUint(uint64(sa.Scope_id), 10)
			if one, err := net.InterfaceByIndex(int(sa.Scope_id)); err == nil {
				zone = one.Name
			}
			a = a.WithZone(zone)
		}
		return netip.AddrPortFrom(a, port(&sa.Port))
	}
	return netip.AddrPort{}
}

// port reads a port, which is in network order.
func port(p *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(p))
	return uint16(b[0])<<8 | uint16(b[1])
}

func setPort(p *uint16, n uint16) {
	b := (*[2]byte)(unsafe.Pointer(p))
	b[0], b[1] = byte(n>>8), byte(n)
}

// arrived finds the address in a control message of IP_PKTINFO or IPV6_PKTINFO.
func (b *packetBatch) arrived(control []byte) netip.Addr {
	if b.v4 {
		if data := controlData(control, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo); data != nil {
			return netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Addr)
		}
	} else if data := controlData(control, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo); data != nil {
		return netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0])).Addr).Unmap()
	}
	return netip.Addr{}
}

// controlData is what the control message of a kind has, at least size octets; nil if there is none.
func controlData(control []byte, level, kind int32, size int) []byte {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		end := uint64(h.Len)
		if end < uint64(unix.CmsgLen(0)) || end > uint64(len(control)) {
			return nil
		}
		data := control[unix.CmsgLen(0):end]
		if h.Level == level && h.Type == kind && len(data) >= size {
			return data
		}
		control = control[min(unix.CmsgSpace(len(data)), len(control)):]
	}
	return nil
}

// came is when the system received message i, if stamp has it tell; else the zero Time.
func (b *packetBatch) came(i int) time.Time {
	control := b.control[i][:min(uint64(b.headers[i].Controllen), controlRoom)]
	data := controlData(control, unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, int(unsafe.Sizeof(unix.Timespec{})))
	if data == nil {
		return time.Time{}
	}
	return time.Unix((*unix.Timespec)(unsafe.Pointer(&data[0])).Unix())
}

// stamp has the system note when each datagram comes, or no longer.
func stamp(raw syscall.RawConn, on bool) {
	value := 0
	if on {
		value = 1
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, value) // without it ages are not known, which came tells
	})
}

// drains reports that a reading of fewer datagrams than there is room for has left none.
func (b *packetBatch) drains() bool { return true }

// segments reports whether the system can cut a message into datagrams (UDP_SEGMENT, since Linux 4.18).
func (b *packetBatch) segments() bool {
	var err error
	if b.raw.Control(func(fd uintptr) { _, err = unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT) }) != nil {
		return false
	}
	return err == nil
}

// begin empties the batch of a writer.
func (b *packetBatch) begin() { b.count, b.pieces = 0, 0 }

// message begins a message to an address without a zone. If it is several datagrams all but the last have size octets. There is room for
// writeBatch messages.
func (b *packetBatch) message(to netip.AddrPort, from netip.Addr, size int, several bool) {
	addr, i := to.Addr(), b.count
	b.count++
	h := &b.headers[i]
	h.Iov = &b.vectors[b.pieces]
	h.SetIovlen(0)
	h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	if b.v4 {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&b.names[i]))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.Unmap().As4()}
		setPort(&sa.Port, to.Port())
		h.Namelen = unix.SizeofSockaddrInet4
	} else {
		b.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr.As16()}
		setPort(&b.names[i].Port, to.Port())
		h.Namelen = unix.SizeofSockaddrInet6
	}
	h.Control = nil
	h.SetControllen(0)
	if !from.IsValid() && !several {
		return
	}
	c := &b.control[i]
	*c = [controlRoom]byte{}
	h.Control = &c[0]
	n := 0
	if from.IsValid() {
		n = b.source(c[:], from)
	}
	if several {
		cm := (*unix.Cmsghdr)(unsafe.Pointer(&c[n]))
		cm.Level, cm.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		cm.SetLen(unix.CmsgLen(2))
		*(*uint16)(unsafe.Pointer(&c[n+unix.CmsgLen(0)])) = uint16(size)
		n += unix.CmsgSpace(2)
	}
	h.SetControllen(n)
}

// source writes the control message that a datagram leaves from an address, and returns how long it is.
func (b *packetBatch) source(c []byte, from netip.Addr) int {
	cm := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
	if b.v4 {
		cm.Level, cm.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		cm.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		(*unix.Inet4Pktinfo)(unsafe.Pointer(&c[unix.CmsgLen(0)])).Spec_dst = from.Unmap().As4()
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	}
	cm.Level, cm.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	cm.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	(*unix.Inet6Pktinfo)(unsafe.Pointer(&c[unix.CmsgLen(0)])).Addr = from.WithZone("").As16()
	return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
}

// piece adds octets to the message that was begun last: three for each datagram at most. They are not empty.
func (b *packetBatch) piece(octets []byte) {
	v := &b.vectors[b.pieces]
	b.pieces++
	v.Base = unsafe.SliceData(octets)
	v.SetLen(len(octets))
	b.headers[b.count-1].Iovlen++
}

// write gives messages first to last-1 to the system and returns how many it took. An error is of the first one, or of an earlier datagram.
func (b *packetBatch) write(first, last int) (int, error) {
	b.first, b.last, b.done = first, last, 0
	if err := b.raw.Write(b.call); err != nil {
		return 0, err
	}
	if b.failure != 0 {
		return 0, b.failure
	}
	return b.done, nil
}
