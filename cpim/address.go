package cpim

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// Scheme is the service that an Address names.
type Scheme uint8

const (
	// IM is an instant inbox (RFC 3860).
	IM Scheme = iota + 1
	// Pres is a presentity (RFC 3859).
	Pres
)

// String returns "im" or "pres", and "" for anything else.
func (s Scheme) String() string {
	switch s {
	case IM:
		return "im"
	case Pres:
		return "pres"
	}
	return ""
}

// MaxLocalOctets bounds a local part: the octets that it has as an XMPP
// localpart, escaped by XEP-0106 (RFC 7622 §3.3: "A localpart MUST NOT be zero
// octets in length and MUST NOT be more than 1023 octets in length").
const MaxLocalOctets = 1023

// MaxAddressOctets is the longest address URI that ParseAddress looks at: a
// longest local part with every octet percent-encoded, and a longest domain.
const MaxAddressOctets = 3*MaxLocalOctets + 3*255 + len("pres:@")

// Address is an im: or pres: address in canonical form: the scheme, the local
// part as plain UTF-8 text with no escaping of any protocol, and the domain as
// lower-case A-labels. Two Addresses are the same address exactly if they are
// ==, so an Address can be a map key. The zero Address is no address.
//
// # The canonical local part
//
// It is one to MaxLocalOctets octets of UTF-8 in Unicode normalization form C
// that, once escaped by XEP-0106, is exactly what the UsernameCaseMapped
// profile of PRECIS makes of it (RFC 7622 §3.3, RFC 8265 §3.3). So it may hold
// the ASCII characters that an XMPP localpart may not (space, ", &, ', /, :,
// <, >, @), but no control character, no space at either end, and no capital
// letter.
//
// # Capital letters
//
// The user part of a SIP URI is case-sensitive (RFC 3261 §19.1.4), an XMPP
// localpart is not. If capitals were folded silently, sip:Alice@d and
// sip:alice@d, who may be two people, would become one address. So every
// strict function refuses a local part that is not its own case-mapped form;
// ParseAddressFold and NewAddressFold fold, and are for domains whose policy
// is that case does not matter.
//
// # The domain
//
// It is a host name of one or more labels (a single label is allowed: test
// networks and /etc/hosts use them), converted to A-labels and lower case by
// the IDNA rules for lookup (RFC 5891 §5), of at most 253 octets, whose last
// label begins with a letter (RFC 3261 §25.1). Address literals are refused:
// IPv4, and IPv6 in brackets. One trailing dot is removed, as RFC 7622 §3.2
// demands for XMPP.
type Address struct {
	scheme Scheme
	local  string
	domain string
}

// Clone returns a copy that shares no memory with what a was read from. Whoever keeps an address for longer than the message that it came in
// keeps a copy: a part of a message keeps the whole of it.
func (a Address) Clone() Address {
	var both strings.Builder // one piece of memory
	both.Grow(len(a.local) + len(a.domain))
	both.WriteString(a.local)
	both.WriteString(a.domain)
	a.local, a.domain = both.String()[:len(a.local)], both.String()[len(a.local):]
	return a
}

// ParseAddress reads an im: or pres: URI (RFC 3860 Appendix A, RFC 3859
// Appendix A): the scheme in either case, a local part whose dot-atom-text
// characters may stand for themselves and whose others are percent-encoded
// UTF-8 (RFC 7247 §6.2), "@" and a domain. URI headers ("?subject=…") are
// refused: they are no part of an address. The error is a *SyntaxError.
func ParseAddress(uri string) (Address, error) { return parseAddress(uri, false) }

// ParseAddressFold is ParseAddress for a domain whose local parts are not
// case-sensitive: it maps the local part with the UsernameCaseMapped profile
// instead of refusing one that the profile would change.
func ParseAddressFold(uri string) (Address, error) { return parseAddress(uri, true) }

