package transaction

import (
	"crypto/rand"
	"encoding/binary"
	"hash/maphash"

	"golang.org/x/net/bpf"
)

// lots gives each request a number that its copies have, too: those are octet for octet the same on UDP (RFC 3261 §17.1.2.2). It is made from the octets at
// the beginning, among which Via, From and Call-ID are, because the kernel computes it as well. Who sends cannot compute it.
type lots struct {
	salt uint32
	seed maphash.Seed
}

const (
	lotFactor = 0x9E3779B1
	lotFinish = 0x85EBCA6B
	// The octets that are looked at: the branch of the topmost Via is among them, or the tag of From, or the Call-ID. What is shorter has lot 0.
	lotFrom, lotTo = 64, 192
)

func newLots() lots {
	var salt [4]byte
	rand.Read(salt[:]) //nolint:errcheck // it never fails
	return lots{binary.BigEndian.Uint32(salt[:]), maphash.MakeSeed()}
}

// of is the lot of a request.
func (l lots) of(b []byte) uint32 {
	if len(b) < lotTo {
		return 0
	}
	h := l.salt
	for i := lotFrom; i < lotTo; i += 4 {
		h = (h + binary.BigEndian.Uint32(b[i:])) * lotFactor
	}
	h ^= h >> 16
	return h * lotFinish
}

// mark tells a request from others, but not from its copies. It is never 0. It is made from all octets: with a long Request-URI, or many of Route before Via, two
// requests have the same ones for as long as anybody likes.
func (l lots) mark(b []byte) uint32 {
	return max(uint32(maphash.Bytes(l.seed, b)), 1) // each bit counts: the lowest ones choose the row
}

// sifted tells whether a request is of those that the kernel may drop: new work. What may belong to something that was taken is always read.
func sifted(b []byte) bool {
	if len(b) < lotTo {
		return false
	}
	first := binary.BigEndian.Uint32(b)
	for _, m := range siftedMethods {
		if first == m {
			return true
		}
	}
	return false
}

// siftedMethods are the first four octets of MESSAGE, PUBLISH and OPTIONS.
var siftedMethods = [...]uint32{'M'<<24 | 'E'<<16 | 'S'<<8 | 'S', 'P'<<24 | 'U'<<16 | 'B'<<8 | 'L', 'O'<<24 | 'P'<<16 | 'T'<<8 | 'I'}

// program is what has the kernel compute the lot of a datagram of lotTo octets or more, and drop it if that is not below a bound that stands in scratch 1
// (see the kernel's Documentation/networking/filter.rst; octet 8 is the first one behind the UDP header).
func (l lots) program() []bpf.Instruction {
	const udp = 8
	p := []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA, Val: l.salt}}
	for i := uint32(lotFrom); i < lotTo; i += 4 {
		p = append(p, bpf.TAX{}, bpf.LoadAbsolute{Off: udp + i, Size: 4}, bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: lotFactor})
	}
	return append(p, bpf.TAX{}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 16}, bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: lotFinish}, bpf.LoadScratch{Dst: bpf.RegX, N: 1},
		bpf.JumpIfX{Cond: bpf.JumpGreaterOrEqual, SkipTrue: 1}, bpf.RetConstant{Val: everything}, bpf.RetConstant{Val: 0})
}

// everything is what a filter returns for a datagram that is to be received whole.
const everything = 0xffffffff
