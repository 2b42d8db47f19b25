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
	l.refuseWith(m, size, o, wire.Response{Code: code, Reason: reason, ToTag: l.statelessTag(m)}, scratch)
}

// refuseWith is refuse with a whole response.
func (l *Layer) refuseWith(m *wire.Message, size int, o origin, r wire.Response, scratch *[]byte) {
	var b []byte
	var err error
	if o.conn == nil {
		var ok bool
		b, ok, err = fit((*scratch)[:0], m, r, nil, size)
		if !ok && err == nil {
			// A request this small has little but what must be copied.
			r.Reason, r.ToTag, r.Compact = "", "", true
			b, err = wire.AppendResponse(b[:0], m, r)
			ok = err == nil && fits(len(b), size)
		}
		*scratch = b
		if !ok {
			l.metrics.drop(dropAmplify)
			return
		}
	} else {
		if isWebSocket(o.conn.transport) {
			r.Hop.NoReceived = true
		}
		b, err = wire.AppendResponse((*scratch)[:0], m, r)
		*scratch = b
	}
	if err == nil {
		l.tap(Outbound, b)
		way := o.back(m.TopVia())
		err = way.send(b)
	}
	if err != nil {
		l.metrics.drop(dropResponse)
		return
	}
	l.metrics.responses[1][r.Code/100].Inc()
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
