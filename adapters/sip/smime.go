package sip

import (
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// SMIMEPolicy is what becomes of a peer's messages that are signed or encrypted by S/MIME, in both directions.
type SMIMEPolicy uint8

// The policies. The default passes them, because a gateway "MUST be capable of relaying the content of a message" as it is (RFC 3860 §3.3), and
// what a recipient cannot open says so to it.
const (
	SMIMEPass   SMIMEPolicy = iota // they cross whole; from it, signed ones only while their Date is fresh (RFC 3428 §11.4)
	SMIMELate                      // as SMIMEPass, but the peer is known to store messages and forward them later: no Date is looked at
	SMIMERefuse                    // 415, and "unsupported content" to the XMPP sender
)

// freshness is how far the Date of a signed message may be from now, in both directions: RFC 3428 §11.4 says "several minutes", RFC 3923
// §6.9 "within five minutes of the current time".
const freshness = 5 * time.Minute

// smimeOf is the type of op's content if that is S/MIME, also within a message/cpim. It allocates nothing for plain text.
func smimeOf(op *adapters.MessageOp) (cpim.ContentType, bool) {
	if op.Activity != adapters.ActivityNone || isPlainUTF8(op.Content.Type) {
		return cpim.ContentType{}, false
	}
	t, err := cpim.ParseContentType(op.Content.Type)
	return t, err == nil && mimebody.SMIME(t)
}

// checkSecured decides of a message that is signed or encrypted. What is signed in clear must say of itself what the request says: else one user
// could speak as another inside of it (T-ID-02); what is encrypted says nothing to us.
func checkSecured(op *adapters.MessageOp, req *wire.Message, opts ReadOptions) *Refusal {
	if op.Activity != adapters.ActivityNone || isPlainUTF8(op.Content.Type) {
		return nil
	}
	t, err := cpim.ParseContentType(op.Content.Type)
	if err != nil || !mimebody.Secured(t) {
		return nil
	}
	smime := mimebody.SMIME(t)
	if smime && opts.SMIME == SMIMERefuse {
		return refuseContent()
	}
	if smime && op.Object == nil {
		if ref := undoTransfer(op, t, req); ref != nil {
			return ref
		}
	}
	if smime && t.Type() != "multipart" {
		if p, ref := AddressOf(req.To().URI(), opts.recipient(cpim.IM)); ref == nil && p.Address != op.To.Address {
			op.Known = p.Address // whom a retargeted request was first for
		}
	}
	var dates []time.Time
	if op.Object != nil && !op.Sent.IsZero() {
		dates = append(dates, op.Sent)
	}
	var bad *Refusal
	err = mimebody.Readable(op.Content, mimebody.Limits{}, func(t cpim.ContentType, octets []byte) error {
		sent, ref := checkReadable(t, octets, op, req, opts)
		if bad = ref; bad != nil {
			return errStop
		}
		if !sent.IsZero() {
			dates = append(dates, sent)
			if op.Sent.IsZero() {
				op.Sent = sent
			}
		}
		return nil
	})
	switch {
	case bad != nil:
		return bad
	case err != nil:
		return refuse(WhySyntax, 400, "Bad Request: a malformed signed message")
	case !mimebody.SMIMESigned(t) || opts.SMIME == SMIMELate:
		return nil
	}
	return checkFresh(dates, req, opts.Now)
}

// errStop ends a walk whose outcome is known.
var errStop = errors.New("sip: refused")

// undoTransfer undoes a transfer encoding of the whole body, which is the request's and not the object's (RFC 8551 §3.1.3). What has parts is
// never encoded as a whole (RFC 2045 §6.4).
func undoTransfer(op *adapters.MessageOp, t cpim.ContentType, req *wire.Message) *Refusal {
	v, ok := req.Header("Content-Transfer-Encoding")
	if !ok {
		return nil
	}
	octets, err := mimebody.Decode(v, op.Content.Octets)
	switch {
	case err != nil, t.Type() == "multipart" && len(octets) != len(op.Content.Octets):
		return refuse(WhySyntax, 400, "Bad Request: Content-Transfer-Encoding")
	}
	op.Content.Octets = octets
	return nil
}

// checkReadable compares who a part is from, to or about with the request, and gives when it was written if it says so.
func checkReadable(t cpim.ContentType, octets []byte, op *adapters.MessageOp, req *wire.Message, opts ReadOptions) (sent time.Time, _ *Refusal) {
	switch {
	case mimebody.Letter(t):
		return sent, refuse(WhyIdentity, 403, "Forbidden: what is signed names a sender of its own")
	case t.Is("message/cpim"):
		m, err := cpim.ParseMessage(octets, cpim.Limits{})
		if err != nil {
			return sent, refuse(WhySyntax, 400, "Bad Request: malformed message/cpim")
		}
		if at, ok := m.DateTime(); ok {
			sent = at.Time()
		}
		return sent, checkInner(m, op, req, opts)
	case t.Is("application/pidf+xml"):
		doc, err := pidf.Parse(octets)
		if err != nil {
			return sent, refuse(WhySyntax, 400, "Bad Request: a malformed presence document")
		}
		return sent, checkEntity(doc, op.From.Address.WithScheme(cpim.Pres), opts)
	}
	return sent, nil
}

// checkFresh refuses what may be an old message that somebody plays back: "all signed MESSAGE requests and responses MUST contain a Date header
// field covered by the message signature. Any message with a date older than several minutes in the past, or which is more than several
// minutes in the future, SHOULD be answered with a 400 (Incorrect Date or Time) message" (RFC 3428 §11.4). In a Message/CPIM the signature
// covers its DateTime; the Date of the request counts as well, and alone where nothing can be read.
func checkFresh(dates []time.Time, req *wire.Message, now time.Time) *Refusal {
	if v, ok := req.Header("Date"); ok {
		dates = append(dates, parseDate(v))
	}
	fresh := len(dates) > 0
	for _, d := range dates {
		fresh = fresh && now.Sub(d).Abs() <= freshness
	}
	if !fresh {
		return refuse(WhyStale, 400, "Incorrect Date or Time")
	}
	return nil
}
