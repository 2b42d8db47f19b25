package resolver

import (
	"net/netip"
	"strconv"
	"strings"
)

// Protocol is the messaging protocol spoken to a next hop. The zero value is no protocol.
type Protocol uint8

// The protocols that a next hop may speak.
const (
	SIP  Protocol = iota + 1 // SIP SIMPLE (RFC 3261, RFC 3428)
	XMPP                     // XMPP server-to-server or component (RFC 6120, XEP-0114)
)

var protocolNames = [...]string{SIP: "sip", XMPP: "xmpp"}

// String is "sip" or "xmpp", and "none" for the zero value.
func (p Protocol) String() string {
	if int(p) < len(protocolNames) && p != 0 {
		return protocolNames[p]
	}
	return "none"
}

// MarshalText writes String, so that a Protocol is readable in JSON.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Transport is how octets reach a next hop. The zero value is no transport.
//
// For SIP: UDP, TCP, TLS, WS and WSS. For XMPP: TCP (STARTTLS is then negotiated, RFC 6120 §5), TLS (direct, XEP-0368) and
// Component (XEP-0114 over plain TCP).
type Transport uint8

// The transports. Which go with which Protocol is said at Transport.
const (
	UDP Transport = iota + 1
	TCP
	TLS
	WS
	WSS
	Component
)

var transportNames = [...]string{UDP: "udp", TCP: "tcp", TLS: "tls", WS: "ws", WSS: "wss", Component: "component"}

// String is the transport's name in lower case, and "none" for the zero value.
func (t Transport) String() string {
	if int(t) < len(transportNames) && t != 0 {
		return transportNames[t]
	}
	return "none"
}

// MarshalText writes String, so that a Transport is readable in JSON.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Reliable reports whether t is a connection (everything but UDP).
func (t Transport) Reliable() bool { return t > UDP && t <= Component }

// Encrypted reports whether the first octet sent on t already belongs to a TLS handshake. It is false for XMPP over TCP, where
// STARTTLS follows.
func (t Transport) Encrypted() bool { return t == TLS || t == WSS }

// validFor reports whether protocol p can be spoken over t.
func (t Transport) validFor(p Protocol) bool {
	switch p {
	case SIP:
		return t >= UDP && t <= WSS
	case XMPP:
		return t == TCP || t == TLS || t == Component
	}
	return false
}

// parseTransport knows the names of Transport.String, in any case.
func parseTransport(s string) (Transport, bool) {
	for t := UDP; int(t) < len(transportNames); t++ {
		if strings.EqualFold(transportNames[t], s) {
			return t, true
		}
	}
	return 0, false
}

// Target is one next hop: how to reach it, and under which name its certificate must be checked. Targets are made by a Resolver,
// by a Static or by NewTarget, are valid when they exist, and compare with ==. The zero value is no target.
type Target struct {
	protocol   Protocol
	transport  Transport
	secure     bool
	tlsa       TLSAStatus
	host       string
	serverName string
	addr       netip.AddrPort
	tlsaWire   string // packed TLSA records; see packTLSA
}

// TargetSpec is what NewTarget makes a Target from.
type TargetSpec struct {
	Protocol   Protocol
	Transport  Transport
	Host       string         // name of the server or text of its address; empty means Addr's text
	Addr       netip.AddrPort // must be valid, with a port
	ServerName string         // the reference identity: an A-label domain or empty (then no certificate can be checked)
}

