package passport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/certid"
	"github.com/isthmus-gateway/isthmus/internal/certs"
)

// Credential is a certificate that the operator trusts to sign.
type Credential struct {
	// Info is the URI that the signer writes into "info" and "x5u", octet for octet.
	Info string
	// Certificate is the signer's. The domains in it (RFC 5922 §7.1) are those that it may speak for.
	Certificate *x509.Certificate
	// Numbers are beginnings of telephone numbers, digits alone, that it may speak for besides.
	Numbers []string
}

// Signs tells whether the credential can prove anything at all: its key is ECDSA P-256, and there is a domain or a number that it may speak
// for.
func (c Credential) Signs() bool {
	key, ok := c.Certificate.PublicKey.(*ecdsa.PublicKey)
	domains, err := certid.Identities(c.Certificate)
	return ok && key.Curve == elliptic.P256() && err == nil && len(domains)+len(c.Numbers) > 0
}

// KeySet is the credentials, by info. The zero value has none. It does not change.
type KeySet struct {
	byInfo map[string]*credential
}

type credential struct {
	certificate *x509.Certificate
	key         *ecdsa.PublicKey // nil: not of a kind that can be used
	domains     []string
	numbers     []string
}

// NewKeySet checks and keeps credentials. It fails if two have the same info, an info is no absolute URI, the names of a certificate cannot
// be read, or a number is none. A key that is not ECDSA P-256 is no fault here: what it signed is unsupported.
func NewKeySet(all []Credential) (KeySet, error) {
	k := KeySet{byInfo: make(map[string]*credential, len(all))}
	for _, c := range all {
		scheme, rest, ok := strings.Cut(c.Info, ":")
		switch {
		case !ok || rest == "" || !isScheme(scheme) || strings.ContainsFunc(c.Info, func(r rune) bool { return r >= 0x80 || !isURI(byte(r)) }):
			return KeySet{}, errors.New("passport: the info " + certs.Quote(c.Info) + " is no absolute URI")
		case k.byInfo[c.Info] != nil:
			return KeySet{}, errors.New("passport: two credentials have the info " + certs.Quote(c.Info))
		case c.Certificate == nil:
			return KeySet{}, errors.New("passport: the credential " + certs.Quote(c.Info) + " has no certificate")
		}
		domains, err := certid.Identities(c.Certificate)
		if err != nil {
			return KeySet{}, err
		}
		for _, n := range c.Numbers {
			if n == "" || strings.Trim(n, "0123456789") != "" {
				return KeySet{}, errors.New("passport: " + certs.Quote(n) + " is no beginning of a number")
			}
		}
		one := &credential{certificate: c.Certificate, domains: domains, numbers: slices.Clone(c.Numbers)}
		if key, ok := c.Certificate.PublicKey.(*ecdsa.PublicKey); ok && key.Curve == elliptic.P256() {
			one.key = key
		}
		k.byInfo[c.Info] = one
	}
	return k, nil
}

// Len is the number of credentials.
func (k KeySet) Len() int { return len(k.byInfo) }

func (c *credential) validAt(t time.Time) bool {
	return !t.Before(c.certificate.NotBefore) && !t.After(c.certificate.NotAfter)
}

// speaksFor reports whether the operator lets c sign for id.
func (c *credential) speaksFor(id Identity) bool {
	if id.Type == "tn" {
		return slices.ContainsFunc(c.numbers, func(prefix string) bool { return strings.HasPrefix(id.Value, prefix) })
	}
	return slices.Contains(c.domains, id.Domain)
}
