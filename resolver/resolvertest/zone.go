package resolvertest

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// zone is all records by owner.
type zone struct {
	records map[string][]dns.RR
	names   map[string]bool // every name that exists, empty non-terminals too
	apexes  map[string]*dns.SOA
}

// maxChain bounds the aliases that one answer follows, so that a loop in a zone makes an answer and not a hang.
const maxChain = 16

func key(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func parseZone(text string) (zone, error) {
	z := zone{records: make(map[string][]dns.RR), names: make(map[string]bool), apexes: make(map[string]*dns.SOA)}
	p := dns.NewZoneParser(strings.NewReader(text), ".", "zone")
	p.SetDefaultTTL(300)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		k := key(rr.Header().Name)
		z.records[k] = append(z.records[k], rr)
		if soa, ok := rr.(*dns.SOA); ok {
			z.apexes[k] = soa
		}
		for n := k; ; {
			z.names[n] = true
			_, rest, ok := strings.Cut(n, ".")
			if !ok {
				break
			}
			n = rest
		}
	}
	if err := p.Err(); err != nil {
		return zone{}, fmt.Errorf("resolvertest: %w", err)
	}
	return z, nil
}

// answer fills m as a recursive server would: the chain of aliases, the records at its end, or the SOA that says that there is none.
func (z *zone) answer(m *dns.Msg, name string, qtype uint16) {
	for range maxChain {
		rrs, exists := z.lookup(name)
		var alias *dns.CNAME
		found := false
		for _, rr := range rrs {
			h := rr.Header()
			if h.Rrtype == qtype || qtype == dns.TypeANY {
				m.Answer = append(m.Answer, owned(rr, m, name))
				found = true
			} else if c, ok := rr.(*dns.CNAME); ok {
				alias = c
			}
		}
		if found {
			return
		}
		if alias != nil {
			m.Answer = append(m.Answer, owned(alias, m, name))
			name = key(alias.Target)
			continue
		}
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		if soa := z.soa(name); soa != nil {
			m.Ns = append(m.Ns, dns.Copy(soa))
		}
		return
	}
}

// lookup finds the records of a name, or of the wildcard above it (RFC 1034's "*").
func (z *zone) lookup(name string) ([]dns.RR, bool) {
	if z.names[name] {
		return z.records[name], true
	}
	for n := name; ; {
		_, rest, ok := strings.Cut(n, ".")
		if !ok {
			return nil, false
		}
		if rrs, ok := z.records["*."+rest]; ok {
			return rrs, true
		}
		if z.names[rest] {
			return nil, false
		}
		n = rest
	}
}

func (z *zone) soa(name string) *dns.SOA {
	for {
		if soa, ok := z.apexes[name]; ok {
			return soa
		}
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return z.apexes[""]
		}
		name = rest
	}
}

// owned copies rr, with the name that was asked for where a wildcard matched, in the case of the question (for 0x20).
func owned(rr dns.RR, m *dns.Msg, name string) dns.RR {
	c := dns.Copy(rr)
	if asked := m.Question[0].Name; key(asked) == name {
		c.Header().Name = asked
	} else {
		c.Header().Name = dns.Fqdn(name)
	}
	return c
}
