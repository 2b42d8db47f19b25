package wire

import "crypto/rand"

// MagicCookie begins every branch of a sender that follows RFC 3261 (§8.1.1.7).
const MagicCookie = "z9hG4bK"

// maxHint bounds Request.BranchHint, in octets.
const maxHint = 64

// appendRandom writes 24 characters with 120 random bits. RFC 3261 §19.3 asks for tags with "at least 32 bits of randomness"; here
// all identifiers have more than 64, so that nobody can guess one and forge a response.
func appendRandom(dst []byte) []byte {
	const alphabet = "0123456789abcdefghijklmnopqrstuv"
	var b [24]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails (crypto/rand: "Read ... never returns an error")
	for i := range b {
		b[i] = alphabet[b[i]&31]
	}
	return append(dst, b[:]...)
}

// NewTag returns a random tag of 24 characters.
func NewTag() string { return string(appendRandom(make([]byte, 0, 24))) }

// NewCallID returns a random Call-ID, with "@" and host behind it if host is not empty. A host that cannot stand in a Call-ID is left
// out.
func NewCallID(host string) string {
	b := appendRandom(make([]byte, 0, 25+len(host)))
	if host != "" && outside(host, inWord) == len(host) {
		b = append(append(b, '@'), host...)
	}
	return string(b)
}

// NewBranch returns a random branch that begins with MagicCookie; for hint see Request.BranchHint.
func NewBranch(hint string) string {
	b := appendRandom(append(make([]byte, 0, 7+24+1+min(len(hint), maxHint)), MagicCookie...))
	hint = hint[:min(len(hint), maxHint)]
	if isToken(hint) {
		b = append(append(b, '-'), hint...)
	}
	return string(b)
}
