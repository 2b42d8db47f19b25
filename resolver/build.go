package resolver

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Bounds of one resolution (THREATS.md G17).
const (
	maxHops    = 16 // SRV records whose targets are looked up
	maxPerHost = 8  // addresses used of one of them
	maxTargets = 64 // next hops in one result
)

// hop is one record that names a server: an SRV record, or the implicit one of RFC 3861 §4.
type hop struct {
	srvRecord
	protocol   Protocol
	transports []Transport // tried in this order
	secure     bool        // the records that led here were authenticated
	trusted    bool        // host and port are the configuration's
	literal    netip.Addr  // the host if it is an address
	addrs      []netip.Addr
	authentic  bool // the addresses were authenticated
	tlsa       []tlsaResult
}

type tlsaResult struct {
	status TLSAStatus
	wire   string
}

// hopGroup are the hops among which weight decides. Groups are tried in order.
type hopGroup struct {
	hops []hop
	why  string // where they come from, for the trace
}

// verdict is a lookup and what it said.
type verdict struct {
	q question
	a *answer
}

// found is what one way of looking gave.
type found struct {
	groups     []hopGroup
	saw        bool     // SRV records exist, usable or not: RFC 3861 §4 forbids the address records
	denied     *verdict // the answer was "."
	failed     *verdict // a lookup got no answer
	empty      *verdict // the last lookup that had an answer without records
	transports []Transport
	sips       bool // NAPTR records offered SIPS
	naptr      bool // NAPTR records for SIP exist
}

func (f *found) add(g found) {
	f.groups = append(f.groups, g.groups...)
	f.saw = f.saw || g.saw
	f.sips = f.sips || g.sips
	f.naptr = f.naptr || g.naptr
	for _, p := range [][2]**verdict{{&f.denied, &g.denied}, {&f.failed, &g.failed}, {&f.empty, &g.empty}} {
		if *p[0] == nil {
			*p[0] = *p[1]
		}
	}
}

// builder makes one plan: asks, applies the rules, looks up the addresses. It is used by one goroutine, which may ask several
// questions at once.
type builder struct {
	r      *Resolver
	ctx    context.Context
	q      Query
	mu     sync.Mutex // guards what the parallel lookups write: tr.Lookups, life
	life   time.Duration
	tr     *Trace // nil unless somebody wants to read it
	first  *Refusal
	failed *verdict
	draw   drawer
}

func (b *builder) note(format string, args ...any) {
	if b.tr != nil {
		b.tr.Notes = append(b.tr.Notes, fmt.Sprintf(format, args...))
	}
}

// ask makes the lookups at the same time and returns the answers in the order of the questions.
func (b *builder) ask(qs ...question) []*answer {
	as := make([]*answer, len(qs))
	lookups := make([]Lookup, len(qs))
	one := func(i int) {
		q, start := qs[i], time.Now()
		a := b.r.policy.withoutDNS(q)
		left, from := b.r.records.ttls.Negative, fromPolicy
		if a == nil {
			a, left, from = b.r.records.lookup(b.ctx, q)
		}
		as[i] = a
		b.mu.Lock()
		b.life = min(b.life, left)
		b.mu.Unlock()
		if b.tr != nil {
			lookups[i] = newLookup(q, a, left, from, time.Since(start))
		}
	}
	if len(qs) == 1 {
		one(0)
	} else {
		var wg sync.WaitGroup
		for i := range qs {
			wg.Go(func() { one(i) })
		}
		wg.Wait()
	}
	if b.tr != nil {
		b.mu.Lock()
		b.tr.Lookups = append(b.tr.Lookups, lookups...)
		b.mu.Unlock()
	}
	return as
}

// srvFound reads the answer to an SRV question by the "Usage rules" of RFC 2782. accept says how a record is spoken to, or that it
// cannot be.
func srvFound(q question, a *answer, accept func(r srvRecord) (hop, bool), d *drawer) found {
	v := &verdict{q, a}
	switch {
	case a.outcome == Failed:
		return found{failed: v}
	case a.outcome != Found || len(a.srvs) == 0 && a.dropped == 0:
		return found{empty: v}
	case len(a.srvs) == 1 && a.srvs[0].target == ".":
		// RFC 2782: "If there is precisely one SRV RR, and its Target is "." (the root domain), abort."
		return found{saw: true, denied: v}
	}
	f := found{saw: true, empty: v}
	for _, g := range groupSRV(a.srvs, maxHops, d) {
		hg := hopGroup{why: q.String()}
		for _, r := range g {
			if r.target == "." || r.port == 0 {
				continue
			}
			if h, ok := accept(r); ok {
				h.secure = a.secure
				hg.hops = append(hg.hops, h)
			}
		}
		if len(hg.hops) > 0 {
			f.groups = append(f.groups, hg)
		}
	}
	return f
}

