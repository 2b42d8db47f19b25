package cpim

import (
	"strings"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

func isDigit(c byte) bool { return c-'0' < 10 }
func isAlpha(c byte) bool { return (c|0x20)-'a' < 26 }
func isAlnum(c byte) bool { return isDigit(c) || isAlpha(c) }
func isLDH(c byte) bool   { return isAlnum(c) || c == '-' }
func isCTL(c byte) bool   { return c < 0x20 || c == 0x7f }

// hexValue returns the value of a hexadecimal digit, or -1.
func hexValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case (c|0x20)-'a' < 6:
		return int((c|0x20)-'a') + 10
	}
	return -1
}

// percentDecode undoes RFC 3986 §2.1 and checks that the result is UTF-8
// without control characters, so that neither NUL nor CR nor LF can enter
// anywhere through an encoding (THREATS S6, 0.2). Offsets count in s.
func percentDecode(s string) (string, *syntax.Error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, checkText(s, nil)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || hexValue(s[i+1]) < 0 || hexValue(s[i+2]) < 0 {
				return "", syntax.At(s, i, "percent-encoding", "RFC 3986 §2.1", "'%' and two hexadecimal digits")
			}
			c = byte(hexValue(s[i+1])<<4 | hexValue(s[i+2]))
			i += 2
		}
		b = append(b, c)
	}
	d := string(b)
	return d, checkText(d, func(i int) int { return percentOffset(s, i) })
}

// checkText refuses control characters and octets that are not UTF-8; at maps
// an offset in s to the offset to report, nil if they are the same.
func checkText(s string, at func(int) int) *syntax.Error {
	if at == nil {
		at = func(i int) int { return i }
	}
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if isCTL(c) {
				return &syntax.Error{Offset: at(i), Rule: "control-character", Section: "RFC 7247 §6.1", Expected: "no control character, encoded or not"}
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return &syntax.Error{Offset: at(i), Rule: "utf-8", Section: "RFC 3629 §4", Expected: "UTF-8"}
		}
		i += n
	}
	return nil
}

// percentOffset returns where in the encoded s the octet lies that decodes to
// octet i.
func percentOffset(s string, i int) int {
	j := 0
	for ; i > 0 && j < len(s); i-- {
		if s[j] == '%' {
			j += 2
		}
		j++
	}
	return min(j, len(s))
}

const upperHex = "0123456789ABCDEF"

// appendPercent appends c, percent-encoded unless ok. The digits are capital
// (RFC 3986 §2.1).
func appendPercent(dst []byte, c byte, ok bool) []byte {
	if ok {
		return append(dst, c)
	}
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}
