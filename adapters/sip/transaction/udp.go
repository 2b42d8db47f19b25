package transaction

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/isthmus-gateway/isthmus/internal/admission"
	"github.com/isthmus-gateway/isthmus/internal/moderation"
	"github.com/isthmus-gateway/isthmus/resolver"
)

const (
	// receiveBuffer is asked of the system for each UDP socket, in octets. The system may give less.
	receiveBuffer = 4 << 20
	// datagrams is how many datagrams one system call may read or write.
	datagrams = 64
	// writeBatch is how many datagrams one system call may write.
	writeBatch = 128
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
	gathers  atomic.Bool   // datagrams that come together may be read as one message
	errors   chan struct{} // a token when errors may wait to be read
	gone     chan struct{} // closed when it is
	out      outbox
	// writing is of who writes from out.
	writing sync.Mutex
	batch   *packetBatch
	runs    runs
	segment int // the longest datagram that goes with others; 0: none does
	free    outgoing

	serving  atomic.Bool
	mu       sync.Mutex
	retiring chan struct{} // closed when it is wanted again; nil while it is not retired
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
	s.out.wake = make(chan struct{}, 1)
	if s.batch, err = newPacketBatch(pc, local.Addr().Is4(), false); err != nil {
		pc.Close() //nolint:errcheck // the first fault counts
		return nil, err
	}
	if s.batch.segments() {
		s.segment = segmentMost
	}
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
	s.layer.tasks.Go(s.write)
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
		s.out.close()
		s.flush()
		close(s.gone)
		s.pc.Close() //nolint:errcheck // nothing to be done
	}
}

// send implements packetSender.
func (s *udpSocket) send(b []byte, pad slack, to netip.AddrPort, from netip.Addr, tx *clientTx) error {
	if !s.wildcard || from.IsUnspecified() {
		from = netip.Addr{}
	}
	if s.out.add(b, pad, to, from, tx) {
		return nil
	}
	return s.sendNow(b, to, from)
}

// write is the goroutine that writes what send has put into the outbox. Before it does it lets everybody else run who can: what they have to
// send goes with the same system call.
func (s *udpSocket) write() {
	for {
		select {
		case <-s.out.wake:
			runtime.Gosched()
			s.flush()
		case <-s.gone:
			return
		}
	}
}

// flush writes what waits in the outbox.
func (s *udpSocket) flush() {
	s.writing.Lock()
	defer s.writing.Unlock()
	for {
		all := s.out.take(s.free)
		s.free = outgoing{}
		if len(all.list) == 0 {
			s.free = all
			return
		}
		at := 0
		for i := 0; i < len(all.list); i += writeBatch {
			at = s.flushSome(all.list[i:min(i+writeBatch, len(all.list))], all.octets, at)
		}
		s.free = all.emptied()
	}
}

// flushSome writes datagrams, the octets of which begin at at, and returns where they end.
func (s *udpSocket) flushSome(list []outDatagram, octets []byte, at int) int {
	s.runs.clear()
	var starts [writeBatch]int
	for i := range list {
		d := &list[i]
		starts[i] = at
		b := octets[at:d.end]
		at = d.end
		if d.to.Addr().Zone() != "" || len(b) == 0 {
			s.lost(d, s.sendNow(b, d.to, d.from)) // the batch cannot
			continue
		}
		s.runs.add(uint8(i), b, d, s.segment)
	}
	s.batch.begin()
	for i := range s.runs.count {
		r := &s.runs.list[i]
		s.batch.message(r.to, r.from, r.size, r.count > 1)
		for n, k := 0, r.first; n < r.count; n, k = n+1, s.runs.next[k] {
			d := &list[k]
			b := octets[starts[k]:d.end]
			if missing := r.size - len(b); missing > 0 && n < r.count-1 { // the last may be shorter
				s.batch.piece(b[:d.pad.at])
				s.batch.piece(spaces[:missing])
				b = b[d.pad.at:]
			}
			s.batch.piece(b)
		}
	}
	s.flushBatch(list, octets, &starts)
	return at
}

// spaces are for datagrams that are made longer.
var spaces = bytes.Repeat([]byte{' '}, slackMost)

// flushBatch writes the runs that are in the batch.
func (s *udpSocket) flushBatch(list []outDatagram, octets []byte, starts *[writeBatch]int) {
	tries := 0
	for done := 0; done < s.runs.count; {
		n, err := s.batch.write(done, s.runs.count)
		if done += n; err == nil {
			if done < s.runs.count {
				// The system says nothing of why it took no more, and has forgotten it: of an earlier datagram, perhaps.
				s.lookForErrors()
			}
			tries = 0
			continue
		}
		if isReported(err) {
			// Of an earlier datagram, perhaps; then this one can be written.
			s.lookForErrors()
			if tries++; tries < sendTries {
				continue
			}
		}
		r := &s.runs.list[done]
		if r.count == 1 {
			s.lost(&list[r.first], err)
		} else {
			s.apart(r, list, octets, starts, err)
		}
		done, tries = done+1, 0
	}
}

