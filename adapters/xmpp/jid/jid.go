package jid

import (
	"strings"
	"unicode/utf8"
)

// MaxPart is the greatest length of each part of a JID in octets, after every mapping (RFC 7622 §3.2, §3.3, §3.4).
const MaxPart = 1023

// MaxInput is the greatest length in octets of a text that Parse looks at: three parts and two separators. A mapping that
// shortens a longer text is not worth its cost.
const MaxInput = 3*MaxPart + 2

// JID is an XMPP address: an optional localpart, a domainpart and an optional resourcepart. It is made by Parse and New only, is
// canonical when it exists, and compares with ==. The zero value is no address.
type JID struct {
	text   string
	local  int16 // length of the localpart; 0 when there is none
	domain int16 // offset of the end of the domainpart in text
}

// Parse checks s and returns it in canonical form. It fails with a *SyntaxError.
//
// The parts are cut as RFC 7622 §3.2 says: first everything after the first '/', then everything before the first '@'. An ASCII
// address that is canonical already costs no allocation and shares s's memory.
func Parse(s string) (JID, error) {
	if len(s) > MaxInput {
		return JID{}, &SyntaxError{Offset: MaxInput, Rule: "length", Section: "RFC 7622 §3.1", Expected: "at most 3071 octets"}
	}
	if j, ok := parseCanonical(s); ok {
		return j, nil
	}
	rest, resource, hasResource := strings.Cut(s, "/")
	if hasResource && resource == "" {
		return JID{}, &SyntaxError{Offset: len(s), Rule: "resourcepart", Section: "RFC 7622 §3.4", Expected: "a resourcepart of 1 to 1023 octets"}
	}
	local, domain, hasLocal := strings.Cut(rest, "@")
	if !hasLocal {
		local, domain = "", rest
	} else if local == "" {
		return JID{}, &SyntaxError{Rule: "localpart", Section: "RFC 7622 §3.3", Expected: "a localpart of 1 to 1023 octets"}
	}
	j, err := New(Parts{Local: local, Domain: domain, Resource: resource})
	if err != nil {
		return JID{}, err
	}
	return j, nil
}

// MustParse is Parse for tests and constants; it panics where Parse fails.
func MustParse(s string) JID {
	j, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return j
}

// Parts are the three parts of a JID, for New. Empty means absent; the domainpart is needed.
type Parts struct{ Local, Domain, Resource string }

// New makes a JID of parts, each mapped to its canonical form. It fails with a *SyntaxError whose Offset counts from the start of
// the text that the parts make together.
func New(p Parts) (JID, error) {
	base := 0
	local, domain, resource := "", "", ""
	var err error
	if p.Local != "" {
		if local, err = prepareLocal(p.Local); err != nil {
			return JID{}, err
		}
		base = len(p.Local) + 1
	}
	if domain, err = prepareDomain(p.Domain); err != nil {
		return JID{}, shift(err, base)
	}
	if p.Resource != "" {
		if resource, err = prepareResource(p.Resource); err != nil {
			return JID{}, shift(err, base+len(p.Domain)+1)
		}
	}
	j := JID{local: int16(len(local)), domain: int16(len(domain))}
	n := len(domain)
	if local != "" {
		n += len(local) + 1
		j.domain += int16(len(local) + 1)
	}
	if resource != "" {
		n += len(resource) + 1
	}
	if n == len(domain) {
		j.text = domain
		return j, nil
	}
	var b strings.Builder
	b.Grow(n)
	if local != "" {
		b.WriteString(local)
		b.WriteByte('@')
	}
	b.WriteString(domain)
	if resource != "" {
		b.WriteByte('/')
		b.WriteString(resource)
	}
	j.text = b.String()
	return j, nil
}

func shift(err error, by int) error {
	if se, ok := err.(*SyntaxError); ok {
		moved := *se
		moved.Offset += by
		return &moved
	}
	return err
}

// String returns the canonical text, "" for the zero value.
func (j JID) String() string { return j.text }

// IsZero tells whether j is no address.
func (j JID) IsZero() bool { return j.text == "" }

// Local returns the localpart as it stands on the wire, escapes and all; "" when there is none.
func (j JID) Local() string { return j.text[:j.local] }

