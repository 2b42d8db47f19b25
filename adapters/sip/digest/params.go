package digest

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits on one header field value: longer, or more, is refused. A value comes from a parsed SIP message, whose line is bounded already.
const (
	maxParams = 24
	maxValue  = 1024 // octets, of one parameter
)

// SyntaxError is a value that breaks a rule.
type SyntaxError struct {
	// Offset is where, in octets from the start of the value.
	Offset int
	// Rule is the name of the rule, Section where it stands.
	Rule, Section string
}

// Error gives the offset, the rule and the section; nothing of the value.
func (e *SyntaxError) Error() string {
	return "digest: at " + strconv.Itoa(e.Offset) + ": " + e.Rule + " (" + e.Section + ")"
}

func fault(at int, rule string) error {
	return &SyntaxError{Offset: at, Rule: rule, Section: "RFC 3261 §25.1"}
}

// param is one auth-param. Values are unquoted.
type param struct {
	name   string // lower case
	value  string
	quoted bool
	at     int
}

// params reads "Digest" LWS auth-param *(COMMA auth-param). Each name may stand once: where two readers could choose differently, the
// one that checks must not be the one that is fooled.
func params(s string) ([]param, error) {
	const scheme = "digest"
	if len(s) <= len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) || !isSpace(s[len(scheme)]) {
		return nil, fault(0, "want the scheme Digest and parameters")
	}
	var list []param
	i := len(scheme)
	for {
		i = skipSpace(s, i)
		p := param{at: i}
		for i < len(s) && isTokenByte(s[i]) {
			i++
		}
		if i == p.at {
			return nil, fault(i, "want the name of a parameter")
		}
		p.name = strings.ToLower(s[p.at:i])
		i = skipSpace(s, i)
		if i == len(s) || s[i] != '=' {
			return nil, fault(i, "want = after the name of a parameter")
		}
		i = skipSpace(s, i+1)
		var err error
		if i < len(s) && s[i] == '"' {
			p.quoted = true
			p.value, i, err = quoted(s, i)
		} else {
			from := i
			for i < len(s) && isTokenByte(s[i]) {
				i++
			}
			if p.value = s[from:i]; p.value == "" {
				err = fault(i, "want a value")
			}
		}
		if err == nil && len(p.value) > maxValue {
			err = fault(p.at, "a value of over 1024 octets")
		}
		for _, q := range list {
			if err == nil && q.name == p.name {
				err = fault(p.at, "a parameter stands twice")
			}
		}
		if err == nil && len(list) == maxParams {
			err = fault(p.at, "more than 24 parameters")
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
		i = skipSpace(s, i)
		if i == len(s) {
			return list, nil
		}
		if s[i] != ',' {
			return nil, fault(i, "want a comma")
		}
		i++
	}
}

// quoted reads a quoted-string at i and returns what it stands for, and where it ends.
func quoted(s string, i int) (string, int, error) {
	from := i
	i++
	var b []byte // only with quoted-pairs
	start := i
	for i < len(s) {
		switch c := s[i]; {
		case c == '"':
			value := s[start:i]
			if b != nil {
				value = string(append(b, value...))
			}
			if !utf8.ValidString(value) {
				return "", 0, fault(from, "a quoted string that is not UTF-8")
			}
			return value, i + 1, nil
		case c == '\\':
			if i+1 == len(s) || s[i+1] < ' ' || s[i+1] > '~' {
				return "", 0, fault(i, "an escape of no character")
			}
			b = append(append(b, s[start:i]...), s[i+1])
			i += 2
			start = i
		case c < ' ' && c != '\t' || c == 0x7F:
			return "", 0, fault(i, "a control character")
		default:
			i++
		}
	}
	return "", 0, fault(from, "a quoted string without end")
}

// appendQuoted writes value as a quoted-string. The caller has checked it with quotable.
func appendQuoted(dst []byte, value string) []byte {
	dst = append(dst, '"')
	for i := range len(value) {
		if c := value[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, value[i])
	}
	return append(dst, '"')
}

// quotable tells whether value can stand in a quoted-string: UTF-8 without controls.
func quotable(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == 0x7F {
			return false
		}
	}
	return utf8.ValidString(value)
}

func skipSpace(s string, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// isTokenByte is token of RFC 3261 §25.1.
func isTokenByte(c byte) bool {
	return c-'0' < 10 || (c|0x20)-'a' < 26 || strings.IndexByte("-.!%*_+`'~", c) >= 0
}
