package cpim

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// MaxSIPURIOctets bounds what ParseSIPURI looks at.
const MaxSIPURIOctets = 8192

// maxURIParams bounds the parameters, and the headers, of a SIP URI.
const maxURIParams = 64

// SIPURI is a SIP or SIPS URI (RFC 3261 §19.1, §25.1) as far as identity needs
// it. Values are comparable: == means the same octets. The zero SIPURI is none.
type SIPURI struct {
	raw     string
	user    string // decoded
	rawUser string
	host    string // lower case; an IPv6 address without its brackets
	params  string // as written, each with its ";"
	headers string // as written, with its "?"
	port    uint16
	flags   sipFlags
}

type sipFlags uint8

const (
	sipSecure sipFlags = 1 << iota
	sipHasPassword
	sipHostIP
)

// ParseSIPURI reads a SIP or SIPS URI by the grammar of RFC 3261 §25.1: the
// scheme and the host in either case, a user part that may hold ";", "?" and
// "/" as they are, IPv4 and IPv6 hosts, any port from 1 to 65535, each
// parameter once (RFC 3261 §19.1.1). It refuses percent-encoded control
// characters everywhere, and encoded octets that are not UTF-8 in the user part
// and the parameters, though the grammar has both. The error is a
// *SyntaxError.
func ParseSIPURI(s string) (SIPURI, error) {
	u, err := parseSIPURI(s)
	if err != nil {
		return SIPURI{}, err
	}
	return u, nil
}

// MustParseSIPURI is ParseSIPURI for values known to be right; it panics on an
// error. It is for tests and constants only.
func MustParseSIPURI(s string) SIPURI {
	u, err := ParseSIPURI(s)
	if err != nil {
		panic(err)
	}
	return u
}

const sipSection = "RFC 3261 §25.1"

func parseSIPURI(s string) (u SIPURI, _ *syntax.Error) {
	if len(s) > MaxSIPURIOctets {
		return u, syntax.At(s, MaxSIPURIOctets, "sip-length", sipSection, "at most 8192 octets")
	}
	u.raw = s
	colon := strings.IndexByte(s, ':')
	switch {
	case colon == 3 && strings.EqualFold(s[:3], "sip"):
	case colon == 4 && strings.EqualFold(s[:4], "sips"):
		u.flags |= sipSecure
	default:
		return u, syntax.At(s, 0, "sip-scheme", sipSection, "sip: or sips:")
	}
	pos := colon + 1
	// No part after the userinfo can hold an "@", so the first one ends it,
	// whatever ";" and "?" come before.
	if at := strings.IndexByte(s[pos:], '@'); at >= 0 {
		at += pos
		if err := u.userinfo(s, pos, at); err != nil {
			return u, err
		}
		pos = at + 1
	}
	pos, err := u.hostport(s, pos)
	if err != nil {
		return u, err
	}
	start := pos
	if pos, err = u.scanParams(s, pos); err != nil {
		return u, err
	}
	u.params = s[start:pos]
	if pos < len(s) {
		if s[pos] != '?' {
			return u, syntax.At(s, pos, "sip-end", sipSection, "';', '?' or the end")
		}
		u.headers = s[pos:]
		return u, checkURIHeaders(s, pos+1)
	}
	return u, nil
}

// sipUnreserved is "unreserved": alphanum and mark.
func sipUnreserved(c byte) bool {
	switch c {
	case '-', '_', '.', '!', '~', '*', '\'', '(', ')':
		return true
	}
	return isAlnum(c)
}

// sipUserUnreserved is "user-unreserved".
func sipUserUnreserved(c byte) bool {
	switch c {
	case '&', '=', '+', '$', ',', ';', '?', '/':
		return true
	}
	return false
}

// sipParamChar is "paramchar" without "escaped".
func sipParamChar(c byte) bool {
	switch c {
	case '[', ']', '/', ':', '&', '+', '$':
		return true
	}
	return sipUnreserved(c)
}

