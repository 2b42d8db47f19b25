package resolver

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxDomain is the longest name in text without the last dot (RFC 1035 §2.3.4: 255 octets on the wire), maxLabel the longest
// label. maxUnicode bounds what is given to the IDNA tables: a U-label takes at most 4 octets where its A-label takes one.
const (
	maxDomain  = 253
	maxLabel   = 63
	maxUnicode = 4 * maxDomain
)

// ParseDomain checks a domain name and returns its one canonical text: A-labels in lower case, without the last dot, so that
// equal domains are equal strings. U-labels are taken by the lookup profile of RFC 5891 §5 (mapped, contextual and bidirectional
// rules checked). Refused with a *SyntaxError: empty names and labels, labels over 63 and names over 253 octets, characters other
// than letters, digits and hyphens, and text that is an IP address.
//
// A single label is a domain here; whether it may be resolved is the Resolver's policy (RFC 3861 §4 asks for FQDNs).
func ParseDomain(s string) (string, error) {
	if canonicalDomain(s) {
		return s, nil
	}
	if len(s) > maxUnicode {
		return "", &SyntaxError{Offset: maxUnicode, Rule: "length", Section: "RFC 1035 §2.3.4", Expected: "at most 253 octets"}
	}
	a := strings.TrimSuffix(s, ".")
	plain := isASCII(a)
	if !plain {
		if !utf8.ValidString(a) {
			return "", &SyntaxError{Rule: "utf-8", Section: "RFC 3629 §3", Expected: "UTF-8"}
		}
		// Lookup mapping turns U+3002 and its relatives into dots, so the result is checked again, and only then believed.
		var err error
		if a, err = lookupProfile().ToASCII(a); err != nil {
			return "", &SyntaxError{Rule: "idna", Section: "RFC 5891 §5", Expected: "U-labels that may be looked up"}
		}
	}
	a = strings.ToLower(a)
	if err := checkDomain(a, false); err != nil {
		if e, ok := err.(*SyntaxError); ok && !plain { //nolint:errorlint // made by checkDomain, never wrapped
			e.Offset = 0 // a place in the A-labels is none in the text that was given
		}
		return "", err
	}
	for label := range strings.SplitSeq(a, ".") {
		if strings.HasPrefix(label, "xn--") {
			if err := checkALabel(label); err != nil {
				return "", err
			}
		}
	}
	return a, nil
}

// lookupProfile is RFC 5891 §5 with every optional check on.
func lookupProfile() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true), idna.CheckJoiners(true))
}

// checkALabel refuses an A-label that is no U-label's (RFC 5891 §5.4): two texts of one name, or a fake one, must not pass.
func checkALabel(label string) error {
	u, err := lookupProfile().ToUnicode(label)
	if err == nil && u != label {
		var back string
		if back, err = lookupProfile().ToASCII(u); err == nil && back == label {
			return nil
		}
	}
	return &SyntaxError{Rule: "idna", Section: "RFC 5891 §5.4", Expected: "an A-label that some U-label has"}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// canonicalDomain is the quick answer for a name that is already what ParseDomain would return. It says no when it does not know.
func canonicalDomain(s string) bool {
	return len(s) > 0 && len(s) <= maxDomain && !strings.Contains(s, "xn--") && checkLowerLDH(s)
}

// checkLowerLDH walks the labels once, without allocating. The last label must not be all digits: that would be an address.
func checkLowerLDH(s string) bool {
	start, digits := 0, true
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			n := i - start
			if n == 0 || n > maxLabel || s[start] == '-' || s[i-1] == '-' {
				return false
			}
			if i == len(s) {
				return !digits
			}
			start, digits = i+1, true
			continue
		}
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c == '-':
			digits = false
		case c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return false
}

// checkDomain checks an ASCII name in lower case. Underscores are let through only for names that DNS itself gave us (the owner
// of an SRV record, a target that an operator named so).
func checkDomain(s string, underscore bool) error {
	if s == "" {
		return &SyntaxError{Rule: "domain", Section: "RFC 1035 §2.3.1", Expected: "a domain name"}
	}
	if len(s) > maxDomain {
		return &SyntaxError{Offset: maxDomain, Rule: "length", Section: "RFC 1035 §2.3.4", Expected: "at most 253 octets"}
	}
	start, digits := 0, true
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			switch n := i - start; {
			case n == 0:
				return &SyntaxError{Offset: start, Rule: "label", Section: "RFC 1035 §2.3.1", Expected: "a label that is not empty"}
			case n > maxLabel:
				return &SyntaxError{Offset: start, Rule: "label", Section: "RFC 1035 §2.3.4", Expected: "a label of at most 63 octets"}
			case s[start] == '-' || s[i-1] == '-':
				return &SyntaxError{Offset: start, Rule: "label", Section: "RFC 1035 §2.3.1", Expected: "no hyphen at the ends of a label"}
			}
			if i == len(s) {
				break
			}
			start, digits = i+1, true
			continue
		}
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c == '-', underscore && c == '_':
			digits = false
		case c >= '0' && c <= '9':
		default:
			return &SyntaxError{Offset: i, Rule: "character", Section: "RFC 1035 §2.3.1", Expected: "letters, digits and hyphens"}
		}
	}
	if digits {
		return &SyntaxError{Offset: start, Rule: "address", Expected: "a name, not an address"}
	}
	return nil
}

// parseHost takes a domain name or an IP address (IPv6 with or without brackets, no zone) and returns its canonical text.
func parseHost(s string) (string, error) {
	if t, ok := strings.CutPrefix(s, "["); ok {
		t, ok = strings.CutSuffix(t, "]")
		a, err := netip.ParseAddr(t)
		if !ok || err != nil || !a.Is6() || a.Zone() != "" {
			return "", &SyntaxError{Offset: 1, Rule: "address", Section: "RFC 3986 §3.2.2", Expected: "an IPv6 address and ']'"}
		}
		return a.Unmap().String(), nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return "", &SyntaxError{Offset: strings.IndexByte(s, '%'), Rule: "zone", Expected: "an address without a zone"}
		}
		return a.Unmap().String(), nil
	}
	return ParseDomain(s)
}
