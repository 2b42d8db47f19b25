package xmpp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// want is what a stream is opened for.
type want uint8

const (
	wantCarriage      want = iota // of a pair's stanzas
	wantAuthenticated             // by EXTERNAL, to resume another
	wantVerdict                   // on a dialback key
)

// maxHops bounds the targets that are tried for one stream.
const maxHops = 16

// hopsLife is for how long the targets that the core found for an operation are used for a stream.
const hopsLife = 5 * time.Minute

// obtain gets a stream that carries the pair: one that is there, or a new one.
func (v *servers) obtain(ctx context.Context, p *pair) (*session, error) {
	k := pairKey{p.local.self.Domain(), p.remote.self.Domain()}
	for _, s := range v.sessions() {
		if s.carriesBack(k) {
			return s, nil
		}
	}
	hops, err := v.hopsOf(ctx, p)
	if err != nil {
		return nil, err
	}
	if p.policy().dialback {
		for _, s := range v.sessions() {
			if !s.shares(p, hops) {
				continue
			}
			ctx, cancel := context.WithTimeout(ctx, v.a.lim().ConnectTimeout)
			err := s.present(ctx, p)
			cancel()
			if err == nil {
				v.a.m.piggybacks.Inc()
				return s, nil
			}
		}
	}
	if err := v.takeDial(ctx); err != nil {
		return nil, err
	}
	defer func() { <-v.dials }()
	if !p.wanted() {
		return nil, errUnwanted // who waited has been answered: the place is for another
	}
	s, offer, err := v.openAny(ctx, p.local, p.remote, hops, wantCarriage, p.wanted)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, v.a.lim().ConnectTimeout)
	defer cancel()
	if err := s.authenticate(ctx, p, offer); err != nil {
		s.end(err)
		return nil, err
	}
	return s, nil
}

// takeDial waits for a place among the streams under construction.
func (v *servers) takeDial(ctx context.Context) error {
	select {
	case v.dials <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// carriesBack tells whether a stream that was opened to us carries stanzas of ours as well (XEP-0288).
func (s *session) carriesBack(k pairKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.initiated && s.bidi && !s.over && s.inbound[k] != nil && (!s.external || s.local.self.Domain() == k.local)
}

// shares tells whether a pair may be added to a stream that carries others: it leads to the same domain, or at least to the same
// server, and a refusal does not end it (XEP-0220 §2.6).
func (s *session) shares(p *pair, hops []resolver.Target) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.initiated || s.over || !s.errorsToo || len(s.pairs) == 0 || s.broken != nil || !s.secured && !p.policy().clear(s.addr.Addr()) {
		return false
	}
	if s.remote.domain == p.remote.domain {
		return true
	}
	for _, h := range hops {
		if h.Addr() == s.target.Addr() {
			return true
		}
	}
	return false
}

// hopsOf is where the remote domain's servers are.
func (v *servers) hopsOf(ctx context.Context, p *pair) ([]resolver.Target, error) {
	p.mu.Lock()
	hops, at := p.hops, p.hopsAt
	p.mu.Unlock()
	if len(hops) > 0 && time.Since(at) < hopsLife {
		return hops, nil
	}
	ctx, cancel := context.WithTimeout(ctx, v.a.lim().ConnectTimeout)
	defer cancel()
	hops, err := v.side().Resolve(ctx, p.remote.domain)
	if err != nil {
		return nil, &unresolvedError{err}
	}
	p.lead(hops)
	return hops, nil
}

// unresolvedError is when the remote domain's servers could not be found.
type unresolvedError struct{ err error }

func (e *unresolvedError) Error() string { return "xmpp: find the server: " + e.err.Error() }
func (e *unresolvedError) Unwrap() error { return e.err }

// openAny opens a stream to the first target that takes one. Nothing has been sent that could have been taken, so the next one may be
// tried, as long as wanted says so.
func (v *servers) openAny(ctx context.Context, local, remote *host, hops []resolver.Target, for_ want, wanted func() bool) (*session, *stream.Offer, error) {
	var faults []error
	for i, t := range hops {
		if i == maxHops || ctx.Err() != nil || i > 0 && !wanted() {
			break
		}
		s, offer, err := v.open(ctx, local, remote, t, for_)
		if err == nil {
			return s, offer, nil
		}
		if errors.Is(err, errNoRoom) {
			return nil, nil, err
		}
		v.a.m.opened.WithLabelValues("failed").Inc()
		faults = append(faults, fmt.Errorf("%s: %w", t.Addr(), err))
	}
	if len(faults) == 0 {
		faults = append(faults, errNoTarget)
	}
	return nil, nil, errors.Join(faults...)
}

var (
	errNoTarget = errors.New("xmpp: there is no server to connect to")
	errTLSA     = errors.New("xmpp: whether the server's certificate is in DNS could not be learnt (RFC 7673 §3.3)")
)

// open opens a stream to one target and starts its reader.
func (v *servers) open(ctx context.Context, local, remote *host, t resolver.Target, for_ want) (_ *session, _ *stream.Offer, err error) {
	direct := t.Transport() == resolver.TLS
	switch {
	case t.Protocol() != resolver.XMPP || t.Transport() != resolver.TCP && !direct:
		return nil, nil, errNoTarget
	case t.TLSAStatus() == resolver.TLSAFailed:
		return nil, nil, errTLSA
	}
	if v.side().AllowAddr != nil {
		if err := v.side().AllowAddr(t.Addr().Addr()); err != nil {
			return nil, nil, err
		}
	}
	policy := v.side().policyOf(remote.domain)
	ctx, cancel := context.WithTimeout(ctx, v.a.lim().ConnectTimeout)
	defer cancel()
	raw, err := v.dial(ctx, "tcp", t.Addr().String())
	if err != nil {
		v.reached(t, ctx, false)
		return nil, nil, err
	}
	boundSilence(raw, v.a.lim().PingTimeout)
	conn, offer, err := stream.Open(ctx, raw, stream.Outgoing{
		From: local.self.Domain(), To: remote.self.Domain(), TLS: v.client(local, remote, t, policy.dialback), Direct: direct, Cleartext: policy.clear(t.Addr().Addr()),
		External: for_ != wantVerdict, Dialback: policy.dialback, Bidi: for_ != wantVerdict, Limits: v.a.lim().XML,
	})
	if err != nil {
		v.reached(t, ctx, false)
		return nil, nil, err
	}
	v.reached(t, ctx, true)
	v.a.m.opened.WithLabelValues("ok").Inc()
	s := newSession(v, conn, raw)
	s.initiated, s.local, s.remote, s.policy, s.target, s.addr = true, local, remote, policy, t, t.Addr()
	s.id, s.external, s.errorsToo = offer.ID, offer.Authenticated, offer.DialbackErrors
	s.secured, s.bidi, s.maxBytes = offer.Secured, offer.Bidi, offer.MaxBytes
	if offer.IdleAfter > 0 {
		s.idle = min(s.idle, offer.IdleAfter*3/4)
	}
	s.log = v.log.With().Str("domain", local.domain).Str("remote", remote.domain).Str("address", t.Addr().String()).Logger()
	if cs := offer.TLS; cs != nil {
		s.roots = v.side().Certificates.Trust().Roots
		if s.until, err = v.proves(cs, remote, t); err == nil { // or nothing was proven, where dialback is trusted instead
			s.proof = func() (time.Time, error) { return v.proves(cs, remote, t) }
		}
	}
	if !v.add(s) {
		conn.Close(0)
		return nil, nil, errNoRoom
	}
	if s.bidi && offer.Authenticated {
		// The server's own certificate has proven it, or dialback is trusted with it.
		if p := v.pairOf(local, remote); p != nil {
			s.accept(pairKey{local.self.Domain(), remote.self.Domain()}, p)
		}
	}
	v.spawn(s.run)
	return s, offer, nil
}

// reached tells what was learnt of a target, unless the attempt was cut short.
func (v *servers) reached(t resolver.Target, ctx context.Context, ok bool) {
	if v.side().Reached != nil && (ok || ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded)) {
		v.side().Reached(t, ok)
	}
}

