package certid

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Trusting gives the trust anchors and the moment for one judgement: *certs.Store.
type Trusting interface {
	Trust() certs.Trust
}

// Dialled is the verifier for a connection that we made to target for the domain target.ServerName: what the server presents must
// prove that domain, as Check says, or the handshake fails.
func Dialled(trusting Trusting, target resolver.Target) certs.Verifier {
	return func(state tls.ConnectionState) error {
		_, err := Check(state.PeerCertificates, target, trusting.Trust())
		return err
	}
}

// Check judges what the server at target presented: whether it proves the domain target.ServerName, by PKIX and by what authentic DNS
// says of the target. It fails with *certs.Error.
//
// RFC 7673 §4: with usable TLSA records one of them must match; without, the host that an authentic SRV answer named is a reference
// identity beside the domain.
func Check(presented []*x509.Certificate, target resolver.Target, trust certs.Trust) (Verdict, error) {
	want, err := resolver.ParseDomain(target.ServerName())
	if err != nil {
		return Verdict{}, certs.Fault("domain", "RFC 6120 §13.7.2.1", "there is no domain that the certificate could prove")
	}
	if len(presented) == 0 {
		return Verdict{}, certs.Fault("no-certificate", "", "the server has presented none")
	}
	switch target.TLSAStatus() {
	case resolver.TLSAFailed:
		// RFC 7673 §3.4: "If the TLSA response is "bogus" or "indeterminate" (or the lookup fails for reasons other than no records),
		// then the client MUST NOT connect to the target server".
		return Verdict{}, certs.Fault("tlsa-failed", "RFC 7673 §3.4", "the question for TLSA records got no authentic answer")
	case resolver.TLSASecure:
		if usable := usable(target.TLSA()); len(usable) > 0 {
			return checkDANE(presented, want, target, usable, trust)
		}
	}
	peer, err := Examine(presented, Server, trust)
	if err != nil {
		return Verdict{}, err
	}
	return peer.provesAt(want, target)
}

// provesAt is Proves with the reference identities of RFC 7673 §4.1.
func (p *Peer) provesAt(want string, target resolver.Target) (Verdict, error) {
	if by, identifier := match(p.path.Names(), want); by != 0 {
		return p.verdict(want, want, by, identifier)
	}
	if target.Secure() {
		// "SRV is secure: The reference identifiers SHALL include both the service domain name and the SRV target server hostname".
		// An address is no host name.
		if host, err := resolver.ParseDomain(target.Host()); err == nil {
			if by, identifier := matchDNS(p.path.Names().DNS, host); by != 0 {
				return p.verdict(want, host, HostID, identifier)
			}
		}
	}
	return Verdict{}, noMatch(want)
}
