package jid

import "strings"

// escapes lists the ten characters of XEP-0106 §3.2 with their two lower-case hexadecimal digits.
const escapes = "20 22\"26&27'2f/3a:3c<3e>40@5c\\"

// escapedChar returns the character that the two digits after a backslash stand for. Only the ten sequences of XEP-0106 do, in
// lower case ("CASE IS SIGNIFICANT").
func escapedChar(hi, lo byte) (byte, bool) {
	for i := 0; i < len(escapes); i += 3 {
		if escapes[i] == hi && escapes[i+1] == lo {
			return escapes[i+2], true
		}
	}
	return 0, false
}

// Escape returns s as a localpart carries it (XEP-0106 §3.2, §4.2). It fails with a *SyntaxError if s begins or ends with a space,
// because "\20" MUST NOT be the first or last character of an escaped localpart.
//
// A backslash is escaped only where it would else be read as the start of an escape sequence.
func Escape(s string) (string, error) {
	if !strings.ContainsAny(s, " \"&'/:<>@\\") {
		return s, nil
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return "", &SyntaxError{Rule: "escape", Section: "XEP-0106 §4.1", Expected: "no space at either end"}
	}
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		c := s[i]
		switch c {
		case '\\':
			if i+2 < len(s) {
				if _, ok := escapedChar(s[i+1], s[i+2]); ok {
					b = append(b, `\5c`...)
					continue
				}
			}
			b = append(b, c)
		case ' ', '"', '&', '\'', '/', ':', '<', '>', '@':
			const hex = "0123456789abcdef"
			b = append(b, '\\', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return string(b), nil
}

// Unescape returns what the localpart s stands for outside of XMPP: the ten sequences of XEP-0106 §3.3 and no others are
// replaced. What it returns must never be compared as a JID (XEP-0106 §4.1).
func Unescape(s string) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	b = append(b, s[:i]...)
	for ; i < len(s); i++ {
		if s[i] == '\\' && i+2 < len(s) {
			if c, ok := escapedChar(s[i+1], s[i+2]); ok {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
