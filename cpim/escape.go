package cpim

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Unescape undoes the escapes of RFC 3862 §2.3 in a header value: the special
// sequences, \uxxxx with surrogate pairs joined, any other escaped character
// as itself, and a backslash at the very end as nothing. A lone surrogate
// becomes U+FFFD.
//
// The result may hold any control character. It must not be put into a line
// of any protocol or of a log: use UnescapeLine for that.
func Unescape(value string) string {
	if strings.IndexByte(value, '\\') < 0 {
		return value
	}
	return string(appendUnescaped(make([]byte, 0, len(value)), value, false))
}

// UnescapeLine is Unescape for text that will be shown or sent on one line: it
// gives a space for each TAB, CR and LF, and U+FFFD for each other control
// character (C0, DEL and C1), line separator and paragraph separator, escaped
// or not. So whatever a sender escaped, the result has no CR, no LF and no NUL
// (RFC 3862 §2.3.1; THREATS S6).
func UnescapeLine(value string) string {
	clean := true
	for i := range len(value) {
		if c := value[i]; c == '\\' || c < 0x20 || c >= 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return value
	}
	return string(appendUnescaped(make([]byte, 0, len(value)), value, true))
}

func appendUnescaped(dst []byte, s string, line bool) []byte {
	put := func(r rune) {
		if line {
			switch {
			case r == '\t' || r == '\n' || r == '\r':
				r = ' '
			case r < 0x20, r >= 0x7f && r <= 0x9f, r == 0x2028, r == 0x2029:
				r = utf8.RuneError
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			r, n := utf8.DecodeRuneInString(s[i:])
			put(r)
			i += n
			continue
		}
		i++
		if i == len(s) {
			break // "An isolated backslash that is the last character of a header SHOULD be ignored"
		}
		switch c := s[i]; c {
		case 'b':
			put('\b')
			i++
		case 't':
			put('\t')
			i++
		case 'n':
			put('\n')
			i++
		case 'r':
			put('\r')
			i++
		case 'u':
			r, ok := ucs2(s, i+1)
			if !ok {
				put('u')
				i++
				break
			}
			i += 5
			if utf16.IsSurrogate(r) {
				// Code points above U+FFFF take two escapes: the mechanism
				// "is applied to a UCS-2 character" (RFC 3862 §2.3).
				if strings.HasPrefix(s[i:], `\u`) {
					if low, ok := ucs2(s, i+2); ok {
						if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
							put(pair)
							i += 6
							break
						}
					}
				}
				r = utf8.RuneError
			}
			put(r)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			put(r)
			i += n
		}
	}
	return dst
}

// ucs2 reads exactly four hexadecimal digits at s[i:].
func ucs2(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		v := hexValue(c)
		if v < 0 {
			return 0, false
		}
		r = r<<4 | rune(v)
	}
	return r, true
}

// Escape returns text as a header value: with every character escaped that
// RFC 3862 §2.3.1 says must be, and no other. What is not UTF-8 becomes
// U+FFFD. It never returns a control character.
func Escape(text string) string { return string(appendEscaped(nil, text, 0)) }

// appendEscaped appends text escaped by RFC 3862 §2.3.1; quote is the
// delimiter of the string that it will stand in, or 0.
func appendEscaped(dst []byte, text string, quote byte) []byte {
	for i := 0; i < len(text); {
		start := i
		for i < len(text) && class[text[i]]&classPlain != 0 && text[i] != quote {
			i++
		}
		dst = append(dst, text[start:i]...)
		if i == len(text) {
			break
		}
		c := text[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
		switch c {
		case '\\':
			dst = append(dst, '\\', '\\')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			switch {
			case isCTL(c):
				const hex = "0123456789abcdef"
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			case c == quote && quote != 0:
				dst = append(dst, '\\', c)
			default:
				dst = append(dst, c)
			}
		}
	}
	return dst
}
