package wire

import (
	"strings"
	"unicode/utf8"
)

// uriKind tells how much of a URI was understood.
type uriKind uint8

const (
	uriNone uriKind = iota
	uriSIP
	uriSIPS
	uriOther // any absoluteURI of another scheme
)

// URI is a SIP or SIPS URI (RFC 3261 §19.1.1), or an absolute URI of another scheme, which is kept as it is so that it can be
// answered with 416. It is made by ParseURI only, valid when it exists, and comparable octet by octet, which is stricter than
// RFC 3261 §19.1.4. The zero value is no URI.
type URI struct {
	text string
	kind uriKind
	port uint16
	// Ends of the parts: scheme (before ":"), user, userinfo (with password, before "@"; 0: none), host, port, parameters.
	schemeEnd, userEnd, infoEnd, hostEnd, portEnd, paramsEnd uint16
}

// ParseURI reads a URI of at most DefaultLimits().URI octets. It fails with a *SyntaxError.
func ParseURI(s string) (URI, error) {
	u, bad, rule := parseURI(s, DefaultLimits().URI)
	if rule != nil {
		return URI{}, rule.at(bad)
	}
	return u, nil
}

// MustParseURI is ParseURI for tests and constants; it panics where ParseURI fails.
func MustParseURI(s string) URI {
	u, err := ParseURI(s)
	if err != nil {
		panic(err)
	}
	return u
}

// parseURI reads all of s. The fault is returned as index and rule, so that a caller can put its own place and phrase to it.
func parseURI(s string, limit int) (u URI, bad int, f *fault) {
	if len(s) > min(limit, 1<<16-1) {
		return URI{}, min(limit, 1<<16-1), faultURILength
	}
	colon := strings.IndexByte(s, ':')
	if colon <= 0 || !isAlpha(s[0]) || outside(s[:colon], inScheme) != colon {
		return URI{}, 0, faultURIScheme
	}
	u.text, u.schemeEnd = s, uint16(colon)
	switch {
	case equalFold(s[:colon], "sip"):
		u.kind = uriSIP
	case equalFold(s[:colon], "sips"):
		u.kind = uriSIPS
	default:
		u.kind = uriOther
		rest := s[colon+1:]
		if at := outside(rest, inURI); rest == "" || at != len(rest) {
			return URI{}, colon + 1 + at, faultURIChar
		}
		if at := badEscape(rest); at >= 0 {
			return URI{}, colon + 1 + at, faultURIEscape
		}
		return u, 0, nil
	}
	i := colon + 1
	if at := strings.IndexByte(s[i:], '@'); at >= 0 {
		info := s[i : i+at]
		user, password, has := strings.Cut(info, ":")
		if n := outside(user, inUser); user == "" || n != len(user) {
			return URI{}, i + n, faultURIUser
		}
		if n := outside(password, inPassword); has && n != len(password) {
			return URI{}, i + len(user) + 1 + n, faultURIUser
		}
		if n := badEscape(info); n >= 0 {
			return URI{}, i + n, faultURIEscape
		}
		u.userEnd, u.infoEnd = uint16(i+len(user)), uint16(i+at)
		i += at + 1
	}
	host := i
	if i < len(s) && s[i] == '[' {
		end := strings.IndexByte(s[i:], ']')
		if end < 0 {
			return URI{}, i, faultURIHost
		}
		i += end + 1
	} else {
		for i < len(s) && classes[s[i]]&inHost != 0 {
			i++
		}
	}
	if !isHost(s[host:i]) {
		return URI{}, host, faultURIHost
	}
	u.hostEnd, u.portEnd = uint16(i), uint16(i)
	if i < len(s) && s[i] == ':' {
		at := i + 1
		for i = at; i < len(s) && isDigit(s[i]); i++ {
		}
		port, ok := parsePort(s[at:i])
		if !ok {
			return URI{}, at, faultURIPort
		}
		u.port, u.portEnd = port, uint16(i)
	}
	for n := 0; i < len(s) && s[i] == ';'; n++ {
		at := i + 1
		for i = at; i < len(s) && (classes[s[i]]&inParam != 0 || s[i] == '='); i++ {
		}
		name, value, has := strings.Cut(s[at:i], "=")
		if name == "" || has && (value == "" || strings.IndexByte(value, '=') >= 0) || n == maxParams {
			return URI{}, at, faultURIParam
		}
		if e := badEscape(s[at:i]); e >= 0 {
			return URI{}, at + e, faultURIEscape
		}
		// RFC 3261 §19.1.1: "any given parameter-name MUST NOT appear more than once".
		if at-1 > int(u.portEnd) && hasURIParam(s[u.portEnd:at-1], name) {
			return URI{}, at, faultURIParam
		}
	}
	u.paramsEnd = uint16(i)
	if i < len(s) && s[i] == '?' {
		for part := range strings.SplitSeq(s[i+1:], "&") {
			name, value, has := strings.Cut(part, "=")
			if name == "" || !has || outside(name, inHeader) != len(name) || outside(value, inHeader) != len(value) {
				return URI{}, i + 1, faultURIHeader
			}
		}
		if e := badEscape(s[i:]); e >= 0 {
			return URI{}, i + e, faultURIEscape
		}
		return u, 0, nil
	}
	if i != len(s) {
		return URI{}, i, faultURIChar
	}
	return u, 0, nil
}

