package pidf

import "strconv"

// parseVersion reads the 'version' attribute, an xs:unsignedInt (RFC 5262 §3.1).
func parseVersion(s string, offset int) (uint32, error) {
	s = collapse(s)
	if len(s) > 1 && s[0] == '+' && isDigit(s[1]) {
		s = s[1:]
	}
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, &SyntaxError{Offset: int64(offset), Rule: "version", Section: "RFC 5262 §3.1", Expected: "a number from 0 to 4294967295"}
	}
	return uint32(v), nil
}
