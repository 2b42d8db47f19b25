package certstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The default validity: from notBefore before now to notAfter after it.
const (
	notBefore = time.Hour
	notAfter  = 90 * 24 * time.Hour
)

// The extended key usages that tests need (RFC 5280 §4.2.1.12; RFC 5924 for SIPDomain).
var (
	ServerAuth   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	ClientAuth   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	CodeSigning  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	EmailProtect = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 4}
	SIPDomain    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 20}
	AnyUsage     = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
)

// CA issues certificates. Its methods end the test where they fail.
type CA struct {
	t testing.TB
	// Certificate is its own.
	Certificate *x509.Certificate
	key         crypto.Signer
	above       []*x509.Certificate // the intermediates up to the root, which is not among them: this CA's certificate first
}

// Authority says how a CA differs from the usual one. The zero value is a plain CA without constraints.
type Authority struct {
	// CommonName is its name, by default "Test CA" and a random number.
	CommonName string
	// PermittedDNS and ExcludedDNS are its name constraints on dNSName (RFC 5280 §4.2.1.10), critical.
	PermittedDNS, ExcludedDNS []string
	// Usages are its extended key usages; nil writes none.
	Usages []asn1.ObjectIdentifier
	// NotBefore and NotAfter default to those of the package.
	NotBefore, NotAfter time.Time
	// Plain makes an "intermediate" that is no CA (RFC 5280 §4.2.1.9): what it signs must be refused.
	Plain bool
}

// NewCA makes a self-signed root.
func NewCA(t testing.TB) *CA {
	t.Helper()
	return NewAuthority(t, Authority{})
}

// NewAuthority is NewCA with a say in how it looks.
func NewAuthority(t testing.TB, a Authority) *CA {
	t.Helper()
	key := newKey(t)
	template := a.template(t)
	ca := &CA{t: t, key: key}
	ca.Certificate = create(t, template, template, key.Public(), key)
	return ca
}

// Intermediate makes a CA below c. What it issues carries its certificate in the chain.
func (c *CA) Intermediate(a Authority) *CA {
	c.t.Helper()
	key := newKey(c.t)
	cert := create(c.t, a.template(c.t), c.Certificate, key.Public(), c.key)
	return &CA{t: c.t, Certificate: cert, key: key, above: append([]*x509.Certificate{cert}, c.above...)}
}

// For is the CA with its faults told to t: for subtests, and for the function of a fuzz target, where testing.F must not be used.
func (c *CA) For(t testing.TB) *CA {
	one := *c
	one.t = t
	return &one
}

// Pool holds this CA alone.
func (c *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Certificate)
	return p
}

// PEM is the CA's certificate.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate.Raw})
}

// WriteRoot writes PEM to a file in dir and returns its name.
func (c *CA) WriteRoot(dir string) string {
	c.t.Helper()
	name := filepath.Join(dir, serialText(c.t)+"-root.pem")
	write(c.t, name, c.PEM(), 0o644)
	return name
}

func (a Authority) template(t testing.TB) *x509.Certificate {
	t.Helper()
	if a.CommonName == "" {
		a.CommonName = "Test CA " + serialText(t)
	}
	c := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: a.CommonName}, NotBefore: a.NotBefore, NotAfter: a.NotAfter,
		IsCA: !a.Plain, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		PermittedDNSDomains: a.PermittedDNS, ExcludedDNSDomains: a.ExcludedDNS,
		PermittedDNSDomainsCritical: a.PermittedDNS != nil || a.ExcludedDNS != nil,
		UnknownExtKeyUsage:          a.Usages,
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-notBefore)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(notAfter)
	}
	return c
}

func create(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, signer)
	if err != nil {
		t.Fatalf("make a certificate: %v", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("read the certificate back: %v", err)
	}
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatalf("make a serial number: %v", err)
	}
	return n.Add(n, big.NewInt(1))
}

func serialText(t testing.TB) string {
	t.Helper()
	return serial(t).Text(36)
}

func write(t testing.TB, name string, octets []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, octets, mode); err != nil {
		t.Fatalf("write a PEM file: %v", err)
	}
	// WriteFile keeps the mode of a file that was there, and the umask takes bits from a new one.
	if err := os.Chmod(name, mode); err != nil {
		t.Fatalf("set the mode of a PEM file: %v", err)
	}
}

// tlsCertificate is DER and key as crypto/tls takes them.
func tlsCertificate(der [][]byte, leaf *x509.Certificate, key crypto.Signer) tls.Certificate {
	return tls.Certificate{Certificate: der, PrivateKey: key, Leaf: leaf}
}
