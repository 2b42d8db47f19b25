package cpim

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// MaxDomainOctets is the longest domain name in its text form without a
// trailing dot (RFC 1035 §2.3.4: 255 octets on the wire).
const MaxDomainOctets = 253

// canonicalDomain returns d in lower-case A-labels without a trailing dot.
func canonicalDomain(d string) (string, *syntax.Error) {
	full := d
	if err := checkText(d, nil); err != nil {
		return "", err
	}
	if d == "" {
		return "", syntax.At(full, 0, "domain-empty", "RFC 1035 §2.3.1", "a domain name")
	}
	if d[0] == '[' {
		return "", syntax.At(full, 0, "domain-literal", "RFC 3860 §3.1", "a domain name, not an address literal")
	}
	// RFC 7622 §3.2: the final dot "MUST be stripped from the domainpart".
	if d[len(d)-1] == '.' {
		d = d[:len(d)-1]
	}
	ascii, ace, upper := true, false, false
	for i := range len(d) {
		c := d[i]
		switch {
		case c >= utf8.RuneSelf:
			ascii = false
		case c-'A' < 26:
			upper = true
		}
		if (i == 0 || d[i-1] == '.') && len(d)-i >= 4 && strings.EqualFold(d[i:i+4], "xn--") {
			ace = true
		}
	}
	if !ascii || ace {
		a, err := strictIDNA(d)
		if err != nil {
			return "", &syntax.Error{Rule: "domain-idna", Section: "RFC 5891 §5", Expected: "a valid internationalized domain name", Cause: err}
		}
		d = a
	} else if upper {
		d = strings.ToLower(d)
	}
	if err := checkHostname(d); err != nil {
		return "", err
	}
	return d, nil
}

// checkHostname applies the rules that are left when all labels are ASCII.
func checkHostname(d string) *syntax.Error {
	const section = "RFC 1035 §2.3.1"
	if len(d) > MaxDomainOctets {
		return syntax.At(d, MaxDomainOctets, "domain-length", "RFC 1035 §2.3.4", "at most 253 octets")
	}
	start, digits := 0, true
	for i := 0; i <= len(d); i++ {
		if i < len(d) && d[i] != '.' {
			c := d[i]
			if !isLDH(c) {
				return syntax.At(d, i, "domain-character", section, "letters, digits, '-' and '.'")
			}
			digits = digits && isDigit(c)
			continue
		}
		switch {
		case i == start:
			return syntax.At(d, i, "domain-label", section, "a label")
		case i-start > 63:
			return syntax.At(d, start+63, "domain-label", "RFC 1035 §2.3.4", "a label of at most 63 octets")
		case d[start] == '-':
			return syntax.At(d, start, "domain-label", section, "no '-' at the beginning of a label")
		case d[i-1] == '-':
			return syntax.At(d, i-1, "domain-label", section, "no '-' at the end of a label")
		}
		if i < len(d) {
			start, digits = i+1, true
		}
	}
	// RFC 3261 §25.1: toplabel begins with a letter. All digits would be an
	// IPv4 address or be taken for part of one.
	if digits {
		return syntax.At(d, start, "domain-literal", "RFC 3261 §25.1", "a last label that is not all digits")
	}
	if !isAlpha(d[start]) {
		return syntax.At(d, start, "domain-label", "RFC 3261 §25.1", "a last label that begins with a letter")
	}
	return nil
}

// strictIDNA converts d to A-labels by the lookup rules of RFC 5891 §5, with
// the hyphen, Bidi, joiner and STD 3 checks on and DNS lengths verified, and
// demands that the result converts to U-labels and back unchanged, so that no
// Punycode stands for plain ASCII (CVE-2026-39821) or for what a U-label could
// not be. The idna package follows UTS #46, which also lets symbols through;
// RFC 5892 §2 does not, and the PRECIS IdentifierClass is the same classes of
// characters (RFC 8264 §9), so each U-label must pass that too.
func strictIDNA(d string) (string, error) {
	p := idna.New(
		idna.MapForLookup(),
		idna.BidiRule(),
		idna.CheckHyphens(true),
		idna.CheckJoiners(true),
		idna.StrictDomainName(true),
		idna.ValidateLabels(true),
		idna.VerifyDNSLength(true),
		idna.Transitional(false),
	)
	a, err := p.ToASCII(d)
	if err != nil {
		return "", err
	}
	a = strings.ToLower(a)
	u, err := p.ToUnicode(a)
	if err != nil {
		return "", err
	}
	back, err := p.ToASCII(u)
	if err != nil {
		return "", err
	}
	if back != a {
		return "", errUnstableIDNA
	}
	for label := range strings.SplitSeq(u, ".") {
		if strings.IndexFunc(label, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
			continue
		}
		mapped, err := precis.UsernameCaseMapped.String(label)
		if err != nil {
			return "", err
		}
		if mapped != label {
			return "", errUnstableIDNA
		}
	}
	return a, nil
}

type unstableIDNA struct{}

func (unstableIDNA) Error() string {
	return "cpim: domain does not survive conversion to U-labels and back"
}

// errUnstableIDNA is the cause when A-labels are not those of their U-labels.
var errUnstableIDNA error = unstableIDNA{}
