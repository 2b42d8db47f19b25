package certid

import (
	"crypto/x509"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Side is which side of the connection the peer is on.
type Side uint8

// The sides. The zero value is none and refuses every certificate.
const (
	Server Side = iota + 1 // the peer accepted our connection
	Client                 // the peer connected to us
)

func (s Side) usages() []certs.Usage {
	switch s {
	case Server:
		return []certs.Usage{certs.ServerAuth()}
	case Client:
		return []certs.Usage{certs.ClientAuth(), certs.ServerAuth()}
	}
	return nil
}

// Method is how a certificate proves a domain.
type Method uint8

// The methods. Those of DANE below DNSID are for servers that we dialled.
const (
	SRVID      Method = iota + 1 // an SRVName "_xmpp-server.domain" (RFC 6125 §6.5.1)
	XMPPAddrID                   // an XmppAddr (RFC 6120 §13.7.1.4)
	DNSID                        // a dNSName (RFC 6125 §6.4.1)
	WildcardID                   // a dNSName with a wildcard (RFC 6125 §6.4.3)
	HostID                       // a dNSName that is the host's, which authentic DNS named (RFC 7673 §4.1)
	DANEEE                       // a TLSA record for the certificate itself, DANE-EE: names do not matter (RFC 7673 §4.2)
)

var methodNames = [...]string{SRVID: "SRV-ID", XMPPAddrID: "XmppAddr", DNSID: "DNS-ID", WildcardID: "wildcard", HostID: "host", DANEEE: "DANE-EE"}

// String is the method in a word, for logs.
func (m Method) String() string {
	if int(m) < len(methodNames) && m != 0 {
		return methodNames[m]
	}
	return "none"
}

// Verdict is that a certificate proves a domain. It is made by this package alone, when it does.
type Verdict struct {
	// Domain is the domain, an A-label name in lower case.
	Domain string
	// By is the method, and Identifier what in the certificate matched ("" for DANEEE).
	By         Method
	Identifier string
	// DANE says that a TLSA record had its part in it.
	DANE bool
	// Until is when the certificates end: a stream that lives longer has lost its proof. Zero: never (DANEEE).
	Until time.Time
}

// Peer is a certificate whose path is good, and that is yet to say which domains it proves. It is made by Examine and does not
// change. Streams that carry several domains ask it for each (RFC 7712 §4.4).
type Peer struct {
	path *certs.Path
}

// Examine judges the path of what the peer presented: PeerCertificates of the connection's state. It fails with *certs.Error.
func Examine(presented []*x509.Certificate, side Side, trust certs.Trust) (*Peer, error) {
	path, err := certs.Verify(presented, side.usages(), trust)
	if err != nil {
		return nil, err
	}
	return &Peer{path}, nil
}

// Until is when the certificates end.
func (p *Peer) Until() time.Time { return p.path.Until() }

// Proves says whether the certificate proves domain, with A-labels or U-labels. It fails with *certs.Error.
func (p *Peer) Proves(domain string) (Verdict, error) {
	want, err := resolver.ParseDomain(domain)
	if err != nil {
		return Verdict{}, certs.Fault("domain", "RFC 6120 §13.7.2.1", certs.Quote(domain)+" is no domain that a certificate could prove")
	}
	by, identifier := match(p.path.Names(), want)
	if by == 0 {
		return Verdict{}, noMatch(want)
	}
	return p.verdict(want, want, by, identifier)
}

func noMatch(domain string) *certs.Error {
	return certs.Fault("identity", "RFC 6125 §6.6.3", "no SRVName, XmppAddr or dNSName in it is for "+certs.Quote(domain))
}

// verdict is that name, which is domain or its host, is matched, unless no CA of the path may speak for it.
func (p *Peer) verdict(domain, name string, by Method, identifier string) (Verdict, error) {
	if !p.path.Permits(name) {
		return Verdict{}, certs.Fault("name-constraints", "RFC 5280 §4.2.1.10", "a CA of the path may not speak for "+certs.Quote(name))
	}
	return Verdict{Domain: domain, By: by, Identifier: identifier, Until: p.path.Until()}, nil
}

// match finds the identifier that proves want (canonical), the most specific kind first.
func match(n certs.Names, want string) (Method, string) {
	for _, presented := range n.SRV {
		// RFC 6125 §6.5: both portions "MUST" be matched.
		service, name, _ := strings.Cut(presented, ".")
		if strings.EqualFold(service, "_xmpp-server") && equalDNS(name, want) {
			return SRVID, presented
		}
	}
	for _, presented := range n.XMPPAddr {
		if strings.ContainsAny(presented, "@/") {
			continue // a user, not a domain
		}
		if d, err := resolver.ParseDomain(presented); err == nil && d == want {
			return XMPPAddrID, presented
		}
	}
	return matchDNS(n.DNS, want)
}

// matchDNS finds the dNSName for want: itself before any wildcard.
func matchDNS(names []string, want string) (Method, string) {
	for _, presented := range names {
		if equalDNS(presented, want) {
			return DNSID, presented
		}
	}
	_, parent, ok := strings.Cut(want, ".")
	if !ok || !strings.Contains(parent, ".") {
		return 0, ""
	}
	for _, presented := range names {
		// RFC 6125 §6.4.3: "*.example.com would match foo.example.com but not bar.foo.example.com or example.com".
		if rest, ok := strings.CutPrefix(presented, "*."); ok && equalDNS(rest, parent) {
			return WildcardID, presented
		}
	}
	return 0, ""
}

// equalDNS compares a presented name with a canonical one: RFC 6125 §6.4.1, "a case-insensitive ASCII comparison". A wildcard equals
// nothing, because no canonical name has one.
func equalDNS(presented, canonical string) bool {
	return len(presented) == len(canonical) && strings.EqualFold(presented, canonical)
}