// trim keeps the first maxHops hops of all groups.
func trim(groups []hopGroup) []hopGroup {
	n := 0
	for i := range groups {
		if n += len(groups[i].hops); n >= maxHops {
			keep := len(groups[i].hops) - (n - maxHops)
			groups[i].hops = groups[i].hops[:keep]
			return groups[:i+1]
		}
	}
	return groups
}

// addresses looks up A and AAAA for all hops, and TLSA where RFC 7673 asks for it.
func (b *builder) addresses(groups []hopGroup) {
	index := make(map[string]int)
	var qs []question
	each := func(f func(h *hop)) {
		for i := range groups {
			for j := range groups[i].hops {
				f(&groups[i].hops[j])
			}
		}
	}
	each(func(h *hop) {
		if _, ok := index[h.target]; ok || h.literal.IsValid() {
			return
		}
		index[h.target] = len(qs)
		qs = append(qs, b.addressQuestions(h.target)...)
	})
	as := b.ask(qs...)
	each(func(h *hop) {
		if h.literal.IsValid() {
			h.addrs = []netip.Addr{h.literal}
			return
		}
		first := index[h.target]
		both := as[first : first+len(b.addressQuestions(h.target))]
		// RFC 7673 §3.2 speaks of "a returned RRSet": one family that failed must not make the other one insecure. Of a host with
		// both kinds, only the authentic addresses are used.
		for i, a := range both {
			h.authentic = h.authentic || a.secure && len(a.addrs) > 0
			if a.outcome == Failed && b.failed == nil {
				b.failed = &verdict{qs[first+i], a}
			}
		}
		for _, a := range both {
			if a.secure || !h.authentic {
				h.addrs = append(h.addrs, a.addrs...)
			}
		}
		h.addrs = sortAddrs(h.addrs, b.r.route)
		if len(h.addrs) > maxPerHost {
			b.note("%s: %d of %d addresses used", h.target, maxPerHost, len(h.addrs))
			h.addrs = h.addrs[:maxPerHost]
		}
	})
	if !b.r.policy.NoDANE {
		b.readTLSA(groups)
	}
}

func (b *builder) addressQuestions(name string) []question {
	switch b.r.policy.Families {
	case OnlyIPv4:
		return []question{{name, typeA}}
	case OnlyIPv6:
		return []question{{name, typeAAAA}}
	}
	// RFC 8305 §3: "the AAAA query made first and immediately followed by the A query".
	return []question{{name, typeAAAA}, {name, typeA}}
}

// readTLSA asks for the TLSA records of every hop that was found authentically and is spoken to over TLS (RFC 7673 §3.2: "If a
// returned RRSet is "secure", the client MUST perform a TLSA query"; and not otherwise).
func (b *builder) readTLSA(groups []hopGroup) {
	var qs []question
	var hops []*hop
	for i := range groups {
		for j := range groups[i].hops {
			h := &groups[i].hops[j]
			h.tlsa = make([]tlsaResult, len(h.transports))
			asked := false
			for k, t := range h.transports {
				switch tls := t == TLS || t == WSS || h.protocol == XMPP && t == TCP; {
				case !tls:
				case h.literal.IsValid() || !h.secure || !h.authentic:
					h.tlsa[k].status = TLSAInsecure
				case !asked:
					asked = true
					qs = append(qs, question{fmt.Sprintf("_%d._tcp.%s", cmp.Or(h.port, defaultPort(h.protocol, t)), h.target), typeTLSA})
					hops = append(hops, h)
				}
			}
		}
	}
	if len(qs) == 0 {
		return
	}
	for i, a := range b.ask(qs...) {
		res := tlsaResult{status: TLSAInsecure}
		switch {
		case a.outcome == Failed:
			res.status = TLSAFailed
			if b.failed == nil {
				b.failed = &verdict{qs[i], a}
			}
		case a.secure && len(a.tlsas) > 0:
			res = tlsaResult{TLSASecure, packTLSA(a.tlsas)}
		case a.secure:
			res.status = TLSANone
		}
		h := hops[i]
		for k, t := range h.transports {
			if t == TLS || t == WSS || h.protocol == XMPP && t == TCP {
				h.tlsa[k] = res
			}
		}
	}
}

