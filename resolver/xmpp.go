package resolver

import "slices"

// xmppQuestions are the two SRV names of a server: direct TLS (XEP-0368), STARTTLS (RFC 6120 §3.2.1).
func xmppQuestions(domain string) []question {
	return []question{{"_xmpps-server._tcp." + domain, typeSRV}, {"_xmpp-server._tcp." + domain, typeSRV}}
}

// xmppFound mixes the two answers: XEP-0368 "Both 'xmpp-' and 'xmpps-' records SHOULD be treated as the same record with regard to
// connection order as specified by RFC 2782, in that all priorities and weights are mixed".
func (b *builder) xmppFound(domain string, as []*answer) found {
	qs := xmppQuestions(domain)
	var f found
	mixed := &answer{outcome: Found, secure: true}
	for i, t := range []Transport{TLS, TCP} {
		a, v := as[i], &verdict{qs[i], as[i]}
		switch {
		case a.outcome == Failed:
			f.failed = v
		case a.outcome != Found || len(a.srvs) == 0 && a.dropped == 0:
			f.empty = v
		case len(a.srvs) == 1 && a.srvs[0].target == ".":
			// For xmpps-server XEP-0368 adds: "The initiating party MUST NOT perform A/AAAA fallback".
			f.saw, f.denied = true, v
			b.note(`%s is ".": the service is not offered this way`, qs[i].name)
		default:
			f.saw = true
			mixed.secure = mixed.secure && a.secure
			mixed.dropped += a.dropped
			for _, r := range a.srvs {
				if r.target != "." {
					r.transport = t
					mixed.srvs = append(mixed.srvs, r)
				}
			}
		}
	}
	if len(mixed.srvs) == 0 {
		return f
	}
	q := question{"_xmpp-server and _xmpps-server._tcp." + domain, typeSRV}
	g := srvFound(q, mixed, func(r srvRecord) (hop, bool) {
		h := hop{srvRecord: r, protocol: XMPP, transports: b.xmppSupported(r.transport)}
		return h, len(h.transports) > 0
	}, &b.draw)
	g.empty, g.failed = f.empty, f.failed
	if len(g.groups) == 0 {
		g.denied = f.denied
	}
	if g.denied == nil && len(g.groups) > 0 {
		// One of the two may be "." or may have failed: the other's records count all the same.
		g.failed = nil
	}
	return g
}

// xmppSupported is t alone, or nothing if the policy is without it.
func (b *builder) xmppSupported(t Transport) []Transport {
	if slices.Contains(b.r.policy.XMPPTransports, t) {
		return []Transport{t}
	}
	return nil
}

// implicitXMPP is RFC 6120 §3.2.2: "a normal "A" or "AAAA" address record resolution ... where the port used is the ... "xmpp-server"
// port of 5269".
func (b *builder) implicitXMPP(domain string) []hopGroup {
	ts := b.xmppSupported(TCP)
	if ts == nil {
		return nil
	}
	h := hop{srvRecord: srvRecord{port: 5269, target: domain}, protocol: XMPP, transports: ts, secure: true}
	return []hopGroup{{hops: []hop{h}, why: "address of the domain itself, port 5269"}}
}

// xmpp resolves an XMPP server's domain.
func (b *builder) xmpp() *plan {
	domain := b.q.Domain
	f := b.xmppFound(domain, b.ask(xmppQuestions(domain)...))
	switch {
	case f.saw:
		// RFC 6120 §3.2.1, item 8: "it SHOULD NOT attempt the fallback process".
		if len(f.groups) == 0 {
			b.note("SRV records exist, so that the addresses of %s itself are not used", domain)
		}
	case f.failed != nil && !b.r.policy.FallbackAfterFailure:
		b.note("%s failed, so that the addresses of %s itself may not be used", f.failed.q, domain)
	default:
		f.groups = b.implicitXMPP(domain)
	}
	return b.plan(f.groups, &f)
}
