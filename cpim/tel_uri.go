package cpim

import (
	"sort"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// TelURI is a tel: URI (RFC 3966) in canonical form: without visual separators
// and in lower case, since "URI comparisons are case-insensitive" (RFC 3966
// §4), its parameters in the order of RFC 3966 §3. Values are comparable: two
// TelURIs are equivalent by §4 exactly if they are ==. The zero TelURI is none.
type TelURI struct {
	number  string // digits, with "+" if global
	isub    string
	ext     string
	context string
	others  string // ";name=value", sorted
}

// ParseTelURI reads a tel: URI. Parameters that begin with "m-" are refused: an
// implementation "MUST NOT use the URI if it contains unknown mandatory
// parameters" (RFC 3966 §5.4). The error is a *SyntaxError.
func ParseTelURI(s string) (TelURI, error) {
	const section = "RFC 3966 §3"
	if len(s) > MaxSIPURIOctets {
		return TelURI{}, syntax.At(s, MaxSIPURIOctets, "tel-length", section, "at most 8192 octets")
	}
	if len(s) < 4 || !strings.EqualFold(s[:4], "tel:") {
		return TelURI{}, syntax.At(s, 0, "tel-scheme", section, "tel:")
	}
	t, err := parseSubscriber(s[4:], false)
	if err != nil {
		return TelURI{}, err.Shift(4)
	}
	return t, nil
}

// MustParseTelURI is ParseTelURI for values known to be right; it panics on an
// error. It is for tests and constants only.
func MustParseTelURI(s string) TelURI {
	t, err := ParseTelURI(s)
	if err != nil {
		panic(err)
	}
	return t
}

func visualSeparator(c byte) bool { return c == '-' || c == '.' || c == '(' || c == ')' }

// telDigits reads the digits at s[i:], which with hex may be those of a local
// number, and returns them without separators and in lower case.
func telDigits(s string, i int, hex bool) (digits string, end int) {
	var b []byte
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case visualSeparator(c):
		case isDigit(c) || hex && (hexValue(c) >= 0 || c == '*' || c == '#'):
			if 'A' <= c && c <= 'F' {
				c |= 0x20
			}
			b = append(b, c)
		default:
			return string(b), i
		}
	}
	return string(b), i
}

// parseSubscriber reads telephone-subscriber, the part after "tel:" and the
// user part of a SIP URI with user=phone. If anyContext, a local number needs no
// phone context.
func parseSubscriber(s string, anyContext bool) (t TelURI, _ *syntax.Error) {
	const section = "RFC 3966 §3"
	i := 0
	if strings.HasPrefix(s, "+") {
		var d string
		d, i = telDigits(s, 1, false)
		if d == "" {
			return t, syntax.At(s, i, "tel-number", section, "a digit")
		}
		t.number = "+" + d
	} else {
		t.number, i = telDigits(s, 0, true)
		if t.number == "" {
			return t, syntax.At(s, i, "tel-number", section, "'+' and digits, or a local number")
		}
	}
	var others []string
	n := 0
	for i < len(s) {
		if s[i] != ';' {
			return t, syntax.At(s, i, "tel-number", section, "digits, visual separators or ';'")
		}
		if n++; n > maxURIParams {
			return t, syntax.At(s, i, "tel-parameter", section, "at most 64 parameters")
		}
		i++
		start := i
		for i < len(s) && (isAlnum(s[i]) || s[i] == '-') {
			i++
		}
		if i == start {
			return t, syntax.At(s, i, "tel-parameter", section, "a parameter name")
		}
		name := strings.ToLower(s[start:i])
		value, hasValue := "", false
		if i < len(s) && s[i] == '=' {
			i++
			hasValue = true
			from := i
			isub := name == "isub"
			for i < len(s) && s[i] != ';' && (s[i] == '%' || sipParamChar(s[i]) ||
				isub && (s[i] == '?' || s[i] == '@' || s[i] == '=' || s[i] == ',')) {
				i++
			}
			value = strings.ToLower(s[from:i])
			if _, err := percentDecode(value); err != nil {
				return t, err.Shift(from)
			}
		}
		if hasValue && value == "" {
			return t, syntax.At(s, i, "tel-parameter", section, "a parameter value")
		}
		var once *string
		switch {
		case name == "isub":
			once = &t.isub
		case name == "ext":
			d, end := telDigits(value, 0, false)
			if end != len(value) {
				return t, syntax.At(s, start, "tel-ext", section, "digits")
			}
			value = d
			once = &t.ext
		case name == "phone-context":
			c, ok := telContext(value)
			if !ok {
				return t, syntax.At(s, start, "tel-context", section, "a domain name or a global number")
			}
			value = c
			once = &t.context
		case strings.HasPrefix(name, "m-"):
			return t, syntax.At(s, start, "tel-mandatory", "RFC 3966 §5.4", "no unknown mandatory parameter")
		default:
			p := ";" + name
			for _, o := range others {
				if o == p || strings.HasPrefix(o, p+"=") {
					return t, syntax.At(s, start, "tel-parameter-once", section, "each parameter once")
				}
			}
			if hasValue {
				p += "=" + value
			}
			others = append(others, p)
			continue
		}
		if value == "" {
			return t, syntax.At(s, i, "tel-parameter", section, "a parameter value")
		}
		if *once != "" {
			return t, syntax.At(s, start, "tel-parameter-once", section, "each parameter once")
		}
		*once = value
	}
	switch {
	case t.isub != "" && t.ext != "":
		return t, syntax.At(s, 0, "tel-parameter", section, "isub or ext, not both")
	case t.number[0] != '+' && t.context == "" && !anyContext:
		return t, syntax.At(s, len(s), "tel-context", "RFC 3966 §5.1.5", "a phone-context for a local number")
	case t.number[0] == '+' && t.context != "":
		return t, syntax.At(s, 0, "tel-context", section, "no phone-context on a global number")
	}
	sort.Strings(others)
	t.others = strings.Join(others, "")
	return t, nil
}

