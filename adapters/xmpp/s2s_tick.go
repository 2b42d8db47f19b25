package xmpp

import (
	"time"
)

// tick looks whether the stream is alive, is used, and answers.
func (s *session) tick(now time.Time) {
	lim := s.v.a.lim()
	s.mu.Lock()
	g, over, building := s.ledger, s.over, len(s.verifies) > 0 || len(s.verifying) > 0 || s.sure != nil
	pairs := make([]*pair, 0, len(s.pairs))
	for p := range s.pairs {
		pairs = append(pairs, p)
	}
	carries := len(s.inbound) > 0 || len(pairs) > 0
	s.mu.Unlock()
	if over || s.unproven.Load() {
		return // the time of what has proven nothing is bounded where it is read
	}
	if g != nil && g.silent(now) {
		s.v.spawn(func() { s.end(errSilent) })
		return
	}
	// An authority that is trusted no more may have been taken from the configuration because others can issue in its name.
	if roots := s.v.side().Certificates.Trust().Roots; s.proof != nil && s.roots != roots {
		until, err := s.proof()
		if s.until, s.roots = until, roots; err != nil {
			s.v.spawn(func() { s.end(errUntrusted) })
			return
		}
	}
	if !s.until.IsZero() && now.After(s.until) {
		s.v.spawn(func() { s.end(errExpired) })
		return
	}
	busy := building
	for _, p := range pairs {
		busy = busy || !p.box.idle()
		if g == nil && s.unanswering(p, now) {
			s.v.spawn(func() { s.end(errSilent) })
			return
		}
	}
	carried := now.Sub(time.Unix(0, s.carried.Load()))
	if carries && !busy && carried >= s.idle || !carries && !building && carried >= lim.ConnectTimeout {
		at := s.carried.Load()
		s.v.spawn(func() {
			s.endIf(errQuiet, func() bool {
				return s.carried.Load() == at && !s.writing && len(s.queue) == 0 && len(s.control) == 0 && len(s.acks) == 0
			})
		})
		return
	}
	if now.Sub(time.Unix(0, s.seen.Load())) < lim.KeepAlive {
		return
	}
	switch {
	case g != nil:
		g.probe(now)
	case len(pairs) > 0:
		s.force(pairs[0])
	default:
		s.say([]byte(" ")) // RFC 6120 §4.6.1: white space keeps a stream alive in which nothing may be written
	}
	s.seen.Store(now.UnixNano())
}

// force has a pair write a ping although it has no stanza.
func (s *session) force(p *pair) {
	s.mu.Lock()
	if l := s.pairs[p]; l != nil {
		l.probe = true
	}
	s.mu.Unlock()
	s.kick(p)
}

// forced tells, once, that a ping is wanted.
func (s *session) forced(p *pair) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.pairs[p]
	if l == nil || !l.probe {
		return false
	}
	l.probe = false
	return true
}

// unanswering tells whether the pair's pings have no answer for too long, so that the stream counts as dead (T-FI-27).
//
// The answer comes on a stream that the peer opens to us, unless this one goes both ways. A peer that never got one through is no dead
// peer: what was written to it, and is taken by its side of the connection, is as sure as it can be.
func (s *session) unanswering(p *pair, now time.Time) bool {
	at := p.box.oldest()
	heard := p.box.answered()
	p.mu.Lock()
	p.deaf = p.deaf && !heard
	deaf := p.deaf
	p.mu.Unlock()
	if deaf {
		if n, ok := unacknowledged(s.raw); ok && n == 0 {
			p.box.settleBefore(now.Add(-time.Second))
			return false
		}
	}
	if at.IsZero() || now.Sub(at) < s.v.a.lim().PingTimeout {
		return false
	}
	if heard || s.bidi {
		return true
	}
	if n, ok := unacknowledged(s.raw); !ok || n > 0 {
		return true // its side of the connection does not take what was written either
	}
	p.mu.Lock()
	p.deaf = true
	p.mu.Unlock()
	p.log.Warn().Msg("xmpp: the server answers no pings: what its side of the connection took counts as taken")
	p.box.settleBefore(now.Add(-time.Second))
	return false
}
