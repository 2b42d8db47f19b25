package transaction

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/isthmus-gateway/isthmus/resolver"
)

const (
	// receiveBuffer is asked of the system for each UDP socket, in octets. The system may give less.
	receiveBuffer = 4 << 20
	// datagrams is how many datagrams one system call may read.
	datagrams = 16
	// maxDatagram is the largest UDP payload (RFC 3261 §18.1.1: "For UDP, this size is 65,535 bytes, including IP and UDP headers").
	maxDatagram = 65535
)

// udpSocket is one UDP listener. Requests leave from it, too, so that responses come back to where the peer may answer (RFC 3581 §3).
type udpSocket struct {
	layer    *Layer
	pc       *net.UDPConn
	local    netip.AddrPort
	via      string // host:port
	wildcard bool
	closed   atomic.Bool
	errors   chan struct{} // a token when errors may wait to be read
	gone     chan struct{} // closed when it is

	serving  atomic.Bool
	mu       sync.Mutex
	retiring chan struct{} // closed when it is wanted again; nil while it is not retired
}

// batchReader is what ipv4.PacketConn and ipv6.PacketConn have in common.
type batchReader interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
}

func (l *Layer) listenUDP(ctx context.Context, a netip.AddrPort) (*udpSocket, error) {
	lc := net.ListenConfig{Control: reportErrors}
	p, err := lc.ListenPacket(ctx, network("udp", a.Addr()), a.String())
	if err != nil {
		return nil, err
	}
	pc := p.(*net.UDPConn) // "udp4" and "udp6" give nothing else
	if err := pc.SetReadBuffer(receiveBuffer); err != nil {
		l.log.Warn().Err(err).Msg("sip udp receive buffer not enlarged")
	}
	bound := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	local := netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
	s := &udpSocket{layer: l, pc: pc, local: local, via: l.cfg.sentBy(local), wildcard: local.Addr().IsUnspecified(), errors: make(chan struct{}, 1), gone: make(chan struct{})}
	if s.wildcard {
		// RFC 3581 §4: the response "MUST be sent from the same address and port that the corresponding request was received on".
		if local.Addr().Is4() {
			err = ipv4.NewPacketConn(pc).SetControlMessage(ipv4.FlagDst, true)
		} else {
			err = ipv6.NewPacketConn(pc).SetControlMessage(ipv6.FlagDst, true)
		}
		if err != nil {
			pc.Close() //nolint:errcheck // the first fault counts
			return nil, err
		}
	}
	return s, nil
}

// socketFor returns the UDP listener that requests to an address leave from: the first one of its family that can reach it.
func (l *Layer) socketFor(to netip.Addr) packetSender {
	var other packetSender
	for _, s := range l.open.Load().udp {
		a := s.local.Addr()
		switch {
		case a.Is4() != to.Is4():
		case a.IsUnspecified() || a.IsLoopback() == to.IsLoopback():
			return s
		case other == nil:
			other = s
		}
	}
	return other
}

func (s *udpSocket) at() BoundListener { return BoundListener{resolver.UDP, s.local} }

func (s *udpSocket) serve() {
	if s.serving.Swap(true) {
		return // it was retired, and is wanted again
	}
	s.layer.tasks.Go(s.read)
	s.layer.tasks.Go(s.watchErrors)
}

// retire closes the socket when every transaction that it carries has ended; until then it is read, because what answers them comes there.
func (s *udpSocket) retire() {
	wanted := make(chan struct{})
	s.mu.Lock()
	s.retiring = wanted
	s.mu.Unlock()
	s.layer.tasks.Go(func() {
		t := time.NewTimer(s.layer.transactionLife())
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.layer.life.Done():
		case <-wanted:
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.retiring == wanted {
			s.close()
		}
	})
}

// resume takes back what retire did. False if the socket is closed, or is not retired.
func (s *udpSocket) resume() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retiring == nil || s.closed.Load() {
		return false
	}
	close(s.retiring)
	s.retiring = nil
	return true
}

// discard gives up a socket that was opened, or resumed, for a change that does not come.
func (s *udpSocket) discard() {
	if s.serving.Load() {
		s.retire()
		return
	}
	s.close()
}

