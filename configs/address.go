package configs

import (
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Address is an IP address and a port to bind.
type Address struct{ netip.AddrPort }

func (a *Address) parse(s string) *valueFault {
	v, err := netip.ParseAddrPort(s)
	switch {
	case err == nil && v.Addr().Zone() == "":
		a.AddrPort = netip.AddrPortFrom(v.Addr().Unmap(), v.Port())
		return nil
	case strings.HasPrefix(s, "localhost:"):
		return &valueFault{quoted(s) + " is a name", "write the address: " + quoted("127.0.0.1"+strings.TrimPrefix(s, "localhost"))}
	case strings.HasPrefix(s, ":"):
		return &valueFault{quoted(s) + " has no address", "write " + quoted("127.0.0.1"+s) + ", or " + quoted("0.0.0.0"+s) + " for all of them"}
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return &valueFault{quoted(s) + " has no port", "write " + quoted(netip.AddrPortFrom(ip, 5060).String())}
	}
	return &valueFault{quoted(s) + " is no IP address and port", "write as in 127.0.0.1:5060 or [::1]:5060"}
}

// Network is a set of IP addresses: all that share a prefix.
type Network struct{ netip.Prefix }

func (n *Network) parse(s string) *valueFault {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		n.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return &valueFault{quoted(s) + " is no network", "write as in 192.0.2.0/24, 2001:db8::/32 or 127.0.0.1"}
	case p != p.Masked():
		return &valueFault{
			quoted(s) + " has bits beyond its length",
			"write " + quoted(p.Masked().String()) + " for the network, or " + quoted(p.Addr().String()) + " for the address",
		}
	}
	n.Prefix = p
	return nil
}

// Domain is a domain name in its one canonical text: A-labels in lower case, no dot at the end.
type Domain string

func (d *Domain) parse(s string) *valueFault {
	v, err := resolver.ParseDomain(s)
	if err != nil {
		if at := strings.LastIndexByte(s, '@'); at >= 0 {
			return &valueFault{quoted(s) + " is an address", "write the domain alone: " + quoted(s[at+1:])}
		}
		return &valueFault{quoted(s) + " is no domain name: " + expectedBy(err), "write as in example.net"}
	}
	*d = Domain(v)
	return nil
}

// Mailbox is a user at a domain, without a scheme. The side that it is for may refuse it yet.
type Mailbox string

func (m *Mailbox) parse(s string) *valueFault {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || strings.ContainsFunc(s[:at], func(r rune) bool { return r <= ' ' || r == 0x7f || r == ':' }) {
		return &valueFault{quoted(s) + " is no mailbox", "write as in presence@example.net"}
	}
	domain, err := resolver.ParseDomain(s[at+1:])
	if err != nil {
		return &valueFault{quoted(s) + " is no mailbox: its domain is none", "write as in presence@example.net"}
	}
	*m = Mailbox(s[:at+1] + domain)
	return nil
}

// Domain is the part after the "@".
func (m Mailbox) Domain() Domain { return Domain(m[strings.LastIndexByte(string(m), '@')+1:]) }

// Text is a text that is written to the wire in quotation marks: UTF-8 without controls, at most 256 octets.
type Text string

func (t *Text) parse(s string) *valueFault {
	if s == "" || len(s) > 256 || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return &valueFault{"no text of 1 to 256 octets without controls", "write the text alone"}
	}
	*t = Text(s)
	return nil
}

// SIPAddress is the address of a SIP user: a sip: URI with a user part and a domain, and nothing else.
type SIPAddress struct {
	text    string
	address cpim.Address
}

func (a *SIPAddress) parse(s string) *valueFault {
	u, err := cpim.ParseSIPURI(s)
	if err == nil {
		id, bad := cpim.SIPMapping{Scheme: cpim.IM}.Address(u)
		a.address, err = id.Address, bad
	}
	if err != nil {
		return &valueFault{quoted(s) + " is no address of a SIP user", "write as in sip:alice@example.net, in lower case"}
	}
	a.text = s
	return nil
}

// String is the address as it was written.
func (a SIPAddress) String() string { return a.text }

// Is tells whether the address is that of a mailbox, whatever it was written as.
func (a SIPAddress) Is(mailbox cpim.Address) bool { return a.address == mailbox.WithScheme(cpim.IM) }

// Domain is the domain of the address.
func (a SIPAddress) Domain() Domain { return Domain(a.address.Domain()) }