// hasURIParam looks for a name in ";a=b;c" that was checked.
func hasURIParam(params, name string) bool {
	_, ok := uriParam(params, name)
	return ok
}

func uriParam(params, name string) (string, bool) {
	for params != "" {
		part := params[1:]
		if end := strings.IndexByte(part, ';'); end >= 0 {
			part = part[:end]
		}
		params = params[1+len(part):]
		n, v, _ := strings.Cut(part, "=")
		if sameFold(n, name) {
			return v, true
		}
	}
	return "", false
}

// IsZero reports whether u is no URI.
func (u URI) IsZero() bool { return u.kind == uriNone }

// IsSIP reports whether u is a SIP or SIPS URI. Of another scheme only Scheme and String are known.
func (u URI) IsSIP() bool { return u.kind == uriSIP || u.kind == uriSIPS }

// Scheme is the scheme in lower case, without the colon.
func (u URI) Scheme() string {
	switch u.kind {
	case uriSIP:
		return "sip"
	case uriSIPS:
		return "sips"
	default:
		return strings.ToLower(u.text[:u.schemeEnd])
	}
}

// User is the user as written, that is, escaped, and without the password. "" means there is none. See Unescape.
func (u URI) User() string {
	if u.infoEnd == 0 {
		return ""
	}
	return u.text[u.schemeEnd+1 : u.userEnd]
}

// HasPassword reports whether the userinfo has a password (RFC 3261 §19.1.1: "its use is NOT RECOMMENDED").
func (u URI) HasPassword() bool { return u.infoEnd > u.userEnd }

// Host is the host as written: a name, an IPv4 address, or an IPv6 address in brackets.
func (u URI) Host() string {
	if !u.IsSIP() {
		return ""
	}
	start := u.schemeEnd + 1
	if u.infoEnd != 0 {
		start = u.infoEnd + 1
	}
	return u.text[start:u.hostEnd]
}

// Port is the port, or 0 if none is given.
func (u URI) Port() uint16 { return u.port }

// Params is the URI parameters as written, without the first ";".
func (u URI) Params() string {
	if u.paramsEnd <= u.portEnd {
		return ""
	}
	return u.text[u.portEnd+1 : u.paramsEnd]
}

// Param returns the value of a URI parameter as written, that is, escaped, and whether it is there. Names are compared without
// regard to case.
func (u URI) Param(name string) (string, bool) {
	return uriParam(u.text[u.portEnd:max(u.paramsEnd, u.portEnd)], name)
}

// HeaderFields is what stands behind "?", as written. A Request-URI never has any.
func (u URI) HeaderFields() string {
	if !u.IsSIP() || int(u.paramsEnd) == len(u.text) {
		return ""
	}
	return u.text[u.paramsEnd+1:]
}

