package gateway

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
)

// idSource makes the names of operations: unique in the fleet by a random prefix of this process, and cheap.
type idSource struct {
	prefix [8]byte
	next   *atomic.Uint64
}

func newIDSource() idSource {
	s := idSource{next: new(atomic.Uint64)}
	var seed [4]byte
	rand.Read(seed[:]) // never fails (crypto/rand)
	hex.Encode(s.prefix[:], seed[:])
	return s
}

// operation returns the name of one operation, for logs: "9f3a11c2-00000000002a". It is no secret and never leaves the
// gateway.
func (s idSource) operation() string {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], s.next.Add(1))
	var out [8 + 1 + 12]byte
	copy(out[:], s.prefix[:])
	out[8] = '-'
	hex.Encode(out[9:], n[2:])
	return string(out[:])
}

// transaction returns an identifier for a message whose sender gave none: 128 random bits, so that nobody can guess it
// and answer in its name (T-ID-04).
func (s idSource) transaction() string {
	return rand.Text()
}
