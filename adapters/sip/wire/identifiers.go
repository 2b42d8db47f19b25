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
func appendRandom(dst []byte) []byte { return appendPacked(dst, NewPackedTag()) }

// PackedTag is a tag of NewTag as the octets that it stands for. The zero PackedTag is none.
type PackedTag [TagOctets]byte

// IsZero reports whether there is no tag.
func (t PackedTag) IsZero() bool { return t == PackedTag{} }

// NewPackedTag returns a random tag.
func NewPackedTag() (b PackedTag) {
	s := stocks.Get().(*stock)
	if len(s.left) < TagOctets {
		rand.Read(s.octets[:]) //nolint:errcheck // it never fails (crypto/rand: "Read ... never returns an error")
		s.left = s.octets[:]
	}
	copy(b[:], s.left)
	clear(s.left[:TagOctets]) // what was used nobody finds here
	s.left = s.left[TagOctets:]
	stocks.Put(s)
	return b
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
func appendPacked(dst []byte, b PackedTag) []byte {
	var out [tagLength]byte
	for i := range TagOctets / 5 {
		in, to := b[5*i:5*i+5], out[8*i:8*i+8]
		v := uint64(in[0])<<32 | uint64(in[1])<<24 | uint64(in[2])<<16 | uint64(in[3])<<8 | uint64(in[4])
		to[0], to[1], to[2], to[3] = tagAlphabet[v>>35&31], tagAlphabet[v>>30&31], tagAlphabet[v>>25&31], tagAlphabet[v>>20&31]
		to[4], to[5], to[6], to[7] = tagAlphabet[v>>15&31], tagAlphabet[v>>10&31], tagAlphabet[v>>5&31], tagAlphabet[v&31]
	}
	return append(dst, out[:]...)
}

// PackTag returns the octets that a tag of NewTag was made from. ok is false for a tag that has another form.
func PackTag(tag string) (b PackedTag, ok bool) {
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
func UnpackTag(b PackedTag) string { return string(appendPacked(make([]byte, 0, tagLength), b)) }

// NewTag returns a random tag of 24 characters.
func NewTag() string { return string(appendRandom(make([]byte, 0, 24))) }

// NewTagAndCallID is NewTag and NewCallID without a host, in one piece of memory.
func NewTagAndCallID() (tag, callID string) {
	both := string(appendRandom(appendRandom(make([]byte, 0, 2*tagLength))))
	return both[:tagLength], both[tagLength:]
}

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
