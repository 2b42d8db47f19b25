package gateway

import (
	"crypto/sha256"
	"hash"
	"sync"
)

// hashRoom is what a SHA-256 is made in, to be used again: the function that makes one of some octets alone allocates its state each time, and
// there are five for a message with a store. One goroutine has it from takeHashRoom to free.
type hashRoom struct {
	octets []byte // for what is hashed
	sealed []byte // for a token
	digest hash.Hash
	result [sha256.Size]byte
}

// hashRooms are those that nobody has. A sync.Pool is a cache, not state.
var hashRooms = sync.Pool{New: func() any { return &hashRoom{digest: sha256.New()} }}

// maxHashRoom is how much of each part is kept for the next one, in octets.
const maxHashRoom = 16 << 10

func takeHashRoom() *hashRoom { return hashRooms.Get().(*hashRoom) }

// free gives the room back. What sum returned is not the caller's any more.
func (r *hashRoom) free() {
	if cap(r.octets) > maxHashRoom {
		r.octets = nil
	}
	if cap(r.sealed) > maxHashRoom {
		r.sealed = nil
	}
	hashRooms.Put(r)
}

// appendSum appends the hash of b to dst.
func (r *hashRoom) appendSum(dst, b []byte) []byte {
	r.digest.Reset()
	r.digest.Write(b) //nolint:errcheck // it never fails (hash.Hash)
	return r.digest.Sum(dst)
}

// sum returns the hash of b, which is there until the next one.
func (r *hashRoom) sum(b []byte) []byte { return r.appendSum(r.result[:0], b) }

// keyedHash is HMAC with SHA-256 (RFC 2104) for what lies in one piece of memory.
type keyedHash struct{ inner, outer [sha256.BlockSize]byte }

// newKeyedHash makes one for a key of at most a block.
func newKeyedHash(key []byte) (h keyedHash) {
	copy(h.inner[:], key)
	copy(h.outer[:], key)
	for i := range h.inner {
		h.inner[i] ^= 0x36
		h.outer[i] ^= 0x5C
	}
	return h
}

// sum is the hash of what follows the first block of b, which is overwritten. It is made in room, and there until the next one.
func (h *keyedHash) sum(room *hashRoom, b []byte) []byte {
	copy(b, h.inner[:])
	inside := room.sum(b)
	d := room.digest
	d.Reset()
	d.Write(h.outer[:]) //nolint:errcheck // it never fails (hash.Hash)
	d.Write(inside)     //nolint:errcheck // likewise
	return d.Sum(room.result[:0])
}
