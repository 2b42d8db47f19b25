package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// Authority is a certificate authority of a test.
type Authority struct {
	// File is the path of its certificate in PEM.
	File string

	name string
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Identity is a certificate and its key, as files in PEM.
type Identity struct {
	// Chain is the certificate, Key its key, Both the two in one file, as ejabberd wants them.
	Chain, Key, Both string
}

// NewAuthority makes an authority.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{name: name, dir: t.TempDir(), key: newKey(t)}
	a.cert = &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.File = write(t, a.dir, "authority.pem", toPEM("CERTIFICATE", der))
	return a
}

// Issue makes a certificate for the domains, good for a day on either side of now.
func (a *Authority) Issue(t testing.TB, domains ...string) Identity {
	t.Helper()
	return a.issue(t, time.Now().Add(24*time.Hour), domains)
}

// IssueExpired makes one that has expired an hour ago.
func (a *Authority) IssueExpired(t testing.TB, domains ...string) Identity {
	t.Helper()
	return a.issue(t, time.Now().Add(-time.Hour), domains)
}

func (a *Authority) issue(t testing.TB, until time.Time, domains []string) Identity {
	t.Helper()
	key, dir := newKey(t), t.TempDir()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: domains[0]}, DNSNames: domains,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		// A server is the client of the streams that it opens.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain, private := toPEM("CERTIFICATE", der), toPEM("PRIVATE KEY", secret)
	return Identity{
		Chain: write(t, dir, "chain.pem", chain), Key: write(t, dir, "key.pem", private), Both: write(t, dir, "both.pem", private+chain),
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func toPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
