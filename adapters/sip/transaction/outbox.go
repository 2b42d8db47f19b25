package transaction

import (
	"net/netip"
	"sync"
)

// outboxRoom is how many octets may wait for a UDP socket. What comes when it is full is written at once, by who brings it.
const outboxRoom = 1 << 20

// outbox is what waits to be written to a UDP socket. Who writes it takes all at once, so that what comes together goes with one
// system call; the more there is to do, the more comes together. Safe for use from many goroutines.
type outbox struct {
	wake chan struct{} // a token when there is something

	mu      sync.Mutex
	waiting outgoing
	closed  bool
}

// outgoing is datagrams in order. Their octets stand behind each other.
type outgoing struct {
	octets []byte
	list   []outDatagram
}

// outDatagram is one datagram.
type outDatagram struct {
	end  int // of its octets
	to   netip.AddrPort
	from netip.Addr
	pad  slack
	tx   *clientTx // whose request it is; nil for a response
}

// add takes a copy of the octets, and reports false if there is no room.
func (o *outbox) add(b []byte, pad slack, to netip.AddrPort, from netip.Addr, tx *clientTx) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := &o.waiting
	if o.closed || len(w.octets)+len(b) > outboxRoom {
		return false
	}
	w.octets = append(w.octets, b...)
	w.list = append(w.list, outDatagram{len(w.octets), to, from, pad, tx})
	if len(w.list) == 1 {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// take exchanges what waits for free, which is empty.
func (o *outbox) take(free outgoing) outgoing {
	o.mu.Lock()
	defer o.mu.Unlock()
	got := o.waiting
	o.waiting = free
	return got
}

// close lets nothing more in.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}

// emptied is g without its datagrams, to be used again.
func (g outgoing) emptied() outgoing {
	clear(g.list)
	return outgoing{g.octets[:0], g.list[:0]}
}
