package resolver

import (
	"net"
	"net/netip"
	"slices"
)

// canRoute reports whether the host has a source address for a. Connecting a UDP socket asks the routing table and sends nothing.
func canRoute(a netip.Addr) bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 9)))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// precedence is the policy table of destination address selection that RFC 8305 §4 points to, as far as it tells public
// destinations apart: native IPv6 before IPv4, 6to4 and Teredo last.
func precedence(a netip.Addr) int {
	switch b := a.As16(); {
	case a.Is4():
		return 35
	case b[0] == 0x20 && b[1] == 0x02:
		return 30
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0:
		return 5
	case b[0]&0xfe == 0xfc:
		return 3
	}
	return 40
}

// sortAddrs orders the addresses of one host: those that can be routed first, then by precedence, otherwise as the DNS gave them;
// then the families take turns, starting with the preferred one (RFC 8305 §4, with a First Address Family Count of 1; RFC 6157 §5).
func sortAddrs(addrs []netip.Addr, route func(netip.Addr) bool) []netip.Addr {
	if len(addrs) < 2 {
		return addrs
	}
	type ranked struct {
		addr   netip.Addr
		usable bool
		prec   int
	}
	list := make([]ranked, len(addrs))
	for i, a := range addrs {
		list[i] = ranked{a, route(a), precedence(a)}
	}
	slices.SortStableFunc(list, func(x, y ranked) int {
		if x.usable != y.usable {
			if x.usable {
				return -1
			}
			return 1
		}
		return y.prec - x.prec
	})
	usable := 0
	for usable < len(list) && list[usable].usable {
		usable++
	}
	out := make([]netip.Addr, 0, len(list))
	for _, part := range [][]ranked{list[:usable], list[usable:]} {
		var turns [2][]netip.Addr
		for _, r := range part {
			i := 0
			if r.addr.Is4() != part[0].addr.Is4() {
				i = 1
			}
			turns[i] = append(turns[i], r.addr)
		}
		for i := 0; i < len(turns[0]) || i < len(turns[1]); i++ {
			for _, t := range turns {
				if i < len(t) {
					out = append(out, t[i])
				}
			}
		}
	}
	return out
}
