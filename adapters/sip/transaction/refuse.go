package transaction

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// refuse answers a request without state (RFC 3261 §8.2.7): once, and on UDP with at most 1.2 times the octets of the request, so that a
// forged source gains nothing (THREATS S11). size is the octets of the request.
func (l *Layer) refuse(m *wire.Message, size int, o origin, code int, reason string) {
	scratch := getBuffer()
	defer putBuffer(scratch)
	b, err := wire.AppendResponse((*scratch)[:0], m, wire.Response{Code: code, Reason: reason, ToTag: l.statelessTag(m)})
	*scratch = b
	if err == nil && o.conn == nil && len(b)*5 > size*6 {
		// A request this small has little but what must be copied: the default phrase and no tag.
		b, err = wire.AppendResponse(b[:0], m, wire.Response{Code: code})
		*scratch = b
		if len(b)*5 > size*6 {
			l.metrics.drop(dropAmplify)
			return
		}
	}
	if err == nil {
		l.tap(Outbound, b)
		err = o.back(m.TopVia()).send(b)
	}
	if err != nil {
		l.metrics.drop(dropResponse)
		return
	}
	l.metrics.responses[1][code/100].Inc()
}

// statelessTag is a tag that all copies of a request get, and that nobody else can compute. RFC 3261 §8.2.7: To tags are
// made "in a manner that will generate the same tag for the same request consistently".
func (l *Layer) statelessTag(m *wire.Message) string {
	mac := hmac.New(sha256.New, l.tagKey[:])
	for _, s := range [...]string{m.CallID(), m.From().Tag(), m.TopVia().Branch(), m.TopVia().SentBy(), m.RequestURIText()} {
		mac.Write(append([]byte(s), 0))
	}
	var sum [sha256.Size]byte
	return hex.EncodeToString(mac.Sum(sum[:0])[:12])
}
