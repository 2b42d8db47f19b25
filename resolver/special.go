package resolver

import "net/netip"

// block is one line of the IANA special-purpose address registries, or of the ranges that those registries leave to others
// (multicast, reserved, deprecated forms that carry an IPv4 address inside).
type block struct {
	prefix netip.Prefix
	name   string
}

func blocks(lines ...[2]string) []block {
	bs := make([]block, len(lines))
	for i, l := range lines {
		bs[i] = block{netip.MustParsePrefix(l[0]), l[1]}
	}
	return bs
}

// special4 is the IANA IPv4 Special-Purpose Address Registry (RFC 6890 §2.2.2 and its later entries), whole: also the entries
// that are "globally reachable", because none of them is where a messaging server lives. Multicast follows. Order is that of
// decision: the narrower block comes first, so that the reason given is the precise one.
func special4() []block {
	return blocks(
		[2]string{"0.0.0.0/32", "this host"},
		[2]string{"0.0.0.0/8", "this network"},
		[2]string{"10.0.0.0/8", "private use"},
		[2]string{"100.64.0.0/10", "shared address space"},
		[2]string{"127.0.0.0/8", "loopback"},
		[2]string{"169.254.0.0/16", "link-local"},
		[2]string{"172.16.0.0/12", "private use"},
		[2]string{"192.0.0.0/29", "IPv4 service continuity"},
		[2]string{"192.0.0.8/32", "IPv4 dummy address"},
		[2]string{"192.0.0.9/32", "port control protocol anycast"},
		[2]string{"192.0.0.10/32", "TURN anycast"},
		[2]string{"192.0.0.170/31", "NAT64 discovery"},
		[2]string{"192.0.0.0/24", "IETF protocol assignments"},
		[2]string{"192.0.2.0/24", "documentation"},
		[2]string{"192.31.196.0/24", "AS112"},
		[2]string{"192.52.193.0/24", "AMT"},
		[2]string{"192.88.99.0/24", "6to4 relay anycast"},
		[2]string{"192.168.0.0/16", "private use"},
		[2]string{"192.175.48.0/24", "AS112"},
		[2]string{"198.18.0.0/15", "benchmarking"},
		[2]string{"198.51.100.0/24", "documentation"},
		[2]string{"203.0.113.0/24", "documentation"},
		[2]string{"224.0.0.0/4", "multicast"},
		[2]string{"255.255.255.255/32", "limited broadcast"},
		[2]string{"240.0.0.0/4", "reserved"},
	)
}

// special6 is the IANA IPv6 Special-Purpose Address Registry (RFC 6890 §2.2.3 and its later entries), with multicast, deprecated
// ranges and, last, everything outside of 2000::/3, from which IANA has assigned no unicast address.
func special6() []block {
	return blocks(
		[2]string{"::1/128", "loopback"},
		[2]string{"::/128", "unspecified"},
		[2]string{"::ffff:0:0/96", "IPv4-mapped"},
		[2]string{"::ffff:0:0:0/96", "IPv4-translated"},
		[2]string{"::/96", "IPv4-compatible"},
		[2]string{"64:ff9b::/96", "NAT64"},
		[2]string{"64:ff9b:1::/48", "local NAT64"},
		[2]string{"100::/64", "discard-only"},
		[2]string{"100:0:0:1::/64", "dummy prefix"},
		[2]string{"2001::/32", "Teredo"},
		[2]string{"2001:1::1/128", "port control protocol anycast"},
		[2]string{"2001:1::2/128", "TURN anycast"},
		[2]string{"2001:1::3/128", "DNS-SD SRP anycast"},
		[2]string{"2001:2::/48", "benchmarking"},
		[2]string{"2001:3::/32", "AMT"},
		[2]string{"2001:4:112::/48", "AS112"},
		[2]string{"2001:10::/28", "ORCHID"},
		[2]string{"2001:20::/28", "ORCHIDv2"},
		[2]string{"2001:30::/28", "drone remote identification"},
		[2]string{"2001::/23", "IETF protocol assignments"},
		[2]string{"2001:db8::/32", "documentation"},
		[2]string{"2002::/16", "6to4"},
		[2]string{"2620:4f:8000::/48", "AS112"},
		[2]string{"3fff::/20", "documentation"},
		[2]string{"3ffe::/16", "6bone (returned)"},
		[2]string{"5f00::/16", "segment routing"},
		[2]string{"fc00::/7", "unique local"},
		[2]string{"fe80::/10", "link-local"},
		[2]string{"fec0::/10", "site-local (deprecated)"},
		[2]string{"ff00::/8", "multicast"},
		[2]string{"::/3", "not assigned for unicast"},
		[2]string{"4000::/2", "not assigned for unicast"},
		[2]string{"8000::/1", "not assigned for unicast"},
	)
}

// embedded4 finds the IPv4 addresses that a packet to a would reach, or be answered by, through a translator or tunnel: NAT64
// (RFC 6052, the /96 form), 6to4, Teredo (server, and the client in its inverted form), IPv4-mapped, -translated and -compatible
// forms, and ISATAP interface identifiers under any prefix. At most two; invalid where there are none.
func embedded4(a netip.Addr) (first, second netip.Addr) {
	if !a.Is6() || a.Is4In6() {
		return netip.Addr{}, netip.Addr{}
	}
	b := a.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	has := func(p ...byte) bool { return string(b[:len(p)]) == string(p) }
	switch {
	case has(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0), has(0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0):
		return at(12), netip.Addr{}
	case has(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) && a.Compare(netip.IPv6Unspecified().Next()) > 0:
		return at(12), netip.Addr{}
	case has(0x20, 0x02):
		return at(2), netip.Addr{}
	case has(0x20, 0x01, 0, 0):
		for i := 12; i < 16; i++ {
			b[i] ^= 0xff
		}
		return at(4), at(12)
	case b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe:
		return at(12), netip.Addr{}
	}
	return netip.Addr{}, netip.Addr{}
}
