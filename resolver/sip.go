package resolver

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// naptrTransport is the table of RFC 3263 §9 and RFC 7118 §10.2. False for what is not SIP; zero for a transport that we do not
// have (SCTP, or TLS over UDP, which does not exist).
func naptrTransport(service string) (t Transport, sips, ok bool) {
	proto, res, found := strings.Cut(service, "+")
	if !found || proto != "SIP" && proto != "SIPS" || len(res) != 3 || res[:2] != "D2" {
		return 0, false, false
	}
	sips = proto == "SIPS"
	switch {
	case res == "D2U" && !sips:
		t = UDP
	case res == "D2T" && sips:
		t = TLS
	case res == "D2T":
		t = TCP
	case res == "D2W" && sips:
		t = WSS
	case res == "D2W":
		t = WS
	}
	return t, sips, true
}

// sipSRV is the SRV name of RFC 3263 §4.1 and §4.2 for a transport: "_sips" where TLS is used, "_sip" otherwise.
func sipSRV(t Transport, domain string) question {
	names := [...]string{UDP: "_sip._udp.", TCP: "_sip._tcp.", TLS: "_sips._tcp.", WS: "_sip._ws.", WSS: "_sips._ws."}
	return question{names[t] + domain, typeSRV}
}

// portTransports are the transports for a host and port that come without one.
func (b *builder) portTransports(port uint16) []Transport {
	supported := b.r.policy.SIPTransports
	if port == 5061 && slices.Contains(supported, TLS) {
		return []Transport{TLS}
	}
	return unreliableFirst(supported)
}

// unreliableFirst is what is left to try when nothing names a transport for a sip: URI: UDP as RFC 3263 §4.1 says, TCP after it
// (MAY), TLS only if we speak neither.
func unreliableFirst(supported []Transport) []Transport {
	var ts []Transport
	for _, t := range []Transport{UDP, TCP} {
		if slices.Contains(supported, t) {
			ts = append(ts, t)
		}
	}
	if ts == nil && slices.Contains(supported, TLS) {
		ts = []Transport{TLS}
	}
	return ts
}

// sipURI resolves a sip: or sips: URI's host, port and transport: RFC 3263 §4.1 and §4.2.
func (b *builder) sipURI(literal netip.Addr) *plan {
	sips := b.q.Service == SIPSService
	supported := b.r.policy.SIPTransports
	if sips {
		supported = only(supported, TLS, WSS)
	}
	if b.q.Transport != 0 {
		supported = only(supported, b.q.Transport)
	}
	var f found
	if literal.IsValid() || b.q.Port != 0 {
		// A numeric address or an explicit port: no NAPTR, no SRV.
		ts := supported
		if b.q.Transport == 0 {
			ts = b.plainTransports(sips, supported)
		}
		h := hop{
			srvRecord: srvRecord{port: b.q.Port, target: b.q.Domain}, protocol: SIP, transports: ts, secure: true,
			trusted: b.q.configured, literal: literal,
		}
		if len(ts) > 0 {
			f.groups = []hopGroup{{hops: []hop{h}, why: "host and port of the URI"}}
		}
		return b.plan(f.groups, &f)
	}
	var naptr *answer
	if b.q.Transport == 0 {
		naptr = b.ask(question{b.q.Domain, typeNAPTR})[0]
	}
	f = b.sip(b.q.Domain, supported, naptr)
	switch {
	case f.saw:
		if len(f.groups) == 0 {
			b.note("SRV records exist, so that the addresses of %s itself are not used", b.q.Domain)
		}
	case f.failed != nil && !b.r.policy.FallbackAfterFailure:
		b.note("%s failed, so that the addresses of %s itself may not be used", f.failed.q, b.q.Domain)
	case b.q.Transport != 0:
		f.groups = b.implicitSIP(b.q.Domain, supported)
	default:
		ts := f.transports
		if ts == nil {
			ts = b.plainTransports(sips, supported)
		}
		f.groups = b.implicitSIP(b.q.Domain, ts)
	}
	return b.plan(f.groups, &f)
}

// plainTransports: "the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI" (which is TLS over TCP).
func (b *builder) plainTransports(sips bool, supported []Transport) []Transport {
	if sips {
		return only(supported, TLS)
	}
	return unreliableFirst(supported)
}

func only(supported []Transport, want ...Transport) []Transport {
	var ts []Transport
	for _, t := range supported {
		if slices.Contains(want, t) {
			ts = append(ts, t)
		}
	}
	return ts
}

