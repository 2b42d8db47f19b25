package pidf

import (
	"strings"
	"unicode/utf8"
)

// URI is an absolute URI or IRI, as it was written. The zero value is no URI. URIs are compared octet by octet (==):
// which two URIs name one presentity is the business of package cpim.
type URI struct{ s string }

// MaxURI is the largest URI that ParseURI takes, in octets.
const MaxURI = 4096

// ParseURI takes an absolute URI by RFC 3986 §4.3 with an optional fragment, and the characters outside ASCII that an IRI has
// (RFC 3987 §2.2). White space around it is a fault, as is a percent sign without two hexadecimal digits.
func ParseURI(s string) (URI, error) {
	if !validURI(s) {
		return URI{}, &SyntaxError{Offset: 0, Rule: "uri", Section: "RFC 3986 §4.3", Expected: "an absolute URI: scheme, colon, and no space, quote, bracket or control"}
	}
	return URI{s}, nil
}

// MustParseURI is ParseURI for constants and tests; it panics on a fault.
func MustParseURI(s string) URI {
	u, err := ParseURI(s)
	if err != nil {
		panic(err)
	}
	return u
}

// String gives the URI as it was written, "" for the zero value.
func (u URI) String() string { return u.s }

// IsZero says that there is no URI.
func (u URI) IsZero() bool { return u.s == "" }

// Scheme gives the scheme in lower case, without the colon; "" for the zero value.
func (u URI) Scheme() string {
	i := strings.IndexByte(u.s, ':')
	if i < 0 {
		return ""
	}
	return strings.ToLower(u.s[:i])
}

// isURN says that the URI is a URN by RFC 2141 §2: "urn:", a namespace identifier of 2 to 32 letters, digits and hyphens, a colon
// and a name of at least one character.
func (u URI) isURN() bool {
	if len(u.s) < 5 || !strings.EqualFold(u.s[:4], "urn:") {
		return false
	}
	nid, nss, ok := strings.Cut(u.s[4:], ":")
	if !ok || nss == "" || len(nid) < 2 || len(nid) > 32 || nid[0] == '-' {
		return false
	}
	for i := 0; i < len(nid); i++ {
		if !isAlpha(nid[i]) && !isDigit(nid[i]) && nid[i] != '-' {
			return false
		}
	}
	return true
}

func validURI(s string) bool {
	if len(s) > MaxURI {
		return false
	}
	i := 0
	for i < len(s) && s[i] != ':' {
		c := s[i]
		if !isAlpha(c) && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
		i++
	}
	if i == 0 || i == len(s) {
		return false
	}
	fragment := false
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n <= 1 || r < 0xA0 || r >= 0xFDD0 && r <= 0xFDEF || r&0xFFFE == 0xFFFE || r >= 0xE000 && r <= 0xF8FF || r >= 0xF0000 {
				return false
			}
			i += n - 1
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
		case c == '#':
			if fragment {
				return false
			}
			fragment = true
		case c <= ' ' || c == 0x7F, strings.IndexByte("\"<>\\^`{|}", c) >= 0:
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// collapse does what XML Schema's whiteSpace facet "collapse" does, which xs:anyURI, xs:dateTime, xs:boolean, xs:ID and the
// numbers have: outer white space goes, inner runs become one space.
func collapse(s string) string {
	if !needsCollapse(s) {
		return s
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }), " ")
}

func needsCollapse(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '\t' || c == '\n' || c == '\r' || c == ' ' && (i == 0 || i == len(s)-1 || s[i+1] == ' ') {
			return true
		}
	}
	return false
}