func (s *udpSocket) sentBy() string { return s.via }

func (s *udpSocket) close() {
	if !s.closed.Swap(true) {
		close(s.gone)
		s.pc.Close() //nolint:errcheck // nothing to be done
	}
}

// send writes one datagram. An ICMP error for an earlier one may be reported here by the system; then it is sent once more.
func (s *udpSocket) send(b []byte, to netip.AddrPort, from netip.Addr) error {
	var control []byte
	if s.wildcard && from.IsValid() && !from.IsUnspecified() {
		if from.Is4() {
			control = (&ipv4.ControlMessage{Src: from.AsSlice()}).Marshal()
		} else {
			control = (&ipv6.ControlMessage{Src: from.WithZone("").AsSlice()}).Marshal()
		}
	}
	for try := 0; ; try++ {
		var err error
		if control == nil {
			_, err = s.pc.WriteToUDPAddrPort(b, to)
		} else {
			_, _, err = s.pc.WriteMsgUDPAddrPort(b, control, to)
		}
		if err == nil || !isReported(err) {
			return err
		}
		s.lookForErrors()
		if try == 2 {
			return err
		}
	}
}

// lookForErrors wakes watchErrors.
func (s *udpSocket) lookForErrors() {
	select {
	case s.errors <- struct{}{}:
	default:
	}
}

// watchErrors is a goroutine of its own, because who sends holds a transaction that an error may end.
func (s *udpSocket) watchErrors() {
	for {
		select {
		case <-s.errors:
			s.undelivered()
		case <-s.gone:
			return
		}
	}
}

// isReported tells errors that the system may report for an earlier datagram.
func isReported(err error) bool {
	for _, e := range [...]error{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EPROTO, syscall.EMSGSIZE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// read is the socket's goroutine.
func (s *udpSocket) read() {
	var r batchReader
	control := 0
	if s.local.Addr().Is4() {
		r, control = ipv4.NewPacketConn(s.pc), len(ipv4.NewControlMessage(ipv4.FlagDst))
	} else {
		r, control = ipv6.NewPacketConn(s.pc), len(ipv6.NewControlMessage(ipv6.FlagDst))
	}
	messages := make([]ipv4.Message, datagrams)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, maxDatagram)}
		if s.wildcard {
			messages[i].OOB = make([]byte, control)
		}
	}
	for {
		n, err := r.ReadBatch(messages, 0)
		for i := range max(n, 0) {
			s.deliver(&messages[i])
		}
		if err == nil {
			continue
		}
		if s.closed.Load() || errors.Is(err, net.ErrClosed) {
			return
		}
		s.lookForErrors()
		if !isReported(err) && !errors.Is(err, syscall.EINTR) && !errors.Is(err, syscall.ENOBUFS) && !errors.Is(err, syscall.ENOMEM) {
			s.layer.log.Error().Err(err).Stringer("listener", s.local).Msg("sip udp listener ended")
			s.layer.fail(err)
			return
		}
	}
}

// deliver copies one datagram into a buffer of its own, which the message then keeps.
func (s *udpSocket) deliver(m *ipv4.Message) {
	data := m.Buffers[0][:m.N]
	from, ok := m.Addr.(*net.UDPAddr)
	if !ok {
		return
	}
	if keepAlive(data) {
		s.layer.metrics.drop(dropKeepAlive)
		return
	}
	remote := from.AddrPort()
	o := origin{udp: s, remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()), local: s.local}
	if s.wildcard && m.NN > 0 {
		if dst := s.destination(m.OOB[:m.NN]); dst.IsValid() {
			o.local = netip.AddrPortFrom(dst, s.local.Port())
		}
	}
	b := make([]byte, len(data))
	copy(b, data)
	s.layer.receive(b, o)
}

// destination reads the address that a datagram came to.
func (s *udpSocket) destination(oob []byte) netip.Addr {
	var ip net.IP
	if s.local.Addr().Is4() {
		var cm ipv4.ControlMessage
		if cm.Parse(oob) == nil {
			ip = cm.Dst
		}
	} else {
		var cm ipv6.ControlMessage
		if cm.Parse(oob) == nil {
			ip = cm.Dst
		}
	}
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
