package sip

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"

	"github.com/isthmus-gateway/isthmus/adapters/sip/digest"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/secret"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Credentials are what this gateway proves itself with to a peer that challenges it.
type Credentials struct {
	// Username and Password are those that the peer knows. Realm is its realm: challenges of any other are not answered, so that nobody
	// but the peer gets a hash of the password (THREATS S7).
	Username, Realm string
	Password        secret.Text
	// AllowMD5 lets a challenge with MD5, or with no algorithm, be answered.
	AllowMD5 bool
}

// pass remembers a peer's last challenge, so that the next request carries its credentials at once.
type pass struct {
	mu        sync.Mutex
	challenge digest.Challenge
	header    string // the header field that answers it; "" before the first challenge
	count     uint32
}

// maxRounds is how many challenges to one request are answered: the second only to a nonce that was called stale. More would be a loop
// (THREATS S8, T-LP-07).
const maxRounds = 2

// provable tells whether p, nil for nobody, is to be shown who we are by this request, if it asks. A NOTIFY has no credentials: it is sent
// because the other side asked for it, and to where that said, so a challenge to it could be anybody's (THREATS S7).
func (p *Peer) provable(req *wire.Request) bool {
	return p != nil && p.Credentials.Username != "" && req.Method != "NOTIFY"
}

// proven sends a request to a hop that is peer, with credentials if it wants some; see provable. A challenged request is sent again with the next
// CSeq, which is in req when proven returns: "it MUST increment the CSeq header field value as it would normally when sending an
// updated request" (RFC 3261 §22.2). A challenge says that the request was not taken, so this is no second copy.
func (a *Adapter) proven(ctx context.Context, peer *Peer, hop resolver.Target, req *wire.Request) transaction.Result {
	plain := req.Headers[:len(req.Headers):len(req.Headers)]
	if h, ok := peer.pass.next(&peer.Credentials, req); ok {
		req.Headers = append(plain, h)
	}
	r := a.once(ctx, hop, req)
	for round := 1; ; round++ {
		stale, ok := peer.pass.challenged(&peer.Credentials, r.Response)
		if !ok || round > maxRounds || round > 1 && !stale || req.CSeq+1 >= maxCSeq {
			return r
		}
		h, ok := peer.pass.next(&peer.Credentials, req)
		if !ok {
			return r
		}
		req.Headers = append(plain, h)
		req.CSeq++
		r = a.once(ctx, hop, req)
	}
}

// once sends a request as it is, with the mark of what it is.
func (a *Adapter) once(ctx context.Context, hop resolver.Target, req *wire.Request) transaction.Result {
	a.markLoop(req)
	return a.layer.Do(ctx, hop, req)
}

// challenged takes the challenge of a 401 or 407 in; ok is false for any other response, and for one without a challenge that may be
// answered.
func (p *pass) challenged(own *Credentials, m *wire.Message) (stale, ok bool) {
	if m == nil {
		return false, false
	}
	ask, answer := "WWW-Authenticate", "Authorization"
	switch m.StatusCode() {
	case 401:
	case 407:
		ask, answer = "Proxy-Authenticate", "Proxy-Authorization"
	default:
		return false, false
	}
	var values []string
	for v := range m.Headers(ask) {
		if values = append(values, v); len(values) == 16 {
			break
		}
	}
	c, ok := digest.Choose(values, own.Realm, own.AllowMD5)
	if !ok {
		return false, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.Nonce != p.challenge.Nonce {
		p.count = 0
	}
	p.challenge, p.header = c, answer
	return c.Stale, true
}

// next makes the header field that answers the last challenge for req; ok is false if there was none.
func (p *pass) next(own *Credentials, req *wire.Request) (wire.Header, bool) {
	p.mu.Lock()
	if p.header == "" {
		p.mu.Unlock()
		return wire.Header{}, false
	}
	p.count++
	c, name, count := p.challenge, p.header, p.count
	p.mu.Unlock()
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails
	got, err := digest.Answer(c, own.Username, own.Password.Reveal(), req.URI, hex.EncodeToString(b[:]), count,
		digest.Request{Method: req.Method, Body: req.Body})
	if err != nil {
		return wire.Header{}, false
	}
	return wire.Header{Name: name, Value: got.String()}, true
}
