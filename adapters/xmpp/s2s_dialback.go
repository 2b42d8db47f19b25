package xmpp

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// verifyKey names a question to an authoritative server: the domains and the stream that its key is for (XEP-0220 §2.1.2).
type verifyKey struct{ from, to, id string }

// dialbackAnswer is what a peer says to a question of dialback.
type dialbackAnswer struct {
	kind      stream.DialbackType
	condition string
}

// The faults of dialback that end the stream. Since 2012 it is known what becomes of servers that believe answers to questions that they
// never asked (THREATS.md X10, XEP-0220 §3.1).
var (
	errUnsolicited = &stream.Fault{Condition: stream.NotAuthorized, Rule: "an answer of dialback that nothing asked for", Section: "XEP-0220 §3.1"}
	errMisdirected = &stream.Fault{Condition: stream.NotAuthorized, Rule: "a question of dialback against the direction of the stream", Section: "XEP-0220 §2.2"}
	errInvalidKey  = &stream.Fault{Condition: stream.NotAuthorized, Rule: "the authoritative server does not know the dialback key", Section: "XEP-0220 §2.2.1"}
	errDialbackOff = &stream.Fault{Condition: stream.PolicyViolation, Rule: "dialback is not allowed", Section: "RFC 6120 §6.4.5"}
)

// dialback handles an element of dialback. An error ends the stream.
func (s *session) dialback(raw []byte) error {
	d, ok, err := stream.ReadDialback(raw, s.conn.Scope(), s.v.a.lim().XML)
	if err != nil {
		return err
	}
	if !ok {
		return errUnknownHere
	}
	question := d.Type == stream.DialbackRequest
	switch {
	case !s.v.side().anyDialback():
		return errDialbackOff
	case question && s.initiated && !s.bidi:
		return errMisdirected
	case question && d.Kind == stream.DialbackResult:
		return s.authorize(&d)
	case question:
		return s.vouch(&d)
	case d.Kind == stream.DialbackResult:
		return s.deliver(&d, nil)
	default:
		return s.deliver(nil, &d)
	}
}

// deliver hands an answer to whoever asked on this very stream. Whatever else comes ends the stream.
func (s *session) deliver(result, verify *stream.Dialback) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c chan dialbackAnswer
	var a dialbackAnswer
	if result != nil {
		k := pairKey{result.To, result.From}
		c, a = s.results[k], dialbackAnswer{result.Type, result.Condition}
		delete(s.results, k)
	} else {
		k := verifyKey{verify.To, verify.From, verify.ID}
		c, a = s.verifies[k], dialbackAnswer{verify.Type, verify.Condition}
		delete(s.verifies, k)
	}
	if c == nil {
		if result == nil && s.late[verifyKey{verify.To, verify.From, verify.ID}] {
			delete(s.late, verifyKey{verify.To, verify.From, verify.ID})
			return nil
		}
		return errUnsolicited
	}
	if result != nil && result.Type == stream.DialbackValid {
		s.conn.Established()
		if p := s.asking[pairKey{result.To, result.From}]; s.bidi && p != nil {
			// What may come is the inverse of what may be written (XEP-0288 §2.2), and it may come at once.
			s.acceptLocked(pairKey{result.To, result.From}, p)
		}
	}
	c <- a // has room for one
	return nil
}

// vouch is the authoritative server: it tells whether a key is one of ours (XEP-0220 §2.2.2).
func (s *session) vouch(d *stream.Dialback) error {
	v := s.v
	answer := stream.Dialback{Kind: stream.DialbackVerify, From: d.To, To: d.From, ID: d.ID}
	switch {
	case v.side().wire[d.To] == nil:
		answer.Type, answer.Condition = stream.DialbackError, "item-not-found"
	case !s.protected(v.side().policyOfWire(d.From)):
		answer.Type, answer.Condition = stream.DialbackError, "policy-violation"
	case v.side().policyOfWire(d.From).dialback && stream.CheckDialbackKey(d.Key, v.side().secret, d.From, d.To, d.ID):
		answer.Type = stream.DialbackValid
	default: // also one that we make no keys for
		answer.Type = stream.DialbackInvalid
	}
	v.a.m.dialback.WithLabelValues("vouched", dialbackResult(answer.Type)).Inc()
	s.say(stream.AppendDialback(nil, &answer))
	return nil
}

// protected tells whether the stream is encrypted, or may be without.
func (s *session) protected(p *remotePolicy) bool {
	return s.secured || p.clear(s.addr.Addr())
}

func dialbackResult(t stream.DialbackType) string {
	switch t {
	case stream.DialbackValid:
		return "valid"
	case stream.DialbackInvalid:
		return "invalid"
	default:
		return "error"
	}
}

