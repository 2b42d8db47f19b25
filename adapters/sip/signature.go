package sip

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-gateway/isthmus/adapters/sip/passport"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// IdentityPolicy is what becomes of the Identity header field in a peer's requests (RFC 8224).
type IdentityPolicy uint8

// The policies.
const (
	// VerifyIdentity is the zero value: a request that a known signer is said to have signed must be so, or it is refused. One that has
	// no Identity, or has it from nobody who is known, is as good as the peer's word.
	VerifyIdentity IdentityPolicy = iota
	// IgnoreIdentity looks at none.
	IgnoreIdentity
	// RequireIdentity takes no MESSAGE, SUBSCRIBE or PUBLISH that is not signed for whom it is from.
	RequireIdentity
)

// identityCounts are the metric's counters.
type identityCounts struct{ verified, unknown, refused prometheus.Counter }

// unsigned is the fault of a configuration in which a peer's requests must be signed, and nobody can sign.
func (c *Config) unsigned() error {
	for _, p := range c.Peers {
		if p.Identity == RequireIdentity && c.Signers.Len() == 0 {
			return fmt.Errorf("sip: peer %q: signatures are required, and nobody's are known", p.Name)
		}
	}
	return nil
}

// maxIdentities bounds the Identity values that are looked at; passport has the same bound.
const maxIdentities = 8

// verify judges who signed a request. A signature proves From and lets nobody send who else could not: the peer, its domains and its users
// are asked all the same.
//
// As with digest, a NOTIFY is proven by its dialog. What was seen is not remembered: a body is not signed, so that two honest messages
// within a second have equal signatures, and a copy of one is known by its Call-ID, tag and CSeq already (RFC 8224 §12.1 leaves it to the
// verifier what a replay is).
func (a *Adapter) verify(in *inbound) *Refusal {
	req, policy := in.req, in.peer.Identity
	if m := req.Method(); policy == IgnoreIdentity || m == "NOTIFY" || m == "OPTIONS" || policy != RequireIdentity && a.signers().Len() == 0 {
		return nil
	}
	var values []string
	for v := range req.Headers("Identity") {
		if values = append(values, v); len(values) == maxIdentities {
			break
		}
	}
	if policy != RequireIdentity && !passport.Concerns(values, a.signers()) {
		if len(values) > 0 {
			a.identities.unknown.Inc()
		}
		return nil
	}
	input := passport.Input{Identity: values, From: req.From().URI(), To: req.To().URI()}
	if v, given := req.Header("Date"); given {
		if input.Date = parseDate(v); input.Date.IsZero() {
			// What no clock can have written is not fresh (RFC 8224 §12.1).
			input.Date = time.Unix(0, 0)
		}
	}
	_, err := passport.Verify(input, a.signers(), in.opts.Now)
	var f *passport.Failure
	switch {
	case errors.As(err, &f):
		a.identities.refused.Inc()
		ref := refuse(WhySignature, f.Code, f.Reason)
		ref.Detail = f.Detail
		return ref
	case err != nil:
		a.identities.refused.Inc()
		return refuse(WhySignature, 438, "Invalid Identity Header")
	}
	if policy == RequireIdentity && !in.fromCounts() {
		// The identity that counts must be the one that was signed.
		a.identities.refused.Inc()
		return refuse(WhySignature, 403, "Forbidden: the asserted identity is not the signed one")
	}
	a.identities.verified.Inc()
	return nil
}

// fromCounts tells whether From is whom the request is taken to be from.
func (in *inbound) fromCounts() bool {
	from := in.req.From()
	if from.URI().String() == in.identity.URI().String() {
		return true
	}
	how := in.opts.sender(cpim.IM)
	signed, ref1 := AddressOf(from.URI(), how)
	taken, ref2 := AddressOf(in.identity.URI(), how)
	return ref1 == nil && ref2 == nil && signed.Address == taken.Address
}