// apart writes the datagrams of a run one by one: the system did not take them together.
func (s *udpSocket) apart(r *run, list []outDatagram, octets []byte, starts *[writeBatch]int, why error) {
	switch {
	case isReported(why) || s.closed.Load():
	case errors.Is(why, syscall.EINVAL): // larger than a packet of the way there
		s.segment = min(s.segment, r.size-1)
	default: // an interface that cannot
		s.segment = 0
	}
	for n, k := 0, r.first; n < r.count; n, k = n+1, s.runs.next[k] {
		d := &list[k]
		s.lost(d, s.sendNow(octets[starts[k]:d.end], d.to, d.from))
	}
}

// lost ends the transaction of a datagram that could not be written.
func (s *udpSocket) lost(d *outDatagram, err error) {
	switch {
	case err == nil:
	case d.tx != nil:
		d.tx.fail(err, true)
	default:
		s.layer.metrics.drop(dropResponse)
	}
}

// sendTries is how often a datagram is given to the system that reports an error which may be of an earlier one.
const sendTries = 3

// sendNow writes one datagram. An ICMP error for an earlier one may be reported here by the system; then it is sent once more.
func (s *udpSocket) sendNow(b []byte, to netip.AddrPort, from netip.Addr) error {
	for try := 1; ; try++ {
		var err error
		if from.IsValid() {
			_, _, err = s.pc.WriteMsgUDPAddrPort(b, sourceControl(from), to)
		} else {
			_, err = s.pc.WriteToUDPAddrPort(b, to)
		}
		if err == nil || !isReported(err) {
			return err
		}
		s.lookForErrors()
		if try == sendTries {
			return err
		}
	}
}

// sourceControl is a control message with the address that a datagram shall come from; nil for none.
func sourceControl(from netip.Addr) []byte {
	switch {
	case !from.IsValid():
		return nil
	case from.Is4():
		return (&ipv4.ControlMessage{Src: from.AsSlice()}).Marshal()
	}
	return (&ipv6.ControlMessage{Src: from.WithZone("").AsSlice()}).Marshal()
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
	batch, err := newPacketBatch(s.pc, s.local.Addr().Is4(), true)
	if err != nil {
		s.stopped(err)
		return
	}
	batch.endWith(&s.closed)
	pace := newPacer(s, batch)
	defer pace.end()
	sieve := newSieve(s)
	defer sieve.end()
	rests := moderation.NewReader()
	defer rests.Close()
	if raw, err := s.pc.SyscallConn(); err == nil {
		s.gathers.Store(gather(raw, true))
	}
	ahead := 0 // how many were taken since those who do the work had their turn
	handle := func(n int) (ready bool) {
		now, full := time.Now(), batch.full(n)
		stale := pace.read(now, n, full)
		count, here := 0, 0 // how many datagrams there are, and since those who do the work had their turn
		for i := range n {
			whole, remote, to := batch.datagram(i)
			each := batch.each(i)
			for {
				data, rest := cut(whole, each)
				if !isResponse(data) {
					// More of them, if there are, go on together: their messages to the same server with one write. What responses end goes on by itself.
					ready = true
				}
				if loud := s.deliver(now, data, remote, to, stale, pace.queue.Stand()); loud != nil {
					sieve.note(remote.Addr(), loud)
				} else {
					ahead++
				}
				count, here = count+1, here+1
				if whole = rest; len(whole) == 0 {
					break
				}
			}
			if here >= datagrams && i < n-1 {
				here, ahead = 0, 0
				pace.settle()
			}
		}
		batch.expect(n, count)
		sieve.turn()
		if full || s.layer.cfg.Admission.Active() {
			rests.ReadMore(now, count)
		} else {
			ready = rests.Read(now, count) || ready
		}
		if full || ahead >= datagrams && s.layer.cfg.Admission.Active() {
			ahead = 0
			pace.settle()
			ready = true
		}
		return ready
	}
	for {
		if err := batch.read(handle); s.stopped(err) {
			return
		}
		sieve.turn()
	}
}

// cut takes the first datagram off those that came as one message, each so long but the last; with 0 all is one.
func cut(message []byte, each int) (datagram, rest []byte) {
	if each == 0 || each >= len(message) {
		return message, nil
	}
	return message[:each:each], message[each:]
}

// stopped decides whether the socket cannot be read any more, and reports it if that is a fault.
func (s *udpSocket) stopped(err error) bool {
	if s.closed.Load() || errors.Is(err, net.ErrClosed) {
		return true
	}
	s.lookForErrors()
	if isReported(err) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) {
		return false
	}
	s.layer.log.Error().Err(err).Stringer("listener", s.local).Msg("sip udp listener ended")
	s.layer.fail(err)
	return true
}

// deliver gives one datagram that was read now to the layer, which copies it. It returns the flow of a sender one of whose requests was refused.
func (s *udpSocket) deliver(now time.Time, data []byte, remote netip.AddrPort, to netip.Addr, stale bool, stand admission.Standing) (loud *admission.Flow) {
	if !remote.IsValid() {
		return nil
	}
	if keepAlive(data) {
		s.layer.metrics.drop(dropKeepAlive)
		return nil
	}
	o := origin{at: now, udp: s, remote: remote, local: s.local, stale: stale, stand: stand}
	if s.wildcard && to.IsValid() {
		o.local = netip.AddrPortFrom(to, s.local.Port())
	}
	if !s.layer.shed(data, &o) {
		s.layer.take(data, o)
	} else if o.loud {
		return o.flow
	}
	return nil
}