func (u *SIPURI) userinfo(s string, pos, at int) *syntax.Error {
	end := at
	for i := pos; i < at; i++ {
		c := s[i]
		if c == ':' {
			end = i
			break
		}
		if c != '%' && !sipUnreserved(c) && !sipUserUnreserved(c) {
			return syntax.At(s, i, "sip-user", sipSection, "a character of a user part, or percent-encoding")
		}
	}
	if end == pos {
		return syntax.At(s, pos, "sip-user", sipSection, "a user part before '@'")
	}
	u.rawUser = s[pos:end]
	d, err := percentDecode(u.rawUser)
	if err != nil {
		return err.Shift(pos)
	}
	u.user = d
	if end == at {
		return nil
	}
	u.flags |= sipHasPassword
	for i := end + 1; i < at; i++ {
		c := s[i]
		if c != '%' && !sipUnreserved(c) && !(sipUserUnreserved(c) && c != ';' && c != '?' && c != '/') {
			return syntax.At(s, i, "sip-password", sipSection, "a character of a password, or percent-encoding")
		}
	}
	if _, err := percentDecode(s[end+1 : at]); err != nil {
		return err.Shift(end + 1)
	}
	return nil
}

func (u *SIPURI) hostport(s string, pos int) (int, *syntax.Error) {
	i := pos
	if i < len(s) && s[i] == '[' {
		end := strings.IndexByte(s[i:], ']')
		if end < 0 {
			return 0, syntax.At(s, len(s), "sip-host", sipSection, "']' after an IPv6 address")
		}
		end += i
		a, err := netip.ParseAddr(s[i+1 : end])
		if err != nil || !a.Is6() || a.Zone() != "" {
			return 0, syntax.At(s, i+1, "sip-host", sipSection, "an IPv6 address without a zone")
		}
		u.host = strings.ToLower(s[i+1 : end])
		u.flags |= sipHostIP
		i = end + 1
	} else {
		for i < len(s) && (isLDH(s[i]) || s[i] == '.') {
			i++
		}
		host := strings.ToLower(s[pos:i])
		if isIPv4(host) {
			u.flags |= sipHostIP
		} else if err := checkHostname(strings.TrimSuffix(host, ".")); err != nil {
			e := err.Shift(pos)
			e.Rule, e.Section = "sip-host", sipSection
			return 0, e
		}
		u.host = host
	}
	if i == len(s) || s[i] != ':' {
		return i, nil
	}
	i++
	start := i
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	port, err := strconv.ParseUint(s[start:i], 10, 16)
	if err != nil || port == 0 {
		return 0, syntax.At(s, start, "sip-port", sipSection, "a port from 1 to 65535")
	}
	u.port = uint16(port)
	return i, nil
}

