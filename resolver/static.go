package resolver

import (
	"net/netip"
	"strconv"
	"strings"
)

// Static is a next hop that the configuration gives (RFC 6120 §3.2.3: "the initiating entity is encouraged to use the configured
// name instead of performing the preferred SRV resolution process"). Made by ParseStatic, valid when it exists, comparable. The
// zero value is no next hop.
type Static struct {
	protocol  Protocol
	transport Transport // zero only for SIP: RFC 3263 §4.1 chooses
	sips      bool
	port      uint16 // zero: RFC 3263 or the default
	host      string // canonical name or address text
	name      string // reference identity if the configuration gives one
}

// maxStatic bounds the text of a static next hop, in octets.
const maxStatic = 1024

// ParseStatic reads a next hop in the style of a URI:
//
//	sip:HOST[:PORT][;transport=udp|tcp|tls|ws|wss][;name=DOMAIN]
//	sips:HOST[:PORT][;transport=tcp|wss][;name=DOMAIN]
//	xmpp:HOST[:PORT][;name=DOMAIN]       a server's stream, STARTTLS; port 5269 if none is given
//	xmpps:HOST:PORT[;name=DOMAIN]        a server's stream, direct TLS (XEP-0368 assigns no port)
//	component:HOST:PORT[;name=DOMAIN]    a component's stream (XEP-0114 assigns no port)
//
// HOST is a name or an address (IPv6 in brackets). name is the reference identity for the certificate; see Static.ServerName for
// the default. It fails with a *SyntaxError.
func ParseStatic(s string) (Static, error) {
	if len(s) > maxStatic {
		return Static{}, &SyntaxError{Offset: maxStatic, Rule: "length", Expected: "at most 1024 octets"}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok {
		return Static{}, &SyntaxError{Rule: "scheme", Expected: "sip:, sips:, xmpp:, xmpps: or component:"}
	}
	var st Static
	switch strings.ToLower(scheme) {
	case "sip":
		st.protocol = SIP
	case "sips":
		st.protocol, st.sips, st.transport = SIP, true, TLS
	case "xmpp":
		st.protocol, st.transport = XMPP, TCP
	case "xmpps":
		st.protocol, st.transport = XMPP, TLS
	case "component":
		st.protocol, st.transport = XMPP, Component
	default:
		return Static{}, &SyntaxError{Rule: "scheme", Expected: "sip:, sips:, xmpp:, xmpps: or component:"}
	}
	at := len(scheme) + 1
	hostport, params, hasParams := strings.Cut(rest, ";")
	if err := st.parseHostPort(hostport, at); err != nil {
		return Static{}, err
	}
	if hasParams {
		if err := st.parseParams(params, at+len(hostport)+1); err != nil {
			return Static{}, err
		}
	}
	if st.port == 0 && (st.transport == Component || st.protocol == XMPP && st.transport == TLS) {
		return Static{}, &SyntaxError{Offset: at + len(hostport), Rule: "port", Expected: "a port: none is assigned for this kind"}
	}
	return st, nil
}

// MustParseStatic is ParseStatic for tests; it panics where ParseStatic fails.
func MustParseStatic(s string) Static {
	st, err := ParseStatic(s)
	if err != nil {
		panic(err)
	}
	return st
}

func (st *Static) parseHostPort(s string, at int) error {
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
		p, err := strconv.ParseUint(port, 10, 16)
		if err != nil || p == 0 || port[0] == '0' || port[0] == '+' {
			return &SyntaxError{Offset: at + i + 1, Rule: "port", Expected: "a number from 1 to 65535"}
		}
		st.port = uint16(p)
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return &SyntaxError{Offset: at, Rule: "address", Section: "RFC 3986 §3.2.2", Expected: "an IPv6 address in brackets"}
	}
	h, err := parseHost(host)
	if err != nil {
		return shift(err, at)
	}
	st.host = h
	return nil
}

