package sip

import (
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// Loop detection by RFC 5393 §4.2, which RFC 7247 §8 wants of gateways: each request of ours carries in its branch a mark of what decides
// where it goes. One that comes back with our own Via and the same mark has gone in a circle and is refused with 482; one whose
// Request-URI has changed meanwhile is a spiral, "not an error condition" (RFC 3261 §6), and is served while it has hops.

// appendLoopMark writes the mark of a request: 13 characters from 0-9a-v.
func (a *Adapter) appendLoopMark(dst []byte, uri, fromTag, callID string, cseq uint32) []byte {
	var h maphash.Hash
	h.SetSeed(a.loopSeed)
	for _, s := range [...]string{uri, fromTag, callID} {
		h.WriteString(s) //nolint:errcheck // it never fails
		h.WriteByte(0)   //nolint:errcheck // it never fails
	}
	var b [loopMarkLength]byte
	n := strconv.AppendUint(b[:0], h.Sum64()^uint64(cseq)*0x9E3779B97F4A7C15, 32)
	for range len(b) - len(n) {
		dst = append(dst, '0')
	}
	return append(dst, n...)
}

// loopMarkLength is how long a mark is: 64 bits in characters of 5.
const loopMarkLength = 13

// markLoop puts the mark before the hint of the branch.
//
//go:noinline
func (a *Adapter) markLoop(req *wire.Request) {
	tag, ok := req.FromTag()
	if !ok {
		return // the transaction layer refuses the request
	}
	hint := req.BranchHint
	if len(hint) > loopMarkLength && hint[loopMarkLength] == loopEnd && isMark(hint[:loopMarkLength]) {
		hint = hint[loopMarkLength+1:] // of the last attempt
	}
	var room [128]byte
	b := append(a.appendLoopMark(room[:0], req.URI, tag, req.CallID, req.CSeq), loopEnd)
	if isToken(hint) {
		b = append(b, hint...)
	}
	req.BranchHint = string(b)
}

// loopEnd stands between the mark and the rest.
const loopEnd = '-'

func isMark(s string) bool {
	for i := range len(s) {
		if c := s[i]; c-'0' >= 10 && c-'a' >= 22 {
			return false
		}
	}
	return true
}

// looped tells whether a request has been sent by this adapter already, and is on its way to where it was sent then.
func (a *Adapter) looped(req *wire.Message) bool {
	if !a.viaOurs(req.TopVia()) && req.ViaCount() < 2 {
		return false
	}
	var room [loopMarkLength + 1]byte
	mark := room[:0]
	for v := range req.Headers("Via") {
		via, err := wire.ParseVia(v)
		if err != nil || !a.viaOurs(via) {
			continue
		}
		if len(mark) == 0 {
			n, _ := req.CSeq()
			mark = append(a.appendLoopMark(mark, req.RequestURIText(), req.From().Tag(), req.CallID(), n), loopEnd)
		}
		// z9hG4bK, 24 random characters, and a hyphen stand before the hint.
		if _, hint, ok := strings.Cut(via.Branch(), "-"); ok && strings.HasPrefix(hint, string(mark)) {
			return true
		}
	}
	return false
}

// viaOurs tells whether a Via was written by this adapter, as far as its sent-by tells: it is that of any of its listeners.
func (a *Adapter) viaOurs(via wire.Via) bool {
	port := viaPort(via)
	for b := range a.layer.Bound() {
		if port != b.Address.Port() {
			continue
		}
		host := a.sentBy
		if host == "" {
			host = bracketed(b.Address.Addr())
		}
		if strings.EqualFold(via.Host(), host) {
			return true
		}
	}
	return false
}

func viaPort(via wire.Via) uint16 {
	if p := via.Port(); p != 0 {
		return p
	}
	if strings.EqualFold(via.Transport(), "TLS") {
		return 5061
	}
	return 5060
}