// Domain returns the domainpart, internationalized labels as U-labels (RFC 7622 §3.2.1).
func (j JID) Domain() string { return j.text[j.domainStart():j.domain] }

// Resource returns the resourcepart, "" when there is none.
func (j JID) Resource() string {
	if int(j.domain) >= len(j.text) {
		return ""
	}
	return j.text[j.domain+1:]
}

// Bare returns j without its resourcepart.
func (j JID) Bare() JID {
	return JID{text: j.text[:j.domain], local: j.local, domain: j.domain}
}

// IsFull tells whether j has a resourcepart.
func (j JID) IsFull() bool { return int(j.domain) < len(j.text) }

// WithResource returns the bare form of j with another resourcepart, or with none if it is "". It fails with a *SyntaxError.
func (j JID) WithResource(resource string) (JID, error) {
	if resource == "" {
		return j.Bare(), nil
	}
	r, err := prepareResource(resource)
	if err != nil {
		return JID{}, shift(err, int(j.domain)+1)
	}
	return JID{text: j.text[:j.domain] + "/" + r, local: j.local, domain: j.domain}, nil
}

func (j JID) domainStart() int {
	if j.local == 0 {
		return 0
	}
	return int(j.local) + 1
}

// Classes of ASCII octets in a canonical address.
const (
	inLocal    = 1 << iota // allowed in a localpart and its own lower case
	inLDH                  // letter, digit or hyphen of a domain, its own lower case
	inResource             // allowed in a resourcepart
)

var classes = func() (t [utf8.RuneSelf]uint8) {
	for b := 0x20; b < 0x7f; b++ {
		t[b] |= inResource
		// RFC 7622 §3.3.1: eight characters are disallowed that the IdentifierClass allows; space it does not.
		if b != 0x20 && !strings.ContainsRune(`"&'/:<>@`, rune(b)) && (b < 'A' || b > 'Z') {
			t[b] |= inLocal
		}
		if b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-' {
			t[b] |= inLDH
		}
	}
	return t
}()

// parseCanonical is the quick answer for an ASCII address that is already what Parse would return. It says no when it does not
// know: then the parts are prepared one by one.
func parseCanonical(s string) (JID, bool) {
	i := 0
	for i < len(s) && s[i] < utf8.RuneSelf && classes[s[i]]&inLocal != 0 {
		i++
	}
	j := JID{text: s}
	start := 0
	if i < len(s) && s[i] == '@' {
		if i == 0 || i > MaxPart {
			return JID{}, false
		}
		j.local = int16(i)
		start = i + 1
	}
	end, ok := canonicalDomain(s, start)
	if !ok {
		return JID{}, false
	}
	j.domain = int16(end)
	if end == len(s) {
		return j, true
	}
	// s[end] is '/'.
	if n := len(s) - end - 1; n == 0 || n > MaxPart || s[end+1] == ' ' {
		return JID{}, false
	}
	for k := end + 1; k < len(s); k++ {
		if s[k] >= utf8.RuneSelf || classes[s[k]]&inResource == 0 {
			return JID{}, false
		}
	}
	return j, true
}

// canonicalDomain walks the labels of a lower-case ASCII domain from start to the end of s or to a '/', and returns where it ends.
// It declines labels with a hyphen in the third and fourth place, which are A-labels or reserved, and a last label of digits,
// which may be an address.
func canonicalDomain(s string, start int) (end int, ok bool) {
	label, digits := start, true
	for i := start; ; i++ {
		if i == len(s) || s[i] == '.' || s[i] == '/' {
			n := i - label
			if n == 0 || n > maxLabel || s[label] == '-' || s[i-1] == '-' || n >= 4 && s[label+2] == '-' && s[label+3] == '-' {
				return 0, false
			}
			if i == len(s) || s[i] == '/' {
				return i, !digits && i-start <= maxDomain
			}
			label, digits = i+1, true
			continue
		}
		c := s[i]
		if c >= utf8.RuneSelf || classes[c]&inLDH == 0 {
			return 0, false
		}
		if c < '0' || c > '9' {
			digits = false
		}
	}
}