// MustParseAddress is ParseAddress for values known to be right; it panics on
// an error. It is for tests and constants only.
func MustParseAddress(uri string) Address {
	a, err := ParseAddress(uri)
	if err != nil {
		panic(err)
	}
	return a
}

// NewAddress makes an Address from an unescaped local part and a domain in
// U-labels or A-labels. The offset in its *SyntaxError counts in local, "@"
// and domain put together.
func NewAddress(scheme Scheme, local, domain string) (Address, error) {
	return newAddress(scheme, local, domain, false)
}

// NewAddressFold is NewAddress with the local part folded, as by
// ParseAddressFold.
func NewAddressFold(scheme Scheme, local, domain string) (Address, error) {
	return newAddress(scheme, local, domain, true)
}

func newAddress(scheme Scheme, local, domain string, fold bool) (Address, error) {
	if scheme != IM && scheme != Pres {
		return Address{}, &syntax.Error{Rule: "address-scheme", Section: "RFC 3860 §3.1", Expected: "im or pres"}
	}
	l, serr := canonicalLocal(local, fold)
	if serr != nil {
		return Address{}, serr
	}
	d, serr := canonicalDomain(domain)
	if serr != nil {
		return Address{}, serr.Shift(len(local) + 1)
	}
	return Address{scheme: scheme, local: l, domain: d}, nil
}

func parseAddress(uri string, fold bool) (Address, error) {
	if len(uri) > MaxAddressOctets {
		return Address{}, syntax.At(uri, MaxAddressOctets, "address-length", "RFC 7622 §3.3", "a shorter address")
	}
	colon := strings.IndexByte(uri, ':')
	var scheme Scheme
	switch {
	case colon == 2 && strings.EqualFold(uri[:2], "im"):
		scheme = IM
	case colon == 4 && strings.EqualFold(uri[:4], "pres"):
		scheme = Pres
	default:
		return Address{}, syntax.At(uri, 0, "address-scheme", "RFC 3860 Appendix A", "im: or pres:")
	}
	start := colon + 1
	at := strings.IndexByte(uri[start:], '@')
	if at < 0 {
		return Address{}, syntax.At(uri, len(uri), "mailbox", "RFC 3860 Appendix A", "local@domain")
	}
	at += start
	raw := uri[start:at]
	if serr := checkDotAtom(raw); serr != nil {
		return Address{}, serr.Shift(start)
	}
	local, serr := percentDecode(raw)
	if serr != nil {
		return Address{}, serr.Shift(start)
	}
	l, serr := canonicalLocal(local, fold)
	if serr != nil {
		return Address{}, &syntax.Error{
			Offset: start + percentOffset(raw, serr.Offset), Rule: serr.Rule, Section: serr.Section,
			Expected: serr.Expected, Found: serr.Found,
		}
	}
	rawDomain := uri[at+1:]
	for i := range len(rawDomain) {
		c := rawDomain[i]
		if isLDH(c) || c == '.' || c == '%' || c == '[' || c == ']' {
			continue
		}
		rule, section, expected := "domain-character", "RFC 3860 Appendix A", "letters, digits, '-' and '.'"
		switch {
		case c == '?':
			rule, expected = "address-headers", "an address without URI headers"
		case c == '@':
			rule, expected = "mailbox", "one '@' (in a local part it is written %40)"
		case c >= 0x80:
			rule, section, expected = "uri-character", "RFC 3986 §2.1", "percent-encoding or A-labels"
		}
		return Address{}, syntax.At(uri, at+1+i, rule, section, expected)
	}
	domain, serr := percentDecode(rawDomain)
	if serr != nil {
		return Address{}, serr.Shift(at + 1)
	}
	d, serr := canonicalDomain(domain)
	if serr != nil {
		e := serr.Shift(0)
		e.Offset = at + 1 + percentOffset(rawDomain, serr.Offset)
		return Address{}, e
	}
	return Address{scheme: scheme, local: l, domain: d}, nil
}

