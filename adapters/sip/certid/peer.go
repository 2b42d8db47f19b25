package certid

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Side is which side of the connection the peer is on.
type Side uint8

// The sides. The zero value is none and refuses every certificate that is limited to any use.
const (
	Server Side = iota + 1 // the peer accepted our connection
	Client                 // the peer connected to us
)

func (s Side) usages() []certs.Usage {
	switch s {
	case Server:
		return []certs.Usage{certs.ServerAuth(), certs.SIPDomain()}
	case Client:
		return []certs.Usage{certs.ClientAuth(), certs.SIPDomain()}
	}
	return nil
}

// Peer is a certificate whose path is good, with the SIP domains that it proves. It is made by Examine and does not change.
type Peer struct {
	domains []string // canonical, permitted, each once
	barred  []string // identities that no CA of the path may speak for
	until   time.Time
}

// Examine judges what the peer presented: PeerCertificates of the connection's state. A certificate that proves no domain at all is
// no error here. It fails with *certs.Error.
func Examine(presented []*x509.Certificate, side Side, trust certs.Trust) (*Peer, error) {
	path, err := certs.Verify(presented, side.usages(), trust)
	if err != nil {
		return nil, err
	}
	p := &Peer{until: path.Until()}
	for _, d := range identities(path.Names()) {
		if path.Permits(d) {
			p.domains = append(p.domains, d)
		} else {
			p.barred = append(p.barred, d)
		}
	}
	return p, nil
}

// Domains are the SIP domains that the certificate proves, A-label names in lower case, in the order of the certificate: the set that
// RFC 5922 §7.4 lets a server's policy look at. The slice is the caller's.
func (p *Peer) Domains() []string { return slices.Clone(p.domains) }

// Until is when the certificates end: a connection that lives longer has lost its proof.
func (p *Peer) Until() time.Time { return p.until }

// Proves is nil if the certificate proves domain, with A-labels or U-labels; else a *certs.Error.
func (p *Peer) Proves(domain string) error {
	want, err := resolver.ParseDomain(domain)
	switch {
	case err != nil:
		return certs.Fault("domain", "RFC 5922 §7.3", certs.Quote(domain)+" is no domain that a certificate could prove")
	case slices.Contains(p.domains, want):
		return nil
	case slices.Contains(p.barred, want):
		return certs.Fault("name-constraints", "RFC 5280 §4.2.1.10", "a CA of the path may not speak for "+certs.Quote(want))
	}
	return certs.Fault("identity", "RFC 5922 §7.3", "no sip URI or dNSName in it is "+certs.Quote(want))
}

// identities extracts the SIP domain identities (RFC 5922 §7.1), canonical and each once, without those that no domain can equal.
func identities(n certs.Names) []string {
	var found []string
	add := func(name string) {
		// RFC 5922 §7.2: no suffixes, and "MUST NOT match any form of wildcard": what is no domain name equals none.
		if d, err := resolver.ParseDomain(name); err == nil && !strings.HasSuffix(name, ".") && !slices.Contains(found, d) {
			found = append(found, d)
		}
	}
	uris := false
	for _, uri := range n.URI {
		if host, ok := sipDomain(uri); ok {
			uris = true
			add(host)
		}
	}
	if uris {
		return found
	}
	// "An implementation MUST accept a domain name system identifier as a SIP domain identity if and only if no other identity is
	// found that matches the "sip" URI type".
	for _, name := range n.DNS {
		add(name)
	}
	return found
}

// sipDomain is the host of a URI that has the scheme sip and no user.
func sipDomain(uri string) (host string, ok bool) {
	scheme, rest, ok := strings.Cut(uri, ":")
	// "a value with a userpart identifies an individual user, not a domain": "(there is an '@')".
	if !ok || !strings.EqualFold(scheme, "sip") || strings.Contains(rest, "@") {
		return "", false
	}
	// RFC 5922 §7.2: "MUST NOT use any scheme or parameters in the comparison", and "only the DNS name component".
	if i := strings.IndexAny(rest, ":;?"); i >= 0 {
		rest = rest[:i]
	}
	return rest, true
}

// Trusting gives the trust anchors and the moment for one judgement: *certs.Store.
type Trusting interface {
	Trust() certs.Trust
}

// Dialled is the verifier for a connection that we made to reach domain, the domain of the address or the one that a route was
// written for: the server must prove it, or the handshake fails (RFC 5922 §7.3: "the client MUST close the connection immediately").
func Dialled(trusting Trusting, domain string) certs.Verifier {
	return func(state tls.ConnectionState) error {
		peer, err := Examine(state.PeerCertificates, Server, trusting.Trust())
		if err != nil {
			return err
		}
		return peer.Proves(domain)
	}
}

// Accepted is the verifier for connections that others make to us: a certificate, if the client presents one, must be good, whichever
// domains it proves. Examine then says which. A client without one is let in as a stranger (RFC 5922 §7.4).
func Accepted(trusting Trusting) certs.Verifier {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil
		}
		_, err := Examine(state.PeerCertificates, Client, trusting.Trust())
		return err
	}
}

// Identities are the SIP domains that a certificate names (RFC 5922 §7.1), for one that is trusted as it is: no path is judged, no clock
// is asked. It fails with *certs.Error.
func Identities(c *x509.Certificate) ([]string, error) {
	names, err := certs.ParseNames(c)
	if err != nil {
		return nil, err
	}
	return identities(names), nil
}