// authorize is the receiving server: it has the key of a pair of domains verified by the authoritative server, and meanwhile goes on
// (XEP-0220 §2.2.1).
func (s *session) authorize(d *stream.Dialback) error {
	v := s.v
	answer := stream.Dialback{Kind: stream.DialbackResult, From: d.To, To: d.From}
	say := func(t stream.DialbackType, condition string) {
		answer.Type, answer.Condition = t, condition
		v.a.m.dialback.WithLabelValues("judged", dialbackResult(t)).Inc()
		s.say(stream.AppendDialback(nil, &answer))
	}
	policy := v.side().policyOfWire(d.From)
	local := v.side().wire[d.To]
	remote, err := newHost(d.From)
	k := pairKey{d.To, d.From}
	switch {
	case v.a.ours(d.From): // our own domains never come in from outside (T-ID-08)
		v.refusedOn(s, "reflected")
		return errWrongFrom
	case local == nil:
		say(stream.DialbackError, "item-not-found")
		return nil
	case err != nil:
		say(stream.DialbackError, "not-acceptable")
		return nil
	case !policy.dialback:
		say(stream.DialbackError, "not-authorized")
		return nil
	case !s.protected(policy):
		say(stream.DialbackError, "policy-violation")
		return nil
	}
	switch s.begin(k) {
	case proven:
		say(stream.DialbackValid, "")
		return nil
	case pending:
		say(stream.DialbackError, "unexpected-request")
		return nil
	case full:
		say(stream.DialbackError, "resource-constraint")
		return nil
	}
	v.spawn(func() {
		ctx, cancel := context.WithTimeout(v.a.base, v.a.lim().ConnectTimeout)
		defer cancel()
		a, err := v.verify(ctx, s, local, remote, s.id, d.Key)
		s.finish(k)
		switch {
		case err != nil:
			s.log.Warn().Str("claims", clip(d.From)).Str("fault", clip(err.Error())).Msg("xmpp: a dialback key could not be verified")
			condition := "remote-server-not-found"
			if ctx.Err() != nil {
				condition = "remote-server-timeout"
			}
			say(stream.DialbackError, condition)
		case a.kind == stream.DialbackValid:
			p := v.pairOf(local, remote)
			if p == nil || !s.accept(k, p) {
				say(stream.DialbackError, "resource-constraint")
				return
			}
			s.prove(remote)
			say(stream.DialbackValid, "")
			if s.bidi {
				p.attach(s, nil)
			}
		case a.kind == stream.DialbackInvalid && s.nothingProven():
			// "If no other valid domain pairs exist for this connection ..., the Receiving Server SHOULD send a result with type "invalid" and
			// MUST close the XML stream" (XEP-0220 §2.2.1).
			s.log.Warn().Str("claims", clip(d.From)).Msg("xmpp: a dialback key is not the domain's")
			say(stream.DialbackInvalid, "")
			s.flush()
			s.end(errInvalidKey)
		case a.kind == stream.DialbackInvalid:
			s.log.Warn().Str("claims", clip(d.From)).Msg("xmpp: a dialback key is not the domain's")
			say(stream.DialbackError, "forbidden")
		default:
			say(stream.DialbackError, "remote-server-not-found")
		}
	})
	return nil
}

// prove marks a stream that was opened to us as one that has proven a domain.
func (s *session) prove(remote *host) {
	s.mu.Lock()
	if s.remote == nil {
		s.remote, s.policy = remote, s.v.side().policyOf(remote.domain)
	}
	s.mu.Unlock()
	s.unproven.Store(false)
	s.conn.Established()
}

// How far the proof of a pair of domains is on one stream.
type progress uint8

const (
	begun progress = iota
	proven
	pending
	full
)

// begin notes that a pair is being verified for this stream.
func (s *session) begin(k pairKey) progress {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.inbound[k] != nil:
		return proven
	case s.verifying[k]:
		return pending
	case s.over || len(s.inbound)+len(s.verifying) >= s.v.lim().PairsPerStream || s.v.verifying >= s.v.lim().Verifications:
		return full
	}
	if s.verifying == nil {
		s.verifying = map[pairKey]bool{}
	}
	s.verifying[k] = true
	s.v.verifying++
	return begun
}

func (s *session) finish(k pairKey) {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.verifying, k)
	s.v.verifying--
}