// AnyDomain is the RoutedDomain of the route for all domains without one of their own.
const AnyDomain = "*"

// RoutedDomain is a Domain, or AnyDomain.
type RoutedDomain string

func (d *RoutedDomain) parse(s string) *valueFault {
	if s == AnyDomain {
		*d = AnyDomain
		return nil
	}
	var one Domain
	if v := one.parse(s); v != nil {
		return v
	}
	*d = RoutedDomain(one)
	return nil
}

// Host is a domain name or an IP address, without a port.
type Host string

func (h *Host) parse(s string) *valueFault {
	st, err := resolver.ParseStatic("sip:" + s)
	if err != nil || st.Port() != 0 || strings.ContainsRune(s, ';') {
		return &valueFault{quoted(s) + " is no host", "write a name or an address without a port, as in gateway.example.net"}
	}
	*h = Host(st.Host())
	return nil
}

// Server is a host, a name or an IP address, and a port to connect to.
type Server string

func (v *Server) parse(s string) *valueFault {
	st, err := resolver.ParseStatic("component:" + s)
	if err != nil || strings.ContainsRune(s, ';') {
		return &valueFault{quoted(s) + " is no host and port", "write as in 127.0.0.1:5347 or xmpp.example.com:5347"}
	}
	*v = Server(strings.TrimPrefix(st.String(), "component:"))
	return nil
}

// Static is the server as a next hop of the resolver.
func (v Server) Static() (resolver.Static, error) {
	return resolver.ParseStatic("component:" + string(v))
}

// DNSServer is a DNS server to ask.
type DNSServer struct{ resolver.Server }

func (d *DNSServer) parse(s string) *valueFault {
	v, err := resolver.ParseServer(s)
	if err != nil {
		return &valueFault{quoted(s) + " is no DNS server: expected " + expectedBy(err), `write as in "192.0.2.53" or "tls://192.0.2.53#dns.example.net"`}
	}
	d.Server = v
	return nil
}

// Name is the name of a peer or a component: 1 to 63 letters, digits, dots, hyphens and underscores, so that it can be a label
// of a metric and a word in a log.
type Name string

func (n *Name) parse(s string) *valueFault {
	const most = 63
	if s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	}) {
		return &valueFault{quoted(s) + " is no name", "write 1 to 63 letters, digits, dots, hyphens and underscores"}
	}
	*n = Name(s)
	return nil
}

// NextHop is where a route sends: either a host that is named in full, or a component of this configuration.
type NextHop struct {
	// Component is the name under xmpp.components, "" if Static is meant.
	Component Name
	// Static is the host; the zero value if Component is meant.
	Static resolver.Static
}

// String is the next hop as the file has it.
func (h NextHop) String() string {
	if h.Component != "" {
		return "component:" + string(h.Component)
	}
	return h.Static.String()
}

func (h *NextHop) parse(s string) *valueFault {
	if name, ok := strings.CutPrefix(s, "component:"); ok {
		if v := h.Component.parse(name); v != nil {
			return &valueFault{quoted(s) + " names no component", `write "component:" and a name under xmpp.components`}
		}
		return nil
	}
	st, err := resolver.ParseStatic(s)
	if err != nil {
		return &valueFault{
			quoted(s) + " is no next hop: expected " + expectedBy(err),
			`write as in "sip:192.0.2.7:5060;transport=tcp" or "component:prosody"`,
		}
	}
	h.Static = st
	return nil
}

// AdminAddress is where the admin port listens: a unix socket, or a loopback address. The zero value is nowhere.
type AdminAddress struct {
	socket   string
	loopback netip.AddrPort
}

// IsZero reports whether a is nowhere.
func (a AdminAddress) IsZero() bool { return a == AdminAddress{} }

// taken reports whether a TCP listener at l has a's port, so that only one of the two can be opened.
func (a AdminAddress) taken(l netip.AddrPort) bool {
	if !a.loopback.IsValid() || a.loopback.Port() == 0 || a.loopback.Port() != l.Port() {
		return false
	}
	return l.Addr().IsUnspecified() || l.Addr().Unmap() == a.loopback.Addr().Unmap()
}

// Network and Text are what net.Listen takes: "unix" and the path, or "tcp" and the address.
func (a AdminAddress) Network() string {
	if a.socket != "" {
		return "unix"
	}
	return "tcp"
}

// Text is the second half of what net.Listen takes; see Network. "" if a is nowhere.
func (a AdminAddress) Text() string {
	switch {
	case a.socket != "":
		return a.socket
	case a.loopback.IsValid():
		return a.loopback.String()
	}
	return ""
}