// isIPv4 knows IPv4 addresses. Most hosts end in a letter, and then no fault has to be made to tell that they are none.
func isIPv4(host string) bool {
	if host == "" || !isDigit(host[len(host)-1]) {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Is4()
}

// scanParams reads *( ";" uri-parameter ).
func (u *SIPURI) scanParams(s string, pos int) (int, *syntax.Error) {
	i := pos
	for n := 0; i < len(s) && s[i] == ';'; n++ {
		if n == maxURIParams {
			return 0, syntax.At(s, i, "sip-parameter", sipSection, "at most 64 parameters")
		}
		i++
		start := i
		i = paramRun(s, i)
		if i == start {
			return 0, syntax.At(s, i, "sip-parameter", sipSection, "a parameter name")
		}
		name := s[start:i]
		if _, err := percentDecode(name); err != nil {
			return 0, err.Shift(start)
		}
		for p := s[pos : start-1]; p != ""; {
			var other string
			other, p = nextURIParam(p)
			if k, _, _ := strings.Cut(other, "="); strings.EqualFold(k, name) {
				return 0, syntax.At(s, start, "sip-parameter-once", "RFC 3261 §19.1.1", "each parameter once")
			}
		}
		if i < len(s) && s[i] == '=' {
			i++
			start = i
			i = paramRun(s, i)
			if i == start {
				return 0, syntax.At(s, i, "sip-parameter", sipSection, "a parameter value")
			}
			if _, err := percentDecode(s[start:i]); err != nil {
				return 0, err.Shift(start)
			}
		}
	}
	return i, nil
}

func paramRun(s string, i int) int {
	for i < len(s) && (s[i] == '%' || sipParamChar(s[i])) {
		i++
	}
	return i
}

// nextURIParam splits the first parameter off p, which begins with ";".
func nextURIParam(p string) (param, rest string) {
	p = p[1:]
	if i := strings.IndexByte(p, ';'); i >= 0 {
		return p[:i], p[i:]
	}
	return p, ""
}

func checkURIHeaders(s string, pos int) *syntax.Error {
	n := 0
	for i := pos; ; i++ {
		if n++; n > maxURIParams {
			return syntax.At(s, i, "sip-header", sipSection, "at most 64 headers")
		}
		start := i
		for i < len(s) && (s[i] == '%' || headerChar(s[i])) {
			i++
		}
		if i == start || i == len(s) || s[i] != '=' {
			return syntax.At(s, i, "sip-header", sipSection, "a header name and '='")
		}
		for i++; i < len(s) && (s[i] == '%' || headerChar(s[i])); i++ {
		}
		if _, err := percentDecode(s[start:i]); err != nil {
			return err.Shift(start)
		}
		if i == len(s) {
			return nil
		}
		if s[i] != '&' {
			return syntax.At(s, i, "sip-header", sipSection, "'&' or the end")
		}
	}
}

// headerChar is hnv-unreserved / unreserved.
func headerChar(c byte) bool {
	switch c {
	case '[', ']', '/', '?', ':', '+', '$':
		return true
	}
	return sipUnreserved(c)
}

// String returns the URI as it was written.
func (u SIPURI) String() string { return u.raw }

// IsZero reports whether u is no URI.
func (u SIPURI) IsZero() bool { return u.raw == "" }

// Secure reports whether the scheme is sips.
func (u SIPURI) Secure() bool { return u.flags&sipSecure != 0 }

// User returns the user part decoded, with the parameters in it, "" for none.
func (u SIPURI) User() string { return u.user }

// RawUser returns the user part as it was written.
func (u SIPURI) RawUser() string { return u.rawUser }

// HasPassword reports whether the URI has a password, even an empty one.
func (u SIPURI) HasPassword() bool { return u.flags&sipHasPassword != 0 }

// Host returns the host in lower case; an IPv6 address is without brackets, a
// name may end with a dot.
func (u SIPURI) Host() string { return u.host }

// HostIsIP reports whether the host is an IP address.
func (u SIPURI) HostIsIP() bool { return u.flags&sipHostIP != 0 }

// Port returns the port, 0 for none.
func (u SIPURI) Port() int { return int(u.port) }

// HasHeaders reports whether the URI has headers ("?…").
func (u SIPURI) HasHeaders() bool { return u.headers != "" }

// Params returns the parameters in order, names in lower case, values decoded.
// A parameter without "=" has an empty value, and so has none other.
func (u SIPURI) Params() []Param {
	var list []Param
	for p := u.params; p != ""; {
		var one string
		one, p = nextURIParam(p)
		name, value, _ := strings.Cut(one, "=")
		n, _ := percentDecode(name)
		v, _ := percentDecode(value)
		list = append(list, Param{Name: strings.ToLower(n), Value: v})
	}
	return list
}

// Param returns the decoded value of a parameter and whether it is there.
func (u SIPURI) Param(name string) (string, bool) {
	for p := u.params; p != ""; {
		var one string
		one, p = nextURIParam(p)
		n, value, _ := strings.Cut(one, "=")
		if d, _ := percentDecode(n); strings.EqualFold(d, name) {
			v, _ := percentDecode(value)
			return v, true
		}
	}
	return "", false
}

// IsPhone reports whether the parameter user=phone marks the user part as a
// telephone number (RFC 3261 §19.1.1).
func (u SIPURI) IsPhone() bool {
	v, ok := u.Param("user")
	return ok && strings.EqualFold(v, "phone")
}

// WithParam returns u with a parameter added, its name and value
// percent-encoded as needed; an empty value gives a parameter without "=". It
// returns the zero SIPURI if u has that parameter already, or if name or value
// cannot stand in a URI (control characters, not UTF-8, empty name).
func (u SIPURI) WithParam(name, value string) SIPURI {
	b := make([]byte, 0, len(u.raw)+len(name)+3*len(value)+2)
	b = append(b, u.raw[:len(u.raw)-len(u.headers)]...)
	b = append(b, ';')
	for i := range len(name) {
		b = appendPercent(b, name[i], sipParamChar(name[i]))
	}
	if value != "" {
		b = append(b, '=')
		for i := range len(value) {
			b = appendPercent(b, value[i], sipParamChar(value[i]))
		}
	}
	b = append(b, u.headers...)
	v, err := ParseSIPURI(string(b))
	if err != nil {
		return SIPURI{}
	}
	return v
}
