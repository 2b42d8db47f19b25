package load

import (
	"net"
	"net/netip"
)

// output is datagrams of one size that leave together. They are given to the system in one piece where it cuts that (UDP_SEGMENT of udp(7)), so that one
// processor can send several times as much as the gateway can take.
type output struct {
	conn    *net.UDPConn
	to      netip.AddrPort
	size    int
	octets  []byte
	control []byte // asks for the cutting; nil: each goes alone
}

func newOutput(conn *net.UDPConn, to netip.AddrPort, size int) *output {
	return &output{conn: conn, to: to, size: size, control: segmentControl(size)}
}

// full tells whether it must be flushed before more is added.
func (o *output) full() bool {
	return len(o.octets) >= batchSize*o.size || len(o.octets)+o.size > batchOctets
}

// flush sends what is there. What the kernel refuses is lost, as on any network.
func (o *output) flush() {
	if len(o.octets) > o.size && o.control != nil {
		if _, _, err := o.conn.WriteMsgUDPAddrPort(o.octets, o.control, o.to); err == nil {
			o.octets = o.octets[:0]
			return
		}
	}
	for at := 0; at < len(o.octets); at += o.size {
		_, _ = o.conn.WriteToUDPAddrPort(o.octets[at:at+o.size], o.to)
	}
	o.octets = o.octets[:0]
}
