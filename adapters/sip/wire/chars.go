package wire

import (
	"encoding/binary"
	"math/bits"
)

// The character classes of RFC 3261 §25.1.
const (
	inToken    uint16 = 1 << iota
	inWord            // Call-ID
	inUser            // unreserved, user-unreserved and, for the escapes, "%"
	inPassword        // password and "%"
	inParam           // paramchar and "%"
	inHeader          // hname, hvalue and "%"
	inURI             // uric and "%"
	inHost            // hostname and IPv4address
	inReason          // reserved, unreserved, "%", SP, HTAB and octets over 127
	inScheme
)

// classes is written once, before main.
var classes = classTable()

func classTable() (t [256]uint16) {
	set := func(class uint16, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= class
		}
	}
	const (
		digits   = "0123456789"
		letters  = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		alphanum = digits + letters
		// unreserved, and "%" wherever the grammar has "escaped"; whether two hexadecimal digits follow is checked apart.
		unreserved = alphanum + "-_.!~*'()%"
		reserved   = ";/?:@&=+$,"
	)
	set(inToken, alphanum+"-.!%*_+`'~")
	set(inWord, alphanum+"-.!%*_+`'~()<>:\\\"/[]?{}")
	set(inUser, unreserved+"&=+$,;?/")
	set(inPassword, unreserved+"&=+$,")
	set(inParam, unreserved+"[]/:&+$")
	set(inHeader, unreserved+"[]/?:+$")
	set(inURI, unreserved+reserved)
	set(inHost, alphanum+"-.")
	set(inReason, unreserved+reserved+" \t")
	set(inScheme, alphanum+"+-.")
	for c := 0x80; c < 0x100; c++ {
		t[c] |= inReason
	}
	return t
}

// outside returns the index of the first octet of s that is not in class, or len(s).
func outside(s string, class uint16) int {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return i
		}
	}
	return len(s)
}

// isToken reports whether s is a token.
func isToken(s string) bool { return s != "" && outside(s, inToken) == len(s) }

func isDigit(c byte) bool { return c-'0' < 10 }

func isAlpha(c byte) bool { return c|0x20-'a' < 26 }

// fromHex is the value of a hexadecimal digit, or 0xFF.
func fromHex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xFF
}

// badEscape returns the index of the first "%" of s that is not followed by two hexadecimal digits, or -1.
func badEscape(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i+2 >= len(s) || fromHex(s[i+1]) > 15 || fromHex(s[i+2]) > 15 {
			return i
		}
		i += 2
	}
	return -1
}

const (
	onesPerOctet uint64 = 0x0101010101010101
	highBits     uint64 = 0x8080808080808080
)

// scanText looks for the first control of b other than HTAB (0 to 31 and 127) and returns its index, or -1. high tells whether an
// octet over 127 stands before it. Eight octets are looked at in one step, because every octet of every header passes here.
func scanText(b []byte) (control int, high bool) {
	i := 0
	var seen uint64
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		seen |= w
		low := w &^ highBits
		// A high bit stays where the low seven bits are 32 or more, and comes where they are 127.
		under := ^(low + (0x80-0x20)*onesPerOctet) & highBits &^ w
		del := (low + onesPerOctet) & highBits &^ w
		if hit := under | del; hit != 0 {
			for hit != 0 {
				at := i + bits.TrailingZeros64(hit)/8
				if b[at] != '\t' {
					return at, seen&highBits != 0
				}
				hit &= hit - 1
			}
		}
	}
	for ; i < len(b); i++ {
		c := b[i]
		if c >= 0x80 {
			seen |= 0x80
		} else if c < 0x20 && c != '\t' || c == 0x7F {
			return i, seen&highBits != 0
		}
	}
	return -1, seen&highBits != 0
}

// equalFold compares ASCII without regard to case. lower must be in lower case.
func equalFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c-'A' < 26 {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// sameFold compares two ASCII texts without regard to case.
func sameFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		c, d := a[i], b[i]
		if c == d {
			continue
		}
		if c|0x20 != d|0x20 || !isAlpha(c) {
			return false
		}
	}
	return true
}

// skipSpace returns the index of the first octet from i on that is neither SP nor HTAB. Folds are spaces already.
func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	return i
}

// trimSpace cuts SP and HTAB from both ends.
func trimSpace(s string) string {
	s = s[skipSpace(s, 0):]
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
