package resolver

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// qtype is a DNS record type that this package asks for.
type qtype uint16

const (
	typeA     = qtype(dns.TypeA)
	typeAAAA  = qtype(dns.TypeAAAA)
	typeSRV   = qtype(dns.TypeSRV)
	typeNAPTR = qtype(dns.TypeNAPTR)
	typeTLSA  = qtype(dns.TypeTLSA)
)

func (t qtype) String() string { return dns.TypeToString[uint16(t)] }

// question is one question to the DNS: a name in lower case without the last dot, and a type.
type question struct {
	name string
	qtype
}

func (q question) String() string { return q.name + " " + q.qtype.String() }

// Outcome is how one lookup ended. Its text is the String, also in JSON.
type Outcome uint8

// The outcomes of a lookup. Only Found carries records. Failed is the only one that says nothing about the name.
const (
	Found    Outcome = iota + 1
	NoData           // the name exists, without records of this type (RFC 2308 §2.2)
	NXDomain         // the name does not exist (RFC 2308 §2.1)
	Failed           // no server answered, or none with an answer that can be used
	Refused          // not asked: the name is not for the DNS
)

var outcomeNames = [...]string{"none", "found", "no data", "no such name", "failed", "not asked"}

// String is the outcome in words.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// MarshalText writes String.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// naptrRecord is one NAPTR record of RFC 3403 §4.1, as far as RFC 3263 §4.1 uses it.
type naptrRecord struct {
	order, preference uint16
	flags, service    string // lower case, upper case
	regexp            bool
	replacement       string // canonical; "" if it is no name
}

// answer is what the DNS said to one question. It is made once, and then only read.
type answer struct {
	outcome Outcome
	secure  bool // every record of it, aliases too, was authenticated by a trusted server
	final   string
	aliases []string // names that CNAMEs led through, the question's own first; nil if none
	addrs   []netip.Addr
	srvs    []srvRecord
	naptrs  []naptrRecord
	tlsas   []TLSA
	dropped int // records that could not be used
	ttl     time.Duration
	ttlWire uint32 // as the records or the SOA said, in seconds
	reason  string // of Failed and Refused, for people
	server  string
	local   bool // a Failed that was never asked: it says nothing, not even that the servers are silent
}

// Bounds on one answer (THREATS.md G17). A message over TCP holds about 3,500 records; each list is cut at its bound.
const (
	maxAliases = 8
	maxRecords = 4096
	maxNAPTR   = 64
	maxAddrs   = 64
)

// readAnswer takes from msg what answers q: the records at the end of the CNAME chain that starts at q's name, and nothing else.
// It returns with outcome Found and final set to an alias, but without records, if the chain leaves the message; the caller then
// asks on. A loop or too long a chain is Failed.
func readAnswer(msg *dns.Msg, q question) *answer {
	a := &answer{final: q.name, ttlWire: ^uint32(0)}
	switch msg.Rcode {
	case dns.RcodeSuccess:
		a.outcome = Found
	case dns.RcodeNameError:
		a.outcome = NXDomain
	default:
		a.outcome, a.reason = Failed, "server says "+rcodeText(msg)
		return a
	}
	if !a.followAliases(msg) {
		return a
	}
	if a.outcome == NXDomain {
		a.negativeTTL(msg)
		return a
	}
	found := 0
	for _, rr := range msg.Answer {
		h := rr.Header()
		if qtype(h.Rrtype) != q.qtype || h.Class != dns.ClassINET || canonicalName(h.Name) != a.final {
			continue
		}
		if found++; found > maxRecords {
			a.dropped++
			continue
		}
		a.minTTL(h.Ttl)
		if !a.take(rr) {
			a.dropped++
		}
	}
	if found == 0 && (len(a.aliases) == 0 || hasSOA(msg)) {
		a.outcome = NoData
		a.negativeTTL(msg)
	}
	return a
}

// followAliases walks the CNAMEs of the answer section. False: it has failed the answer.
func (a *answer) followAliases(msg *dns.Msg) bool {
	for {
		next := ""
		for _, rr := range msg.Answer {
			if c, ok := rr.(*dns.CNAME); ok && c.Hdr.Class == dns.ClassINET && canonicalName(c.Hdr.Name) == a.final {
				next = canonicalName(c.Target)
				a.minTTL(c.Hdr.Ttl)
				break
			}
		}
		if next == "" {
			return true
		}
		if !a.addAlias(next) {
			return false
		}
	}
}

