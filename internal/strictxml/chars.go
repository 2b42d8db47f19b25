package strictxml

import "unicode/utf8"

// isChar is the production Char (XML 1.0 §2.2).
func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' ||
		r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
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

func isNCName(s string) bool { return s != "" }
