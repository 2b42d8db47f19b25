package smime

import "bytes"

// The bounds of a CMS object: how deep its elements may nest, and how many they may be. Real ones have twelve levels and some hundred elements.
// The library makes DER of BER recursively, and copies each level into the one above.
const (
	maxDepth    = 32
	maxElements = 16 << 10
)

// shallow tells whether b is one element of BER within the bounds (X.690 §8.1), with nothing behind it.
func shallow(b []byte) bool {
	left := maxElements
	rest, ok := element(b, maxDepth, &left)
	return ok && len(rest) == 0
}

// element passes one element and returns what is behind it.
func element(b []byte, depth int, left *int) (rest []byte, ok bool) {
	if *left--; *left < 0 || depth == 0 || len(b) < 2 {
		return nil, false
	}
	constructed := b[0]&0x20 != 0
	if b[0]&0x1f == 0x1f {
		return nil, false // CMS has no tags above 30
	}
	b = b[1:]
	n := int(b[0])
	b = b[1:]
	switch {
	case n == 0x80: // the indefinite form ends with two zeros
		for constructed {
			if len(b) >= 2 && b[0] == 0 && b[1] == 0 {
				return b[2:], true
			}
			if b, ok = element(b, depth-1, left); !ok {
				return nil, false
			}
		}
		return nil, false
	case n > 0x80:
		octets := n & 0x7f
		if octets > 4 || octets > len(b) || b[0] == 0 {
			return nil, false
		}
		n = 0
		for _, c := range b[:octets] {
			n = n<<8 | int(c)
		}
		b = b[octets:]
	}
	if n < 0 || n > len(b) {
		return nil, false
	}
	content, rest := b[:n], b[n:]
	for constructed && len(content) > 0 {
		if content, ok = element(content, depth-1, left); !ok {
			return nil, false
		}
	}
	return rest, true
}

// enveloped tells whether a ContentInfo (RFC 5652 §3) is encrypted.
func enveloped(b []byte) bool {
	head := b[:min(len(b), 32)]
	for _, oid := range []string{
		"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03",         // EnvelopedData
		"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17", // AuthEnvelopedData (RFC 5083)
	} {
		if bytes.Contains(head, []byte(oid)) {
			return true
		}
	}
	return false
}
