package stream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"
)

// authority is a certificate authority of the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool

	issued sync.Map // domain -> tls.Certificate
}

var testAuthority = sync.OnceValue(func() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert: cert, key: key, pool: pool}
})

// certificate returns a certificate for a domain.
func certificate(tb testing.TB, domain string) tls.Certificate {
	tb.Helper()
	a := testAuthority()
	if c, ok := a.issued.Load(domain); ok {
		return c.(tls.Certificate)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{domain}, NotBefore: time.Unix(0, 0),
		NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	c := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	a.issued.Store(domain, c)
	return c
}

// clientTLS is the configuration of an initiating entity that has a certificate for a domain and checks that of the peer.
func clientTLS(tb testing.TB, domain string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate(tb, domain)}, RootCAs: testAuthority().pool}
}

// serverTLS is the configuration of a receiving entity that has a certificate for a domain and asks for one.
func serverTLS(tb testing.TB, domain string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate(tb, domain)}, ClientAuth: tls.RequestClientCert}
}

// proves tells whether the peer's certificate is of the test authority and names the domain.
func proves(domain string, cs *tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		DNSName: domain, Roots: testAuthority().pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}
