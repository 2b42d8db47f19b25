package strictxml

import (
	"encoding/binary"
	"unicode/utf8"
)

// Classes of octets, as bits in the table classes.
const (
	clsNameStart uint8 = 1 << iota // ASCII that may begin an NCName
	clsName                        // ASCII that may continue an NCName
	clsSpace                       // the production S
	clsText                        // stops the scan of character data
	clsValue                       // stops the scan of an attribute value
	clsTag                         // stops the framing scan of a start tag
)

// classes is never written after it is made. Octets above 0x7F have no class:
// the validity of their sequences is checked before anything else looks.
var classes = func() (t [256]uint8) {
	for b := range 256 {
		switch b := byte(b); {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b == '_':
			t[b] = clsNameStart | clsName
		case b >= '0' && b <= '9', b == '-', b == '.':
			t[b] = clsName
		case b == ' ':
			t[b] = clsSpace
		case b == '\t', b == '\n':
			t[b] = clsSpace | clsValue
		case b == '\r':
			t[b] = clsSpace | clsText | clsValue
		case b == '<':
			t[b] = clsText | clsValue | clsTag
		case b == '&':
			t[b] = clsText | clsValue
		case b == '>':
			t[b] = clsText | clsTag
		case b == '"', b == '\'':
			t[b] = clsValue | clsTag
		case b == '/':
			t[b] = clsTag
		}
	}
	return t
}()

// isSpace is the production S for one octet (XML 1.0 §2.3).
func isSpace(b byte) bool { return classes[b]&clsSpace != 0 }

// skipSpace returns the position of the first octet at or after i that is not
// white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// isChar is the production Char (XML 1.0 §2.2).
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// isChars tells whether s is valid UTF-8 and all of it is Char.
func isChars(s string) bool {
	for _, r := range s {
		if !isChar(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// checkChars verifies that b is valid UTF-8 and all of it is Char, so that
// the tokenizer need not look at characters again. It returns the position of
// the first octet that is not, or -1.
func checkChars(b []byte) (int, fault) {
	const high, low = 0x8080808080808080, 0x2020202020202020
	for i := 0; i < len(b); {
		if i+8 <= len(b) {
			// No octet is above 0x7F, and none below 0x20, which would
			// borrow and set a high bit in the difference.
			if x := binary.LittleEndian.Uint64(b[i:]); (x|(x-low))&high == 0 {
				i += 8
				continue
			}
		}
		switch c := b[i]; {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size <= 1 {
				return i, faultUTF8
			}
			if r == 0xFFFE || r == 0xFFFF {
				return i, faultChar
			}
			i += size
		case c >= 0x20 || isSpace(c):
			i++
		default:
			return i, faultChar
		}
	}
	return -1, 0
}

// isNameStart is the production NameStartChar without the colon, above ASCII
// (XML 1.0 §2.3, Namespaces in XML 1.0 §3).
func isNameStart(r rune) bool {
	switch {
	case r < 0x0300:
		return r >= 0xC0 && r != 0xD7 && r != 0xF7
	case r < 0x2000:
		return r >= 0x370 && r != 0x37E
	case r < 0x3001:
		return r == 0x200C || r == 0x200D || r >= 0x2070 && r <= 0x218F || r >= 0x2C00 && r <= 0x2FEF
	case r < 0x10000:
		return r <= 0xD7FF || r >= 0xF900 && r <= 0xFDCF || r >= 0xFDF0 && r <= 0xFFFD
	}
	return r <= 0xEFFFF
}

// isNameChar is the production NameChar without the colon, above ASCII
// (XML 1.0 §2.3).
func isNameChar(r rune) bool {
	return isNameStart(r) || r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040
}

// scanNCName returns the end of the NCName that begins at i; it is i if none
// does.
func scanNCName(b []byte, i int) int {
	if i >= len(b) {
		return i
	}
	if c := b[i]; c < utf8.RuneSelf {
		if classes[c]&clsNameStart == 0 {
			return i
		}
		i++
	} else {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 || !isNameStart(r) {
			return i
		}
		i += size
	}
	for i < len(b) {
		c := b[i]
		if classes[c]&clsName != 0 {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			break
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 || !isNameChar(r) {
			break
		}
		i += size
	}
	return i
}

// isNCName tells whether all of s is one NCName.
func isNCName(s string) bool {
	for i, r := range s {
		switch {
		case r < utf8.RuneSelf:
			if classes[r]&clsName == 0 || i == 0 && classes[r]&clsNameStart == 0 {
				return false
			}
		case !isNameChar(r) || i == 0 && !isNameStart(r):
			return false
		}
	}
	return s != "" && utf8.ValidString(s)
}
