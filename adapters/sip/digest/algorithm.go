package digest

import "strings"

// Algorithm is a hash algorithm of the registry of RFC 7616 §6.1 that is spoken here. The session variants ("-sess") are not.
type Algorithm uint8

// The algorithms, the strongest last: an offer is answered with the topmost that is allowed (RFC 8760 §2.4).
const (
	MD5 Algorithm = iota + 1
	SHA256
	SHA512256
)

// String is the name in the algorithm parameter; "" for the zero value.
func (a Algorithm) String() string {
	switch a {
	case MD5:
		return "MD5"
	case SHA256:
		return "SHA-256"
	case SHA512256:
		return "SHA-512-256"
	default:
		return ""
	}
}

// size is the length of a response in hexadecimal digits.
func (a Algorithm) size() int {
	if a == MD5 {
		return 32
	}
	return 64
}

// parseAlgorithm knows the names in any case; none given means MD5 (RFC 7616 §3.3). Zero for one that is not spoken.
func parseAlgorithm(name string, given bool) Algorithm {
	if !given {
		return MD5
	}
	for a := MD5; a <= SHA512256; a++ {
		if strings.EqualFold(name, a.String()) {
			return a
		}
	}
	return 0
}
