package faults

import (
	"encoding/binary"
	"net"
	"strings"
	"sync/atomic"
)

// names is a DNS server that knows one name, that of the SIP side. It can be dead: then it answers nothing.
type names struct {
	host net.IP // where the SIP side is, too
	conn *net.UDPConn
	port int
	dead atomic.Bool
}

// sipName is the SIP side's name, as a question has it.
const sipName = "\x04user\x06faults\x04test\x00"

func newNames(host net.IP) (*names, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: host})
	if err != nil {
		return nil, err
	}
	n := &names{host: host, conn: conn, port: conn.LocalAddr().(*net.UDPAddr).Port}
	go n.serve()
	return n, nil
}

func (n *names) close() { n.conn.Close() }

func (n *names) serve() {
	b := make([]byte, 4096)
	for {
		size, from, err := n.conn.ReadFromUDP(b)
		if err != nil {
			return
		}
		if a := answerDNS(b[:size], n.host); a != nil && !n.dead.Load() {
			_, _ = n.conn.WriteToUDP(a, from) // lost: it is asked again
		}
	}
}

// answerDNS answers a question (RFC 1035 §4.1): an address for the name that there is, nothing for its other types, and that there is no other
// name. nil for what is no question.
func answerDNS(q []byte, host net.IP) []byte {
	const (
		head    = 12
		typeA   = 1
		inClass = 1
	)
	if len(q) < head || q[2]&0x80 != 0 || binary.BigEndian.Uint16(q[4:]) != 1 {
		return nil
	}
	end := head
	for end < len(q) && q[end] != 0 {
		end += 1 + int(q[end])
	}
	if end+5 > len(q) {
		return nil
	}
	name, kind := string(q[head:end+1]), binary.BigEndian.Uint16(q[end+1:])
	a := append([]byte{q[0], q[1], 0x80 | q[2]&0x01, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[head:end+5]...)
	switch {
	case !strings.EqualFold(name, sipName):
		a[3] |= 3 // there is no such name
	case kind == typeA:
		a[7] = 1
		a = append(a, 0xC0, head, 0, typeA, 0, inClass, 0, 0, 0, 1, 0, 4) // for a second
		a = append(a, host.To4()...)
	}
	return a
}