// NewTarget makes a Target that did not come from DNS, for adapters' tests and for connections whose address is already known.
// It fails with a *SyntaxError if a field is missing or the transport does not carry the protocol.
func NewTarget(s TargetSpec) (Target, error) {
	if !s.Transport.validFor(s.Protocol) {
		return Target{}, &SyntaxError{Rule: "transport", Expected: "a transport that carries the protocol"}
	}
	if !s.Addr.IsValid() || s.Addr.Port() == 0 {
		return Target{}, &SyntaxError{Rule: "address", Expected: "an IP address and a port from 1 to 65535"}
	}
	addr := netip.AddrPortFrom(s.Addr.Addr().Unmap(), s.Addr.Port())
	host := addr.Addr().String()
	if s.Host != "" {
		h, err := parseHost(s.Host)
		if err != nil {
			return Target{}, err
		}
		host = h
	}
	name := ""
	if s.ServerName != "" {
		d, err := ParseDomain(s.ServerName)
		if err != nil {
			return Target{}, err
		}
		name = d
	}
	return Target{protocol: s.Protocol, transport: s.Transport, host: host, addr: addr, serverName: name}, nil
}

// MustTarget is NewTarget for tests and constants; it panics where NewTarget fails.
func MustTarget(s TargetSpec) Target {
	t, err := NewTarget(s)
	if err != nil {
		panic(err)
	}
	return t
}

// Protocol is the protocol to speak.
func (t Target) Protocol() Protocol { return t.protocol }

// Transport is how to reach the target; see Transport for its meaning under each protocol.
func (t Target) Transport() Transport { return t.transport }

// Host is the name that Addr was found under (an A-label name without the last dot), or the text of the address itself. It is
// for logs and for SNI decisions of nobody: a certificate is checked against ServerName.
func (t Target) Host() string { return t.host }

// Addr is the address and port to send to. IPv4 is never in its IPv6-mapped form.
func (t Target) Addr() netip.AddrPort { return t.addr }

// ServerName is the reference identity: the name that the peer's certificate must carry, and the SNI to send. It is the source
// domain (RFC 6120 §13.7.2.1, RFC 5922 §7.3), never the host that DNS redirected to. It is empty only if none is known (a static
// next hop given by address, for which the caller then supplies the domain it routes to).
func (t Target) ServerName() string { return t.serverName }

// Secure reports whether every DNS answer that led from ServerName to Addr was authenticated by a trusted validating resolver.
// Only then may Host be accepted as a reference identity beside ServerName (RFC 7673 §4.1, RFC 7712 §4).
func (t Target) Secure() bool { return t.secure }

// IsZero reports whether t is no target.
func (t Target) IsZero() bool { return t.protocol == 0 }

// WithServerName is t with another reference identity. The name must be an A-label domain as ParseDomain returns it; DANE
// records stay, because they belong to the host.
func (t Target) WithServerName(name string) Target {
	t.serverName = name
	return t
}

// String is the target for people and logs: "sip/tls host 192.0.2.1:5061 as example.net".
func (t Target) String() string {
	if t.IsZero() {
		return "no target"
	}
	var b strings.Builder
	b.WriteString(t.protocol.String())
	b.WriteByte('/')
	b.WriteString(t.transport.String())
	b.WriteByte(' ')
	b.WriteString(t.host)
	b.WriteByte(' ')
	b.WriteString(t.addr.String())
	if t.serverName != "" {
		b.WriteString(" as ")
		b.WriteString(t.serverName)
	}
	return b.String()
}

// defaultPort is the port of a protocol and transport when nothing names one: RFC 3261 §19.1.2 for SIP (with RFC 7118 §5.3 for
// WebSocket, whose defaults are HTTP's), RFC 6120 §14.7 for XMPP between servers. Zero means that there is none.
func defaultPort(p Protocol, t Transport) uint16 {
	switch {
	case p == SIP && t == WS:
		return 80
	case p == SIP && t == WSS:
		return 443
	case p == SIP && t == TLS:
		return 5061
	case p == SIP:
		return 5060
	case p == XMPP && t == TCP:
		return 5269
	}
	return 0
}

// joinHostPort brackets an IPv6 literal, and leaves the port out if it is zero.
func joinHostPort(host string, port uint16) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == 0 {
		return host
	}
	return host + ":" + strconv.Itoa(int(port))
}