// verify asks the authoritative server of remote whether key is its own for the stream id. It is never asked on the stream that the key
// came on (XEP-0288 §2.2), but on one that we opened to that domain.
func (v *servers) verify(ctx context.Context, on *session, local, remote *host, id, key string) (dialbackAnswer, error) {
	for _, s := range v.sessions() {
		if s != on && s.initiated && s.local == local && s.remote.domain == remote.domain && !s.unproven.Load() {
			if a, err := s.question(ctx, local, remote, id, key); err == nil {
				return a, nil
			}
		}
	}
	hops, err := v.side().Resolve(ctx, remote.domain)
	if err != nil {
		return dialbackAnswer{}, err
	}
	s, _, err := v.openAny(ctx, local, remote, hops, wantVerdict, func() bool { return true })
	if err != nil {
		return dialbackAnswer{}, err
	}
	// "Such an implementation SHOULD close the connection immediately after receiving the verification result" (XEP-0220 §2.1.2).
	defer s.end(errQuiet)
	return s.question(ctx, local, remote, id, key)
}

// question asks on this stream.
func (s *session) question(ctx context.Context, local, remote *host, id, key string) (dialbackAnswer, error) {
	d := stream.Dialback{Kind: stream.DialbackVerify, From: local.self.Domain(), To: remote.self.Domain(), ID: id, Key: key}
	k := verifyKey{d.From, d.To, d.ID}
	c := make(chan dialbackAnswer, 1)
	s.mu.Lock()
	if s.over || s.verifies[k] != nil || s.late[k] || len(s.late) >= s.v.lim().PairsPerStream {
		s.mu.Unlock()
		return dialbackAnswer{}, errClosed
	}
	if s.verifies == nil {
		s.verifies = map[verifyKey]chan dialbackAnswer{}
	}
	s.verifies[k] = c
	s.mu.Unlock()
	s.say(stream.AppendDialback(nil, &d))
	a, err := s.await(ctx, c)
	if err != nil {
		s.mu.Lock()
		if !s.over && s.verifies[k] != nil {
			delete(s.verifies, k)
			if s.late == nil {
				s.late = map[verifyKey]bool{}
			}
			s.late[k] = true // the answer may still come, and says nothing to anybody
		}
		s.mu.Unlock()
	}
	return a, err
}

// await waits for an answer that deliver brings.
func (s *session) await(ctx context.Context, c chan dialbackAnswer) (dialbackAnswer, error) {
	select {
	case a, ok := <-c:
		if !ok {
			return a, errClosed
		}
		return a, nil
	case <-ctx.Done():
		return dialbackAnswer{}, ctx.Err()
	}
}

var errNotValid = errors.New("xmpp: the server does not accept our dialback key")

// dialbackError is a dialback error of the peer (XEP-0220 §2.4).
type dialbackError struct{ condition string }

func (e *dialbackError) Error() string { return "xmpp: the server could not verify us: " + e.condition }

// present is the initiating server: it proves a pair of domains on this stream (XEP-0220 §2.1.1).
func (s *session) present(ctx context.Context, p *pair) error {
	k := pairKey{p.local.self.Domain(), p.remote.self.Domain()}
	c := make(chan dialbackAnswer, 1)
	s.mu.Lock()
	if s.over || s.results[k] != nil || len(s.pairs)+len(s.results) >= s.v.lim().PairsPerStream {
		s.mu.Unlock()
		return errClosed
	}
	if s.results == nil {
		s.results, s.asking = map[pairKey]chan dialbackAnswer{}, map[pairKey]*pair{}
	}
	s.results[k], s.asking[k] = c, p
	s.mu.Unlock()
	s.say(stream.AppendDialback(nil, &stream.Dialback{
		Kind: stream.DialbackResult, From: k.local, To: k.remote, Key: stream.DialbackKey(s.v.side().secret, k.remote, k.local, s.id),
	}))
	a, err := s.await(ctx, c)
	if err != nil {
		return err // the pair is not tried here again
	}
	s.v.a.m.dialback.WithLabelValues("presented", dialbackResult(a.kind)).Inc()
	switch a.kind {
	case stream.DialbackValid:
		return nil
	case stream.DialbackInvalid:
		return errNotValid
	default:
		return &dialbackError{a.condition}
	}
}

// anyDialback tells whether dialback is allowed with anybody.
func (c *serverSide) anyDialback() bool {
	if c.other.dialback {
		return true
	}
	for _, p := range c.remotes {
		if p.dialback {
			return true
		}
	}
	return false
}

// policyOfWire is policyOf for a domain as it stands in a JID.
func (c *serverSide) policyOfWire(domain string) *remotePolicy {
	if d, err := resolver.ParseDomain(domain); err == nil {
		return c.policyOf(d)
	}
	return c.other
}

// flush waits a moment for what was said to be written, before the stream is closed.
func (s *session) flush() {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for range 1000 {
		s.mu.Lock()
		idle := s.over || !s.writing && len(s.control) == 0
		s.mu.Unlock()
		if idle {
			return
		}
		<-t.C
	}
}
