package stanza

// maxLang bounds a language tag in octets (RFC 5646 §4.4.1 asks for room for 35).
const maxLang = 64

// isTag tells whether v has the shape of a language tag (RFC 5646 §2.1): subtags of 1 to 8 letters and digits, joined by hyphens.
func isTag[T string | []byte](v T) bool {
	if len(v) == 0 || len(v) > maxLang {
		return false
	}
	n := 0
	for i := 0; i <= len(v); i++ {
		if i == len(v) || v[i] == '-' {
			if n == 0 || n > 8 {
				return false
			}
			n = 0
			continue
		}
		if c := v[i] | 0x20; (c < 'a' || c > 'z') && (v[i] < '0' || v[i] > '9') {
			return false
		}
		n++
	}
	return true
}