func (st *Static) parseParams(s string, at int) error {
	seenTransport := false
	for part := range strings.SplitSeq(s, ";") {
		key, value, _ := strings.Cut(part, "=")
		valueAt := at + min(len(key)+1, len(part))
		switch strings.ToLower(key) {
		case "transport":
			t, ok := parseTransport(value)
			switch {
			case !ok || st.protocol != SIP || !t.validFor(SIP) || seenTransport:
				return &SyntaxError{Offset: valueAt, Rule: "transport", Expected: "one of udp, tcp, tls, ws, wss, once, and only for SIP"}
			case st.sips && t == TCP:
				t = TLS // RFC 3261 §26.2.2: sips and transport=tcp is TLS over TCP
			case st.sips && t != TLS && t != WSS:
				return &SyntaxError{Offset: valueAt, Rule: "transport", Section: "RFC 3261 §26.2.2", Expected: "tcp or wss for sips"}
			}
			st.transport, seenTransport = t, true
		case "name":
			d, err := ParseDomain(value)
			if err != nil || st.name != "" {
				return &SyntaxError{Offset: valueAt, Rule: "name", Expected: "one domain name, once"}
			}
			st.name = d
		default:
			return &SyntaxError{Offset: at, Rule: "parameter", Expected: "transport= or name="}
		}
		at += len(part) + 1
	}
	return nil
}

// shift moves a *SyntaxError's offset to the place of the part in the whole.
func shift(err error, by int) error {
	if e, ok := err.(*SyntaxError); ok { //nolint:errorlint // made one call above, never wrapped
		e.Offset += by
		return e
	}
	return err
}

// String prints the next hop so that ParseStatic reads the same value.
func (st Static) String() string {
	if st.protocol == 0 {
		return ""
	}
	scheme := "sip"
	switch {
	case st.sips:
		scheme = "sips"
	case st.protocol == XMPP && st.transport == TCP:
		scheme = "xmpp"
	case st.protocol == XMPP && st.transport == TLS:
		scheme = "xmpps"
	case st.protocol == XMPP:
		scheme = "component"
	}
	s := scheme + ":" + joinHostPort(st.host, st.port)
	switch {
	case st.protocol != SIP || st.transport == 0 || st.sips && st.transport == TLS:
	default:
		s += ";transport=" + st.transport.String()
	}
	if st.name != "" {
		s += ";name=" + st.name
	}
	return s
}

// MarshalText writes String.
func (st Static) MarshalText() ([]byte, error) { return []byte(st.String()), nil }

// UnmarshalText is ParseStatic.
func (st *Static) UnmarshalText(b []byte) error {
	v, err := ParseStatic(string(b))
	if err != nil {
		return err
	}
	*st = v
	return nil
}

// IsZero reports whether st is no next hop.
func (st Static) IsZero() bool { return st.protocol == 0 }

// Protocol is the protocol to speak.
func (st Static) Protocol() Protocol { return st.protocol }

// Transport is the transport, or zero where RFC 3263 §4.1 is to choose it.
func (st Static) Transport() Transport { return st.transport }

// Host is the configured name, as A-labels, or the text of the configured address.
func (st Static) Host() string { return st.host }

// Port is the configured port, or zero.
func (st Static) Port() uint16 { return st.port }

// ServerName is the reference identity when traffic for domain (an A-label name) goes to this next hop. A configured name wins.
// Otherwise it is, for SIP, the configured host if that is a name, because then it is the AUS of RFC 5922 §7.3; in all other
// cases it is domain (RFC 6120 §13.7.2.1: the 'to' address of the stream).
func (st Static) ServerName(domain string) string {
	if st.name != "" {
		return st.name
	}
	if st.protocol == SIP {
		if _, err := netip.ParseAddr(st.host); err != nil {
			return st.host
		}
	}
	return domain
}

// Target is the next hop for traffic to domain if no DNS is needed to know it: HOST is an address. False says that
// Resolver.Static must be asked.
func (st Static) Target(domain string) (Target, bool) {
	a, err := netip.ParseAddr(st.host)
	if err != nil {
		return Target{}, false
	}
	t := st.transport
	if t == 0 {
		t = UDP // RFC 3263 §4.1: "the TARGET is a numeric IP address, the client SHOULD use UDP for a SIP URI"
	}
	port := st.port
	if port == 0 {
		port = defaultPort(st.protocol, t)
	}
	return Target{
		protocol: st.protocol, transport: t, host: st.host, addr: netip.AddrPortFrom(a, port), serverName: st.ServerName(domain),
	}, true
}
