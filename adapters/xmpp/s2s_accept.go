package xmpp

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// accept takes connections of one listener until it is closed.
func (v *servers) accept(l *serverListener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || v.a.base.Err() != nil {
				return
			}
			// Mostly no more file descriptors: it passes when some are closed.
			v.log.Error().Err(err).Msg("xmpp: cannot accept")
			t := time.NewTimer(100 * time.Millisecond)
			select {
			case <-t.C:
			case <-v.a.base.Done():
			}
			t.Stop()
			continue
		}
		addr := addrOf(c)
		pass, ok := v.gate.Enter(addr.Addr(), func() {
			v.a.m.turnedAway.WithLabelValues("oldest").Inc()
			c.Close()
		})
		if !ok {
			v.a.m.turnedAway.WithLabelValues("gate").Inc()
			c.Close()
			continue
		}
		v.mu.Lock()
		if v.draining || len(v.streams)+len(v.opening) >= v.lim().Streams+v.lim().Opening {
			v.mu.Unlock()
			v.a.m.turnedAway.WithLabelValues("streams").Inc()
			pass.Leave()
			c.Close()
			continue
		}
		v.opening[c] = struct{}{}
		v.mu.Unlock()
		direct := l.direct.Load()
		v.spawn(func() { v.welcome(c, pass, addr, direct) })
	}
}

func addrOf(c net.Conn) netip.AddrPort {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// welcome answers a stream that is opened to us, and reads it until it ends.
func (v *servers) welcome(c net.Conn, pass *stream.Pass, addr netip.AddrPort, direct bool) {
	s, err := v.answer(c, pass, addr, direct)
	v.mu.Lock()
	delete(v.opening, c)
	v.mu.Unlock()
	if err != nil {
		v.a.m.turnedAway.WithLabelValues("opening").Inc()
		if f := stream.ConditionOf(err); f != 0 {
			v.a.m.streamErrors.WithLabelValues("us", f.String()).Inc()
		}
		v.log.Info().Str("address", addr.String()).Str("fault", clip(err.Error())).Msg("xmpp: a server's stream was refused")
		return
	}
	s.run()
}

func (v *servers) answer(c net.Conn, pass *stream.Pass, addr netip.AddrPort, direct bool) (*session, error) {
	in := stream.Incoming{
		Host: func(to string) (stream.Host, bool) {
			h := v.side().wire[to]
			if h == nil {
				return stream.Host{}, false
			}
			return stream.Host{Name: to, TLS: h.tls}, true
		},
		Authorize: v.authorized, Dialback: v.side().anyDialback(), Cleartext: v.clearFrom(addr.Addr()), Bidi: true, Management: true,
		MaxBytes: v.a.lim().XML.Bytes, Idle: v.lim().Idle, Pass: pass, Limits: v.a.lim().XML, Strangers: stream.Strangers{Time: v.lim().OpenTime},
	}
	if direct {
		in.Direct = v.side().direct()
	}
	boundSilence(c, v.a.lim().PingTimeout)
	conn, claim, err := stream.Accept(v.a.base, c, in)
	if err != nil {
		pass.Leave()
		return nil, err
	}
	s := newSession(v, conn, c)
	s.local, s.addr, s.id = v.side().wire[claim.To], addr, claim.ID
	s.secured, s.external, s.bidi = claim.Secured, claim.Authenticated, claim.Bidi
	s.policy = v.side().other
	s.unproven.Store(!claim.Authenticated)
	ctx := v.log.With().Str("domain", s.local.domain).Str("address", addr.String())
	if claim.From != "" {
		ctx = ctx.Str("remote", clip(claim.From))
	}
	s.log = ctx.Logger()
	var p *pair
	if claim.Authenticated {
		if s.remote, err = newHost(claim.From); err != nil {
			conn.Close(stream.InvalidFrom)
			return nil, err
		}
		s.policy = v.side().policyOf(s.remote.domain)
		from, cs := claim.From, claim.TLS
		s.roots, s.proof = v.side().Certificates.Trust().Roots, func() (time.Time, error) { return v.provesClient(from, cs) }
		if s.until, err = s.proof(); err != nil { // it has just ended
			conn.Fail(errExpired)
			return nil, errExpired
		}
		k := pairKey{claim.To, claim.From}
		if p = v.pairOf(s.local, s.remote); p == nil || !s.accept(k, p) {
			conn.Fail(errNoResources)
			return nil, errNoResources
		}
		v.a.m.authenticated.WithLabelValues("in", "external").Inc()
	}
	if !v.add(s) {
		conn.Fail(errNoResources)
		if p != nil {
			p.pins.Add(-1)
		}
		return nil, errNoResources
	}
	s.log.Info().Bool("external", s.external).Bool("tls", s.secured).Bool("bidi", s.bidi).Msg("xmpp: a server opened a stream")
	if p != nil && s.bidi {
		p.attach(s, nil)
	}
	return s, nil
}

// clearFrom tells whether a stream from addr may be without TLS.
func (v *servers) clearFrom(addr netip.Addr) bool {
	for _, p := range v.side().remotes {
		if p.clear(addr) {
			return true
		}
	}
	return false
}
