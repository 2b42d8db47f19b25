package certs

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPresented bounds the certificates that a peer may send; TLS itself bounds their octets.
const maxPresented = 16

// The bounds of an RSA key in bits: RFC 7525 §4.3 asks for 2048, and crypto/tls refuses more than 8192, because checking a signature
// with a larger one is work that a stranger can make others do (CVE-2023-29409).
const (
	minRSA = 2048
	maxRSA = 8192
)

// Trust is what a path is judged by. The zero value is the anchors of the system, and now.
type Trust struct {
	// Roots are the trust anchors; nil means those of the system.
	Roots *x509.CertPool
	// Now is the moment of the judgement; the zero value means time.Now.
	Now time.Time
}

// Usage is an extended key usage (RFC 5280 §4.2.1.12).
type Usage struct {
	OID asn1.ObjectIdentifier
	// Name is what a person calls it: "serverAuth".
	Name string
}

// ServerAuth is the usage of TLS servers.
func ServerAuth() Usage { return Usage{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}, "serverAuth"} }

// ClientAuth is the usage of TLS clients.
func ClientAuth() Usage { return Usage{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}, "clientAuth"} }

// EmailProtection is the usage of S/MIME.
func EmailProtection() Usage {
	return Usage{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 4}, "emailProtection"}
}

// SIPDomain is the usage of SIP domains, id-kp-sipDomain (RFC 5924).
func SIPDomain() Usage {
	return Usage{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 20}, "sipDomain"}
}

// Path is a certificate whose path to an anchor is good. It is made by Verify alone and does not change.
type Path struct {
	leaf   *x509.Certificate
	names  Names
	chains [][]*x509.Certificate // at least one, the leaf first, the anchor last
}

// Leaf is the certificate itself, not to be changed.
func (p *Path) Leaf() *x509.Certificate { return p.leaf }

// Names are the names in it, not to be changed. That a CA may speak for them is Permits' word.
func (p *Path) Names() Names { return p.names }

// Until is when the last path ends: the judgement must not be believed longer.
func (p *Path) Until() time.Time {
	var latest time.Time
	for _, chain := range p.chains {
		end := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(end) {
				end = c.NotAfter
			}
		}
		if end.After(latest) {
			latest = end
		}
	}
	return latest
}

// Verify judges what a peer presented in TLS: the certificate first, and then what it needs to reach an anchor, in any order. The
// path must be good by RFC 5280 §6.1 at trust.Now, each certificate in it must allow one of usages (or any, or say nothing of
// usages), and its names must be readable. It fails with *Error.
//
// Whose certificate it is, remains to be asked.
func Verify(presented []*x509.Certificate, usages []Usage, trust Trust) (*Path, error) {
	switch {
	case len(presented) == 0:
		return nil, Fault("no-certificate", "", "the peer has presented none")
	case len(presented) > maxPresented:
		return nil, Fault("too-many", "", "the peer has presented "+strconv.Itoa(len(presented))+" certificates, more than 16")
	}
	leaf := presented[0]
	// RFC 6120 §13.7.1.1: "The certificate MUST NOT contain a basicConstraints extension with the cA boolean set to TRUE." RFC 5280
	// has no use for a CA at the end of a path either.
	if leaf.BasicConstraintsValid && leaf.IsCA {
		return nil, Fault("ca-as-end", "RFC 6120 §13.7.1.1", "the certificate is that of a CA")
	}
	names, err := ParseNames(leaf)
	if err != nil {
		return nil, err
	}
	for _, c := range presented {
		if err := checkKey(c); err != nil {
			return nil, err
		}
	}
	above := x509.NewCertPool()
	for _, c := range presented[1:] {
		above.AddCert(c)
	}
	if trust.Now.IsZero() {
		trust.Now = time.Now()
	}
	chains, err := forPath(leaf).Verify(x509.VerifyOptions{
		Roots: trust.Roots, Intermediates: above, CurrentTime: trust.Now,
		// The usages are looked at below: crypto/x509 does not know id-kp-sipDomain.
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, pathFault(err, trust.Now)
	}
	chains = slices.DeleteFunc(chains, func(chain []*x509.Certificate) bool {
		return slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return !allows(c, usages) })
	})
	if len(chains) == 0 {
		return nil, Fault("usage", "RFC 5280 §4.2.1.12", "a certificate of the path is for other uses than "+usageNames(usages))
	}
	return &Path{leaf: leaf, names: names, chains: chains}, nil
}

