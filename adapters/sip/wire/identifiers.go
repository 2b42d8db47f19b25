package wire

import (
	"crypto/rand"
	"sync"
)

// MagicCookie begins every branch of a sender that follows RFC 3261 (§8.1.1.7).
const MagicCookie = "z9hG4bK"

// maxHint bounds Request.BranchHint, in octets.
const maxHint = 64

// appendRandom writes 24 characters with 120 random bits. RFC 3261 §19.3 asks for tags with "at least 32 bits of randomness"; here
// all identifiers have more than 64, so that nobody can guess one and forge a response.
func appendRandom(dst []byte) []byte {
	s := stocks.Get().(*stock)
	if len(s.left) < TagOctets {
		rand.Read(s.octets[:]) //nolint:errcheck // it never fails (crypto/rand: "Read ... never returns an error")
		s.left = s.octets[:]
	}
	var b [TagOctets]byte
	copy(b[:], s.left)
	clear(s.left[:TagOctets]) // what was used nobody finds here
	s.left = s.left[TagOctets:]
	stocks.Put(s)
	return appendPacked(dst, b)
}

// stock is random octets that nobody has used yet: asked for together they cost a tenth.
type stock struct {
	octets [32 * TagOctets]byte
	left   []byte
}

// stocks are those that nobody takes from. A sync.Pool is a cache, not state.
var stocks = sync.Pool{New: func() any { return new(stock) }}

const (
	// TagOctets is how many random octets make a tag of NewTag.
	TagOctets = 15
	// tagLength is how many characters it has: one for 5 bits.
	tagLength   = TagOctets * 8 / 5
	tagAlphabet = "0123456789abcdefghijklmnopqrstuv"
)

// appendPacked writes 5 bits as a character.
func appendPacked(dst []byte, b [TagOctets]byte) []byte {
	for i := 0; i < TagOctets; i += 5 {
		v := uint64(b[i])<<32 | uint64(b[i+1])<<24 | uint64(b[i+2])<<16 | uint64(b[i+3])<<8 | uint64(b[i+4])
		for shift := 35; shift >= 0; shift -= 5 {
			dst = append(dst, tagAlphabet[v>>shift&31])
		}
	}
	return dst
}

// PackTag returns the octets that a tag of NewTag was made from. ok is false for a tag that has another form.
func PackTag(tag string) (b [TagOctets]byte, ok bool) {
	if len(tag) != tagLength {
		return b, false
	}
	for i := range TagOctets / 5 {
		v := uint64(0)
		for _, c := range octets(tag[8*i : 8*i+8]) {
			switch {
			case c-'0' < 10:
				v = v<<5 | uint64(c-'0')
			case c-'a' < 22:
				v = v<<5 | uint64(c-'a'+10)
			default:
				return b, false
			}
		}
		for j := range 5 {
			b[5*i+j] = byte(v >> (32 - 8*j))
		}
	}
	return b, true
}

// UnpackTag is the tag that PackTag made b from.
func UnpackTag(b [TagOctets]byte) string { return string(appendPacked(make([]byte, 0, tagLength), b)) }

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
