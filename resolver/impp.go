package resolver

import "slices"

// impp resolves an im: or pres: domain. The plan, in prose:
//
// All first questions are asked at once: the labels of RFC 3861, XMPP's two SRV names, SIP's NAPTR. The answers are then read in
// the order of the policy. A protocol whose RFC 3861 label has records, or the target ".", has been spoken for, and its own
// records are not considered; else they are. Each kind of record that has targets adds them to the end of the list, so several
// protocols may be tried in turn. Only if no SRV record of any kind exists, and no lookup failed, the domain's own addresses
// stand in (RFC 3861 §4, the implicit SRV record). If those are reached through an alias, the alias' end "is processed as if it
// were the initial domain" first. The reference identity remains the domain that was asked for.
func (b *builder) impp() *plan {
	domain := b.q.Domain
	var total found
	for range maxAliases {
		f, next := b.imppAt(domain)
		total.add(f)
		if next == "" {
			break
		}
		b.note("%s is an alias of %s, which is processed as if it were the initial domain", domain, next)
		domain = next
	}
	return b.plan(total.groups, &total)
}

// label is the name of RFC 3861 §3 for a protocol: _im._sip (RFC 5509 §3), _pres._xmpp (RFC 3921 §15.3) ...
func (b *builder) label(p Protocol, domain string) question {
	service := "_im."
	if b.q.Service == Presence {
		service = "_pres."
	}
	return question{service + "_" + p.String() + "." + domain, typeSRV}
}

// imppAt applies the rules at one domain. next is set if the domain is an alias without records of its own.
func (b *builder) imppAt(domain string) (f found, next string) {
	var steps []Step
	for _, s := range b.r.policy.Order {
		if (b.q.Only == 0 || s.protocol() == b.q.Only) && !slices.Contains(steps, s) {
			steps = append(steps, s)
		}
	}
	var qs []question
	for _, s := range steps {
		switch s {
		case StepIMPPSIP, StepIMPPXMPP:
			qs = append(qs, b.label(s.protocol(), domain))
		case StepXMPP:
			qs = append(qs, xmppQuestions(domain)...)
		case StepSIP:
			qs = append(qs, question{domain, typeNAPTR})
		}
	}
	as := b.ask(qs...)
	spoken := make(map[Protocol]*verdict)
	// The labels are read before anything else, wherever they stand in the order: they decide whether the other records count.
	results := make([]found, len(steps))
	at := make([]int, len(steps))
	i := 0
	for n, s := range steps {
		at[n] = i
		switch s {
		case StepIMPPSIP, StepIMPPXMPP:
			results[n] = b.labelFound(s.protocol(), qs[i], as[i])
			if results[n].saw {
				spoken[s.protocol()] = &verdict{qs[i], as[i]}
			}
			i++
		case StepXMPP:
			i += 2
		case StepSIP:
			i++
		}
	}
	for n, s := range steps {
		if s == StepXMPP || s == StepSIP {
			if v := spoken[s.protocol()]; v != nil {
				b.note("%s decides for %s: its own records are not considered", v.q.name, s.protocol())
				continue
			}
		}
		switch s {
		case StepXMPP:
			results[n] = b.xmppFound(domain, as[at[n]:at[n]+2])
		case StepSIP:
			results[n] = b.sip(domain, b.r.policy.SIPTransports, as[at[n]])
		}
	}
	for n := range results {
		f.add(results[n])
	}
	switch {
	case f.saw:
		if len(f.groups) == 0 {
			b.note("SRV records exist, so that the addresses of %s itself may not be used", domain)
		}
		return f, ""
	case f.failed != nil && !b.r.policy.FallbackAfterFailure:
		b.note("%s failed, so that the addresses of %s itself may not be used", f.failed.q, domain)
		return f, ""
	}
	return b.imppFallback(f, domain, steps, results)
}

// imppFallback is RFC 3861 §4: "If no SRV RRs are found, but an A RR is found, then the A RR is treated as if it was associated with
// an implicit SRV RR, with a preference of 0, pointing to that domain."
func (b *builder) imppFallback(f found, domain string, steps []Step, results []found) (found, string) {
	qs := b.addressQuestions(domain)
	for i, a := range b.ask(qs...) {
		switch {
		case a.outcome == Failed:
			f.failed = &verdict{qs[i], a}
		case a.outcome == Found && a.final != domain:
			return f, a.final
		case a.outcome != Found:
			f.empty = &verdict{qs[i], a}
		}
	}
	for n, s := range steps {
		switch s {
		case StepXMPP:
			f.groups = append(f.groups, b.implicitXMPP(domain)...)
		case StepSIP:
			f.groups = append(f.groups, b.implicitSIP(domain, results[n].transports)...)
		}
	}
	return f, ""
}

// labelFound reads the records of an RFC 3861 label. They name a host and a port but, for SIP, no transport: RFC 3263 §4.1 then
// applies to the URI that they stand for ("an explicit port is provided, the client SHOULD use UDP for a SIP URI ... another
// transport, such as TCP, MAY be used"), except that port 5061 is SIP over TLS. For XMPP it is a server's stream with STARTTLS.
func (b *builder) labelFound(p Protocol, q question, a *answer) found {
	return srvFound(q, a, func(r srvRecord) (hop, bool) {
		h := hop{srvRecord: r, protocol: p}
		if p == XMPP {
			h.transports = b.xmppSupported(TCP)
		} else {
			h.transports = b.portTransports(r.port)
		}
		return h, len(h.transports) > 0
	}, &b.draw)
}