// checkDotAtom accepts the local part of an im: or pres: URI before its
// percent-encoding is undone: characters of atext (RFC 5322 §3.2.3) that are
// also URI characters, percent-encoded octets, and single dots between them,
// which is RFC 7247's reading of "mailbox" (RFC 7247 §6.2).
func checkDotAtom(raw string) *syntax.Error {
	const section = "RFC 7247 §6.2"
	if raw == "" {
		return syntax.At(raw, 0, "local-empty", section, "a local part before '@'")
	}
	for i := range len(raw) {
		c := raw[i]
		switch {
		case c == '.':
			if i == 0 || i == len(raw)-1 || raw[i-1] == '.' {
				return syntax.At(raw, i, "dot-atom", section, "a dot only between other characters (else %2E)")
			}
		case c == '?':
			return syntax.At(raw, i, "address-headers", "RFC 3860 Appendix A", "'@' before any '?' (in a local part it is written %3F)")
		case c == '%' || imLocalRaw(c):
		case c >= 0x80:
			return syntax.At(raw, i, "uri-character", "RFC 3986 §2.1", "percent-encoding")
		default:
			return syntax.At(raw, i, "local-character", section, "a character of dot-atom-text or percent-encoding")
		}
	}
	return nil
}

// imLocalRaw reports whether c may stand for itself in the local part of an
// im: or pres: URI, dots apart: ALPHA, DIGIT, and those of atext's others that
// RFC 3986 lets stand in a path segment: "#" would begin a fragment, "?" the
// headers, and "^", "`", "{", "|" and "}" are no URI characters.
func imLocalRaw(c byte) bool {
	switch c {
	case '!', '$', '&', '\'', '*', '+', '-', '/', '=', '_', '~':
		return true
	}
	return isAlnum(c)
}

// Scheme returns IM or Pres, or 0 for the zero Address.
func (a Address) Scheme() Scheme { return a.scheme }

// Local returns the canonical local part, unescaped.
func (a Address) Local() string { return a.local }

// Domain returns the domain in lower-case A-labels, without a trailing dot.
func (a Address) Domain() string { return a.domain }

// IsZero reports whether a is no address.
func (a Address) IsZero() bool { return a == Address{} }

// WithScheme returns the same mailbox under another scheme. The zero Address
// stays zero.
func (a Address) WithScheme(s Scheme) Address {
	if a.IsZero() || s != IM && s != Pres {
		return Address{}
	}
	a.scheme = s
	return a
}

// SameMailbox reports whether a and b are equal apart from the scheme; the
// zero Address equals none.
func (a Address) SameMailbox(b Address) bool {
	return a.local == b.local && a.domain == b.domain && !a.IsZero() && !b.IsZero()
}

// String returns the address as an im: or pres: URI, "" for the zero Address.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	return string(a.Append(make([]byte, 0, len(a.local)+len(a.domain)+16)))
}

// Append appends the URI to dst. It percent-encodes every octet of the local
// part that is not a character of dot-atom-text or may not stand for itself in
// a URI (RFC 7247 §6.5, step 5, RFC 3986 §2.1). A dot between two characters is
// left alone, other than that step says, because RFC 3986 §2.3 tells producers
// not to encode it and RFC 5322's dot-atom-text allows it there.
func (a Address) Append(dst []byte) []byte {
	if a.IsZero() {
		return dst
	}
	dst = append(append(dst, a.scheme.String()...), ':')
	for i := range len(a.local) {
		c := a.local[i]
		ok := imLocalRaw(c)
		if c == '.' {
			ok = i > 0 && i < len(a.local)-1 && a.local[i-1] != '.'
		}
		dst = appendPercent(dst, c, ok)
	}
	return append(append(dst, '@'), a.domain...)
}

// MarshalText implements encoding.TextMarshaler with String's form.
func (a Address) MarshalText() ([]byte, error) { return a.Append(nil), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParseAddress; empty
// text gives the zero Address.
func (a *Address) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = Address{}
		return nil
	}
	b, err := ParseAddress(string(text))
	if err == nil {
		*a = b
	}
	return err
}