// sip is RFC 3263 §4.1 and §4.2 for a domain without a port: NAPTR (unless nil: a transport was given), then SRV.
func (b *builder) sip(domain string, supported []Transport, naptr *answer) found {
	var f found
	if naptr != nil {
		v := &verdict{question{domain, typeNAPTR}, naptr}
		switch naptr.outcome {
		case Failed:
			f.failed = v
			b.note("the NAPTR lookup failed; SRV is asked directly")
		case Found:
			g, used := b.naptr(v, supported)
			f.add(g)
			f.transports = g.transports
			if used {
				return f
			}
		default:
			f.empty = v
		}
	}
	// "If no NAPTR records are found, the client constructs SRV queries for those transport protocols it supports, and does a query
	// for each."
	qs := make([]question, len(supported))
	for i, t := range supported {
		qs[i] = sipSRV(t, domain)
	}
	g := b.sipSRVs(qs, supported, b.ask(qs...), true)
	if len(g.groups) > 0 {
		f.failed = nil // a record that was found does not depend on one that was not
	}
	f.add(g)
	return f
}

// sipSRVs reads SRV answers, one kind of transport after the other: RFC 3263 §4.1 notes that merging their priorities was
// RFC 2543's way. secure says whether what led to the questions was authenticated.
func (b *builder) sipSRVs(qs []question, ts []Transport, as []*answer, secure bool) found {
	var f found
	for i := range qs {
		g := srvFound(qs[i], as[i], func(r srvRecord) (hop, bool) {
			r.transport = ts[i]
			return hop{srvRecord: r, protocol: SIP, transports: ts[i : i+1 : i+1]}, true
		}, &b.draw)
		for j := range g.groups {
			for k := range g.groups[j].hops {
				h := &g.groups[j].hops[k]
				h.secure = h.secure && secure
			}
		}
		f.add(g)
	}
	if len(f.groups) > 0 {
		f.denied, f.failed = nil, nil
	}
	return f
}

// naptr selects the services that we support. used says that they decide: the SRV names of the domain itself are then not asked.
func (b *builder) naptr(v *verdict, supported []Transport) (f found, used bool) {
	type rule struct {
		naptrRecord
		transport Transport
	}
	var rules []rule
	for _, n := range v.a.naptrs {
		t, sips, ok := naptrTransport(n.service)
		if !ok {
			continue
		}
		f.naptr = true
		f.sips = f.sips || sips
		// "a client MUST discard any service fields that identify a resolution service whose value is not "D2X", for values of X that
		// indicate transport protocols supported by the client". The records have flag "s", no regular expression and a replacement.
		if t == 0 || !slices.Contains(supported, t) || n.flags != "s" || n.regexp || n.replacement == "" {
			continue
		}
		rules = append(rules, rule{n, t})
	}
	if len(rules) == 0 {
		f.empty = v
		if f.naptr {
			b.note("the NAPTR records of %s name no transport that is spoken here", v.q.name)
		}
		return f, false
	}
	slices.SortStableFunc(rules, func(x, y rule) int {
		return cmp.Or(cmp.Compare(x.order, y.order), cmp.Compare(x.preference, y.preference))
	})
	// RFC 3403 §4.1: "once a match is found the client MUST NOT consider records with a different Order".
	n := 0
	for n < len(rules) && rules[n].order == rules[0].order && n < maxHops {
		n++
	}
	var qs []question
	var ts []Transport
	for _, r := range rules[:n] {
		qs = append(qs, question{r.replacement, typeSRV})
		ts = append(ts, r.transport)
	}
	b.note("NAPTR order %d: %v", rules[0].order, ts)
	g := b.sipSRVs(qs, ts, b.ask(qs...), v.a.secure)
	f.add(g)
	for _, t := range ts {
		if !slices.Contains(f.transports, t) {
			f.transports = append(f.transports, t)
		}
	}
	return f, true
}

// implicitSIP is RFC 3263 §4.2: "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name ...
// using the transport protocol determined previously, at the default port for that transport."
func (b *builder) implicitSIP(domain string, ts []Transport) []hopGroup {
	if ts == nil {
		ts = unreliableFirst(b.r.policy.SIPTransports)
	}
	if len(ts) == 0 {
		return nil
	}
	h := hop{srvRecord: srvRecord{target: domain}, protocol: SIP, transports: ts, secure: true}
	return []hopGroup{{hops: []hop{h}, why: "address of the domain itself, default port"}}
}
