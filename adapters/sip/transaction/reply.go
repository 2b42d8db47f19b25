package transaction

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// reply is a final response without what a copy of its request says anyway, so that the response can be made again from such a copy: RFC
// 3261 §8.2.6 has it copied from there. It holds no pointers, see ledger.
type reply struct {
	code uint16
	kind replyKind
	tag  wire.PackedTag // of To
	// check is of From tag, Call-ID and CSeq, which a copy of the request has too.
	check uint32
}

// replyKind says what of a response is in a reply.
type replyKind uint8

const (
	replyTagged replyKind = iota // status and tag of To, with the default phrase and nothing else
	replyBare                    // the same without a tag
	replyKept                    // the status; the rest is kept beside
)

// ledgerParts is how many parts the ledgers of server transactions have.
const ledgerParts = 64

// shortReply makes a reply of a response that has no more than a status, a phrase and a tag. ok is false if they are not such that a
// reply can hold them. The tag is packed, or where that is zero the other one.
func shortReply(code int, reason, tag string, packed wire.PackedTag) (r reply, ok bool) {
	r.code = uint16(code)
	if reason != "" && reason != wire.ReasonPhrase(code) {
		return r, false
	}
	switch {
	case !packed.IsZero():
		r.tag = packed
		return r, true
	case tag == "":
		r.kind = replyBare
		return r, true
	}
	r.tag, ok = wire.PackTag(tag)
	return r, ok
}

// response is what a reply that is not replyKept says.
func (r *reply) response() wire.Response {
	out := wire.Response{Code: int(r.code)}
	if r.kind == replyTagged {
		out.ToTag = wire.UnpackTag(r.tag)
	}
	return out
}

// replyOf is the answer to a MESSAGE as the answers remember it: what a reply has no place for goes beside it.
func replyOf(code int, reason, tag string) (r reply, more []byte) {
	r, ok := shortReply(code, reason, tag, wire.PackedTag{})
	if ok {
		return r, nil
	}
	return r.kept(reason, tag)
}

// kept is replyOf for what shortReply does not hold.
func (r reply) kept(reason, tag string) (_ reply, more []byte) {
	r.kind = replyKept
	return r, []byte(tag + "\x00" + reason)
}

// said is the opposite of replyOf.
func (r *reply) said(more []byte) wire.Response {
	if r.kind != replyKept {
		return r.response()
	}
	tag, reason, _ := strings.Cut(string(more), "\x00")
	return wire.Response{Code: int(r.code), Reason: reason, ToTag: tag}
}
