package cpim

import "github.com/isthmus-gateway/isthmus/cpim/syntax"

// checkAbsoluteURI accepts the absoluteURI of RFC 2396: a scheme, a colon and
// at least one character, all of them URI characters, every "%" followed by
// two hexadecimal digits, and no fragment ("URI-references containing fragment
// identifiers MUST NOT be used", RFC 3862 §3.4). Brackets are accepted, which
// RFC 3986 §3.2.2 added for IPv6.
func checkAbsoluteURI[T ~string | ~[]byte](u T) *syntax.Error {
	const section = "RFC 3862 §3.6"
	if len(u) == 0 || !isAlpha(u[0]) {
		return syntax.At(u, 0, "uri-scheme", section, "a URI with a scheme")
	}
	i := 1
	for i < len(u) && (isAlnum(u[i]) || u[i] == '+' || u[i] == '-' || u[i] == '.') {
		i++
	}
	if i == len(u) || u[i] != ':' {
		return syntax.At(u, i, "uri-scheme", section, "':' after the scheme")
	}
	i++
	if i == len(u) {
		return syntax.At(u, i, "uri", section, "something after the scheme")
	}
	for ; i < len(u); i++ {
		c := u[i]
		if class[c]&classURI == 0 {
			if c == '#' {
				return syntax.At(u, i, "uri-fragment", "RFC 3862 §3.4", "a URI without a fragment")
			}
			return syntax.At(u, i, "uri-character", section, "a URI character")
		}
		if c == '%' && (i+2 >= len(u) || hexValue(u[i+1]) < 0 || hexValue(u[i+2]) < 0) {
			return syntax.At(u, i, "percent-encoding", "RFC 3986 §2.1", "'%' and two hexadecimal digits")
		}
	}
	return nil
}
