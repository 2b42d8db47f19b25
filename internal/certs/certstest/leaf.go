package certstest

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/asn1"
	"encoding/pem"
	"net/netip"
	"path/filepath"
	"testing"
	"time"
)

// Spec says what is in an end-entity certificate. The zero value has no names, both usages of TLS, and the package's validity.
type Spec struct {
	// CommonName is the CN of the subject; without it the subject is empty.
	CommonName string
	// DNS, URI, SRV (id-on-dnsSRV) and XMPPAddr (id-on-xmppAddr) are written as they are into subjectAltName, in this order,
	// wrong octets included, followed by IP and Raw.
	DNS, URI, SRV, XMPPAddr []string
	IP                      []netip.Addr
	// Raw are whole GeneralName elements in DER, for what the other fields cannot say wrong.
	Raw [][]byte
	// SAN replaces the value of the whole extension, if it is not nil.
	SAN []byte
	// Usages are the extended key usages; nil means serverAuth and clientAuth, empty none at all.
	Usages []asn1.ObjectIdentifier
	// NotBefore and NotAfter default to those of the package.
	NotBefore, NotAfter time.Time
	// Key is the certificate's key; nil makes a new one.
	Key crypto.Signer
	// Public replaces the public key in the certificate, so that nobody has the key that belongs to it.
	Public crypto.PublicKey
	// CA sets cA in basicConstraints.
	CA bool
	// Extensions are added as they are.
	Extensions []pkix.Extension
}

// Leaf is an issued certificate with its key and chain.
type Leaf struct {
	t testing.TB
	// DER is the chain as it is presented: the certificate, then the intermediates, without the root.
	DER [][]byte
	// Certificate is the first of DER, or nil if crypto/x509 refuses to read it; then Refused says why.
	Certificate *x509.Certificate
	Refused     error
	// Chain is DER, parsed; nil if the first cannot be.
	Chain []*x509.Certificate
	// Key is the private key.
	Key crypto.Signer
}

// Files are the names of the PEM files of a Leaf.
type Files struct{ Chain, Key string }

// Issue makes a certificate as s says, signed by c.
func (c *CA) Issue(s Spec) *Leaf {
	c.t.Helper()
	return issue(c.t, s, c)
}

// SelfSigned makes a certificate as s says, signed with its own key.
func SelfSigned(t testing.TB, s Spec) *Leaf {
	t.Helper()
	return issue(t, s, nil)
}

func issue(t testing.TB, s Spec, ca *CA) *Leaf {
	t.Helper()
	key := s.Key
	if key == nil {
		key = newKey(t)
	}
	public := s.Public
	if public == nil {
		public = key.Public()
	}
	template := s.template(t)
	parent, signer := template, key
	if ca != nil {
		parent, signer = ca.Certificate, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatalf("make a certificate: %v", err)
	}
	l := &Leaf{t: t, DER: [][]byte{der}, Key: key}
	if l.Certificate, l.Refused = x509.ParseCertificate(der); l.Refused == nil {
		l.Chain = []*x509.Certificate{l.Certificate}
	}
	if ca != nil {
		for _, above := range ca.above {
			l.DER = append(l.DER, above.Raw)
			if l.Refused == nil {
				l.Chain = append(l.Chain, above)
			}
		}
	}
	return l
}

// With is the leaf with further certificates after its own chain, as a server that sends too much does.
func (l *Leaf) With(more ...*x509.Certificate) *Leaf {
	c := *l
	c.DER, c.Chain = append([][]byte(nil), l.DER...), append([]*x509.Certificate(nil), l.Chain...)
	for _, m := range more {
		c.DER, c.Chain = append(c.DER, m.Raw), append(c.Chain, m)
	}
	return &c
}

// TLS is the leaf for a tls.Config.
func (l *Leaf) TLS() tls.Certificate { return tlsCertificate(l.DER, l.Certificate, l.Key) }

