package jid

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
)

// maxDomain is the longest name in A-label text (RFC 1035 §2.3.4), maxLabel the longest label.
const (
	maxDomain = 253
	maxLabel  = 63
)

// prepareLocal enforces the UsernameCaseMapped profile and the further excluded characters (RFC 7622 §3.3, §3.3.1).
func prepareLocal(s string) (string, error) {
	if len(s) > MaxInput {
		return "", &SyntaxError{Offset: MaxPart, Rule: "length", Section: "RFC 7622 §3.3", Expected: "at most 1023 octets"}
	}
	if !utf8.ValidString(s) {
		return "", &SyntaxError{Offset: invalidAt(s), Rule: "utf-8", Section: "RFC 7622 §3.1", Expected: "UTF-8"}
	}
	out := s
	if isASCII(s) {
		// The profile maps A to Z and nothing else of ASCII, and disallows controls and space (RFC 8265 §3.3).
		out = strings.ToLower(s)
	} else {
		var err error
		if out, err = precis.UsernameCaseMapped.String(s); err != nil {
			return "", &SyntaxError{Rule: "localpart", Section: "RFC 7622 §3.3", Expected: "characters that the UsernameCaseMapped profile allows"}
		}
		// The profile's rules are applied until nothing changes (RFC 8264 §7); a text that still changes has no canonical form.
		if again, err := precis.UsernameCaseMapped.String(out); err != nil || again != out {
			return "", &SyntaxError{Rule: "localpart", Section: "RFC 8264 §7", Expected: "a text with a stable canonical form"}
		}
	}
	for i := range len(out) {
		if c := out[i]; c < utf8.RuneSelf && classes[c]&inLocal == 0 {
			return "", &SyntaxError{Offset: min(i, len(s)), Rule: "localpart", Section: "RFC 7622 §3.3.1", Expected: "none of space, control characters and \"&'/:<>@"}
		}
	}
	if len(out) == 0 || len(out) > MaxPart {
		return "", &SyntaxError{Rule: "length", Section: "RFC 7622 §3.3", Expected: "a localpart of 1 to 1023 octets"}
	}
	return out, nil
}

// prepareResource enforces the OpaqueString profile (RFC 7622 §3.4). A leading space is refused as in example 18 of RFC 7622 §3.5.
func prepareResource(s string) (string, error) {
	if len(s) > MaxInput {
		return "", &SyntaxError{Offset: MaxPart, Rule: "length", Section: "RFC 7622 §3.4", Expected: "at most 1023 octets"}
	}
	if !utf8.ValidString(s) {
		return "", &SyntaxError{Offset: invalidAt(s), Rule: "utf-8", Section: "RFC 7622 §3.1", Expected: "UTF-8"}
	}
	out := s
	if isASCII(s) {
		for i := range len(s) {
			if classes[s[i]]&inResource == 0 {
				return "", &SyntaxError{Offset: i, Rule: "resourcepart", Section: "RFC 7622 §3.4", Expected: "no control characters"}
			}
		}
	} else {
		var err error
		if out, err = precis.OpaqueString.String(s); err != nil {
			return "", &SyntaxError{Rule: "resourcepart", Section: "RFC 7622 §3.4", Expected: "characters that the OpaqueString profile allows"}
		}
		if again, err := precis.OpaqueString.String(out); err != nil || again != out {
			return "", &SyntaxError{Rule: "resourcepart", Section: "RFC 8264 §7", Expected: "a text with a stable canonical form"}
		}
	}
	if out == "" || len(out) > MaxPart {
		return "", &SyntaxError{Rule: "length", Section: "RFC 7622 §3.4", Expected: "a resourcepart of 1 to 1023 octets"}
	}
	if out[0] == ' ' {
		return "", &SyntaxError{Rule: "resourcepart", Section: "RFC 7622 §3.5", Expected: "no leading space"}
	}
	return out, nil
}

// prepareDomain returns the canonical domainpart: an IP address, or a domain name with U-labels and without a final dot
// (RFC 7622 §3.2, §3.2.1).
func prepareDomain(s string) (string, error) {
	if end, ok := canonicalDomain(s, 0); ok && end == len(s) {
		return s, nil
	}
	s = strings.TrimSuffix(s, ".")
	switch {
	case s == "":
		return "", &SyntaxError{Rule: "domainpart", Section: "RFC 7622 §3.2", Expected: "a domainpart of 1 to 1023 octets"}
	case len(s) > MaxPart:
		return "", &SyntaxError{Offset: MaxPart, Rule: "length", Section: "RFC 7622 §3.2", Expected: "at most 1023 octets"}
	case !utf8.ValidString(s):
		return "", &SyntaxError{Offset: invalidAt(s), Rule: "utf-8", Section: "RFC 7622 §3.1", Expected: "UTF-8"}
	}
	if t, ok := strings.CutPrefix(s, "["); ok {
		t, ok = strings.CutSuffix(t, "]")
		a, err := netip.ParseAddr(t)
		if !ok || err != nil || !a.Is6() || a.Zone() != "" {
			return "", &SyntaxError{Offset: 1, Rule: "address", Section: "RFC 7622 §3.2", Expected: "an IPv6 address and ']'"}
		}
		return "[" + a.String() + "]", nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return a.String(), nil
	}
	if strings.IndexByte(s, '_') >= 0 {
		return "", &SyntaxError{Offset: strings.IndexByte(s, '_'), Rule: "domainpart", Section: "RFC 7622 §3.2.1", Expected: "letters, digits and hyphens"}
	}
	profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true), idna.CheckJoiners(true))
	ascii, err := profile.ToASCII(s)
	if err != nil {
		return "", &SyntaxError{Rule: "idna", Section: "RFC 7622 §3.2.1", Expected: "NR-LDH labels and U-labels"}
	}
	if end, ok := canonicalDomain(ascii, 0); ok && end == len(ascii) {
		return ascii, nil
	}
	// One final dot was taken off above. What ends with another, or with a character that is mapped to one, has an empty label, and
	// would be a second text of the name without it.
	if strings.HasSuffix(ascii, ".") {
		return "", &SyntaxError{Offset: len(s), Rule: "domainpart", Section: "RFC 7622 §3.2.1", Expected: "no empty label"}
	}
	u, err := profile.ToUnicode(ascii)
	if err != nil {
		return "", &SyntaxError{Rule: "idna", Section: "RFC 7622 §3.2.1", Expected: "A-labels that some U-label has"}
	}
	// Two texts of one name, or an A-label that stands for nothing, must not pass (RFC 5891 §5.4).
	if back, err := profile.ToASCII(u); err != nil || back != ascii {
		return "", &SyntaxError{Rule: "idna", Section: "RFC 5891 §5.4", Expected: "A-labels that some U-label has"}
	}
	for label := range strings.SplitSeq(u, ".") {
		if len(label) >= 4 && label[2] == '-' && label[3] == '-' {
			return "", &SyntaxError{Rule: "idna", Section: "RFC 5890 §2.3.1", Expected: "no reserved label with hyphens in the third and fourth place"}
		}
	}
	if allDigits(u[strings.LastIndexByte(u, '.')+1:]) {
		return "", &SyntaxError{Rule: "address", Section: "RFC 7622 §3.2", Expected: "a name whose last label is not a number, or an IPv4 address"}
	}
	if len(u) > MaxPart {
		return "", &SyntaxError{Rule: "length", Section: "RFC 7622 §3.2", Expected: "at most 1023 octets"}
	}
	return u, nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func invalidAt(s string) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(s)
}