// String is the address as the file has it.
func (a AdminAddress) String() string {
	if a.socket != "" {
		return "unix:" + a.socket
	}
	return a.Text()
}

// ParseAdminAddress reads "unix:/path" or a loopback address with a port; everything else is refused, above all an address
// that another machine could reach.
func ParseAdminAddress(s string) (AdminAddress, error) {
	var a AdminAddress
	if v := a.parse(s); v != nil {
		return AdminAddress{}, Faults{{File: "admin address", Line: 1, Column: 1, Problem: v.problem, Instead: v.instead}}
	}
	return a, nil
}

func (a *AdminAddress) parse(s string) *valueFault {
	if p, ok := strings.CutPrefix(s, "unix:"); ok {
		// sun_path has 108 octets on Linux and 104 elsewhere; the admin port needs some for a temporary name.
		const most = 90
		if !path.IsAbs(p) || path.Clean(p) != p || len(p) > most || strings.IndexByte(p, 0) >= 0 {
			return &valueFault{quoted(s) + " is no socket", "write unix: and an absolute path of at most 90 octets, as in unix:/run/isthmus/admin.sock"}
		}
		a.socket = p
		return nil
	}
	v, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		return &valueFault{quoted(s) + " is no admin address", "write unix:/run/isthmus/admin.sock or 127.0.0.1:9090"}
	case !v.Addr().Unmap().IsLoopback():
		return &valueFault{
			quoted(s) + " could be reached from other machines, and the admin port has no password",
			"write unix:/run/isthmus/admin.sock or " + quoted(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), v.Port()).String()),
		}
	}
	a.loopback = v
	return nil
}

// Path is the path of a file.
type Path string

func (p *Path) parse(s string) *valueFault {
	const most = 4095
	if s == "" || len(s) > most || strings.IndexByte(s, 0) >= 0 {
		return &valueFault{"no path of a file", "write 1 to " + strconv.Itoa(most) + " octets without NUL"}
	}
	*p = Path(s)
	return nil
}

// Origin is a site as a browser names it (RFC 6454 §6.2): "https://chat.example.net", or with a port. It holds capitals as small letters.
type Origin string

func (o *Origin) parse(s string) *valueFault {
	bad := &valueFault{quoted(s) + " is no origin", `write scheme and host as in "https://chat.example.net"`}
	u, err := url.Parse(strings.ToLower(s))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery ||
		u.Fragment != "" || u.Opaque != "" || strings.ContainsAny(u.Host, "*% ") || strings.HasSuffix(u.Host, ":") {
		return bad
	}
	*o = Origin(u.Scheme + "://" + u.Host)
	return nil
}

// SignerURI is the absolute URI of a certificate, as a signer writes it. At most 1024 octets.
type SignerURI string

func (u *SignerURI) parse(s string) *valueFault {
	const most = 1024
	p, err := url.Parse(s)
	if err != nil || p.Scheme == "" || p.Host == "" && p.Opaque == "" || len(s) > most || strings.ContainsAny(s, "<>\"{}|\\^` ") ||
		strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' }) {
		return &valueFault{quoted(s) + " is no absolute URI", `write it as the signer does, as in "https://cert.example.net/passport.cer"`}
	}
	*u = SignerURI(s)
	return nil
}

// Digits is a row of 1 to 15 decimal digits.
type Digits string

func (d *Digits) parse(s string) *valueFault {
	if s == "" || len(s) > 15 || strings.Trim(s, "0123456789") != "" {
		return &valueFault{quoted(s) + " is no beginning of a number", `write digits alone, with the country code, in quotes: "1215"`}
	}
	*d = Digits(s)
	return nil
}

// EnvName is the name of an environment variable: letters, digits and underscores, not beginning with a digit, at most 128.
type EnvName string

func (e *EnvName) parse(s string) *valueFault {
	const most = 128
	if s == "" || len(s) > most || s[0] >= '0' && s[0] <= '9' || strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
	}) {
		return &valueFault{"no name of an environment variable", "write the variable's name, as in ISTHMUS_SECRET, and the secret into the variable"}
	}
	*e = EnvName(s)
	return nil
}

// expectedBy is the part of a resolver's error that does not repeat the input.
func expectedBy(err error) string {
	if e, ok := err.(*resolver.SyntaxError); ok { //nolint:errorlint // made one call above, never wrapped
		return e.Expected
	}
	return err.Error()
}
