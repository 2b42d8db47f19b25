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

// loopMark is the mark of a request: 13 characters from 0-9a-v.
func (a *Adapter) loopMark(uri, fromTag, callID string, cseq uint32) string {
	var h maphash.Hash
	h.SetSeed(a.loopSeed)
	for _, s := range [...]string{uri, fromTag, callID} {
		h.WriteString(s) //nolint:errcheck // it never fails
		h.WriteByte(0)   //nolint:errcheck // it never fails
	}
	var b [13]byte
	n := strconv.AppendUint(b[:0], h.Sum64()^uint64(cseq)*0x9E3779B97F4A7C15, 32)
	return strings.Repeat("0", len(b)-len(n)) + string(n)
}

// markLoop puts the mark before the hint of the branch.
func (a *Adapter) markLoop(req *wire.Request) {
	from, err := wire.ParseAddr(req.From)
	if err != nil {
		return // the transaction layer refuses the request
	}
	mark := a.loopMark(req.URI, from.Tag(), req.CallID, req.CSeq)
	hint := req.BranchHint
	if len(hint) > len(mark) && hint[len(mark)] == loopEnd && isMark(hint[:len(mark)]) {
		hint = hint[len(mark)+1:] // of the last attempt
	}
	req.BranchHint = mark + string(loopEnd) + hint
	if !isToken(req.BranchHint) {
		req.BranchHint = mark + string(loopEnd)
	}
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
	mark := ""
	for v := range req.Headers("Via") {
		via, err := wire.ParseVia(v)
		if err != nil || !a.viaOurs(via) {
			continue
		}
		if mark == "" {
			n, _ := req.CSeq()
			mark = a.loopMark(req.RequestURIText(), req.From().Tag(), req.CallID(), n)
		}
		// z9hG4bK, 24 random characters, and a hyphen stand before the hint.
		if _, hint, ok := strings.Cut(via.Branch(), "-"); ok && strings.HasPrefix(hint, mark+string(loopEnd)) {
			return true
		}
	}
	return false
}

// viaOurs tells whether a Via was written by this adapter, as far as its sent-by tells: it is that of any of its listeners.
func (a *Adapter) viaOurs(via wire.Via) bool {
	for b := range a.layer.Bound() {
		host := a.sentBy
		if host == "" {
			host = bracketed(b.Address.Addr())
		}
		if viaPort(via) == b.Address.Port() && strings.EqualFold(via.Host(), host) {
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
