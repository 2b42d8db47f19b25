package resolver

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// ErrForbidden is the reason of every refusal by a Guard. Errors.Is finds it in a *ForbiddenError and in what net.Dialer makes of it.
var ErrForbidden = errors.New("resolver: address is not allowed")

// ForbiddenError says which address was refused and under which entry of the registry.
type ForbiddenError struct {
	Addr   netip.Addr // invalid if the text given was no address
	Block  string     // "loopback", "private use", "NAT64" ...
	Prefix netip.Prefix
}

// Error names the address and the block.
func (e *ForbiddenError) Error() string {
	s := ErrForbidden.Error()
	if e.Addr.IsValid() {
		s += ": " + e.Addr.String()
	}
	s += " (" + e.Block
	if e.Prefix.IsValid() {
		s += ", " + e.Prefix.String()
	}
	return s + ")"
}

// Is makes errors.Is(err, ErrForbidden) true.
func (e *ForbiddenError) Is(target error) bool { return target == ErrForbidden }

// Guard refuses addresses that a stranger's DNS must not make the gateway talk to: everything in the IANA special-purpose
// registries, multicast, and IPv6 forms that carry a refused IPv4 address (NAT64, 6to4, Teredo and older ones), unless the
// configuration allows the network. The nil Guard and the zero Guard allow nothing special. A Guard does not change but by Renew and may
// be used by any goroutine.
type Guard struct {
	allow    atomic.Pointer[[]netip.Prefix]
	lowPorts []uint16
	v4, v6   []block
}

// GuardConfig is what NewGuard takes. The zero value is the strict guard.
type GuardConfig struct {
	// Allow lists networks that may be reached although a registry names them. 64:ff9b::/96 and other translated forms are
	// allowed in two steps: the prefix, and the IPv4 address inside (which passes if it is public or allowed itself).
	Allow []netip.Prefix
	// LowPorts lists the ports under 1024 that a record may name, besides 443 (direct TLS, WSS) and 80 (WS).
	LowPorts []uint16
}

// NewGuard makes a Guard. Prefixes are masked; IPv4-mapped prefixes of 96 bits and more become IPv4.
func NewGuard(c GuardConfig) *Guard {
	g := &Guard{v4: special4(), v6: special6(), lowPorts: append([]uint16(nil), c.LowPorts...)}
	var allow []netip.Prefix
	for _, p := range c.Allow {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.IsValid() {
			allow = append(allow, p.Masked())
		}
	}
	g.allow.Store(&allow)
	return g
}

// Renew has g allow the networks that next allows, from the next question on, for a configuration that was read again. Both are of NewGuard.
func (g *Guard) Renew(next *Guard) { g.allow.Store(next.allow.Load()) }

func (g *Guard) allowed(a netip.Addr) bool {
	if g == nil {
		return false
	}
	allow := g.allow.Load()
	if allow == nil {
		return false
	}
	for _, p := range *allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// AllowAddr is nil if a may be reached, else a *ForbiddenError. Use it before each send on an unconnected UDP socket, where no
// Control runs. It does not allocate for an address that it allows.
func (g *Guard) AllowAddr(a netip.Addr) error {
	if !a.IsValid() {
		return &ForbiddenError{Block: "not an address"}
	}
	if a.Zone() != "" {
		return &ForbiddenError{Addr: a, Block: "address with a zone"}
	}
	a = a.Unmap()
	if !g.allowed(a) {
		var v4, v6 []block
		if g != nil && g.v4 != nil {
			v4, v6 = g.v4, g.v6
		} else {
			v4, v6 = special4(), special6()
		}
		list := v6
		if a.Is4() {
			list = v4
		}
		for i := range list {
			if list[i].prefix.Contains(a) {
				return &ForbiddenError{Addr: a, Block: list[i].name, Prefix: list[i].prefix}
			}
		}
	}
	// Allowing the prefix of a translator is not allowing all that is behind it.
	first, second := embedded4(a)
	for _, e := range [2]netip.Addr{first, second} {
		if e.IsValid() && e != a {
			if err := g.AllowAddr(e); err != nil {
				fe := err.(*ForbiddenError) //nolint:errorlint // AllowAddr makes no other
				return &ForbiddenError{Addr: a, Block: fe.Block + " inside", Prefix: fe.Prefix}
			}
		}
	}
	return nil
}

// AllowPort reports whether a DNS record may send t to this port: 1024 and above, 443 for TLS and WSS, 80 for WS, and what the
// configuration adds. Explicit ports of the configuration do not pass here.
func (g *Guard) AllowPort(t Transport, port uint16) bool {
	switch {
	case port >= 1024, port == 443 && t.Encrypted(), port == 80 && t == WS:
		return true
	case g == nil || port == 0:
		return false
	}
	for _, p := range g.lowPorts {
		if p == port {
			return true
		}
	}
	return false
}

// Control is for net.Dialer.Control and net.ListenConfig.Control: it sees the address that the kernel is about to be given, after
// every lookup, so that a name that changes its address between check and use gains nothing. Only tcp and udp pass.
func (g *Guard) Control(network, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") && !strings.HasPrefix(network, "udp") {
		return &ForbiddenError{Block: "network " + strconv.Quote(clip(network))}
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return &ForbiddenError{Block: "not an address"}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return &ForbiddenError{Block: "not an address"}
	}
	return g.AllowAddr(a)
}

// clip cuts what came from outside to the 256 octets that a log line may hold.
func clip(s string) string {
	if len(s) > 256 {
		return s[:256]
	}
	return s
}