// addAlias makes next the final name. False if that is a loop, too long a chain or no name.
func (a *answer) addAlias(next string) bool {
	if len(a.aliases) >= maxAliases {
		a.outcome, a.reason = Failed, "more than 8 aliases"
		return false
	}
	if next == a.final {
		a.outcome, a.reason = Failed, "alias loop"
		return false
	}
	for _, seen := range a.aliases {
		if seen == next {
			a.outcome, a.reason = Failed, "alias loop"
			return false
		}
	}
	if checkDomain(next, true) != nil {
		a.outcome, a.reason = Failed, "alias to what is no name"
		return false
	}
	a.aliases = append(a.aliases, a.final)
	a.final = next
	return true
}

func (a *answer) minTTL(ttl uint32) {
	// RFC 2181 §8 reads a set high-order bit as zero; RFC 8767 §4 changes that to a large positive value, which the ceiling cuts.
	a.ttlWire = min(a.ttlWire, ttl)
}

// negativeTTL is RFC 2308 §5: the minimum of the SOA's own TTL and its MINIMUM field. Without an SOA it is 0, and the cache keeps
// the answer only as long as it keeps a failure.
func (a *answer) negativeTTL(msg *dns.Msg) {
	ttl := uint32(0)
	for _, rr := range msg.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			ttl = min(soa.Hdr.Ttl, soa.Minttl)
			break
		}
	}
	a.ttlWire = min(a.ttlWire, ttl)
}

func hasSOA(msg *dns.Msg) bool {
	for _, rr := range msg.Ns {
		if _, ok := rr.(*dns.SOA); ok {
			return true
		}
	}
	return false
}

// take keeps one record. False if it is one that nobody may act on.
func (a *answer) take(rr dns.RR) bool {
	switch rr := rr.(type) {
	case *dns.A:
		v4, ok := netip.AddrFromSlice(rr.A.To4())
		return a.addAddr(v4, ok)
	case *dns.AAAA:
		// An IPv4 address in an AAAA record belongs to nobody (it is in the special-purpose registry), and is a way round filters.
		v6, ok := netip.AddrFromSlice(rr.AAAA)
		return a.addAddr(v6, ok && v6.Is6() && !v6.Is4In6())
	case *dns.SRV:
		r := srvRecord{priority: rr.Priority, weight: rr.Weight, port: rr.Port, target: "."}
		if rr.Target != "." {
			r.target = canonicalName(rr.Target)
			if checkDomain(r.target, true) != nil {
				return false
			}
		}
		a.srvs = append(a.srvs, r)
		return true
	case *dns.NAPTR:
		if len(a.naptrs) == maxNAPTR {
			return false
		}
		n := naptrRecord{
			order: rr.Order, preference: rr.Preference, flags: strings.ToLower(rr.Flags), service: strings.ToUpper(rr.Service),
			regexp: rr.Regexp != "", replacement: canonicalName(rr.Replacement),
		}
		if checkDomain(n.replacement, true) != nil {
			n.replacement = ""
		}
		a.naptrs = append(a.naptrs, n)
		return true
	case *dns.TLSA:
		if len(a.tlsas) == maxTLSA || len(rr.Certificate) > 2*maxTLSAData {
			return false
		}
		data, ok := unhex(rr.Certificate)
		if ok {
			a.tlsas = append(a.tlsas, TLSA{rr.Usage, rr.Selector, rr.MatchingType, data})
		}
		return ok
	}
	return false
}

func (a *answer) addAddr(ip netip.Addr, ok bool) bool {
	if !ok || len(a.addrs) == maxAddrs {
		return false
	}
	for _, have := range a.addrs {
		if have == ip {
			return true
		}
	}
	a.addrs = append(a.addrs, ip)
	return true
}

// records counts what the answer carries.
func (a *answer) records() int { return len(a.addrs) + len(a.srvs) + len(a.naptrs) + len(a.tlsas) }

// canonicalName is a name as the DNS library prints it, in lower case and without the last dot. Escapes stay, and then fail
// checkDomain.
func canonicalName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

func unhex(s string) (string, bool) {
	if len(s)%2 != 0 {
		return "", false
	}
	b := make([]byte, len(s)/2)
	for i := range b {
		hi, lo := nibble(s[2*i]), nibble(s[2*i+1])
		if hi > 15 || lo > 15 {
			return "", false
		}
		b[i] = hi<<4 | lo
	}
	return string(b), true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// rcodeText is the response code, with the first extended error (RFC 8914) if there is one: that is where a validating resolver
// says "bogus".
func rcodeText(msg *dns.Msg) string {
	s, ok := dns.RcodeToString[msg.Rcode]
	if !ok {
		s = "an unknown code"
	}
	if opt := msg.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				if t, ok := dns.ExtendedErrorCodeToString[e.InfoCode]; ok {
					return s + " (" + t + ")"
				}
			}
		}
	}
	return s
}
