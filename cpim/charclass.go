package cpim

// Classes of octets in Message/CPIM headers (RFC 3862 §3.6), as bits.
const (
	className  = 1 << iota // NAMECHAR
	classToken             // TOKENCHAR: NAMECHAR, "." and octets of UCS-high
	classValue             // UCS-no-CTL: no control character
	classURI               // uric of RFC 2396 with the brackets of RFC 3986
	classPlain             // ASCII that needs no escape outside quotes
)

// class holds the classes of each octet. It is never written to.
var class = func() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		switch {
		case isAlnum(c), c == 0x21, c >= 0x23 && c <= 0x27, c == 0x2a, c == 0x2b, c == 0x2d,
			c >= 0x5e && c <= 0x60, c == 0x7c, c == 0x7e:
			t[i] |= className | classToken
		case c == '.', c >= 0x80:
			t[i] |= classToken
		}
		if !isCTL(c) {
			t[i] |= classValue
			if c < 0x80 && c != '\\' {
				t[i] |= classPlain
			}
		}
		switch c {
		case ';', '/', '?', ':', '@', '&', '=', '+', '$', ',', // reserved
			'-', '_', '.', '!', '~', '*', '\'', '(', ')', // mark
			'[', ']', '%':
			t[i] |= classURI
		default:
			if isAlnum(c) {
				t[i] |= classURI
			}
		}
	}
	return t
}()