// plan makes the plan of the groups: every address of every hop that the Guard allows.
func (b *builder) plan(groups []hopGroup, f *found) *plan {
	groups = trim(groups)
	b.addresses(groups)
	p := &plan{sips: f.sips}
	seen := make(map[hopKey]bool)
	for _, g := range groups {
		lo := len(p.cands)
		for i := range g.hops {
			h := &g.hops[i]
			from := len(p.targets)
			for k, t := range h.transports {
				port := h.port
				if port == 0 {
					port = defaultPort(h.protocol, t)
				}
				if !h.trusted && !b.r.guard.AllowPort(t, port) && port != defaultPort(h.protocol, t) {
					b.refuse(h.target, "", fmt.Sprintf("port %d is not allowed for %s", port, t))
					continue
				}
				var tl tlsaResult
				if k < len(h.tlsa) {
					tl = h.tlsa[k]
				}
				if tl.status == TLSAFailed {
					// RFC 7673 §3.4: "the client MUST NOT connect to the target server".
					b.refuse(h.target, "", "the TLSA lookup failed")
					continue
				}
				for _, ip := range h.addrs {
					addr := netip.AddrPortFrom(ip, port)
					if err := b.r.guard.AllowAddr(ip); err != nil {
						b.refuse(h.target, addr.String(), err.Error())
						continue
					}
					key := hopKey{addr, h.protocol, t}
					if seen[key] || len(p.targets) == maxTargets {
						continue
					}
					seen[key] = true
					p.targets = append(p.targets, Target{
						protocol: h.protocol, transport: t, host: h.target, addr: addr, serverName: b.serverName(),
						secure: h.secure && h.authentic, tlsa: tl.status, tlsaWire: tl.wire,
					})
					if b.tr != nil {
						p.why = append(p.why, fmt.Sprintf("%s, priority %d, weight %d", g.why, h.priority, h.weight))
					}
				}
			}
			if len(p.targets) > from {
				p.cands = append(p.cands, cand{h.weight, uint16(from), uint16(len(p.targets))})
			} else if len(h.addrs) == 0 {
				b.note("%s has no address", h.target)
			}
		}
		if len(p.cands) > lo {
			p.groups = append(p.groups, span{uint16(lo), uint16(len(p.cands))})
		}
	}
	if len(p.targets) == 0 {
		p.err = b.fail(groups, f)
	}
	return p
}

func (b *builder) serverName() string {
	if _, err := netip.ParseAddr(b.q.Domain); err == nil {
		return ""
	}
	return b.q.Domain
}

func (b *builder) refuse(host, addr, reason string) {
	r := Refusal{host, addr, reason}
	if b.first == nil {
		b.first = &r
	}
	if b.tr != nil {
		b.tr.Refused = append(b.tr.Refused, r)
	}
}

// fail finds the lookup that decided that there is no target. A failed lookup comes first, because with it nothing is known; then
// what the domain said itself.
func (b *builder) fail(groups []hopGroup, f *found) *Error {
	e := &Error{Reason: ErrNotFound, Domain: b.q.Domain}
	set := func(reason error, v *verdict, detail string) *Error {
		e.Reason, e.Detail = reason, detail
		if v != nil {
			e.Question = v.q.String()
		}
		return e
	}
	switch {
	case f.failed != nil:
		return set(ErrTemporary, f.failed, f.failed.a.reason)
	case b.failed != nil:
		return set(ErrTemporary, b.failed, b.failed.a.reason)
	case b.first != nil:
		return set(ErrForbidden, nil, b.first.Host+" "+b.first.Addr+": "+b.first.Reason)
	case len(groups) > 0:
		h := groups[0].hops[0]
		return set(ErrNotFound, &verdict{question{h.target, typeA}, nil}, "no server of the service has an address")
	case f.denied != nil:
		return set(ErrDenied, f.denied, `the target is "."`)
	case f.empty != nil:
		detail := f.empty.a.outcome.String()
		if f.empty.a.outcome == Found {
			detail = "no record can be used"
		}
		return set(ErrNotFound, f.empty, detail)
	}
	e.Detail = "no protocol is enabled for this service"
	return e
}

type hopKey struct {
	addr      netip.AddrPort
	protocol  Protocol
	transport Transport
}
