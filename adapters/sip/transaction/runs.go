package transaction

import (
	"bytes"
	"net/netip"
)

// Datagrams to one address that are equally long go through the system together: it is given one piece, and cuts it where the network
// begins (UDP_SEGMENT of udp(7)), so that all the way down is gone once and not once for each. Those that are nearly as long are made so,
// by spaces where any number may stand.

const (
	// segmentMost is the longest datagram that others go together with, in octets: such a one fits into a packet of nearly every network, and
	// the system cuts nothing into what does not.
	segmentMost = 1300
	// runMost is how many go together, and runOctets how many octets they have: the system takes 64, and about 64 KiB.
	runMost   = 64
	runOctets = 60 << 10
	// slackMost is the most spaces that a datagram gets.
	slackMost = 40
)

// slack is where a datagram can be made longer and by how much at most. The zero value is for one that goes alone, as it is.
type slack struct{ at, most uint16 }

// contentLength is what stands before the number in the messages that we write. RFC 3261 §7.3.1: "The formal grammar for a message-header ... allow an
// arbitrary amount of whitespace on either side of the colon".
const contentLength = "\r\nContent-Length: "

// slackOf finds the place before the value of Content-Length in a message that has body octets behind the empty line, and may have limit in all.
func slackOf(b []byte, body, limit int) slack {
	at := len(b) - body - len("\r\n\r\n")
	for at > 0 && b[at-1]-'0' < 10 {
		at--
	}
	if at < len(contentLength) || len(b) > segmentMost || !bytes.HasPrefix(b[at-len(contentLength):], []byte(contentLength)) {
		return slack{}
	}
	return slack{uint16(at), uint16(max(0, min(limit-len(b), slackMost)))}
}

// run is datagrams to one address, from one of ours, that go together. Their numbers are those of runs.next.
type run struct {
	to          netip.AddrPort
	from        netip.Addr
	first, last uint8
	count       int
	size        int // octets of the longest, which all but the last have
	most        int // octets that all can have
}

// order says what a datagram must not overtake among those to its address.
type order uint8

const (
	orderMessage  order = iota // a MESSAGE request: no other MESSAGE, and nothing of orderAll
	orderResponse              // a response: no other response, and nothing of orderAll
	orderAll                   // nothing, nor does anything overtake it: a NOTIFY stays behind the response to its SUBSCRIBE
	orders        = 2          // of which something may be newest
)

// orderOf looks at the first octets. Messages and responses are about different lengths, and each has nothing to do with the other: where both go
// to one address, runs in strict order would end with each change between them.
func orderOf(b []byte) order {
	switch {
	case bytes.HasPrefix(b, []byte("MESSAGE ")):
		return orderMessage
	case bytes.HasPrefix(b, []byte("SIP/2.0 ")):
		return orderResponse
	default:
		return orderAll
	}
}

// runs sorts up to writeBatch datagrams into runs. Those to one address stay in order, as far as order says. It is used by one goroutine at a time.
type runs struct {
	list  [writeBatch]run
	count int
	next  [writeBatch]uint8 // the datagram behind each in its run
	// newest finds the last run to an address that may be added to, for each order: 1 + its number, at the place of the address or behind.
	newest [2 * writeBatch][orders]uint8
}

func (r *runs) clear() { r.count, r.newest = 0, [2 * writeBatch][orders]uint8{} }

// add puts datagram i, which is b, behind the others to its address. most is how long one may be that goes with others.
func (r *runs) add(i uint8, b []byte, d *outDatagram, most int) {
	octets := len(b)
	newest := &r.newest[r.find(d.to, d.from)]
	reach := min(octets+int(d.pad.most), most)
	how := orderOf(b)
	var n uint8
	switch {
	case how != orderAll:
		n = newest[how]
	case newest[orderMessage] == newest[orderResponse]:
		n = newest[orderMessage] // there is none behind it
	}
	if n != 0 && d.pad.at > 0 {
		to := &r.list[n-1]
		size, reach := max(to.size, octets), min(to.most, reach)
		if size <= reach && to.count < runMost && (to.count+1)*size <= runOctets {
			to.size, to.most = size, reach
			to.count++
			r.next[to.last], to.last = i, i
			return
		}
	}
	if d.pad.at == 0 {
		reach = 0 // nothing goes with it
	}
	r.list[r.count] = run{to: d.to, from: d.from, first: i, last: i, count: 1, size: octets, most: reach}
	r.count++
	if how == orderAll {
		newest[orderMessage], newest[orderResponse] = uint8(r.count), uint8(r.count)
	} else {
		newest[how] = uint8(r.count)
	}
}

// find is the place of an address in newest.
func (r *runs) find(to netip.AddrPort, from netip.Addr) int {
	a := to.Addr().As16()
	h := uint32(to.Port())
	for _, c := range a[8:] {
		h = h*31 + uint32(c)
	}
	h *= 0x9E3779B1
	for at := int(h>>16) % len(r.newest); ; at = (at + 1) % len(r.newest) {
		n := max(r.newest[at][orderMessage], r.newest[at][orderResponse])
		if n == 0 {
			return at
		}
		if one := &r.list[n-1]; one.to == to && one.from == from {
			return at
		}
	}
}