// String is the URI as it came.
func (u URI) String() string { return u.text }

// Unescape resolves %HH (RFC 3261 §19.1.2, once, never again). It fails with a *SyntaxError for a "%" without two hexadecimal
// digits, for escaped controls (0 to 31 and 127), which no address has, and if the result is not UTF-8.
func Unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || fromHex(s[i+1]) > 15 || fromHex(s[i+2]) > 15 {
				return "", faultURIEscape.at(i)
			}
			c = fromHex(s[i+1])<<4 | fromHex(s[i+2])
			if c < 0x20 || c == 0x7F {
				return "", faultEscapedControl.at(i)
			}
			i += 2
		}
		b = append(b, c)
	}
	if !utf8.Valid(b) {
		return "", faultUTF8.at(0)
	}
	return string(b), nil
}

// URISpec is what AppendURI writes. All text in it is plain; AppendURI escapes it.
type URISpec struct {
	Scheme string  // "sip" or "sips"; "" means "sip"
	User   string  // "" for none
	Host   string  // a name or an address; IPv6 with brackets
	Port   uint16  // 0 for none
	Params []Param // Value "" writes the bare name
}

// Param is a parameter of a URI or of a header field value.
type Param struct {
	Name  string
	Value string // "" for a bare name
}

const upperHex = "0123456789ABCDEF"

// appendEscaped escapes what is not in class, and "%" itself (RFC 3261 §19.1.2).
func appendEscaped(dst []byte, s string, class uint16) []byte {
	if n := plainUpTo(s, class); n == len(s) {
		return append(dst, s...)
	}
	for i := range len(s) {
		if c := s[i]; classes[c]&class != 0 && c != '%' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// plainUpTo is the index of the first octet that has to be escaped, or len(s).
func plainUpTo(s string, class uint16) int {
	for i := range len(s) {
		if c := s[i]; classes[c]&class == 0 || c == '%' {
			return i
		}
	}
	return len(s)
}

// EscapeUser escapes plain text for the user of a SIP URI.
func EscapeUser(s string) string {
	if outside(s, inUser) == len(s) && strings.IndexByte(s, '%') < 0 {
		return s
	}
	return string(appendEscaped(make([]byte, 0, len(s)+16), s, inUser))
}

// AppendURI writes a SIP URI. It fails with a *SyntaxError, and leaves dst as it was, if the result is none.
func AppendURI(dst []byte, s URISpec) ([]byte, error) {
	start := len(dst)
	scheme := s.Scheme
	if scheme == "" {
		scheme = "sip"
	}
	dst = append(append(dst, scheme...), ':')
	if s.User != "" {
		dst = append(appendEscaped(dst, s.User, inUser), '@')
	}
	dst = append(dst, s.Host...)
	if s.Port != 0 {
		dst = appendUint(append(dst, ':'), uint64(s.Port))
	}
	for _, p := range s.Params {
		dst = appendEscaped(append(dst, ';'), p.Name, inParam)
		if p.Value != "" {
			dst = appendEscaped(append(dst, '='), p.Value, inParam)
		}
	}
	if s.writtenSound(scheme) && len(dst)-start <= DefaultLimits().URI {
		return dst, nil
	}
	u, bad, f := parseURI(text(dst[start:]), DefaultLimits().URI) // nothing of it is kept
	if f != nil {
		return dst[:start], f.at(bad)
	}
	if !u.IsSIP() {
		return dst[:start], faultURIScheme.at(0)
	}
	return dst, nil
}

// writtenSound tells whether what AppendURI writes of s needs no second look: a scheme of ours, a user whose characters it has escaped, a host that is one
// and no more, and no parameters.
func (s *URISpec) writtenSound(scheme string) bool {
	return (scheme == "sip" || scheme == "sips") && len(s.Params) == 0 && isHost(s.Host)
}

// appendUint writes a number in decimal.
func appendUint(dst []byte, n uint64) []byte {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return append(dst, b[i:]...)
		}
	}
}