// ChainPEM is the chain, KeyPEM the key in PKCS #8.
func (l *Leaf) ChainPEM() []byte {
	var b []byte
	for _, der := range l.DER {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return b
}

// KeyPEM is the private key in PKCS #8.
func (l *Leaf) KeyPEM() []byte {
	l.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(l.Key)
	if err != nil {
		l.t.Fatalf("write a key: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// WriteFiles writes the chain (mode 0644) and the key (mode 0600) to new files in dir.
func (l *Leaf) WriteFiles(dir string) Files {
	l.t.Helper()
	base := filepath.Join(dir, serialText(l.t))
	f := Files{Chain: base + ".crt", Key: base + ".key"}
	l.WriteTo(f)
	return f
}

// WriteTo writes the chain and the key over the files that f names, as a renewal does.
func (l *Leaf) WriteTo(f Files) {
	l.t.Helper()
	write(l.t, f.Chain, l.ChainPEM(), 0o644)
	write(l.t, f.Key, l.KeyPEM(), 0o600)
}

func (s Spec) template(t testing.TB) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: serial(t), NotBefore: s.NotBefore, NotAfter: s.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true, IsCA: s.CA, UnknownExtKeyUsage: s.Usages, ExtraExtensions: s.Extensions,
	}
	if s.CommonName != "" {
		c.Subject = pkix.Name{CommonName: s.CommonName}
	}
	if s.Usages == nil {
		c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{ServerAuth, ClientAuth}
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-notBefore)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(notAfter)
	}
	if san := s.san(t); san != nil {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{
			Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: s.CommonName == "", Value: san,
		})
	}
	return c
}

func (s Spec) san(t testing.TB) []byte {
	t.Helper()
	if s.SAN != nil {
		return s.SAN
	}
	var names []byte
	add := func(der []byte) { names = append(names, der...) }
	for _, n := range s.DNS {
		add(Element(asn1.ClassContextSpecific, 2, false, []byte(n)))
	}
	for _, n := range s.URI {
		add(Element(asn1.ClassContextSpecific, 6, false, []byte(n)))
	}
	for _, n := range s.SRV {
		add(OtherName(SRVName, Element(asn1.ClassUniversal, asn1.TagIA5String, false, []byte(n))))
	}
	for _, n := range s.XMPPAddr {
		add(OtherName(XMPPAddr, Element(asn1.ClassUniversal, asn1.TagUTF8String, false, []byte(n))))
	}
	for _, ip := range s.IP {
		add(Element(asn1.ClassContextSpecific, 7, false, ip.AsSlice()))
	}
	for _, raw := range s.Raw {
		add(raw)
	}
	if names == nil {
		return nil
	}
	return Element(asn1.ClassUniversal, asn1.TagSequence, true, names)
}

// The otherName types of XMPP (RFC 6120 §13.7.1.4; RFC 4985 for SRVName).
var (
	XMPPAddr = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
	SRVName  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}
)

// OtherName is a GeneralName of the kind otherName (RFC 5280 §4.2.1.6): value is the element inside its [0].
func OtherName(oid asn1.ObjectIdentifier, value []byte) []byte {
	id, err := asn1.Marshal(oid)
	if err != nil {
		panic(err) // an OID of a test that is none
	}
	return Element(asn1.ClassContextSpecific, 0, true, append(id, Element(asn1.ClassContextSpecific, 0, true, value)...))
}

// Element is one DER element.
func Element(class, tag int, compound bool, content []byte) []byte {
	der, err := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: compound, Bytes: content})
	if err != nil {
		panic(err) // content of a test that cannot be written
	}
	return der
}

//go:embed testdata/rsa8192.pem
var rsa8192 []byte

// RSA8192 is a key of 8,192 bits, the largest that crypto/tls takes, made once: making one takes a quarter of a minute.
func RSA8192(t testing.TB) crypto.Signer {
	t.Helper()
	block, _ := pem.Decode(rsa8192)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatalf("read testdata/rsa8192.pem: %v", err)
	}
	return key.(crypto.Signer)
}
