package wire

import "net/netip"

// maxParams bounds the parameters of one value: each is compared with all before it.
const maxParams = 32

// paramScan walks the parameters *( SEMI generic-param ) of a header field value (RFC 3261 §25.1):
//
//	generic-param = token [ EQUAL gen-value ]
//	gen-value     = token / host / quoted-string
//
// A zero name ends the walk; then bad is -1, or the index of a fault.
type paramScan struct {
	s      string
	i      int // where the walk stands
	name   string
	value  string // quoted strings with their quotes
	equals bool
	bad    int
	seen   int
	names  [maxParams]string
}

// next moves to the next parameter and reports whether there is one. It stops in front of the first octet that is no parameter.
func (p *paramScan) next() bool {
	p.bad = -1
	s := p.s
	i := skipSpace(s, p.i)
	if i >= len(s) || s[i] != ';' {
		p.i = i
		return false
	}
	i = skipSpace(s, i+1)
	start := i
	for i < len(s) && classes[s[i]]&inToken != 0 {
		i++
	}
	p.name, p.value, p.equals = s[start:i], "", false
	if i == start || p.seen == maxParams {
		p.bad = start
		return false
	}
	// RFC 3261 §7.3.1: "any given parameter-name MUST NOT appear more than once".
	for _, n := range p.names[:p.seen] {
		if sameFold(n, p.name) {
			p.bad = start
			return false
		}
	}
	p.names[p.seen] = p.name
	p.seen++
	end := i
	i = skipSpace(s, i)
	if i >= len(s) || s[i] != '=' {
		p.i = end
		return true
	}
	i = skipSpace(s, i+1)
	start = i
	switch {
	case i < len(s) && s[i] == '"':
		i = quotedEnd(s, i)
	case i < len(s) && s[i] == '[':
		for i < len(s) && s[i] != ']' {
			i++
		}
		i++
		if i > len(s) || !isIPv6Reference(s[start:i]) {
			i = -1
		}
	case equalFold(p.name, "received"):
		// RFC 3261 §25.1: via-received is an IPv6address without brackets. RFC 5118 §4.5 asks to take it with them, too.
		for i < len(s) && (classes[s[i]]&inToken != 0 || s[i] == ':') {
			i++
		}
	default:
		for i < len(s) && classes[s[i]]&inToken != 0 {
			i++
		}
	}
	if i <= start {
		p.bad = start
		return false
	}
	p.value, p.equals, p.i = s[start:i], true, i
	return true
}

// quotedEnd returns the index behind the quoted-string that begins at i, or -1 if it does not end. Controls were refused before.
func quotedEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// unquote takes the quotes off a quoted-string and resolves its quoted-pairs; anything else is returned as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	for i := range len(s) {
		if s[i] == '\\' {
			b := make([]byte, 0, len(s))
			for j := 0; j < len(s); j++ {
				if s[j] == '\\' && j+1 < len(s) {
					j++
				}
				b = append(b, s[j])
			}
			return string(b)
		}
	}
	return s
}

// findParam returns the unquoted value of a parameter in text that was checked by paramScan.
func findParam(params, name string) (string, bool) {
	p := paramScan{s: params}
	for p.next() {
		if sameFold(p.name, name) {
			return unquote(p.value), true
		}
	}
	return "", false
}

// isIPv6Reference checks "[" IPv6address "]" (RFC 3986 §3.2.2). The third colon in front of an IPv4 address that the ABNF of RFC
// 3261 asks for by mistake is taken, too (RFC 5118 §4.10). Zones are refused: they mean nothing on another machine.
func isIPv6Reference(s string) bool {
	if len(s) < 4 || len(s) > 2+46 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	s = s[1 : len(s)-1]
	for i := range len(s) {
		if c := s[i]; c != ':' && c != '.' && fromHex(c) > 15 {
			return false
		}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Is6()
	}
	for i := 0; i+3 < len(s); i++ {
		if s[i:i+3] == ":::" {
			a, err := netip.ParseAddr(s[:i] + s[i+1:])
			_, err4 := netip.ParseAddr(s[i+3:])
			return err == nil && a.Is6() && err4 == nil
		}
	}
	return false
}

// isHost checks host = hostname / IPv4address / IPv6reference (RFC 3261 §25.1). A name whose last label is a number is no hostname,
// and an IPv4address has four decimal numbers without leading zeros, because others read those as octal.
func isHost(s string) bool {
	if s == "" || len(s) > 254 {
		return false
	}
	if s[0] == '[' {
		return isIPv6Reference(s)
	}
	if s[len(s)-1] == '.' { // hostname = *( domainlabel "." ) toplabel [ "." ]
		s = s[:len(s)-1]
	}
	label, digits := 0, true // where the label that the walk is in begins, and whether it is all digits
	for i := 0; i < len(s); i++ {
		c := s[i]
		if classes[c]&inHost == 0 {
			return false
		}
		if c != '.' {
			digits = digits && isDigit(c)
			continue
		}
		if !isLabel(s[label:i]) {
			return false
		}
		label, digits = i+1, true
	}
	if !isLabel(s[label:]) {
		return false
	}
	if digits {
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is4()
	}
	return isAlpha(s[label]) // toplabel = ALPHA / ALPHA *( alphanum / "-" ) alphanum
}

// isLabel checks the length and the ends of a label whose characters were checked.
func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-'
}

// parsePort reads 1*DIGIT as a port from 1 to 65535.
func parsePort(s string) (uint16, bool) {
	n, ok := parseUint(s, 65535)
	return uint16(n), ok && n != 0
}

// parseUint reads 1*DIGIT, of at most 10 digits behind leading zeros, up to limit.
func parseUint(s string, limit uint64) (uint64, bool) {
	if s == "" || len(s) > 64 {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		if n = n*10 + uint64(s[i]-'0'); n > limit {
			return 0, false
		}
	}
	return n, true
}