// telContext returns a phone context in canonical form.
func telContext(v string) (string, bool) {
	if strings.HasPrefix(v, "+") {
		d, end := telDigits(v, 1, false)
		return "+" + d, end == len(v) && d != ""
	}
	v = strings.TrimSuffix(v, ".")
	return v, v != "" && checkHostname(v) == nil
}

// Global reports whether the number is global: "+" and digits.
func (t TelURI) Global() bool { return strings.HasPrefix(t.number, "+") }

// Number returns the number without visual separators.
func (t TelURI) Number() string { return t.number }

// PhoneContext returns where a local number is valid, "" for a global one.
func (t TelURI) PhoneContext() string { return t.context }

// Ext returns the extension's digits, or "".
func (t TelURI) Ext() string { return t.ext }

// ISub returns the ISDN subaddress as written, in lower case, or "".
func (t TelURI) ISub() string { return t.isub }

// IsZero reports whether t is no URI.
func (t TelURI) IsZero() bool { return t == TelURI{} }

// String returns the canonical URI, with all its parameters.
func (t TelURI) String() string {
	if t.IsZero() {
		return ""
	}
	// "#" stands for itself in a local number by RFC 3966 §3.
	return "tel:" + t.canonical() + t.others
}

// canonical is the number with the parameters that are part of whom it names:
// the subaddress or extension, and the context. The others are optional and say
// how to reach it (RFC 3966 §5.4).
func (t TelURI) canonical() string {
	s := t.number
	if t.isub != "" {
		s += ";isub=" + t.isub
	}
	if t.ext != "" {
		s += ";ext=" + t.ext
	}
	if t.context != "" {
		s += ";phone-context=" + t.context
	}
	return s
}

// Address returns the number as an address in a domain, which a tel: URI does
// not name and a gateway's configuration must: the local part is the number
// with its extension or subaddress and its phone context, such as
// "+12015550123", "+12015550123;ext=7" or "7042;phone-context=example.com". A
// percent-encoded subaddress is refused, since it could not be read back. The
// error is a *SyntaxError.
func (t TelURI) Address(scheme Scheme, domain string) (Address, error) {
	if strings.IndexByte(t.isub, '%') >= 0 {
		return Address{}, syntax.At(t.String(), 0, "tel-isub", "RFC 3966 §5.2", "a subaddress without percent-encoding")
	}
	return NewAddress(scheme, t.canonical(), domain)
}

// TelURI returns the tel: URI that the local part of an address is, if it is
// one in canonical form. Its domain is not part of it.
func (a Address) TelURI() (TelURI, bool) {
	t, err := parseSubscriber(a.local, false)
	if err != nil || t.others != "" || t.canonical() != a.local {
		return TelURI{}, false
	}
	return t, true
}

// SIPURI returns the number as the user part of a sip: URI at a host, with
// user=phone (RFC 3261 §19.1.6). Characters that the user part may not hold
// are percent-encoded.
func (t TelURI) SIPURI(domain string) (SIPURI, error) {
	a, err := t.Address(IM, domain)
	if err != nil {
		return SIPURI{}, err
	}
	return a.SIPURI().WithParam("user", "phone"), nil
}