// errUnauthenticated is when a server accepts none of the proofs that we may give it.
type errUnauthenticated struct{ refused *stream.SASLFailure }

func (e *errUnauthenticated) Error() string {
	if e.refused != nil {
		return "xmpp: the server refuses our certificate: " + e.refused.Error()
	}
	return "xmpp: the server takes no proof that we may give: neither our certificate nor dialback"
}

// authenticate proves the pair on a new stream, unless EXTERNAL has, and enables what the peer offers after that.
func (s *session) authenticate(ctx context.Context, p *pair, offer *stream.Offer) error {
	method := "external"
	if !offer.Authenticated {
		if !p.policy().dialback || !offer.Dialback {
			return &errUnauthenticated{offer.ExternalRefused}
		}
		method = "dialback"
		if err := s.present(ctx, p); err != nil {
			return err
		}
	}
	s.v.a.m.authenticated.WithLabelValues("out", method).Inc()
	if offer.Management {
		if err := s.manageOutgoing(ctx, offer.Authenticated); err != nil {
			return err
		}
	}
	s.log.Info().Str("by", method).Bool("tls", s.secured).Bool("bidi", s.bidi).Bool("managed", s.management() != nil).Msg("xmpp: server stream is up")
	return nil
}

// failedStream is what operations are told when no stream could be had: RFC 6120 §10.4 calls a server that was not found and one that
// was not reached by different errors.
func failedStream(err error) adapters.Status {
	st := adapters.Failed(adapters.ReasonDomainTimeout, "")
	var se *stream.Error
	var unproven *errUnauthenticated
	var dialback *dialbackError
	var nowhere *unresolvedError
	var tlsErr *stream.TLSError
	switch {
	case errors.As(err, &se):
		st.Remote = se.Condition.String()
		switch se.Condition {
		case stream.HostUnknown, stream.HostGone:
			st.Reason = adapters.ReasonDomainNotFound
		case stream.NotAuthorized, stream.InvalidFrom, stream.PolicyViolation:
			st.Reason, st.Text = adapters.ReasonNotAuthenticated, "The recipient's domain does not accept this gateway"
		case stream.ResourceConstraint:
			st.Reason = adapters.ReasonOverloaded
		}
	case errors.As(err, &unproven), errors.Is(err, errNotValid):
		st.Reason, st.Text = adapters.ReasonNotAuthenticated, "The recipient's domain does not accept this gateway"
	case errors.As(err, &dialback):
		st.Remote = dialback.condition
		switch dialback.condition {
		case "item-not-found":
			st.Reason = adapters.ReasonDomainNotFound
		case "not-authorized", "forbidden", "policy-violation":
			st.Reason, st.Text = adapters.ReasonNotAuthenticated, "The recipient's domain does not accept this gateway"
		case "resource-constraint":
			st.Reason = adapters.ReasonOverloaded
		}
	case errors.Is(err, errNoRoom):
		st.Reason = adapters.ReasonOverloaded
	case errors.As(err, &tlsErr), errors.Is(err, stream.ErrNoTLS), errors.Is(err, stream.ErrTLSRefused):
		st.Text = "The recipient's domain could not be authenticated"
	case errors.As(err, &nowhere):
		var lasting interface{ Temporary() bool }
		if errors.As(err, &lasting) && !lasting.Temporary() {
			st.Reason = adapters.ReasonDomainNotFound
		}
	}
	return st
}