// forPath is leaf as crypto/x509 has to see it to judge its path alone. The subjectAltName was read whole by ParseNames, so that it is
// understood also if all names in it are otherNames; crypto/x509 counts it as not understood then. And a sip URI has a host for the
// constraints of CAs (RFC 5280 §4.2.1.10) although it is no URI with an authority, without which crypto/x509 refuses it below any CA
// that has constraints of whatever kind.
func forPath(leaf *x509.Certificate) *x509.Certificate {
	c := *leaf
	c.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(c.UnhandledCriticalExtensions), oidSubjectAltName.Equal)
	c.URIs = slices.Clone(c.URIs)
	for i, u := range c.URIs {
		if scheme := strings.ToLower(u.Scheme); u.Opaque == "" || scheme != "sip" && scheme != "sips" {
			continue
		}
		host := u.Opaque[strings.LastIndexByte(u.Opaque, '@')+1:]
		if end := strings.IndexAny(host, ":;?"); end >= 0 {
			host = host[:end]
		}
		c.URIs[i] = &url.URL{Scheme: u.Scheme, Host: host}
	}
	return &c
}

// Permits reports whether the CAs of a path may speak for domain (an A-label name in lower case): whether their constraints on
// dNSName let it pass.
func (p *Path) Permits(domain string) bool {
	return slices.ContainsFunc(p.chains, func(chain []*x509.Certificate) bool {
		return !slices.ContainsFunc(chain[1:], func(ca *x509.Certificate) bool { return !permits(ca, domain) })
	})
}

func permits(ca *x509.Certificate, domain string) bool {
	within := func(constraint string) bool {
		c := strings.ToLower(strings.TrimPrefix(constraint, "."))
		return c == "" || domain == c || strings.HasSuffix(domain, "."+c)
	}
	if slices.ContainsFunc(ca.ExcludedDNSDomains, within) {
		return false
	}
	return len(ca.PermittedDNSDomains) == 0 || slices.ContainsFunc(ca.PermittedDNSDomains, func(constraint string) bool {
		// RFC 5280 §4.2.1.10 has no leading dot for a dNSName. Those who write one mean the names below only.
		return within(constraint) && (constraint == "" || constraint[0] != '.' || domain != strings.ToLower(constraint[1:]))
	})
}

func allows(c *x509.Certificate, usages []Usage) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	for _, u := range c.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageAny:
			return true
		case x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageEmailProtection:
			want := ServerAuth()
			switch u {
			case x509.ExtKeyUsageClientAuth:
				want = ClientAuth()
			case x509.ExtKeyUsageEmailProtection:
				want = EmailProtection()
			}
			if hasUsage(usages, want.OID) {
				return true
			}
		}
	}
	return slices.ContainsFunc(c.UnknownExtKeyUsage, func(oid asn1.ObjectIdentifier) bool { return hasUsage(usages, oid) })
}

func hasUsage(usages []Usage, oid asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(usages, func(u Usage) bool { return u.OID.Equal(oid) })
}

func usageNames(usages []Usage) string {
	names := make([]string, len(usages))
	for i, u := range usages {
		names[i] = u.Name
	}
	return strings.Join(names, ", ")
}

func checkKey(c *x509.Certificate) error {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	if n := key.N.BitLen(); n < minRSA || n > maxRSA {
		return Fault("rsa-size", "RFC 7525 §4.3", "an RSA key has "+strconv.Itoa(n)+" bits, not 2048 to 8192")
	}
	return nil
}

// pathFault puts crypto/x509's error into our words, without the texts of the certificate that it quotes.
func pathFault(err error, now time.Time) *Error {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var critical x509.UnhandledCriticalExtension
	switch {
	case errors.As(err, &invalid):
		switch invalid.Reason {
		case x509.Expired:
			if invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
				return Fault("not-yet-valid", "RFC 5280 §4.1.2.5", "valid only from "+invalid.Cert.NotBefore.UTC().Format(time.RFC3339))
			}
			return Fault("expired", "RFC 5280 §4.1.2.5", "not valid any more")
		case x509.NotAuthorizedToSign:
			return Fault("not-a-ca", "RFC 5280 §4.2.1.9", "it is signed by a certificate that is not a CA's")
		case x509.TooManyIntermediates:
			return Fault("path-length", "RFC 5280 §4.2.1.9", "there are more CAs below one than it allows")
		case x509.CANotAuthorizedForThisName, x509.NameConstraintsWithoutSANs, x509.UnconstrainedName, x509.TooManyConstraints:
			return Fault("name-constraints", "RFC 5280 §4.2.1.10", "a CA of the path may not speak for a name in it")
		}
	case errors.As(err, &unknown):
		return Fault("unknown-authority", "RFC 5280 §6.1", "no path leads to a trust anchor")
	case errors.As(err, &critical):
		return Fault("critical-extension", "RFC 5280 §4.2", "it has a critical extension that is not understood")
	}
	return Fault("path", "RFC 5280 §6.1", "the path is not good")
}

// Above reports whether fits holds for a certificate above the first in one of the paths, the anchors included (RFC 6698 §2.1.1, usage
// 0).
func (p *Path) Above(fits func(*x509.Certificate) bool) bool {
	return slices.ContainsFunc(p.chains, func(chain []*x509.Certificate) bool { return slices.ContainsFunc(chain[1:], fits) })
}
