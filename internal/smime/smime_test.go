package smime_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/internal/smime"
)

const multipart = `multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=b`

var (
	romeo, juliet = cpim.MustParseAddress("im:romeo@example.net"), cpim.MustParseAddress("im:juliet@example.com")
	entity        = cpimOf("romeo@example.net", "juliet@example.com")
)

func cpimOf(from, to string) string {
	return "Content-Type: Message/CPIM\r\n\r\nFrom: <im:" + from + ">\r\nTo: <im:" + to + ">\r\n\r\nContent-Type: text/plain\r\n\r\nBut soft!\r\n"
}

func sipOf(from, to string) string { return strings.ReplaceAll(cpimOf(from, to), "<im:", "<sip:") }

func presenceOf(entity string) string {
	return "Content-Type: application/pidf+xml\r\n\r\n<?xml version='1.0' encoding='UTF-8'?><presence xmlns='urn:ietf:params:xml:ns:pidf' entity='" + entity +
		"'><tuple id='a'><status><basic>open</basic></status></tuple></presence>"
}

// signature is CMS SignedData over content by a leaf; digest nil is SHA-256.
func signature(t testing.TB, l *certstest.Leaf, content string, digest asn1.ObjectIdentifier, detached bool) []byte {
	t.Helper()
	s, err := pkcs7.NewSignedData([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	if digest == nil {
		digest = pkcs7.OIDDigestAlgorithmSHA256
	}
	s.SetDigestAlgorithm(digest)
	if err := s.AddSigner(l.Certificate, l.Key, pkcs7.SignerInfoConfig{}); err != nil {
		t.Fatal(err)
	}
	for _, above := range l.Chain[1:] {
		s.AddCertificate(above)
	}
	if detached {
		s.Detach()
	}
	der, err := s.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func clear(content string, cms []byte) string {
	return "--b\r\n" + content + "\r\n--b\r\nContent-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(cms) + "\r\n--b--\r\n"
}

func operation(kind, body string) *adapters.MessageOp {
	return &adapters.MessageOp{
		From: adapters.Party{Address: romeo}, To: adapters.Party{Address: juliet}, Content: adapters.Content{Type: kind, Octets: []byte(body)},
	}
}

var email = []asn1.ObjectIdentifier{certs.EmailProtection().OID}

// A signature counts that is of this message, by the sender's own certificate, below an authority that the operator names, and by an algorithm that
// nobody can forge.
func TestCheck(t *testing.T) {
	ca := certstest.NewCA(t)
	signer := ca.Issue(certstest.Spec{URI: []string{"im:romeo@example.net", "pres:romeo@example.net"}, Usages: email})
	by := func(s certstest.Spec) string { return clear(entity, signature(t, ca.Issue(s), entity, nil, true)) }
	good := clear(entity, signature(t, signer, entity, nil, true))
	const opaque = "application/pkcs7-mime; smime-type=signed-data"
	uri := []string{"im:romeo@example.net"}
	below := ca.Intermediate(certstest.Authority{})
	for _, c := range []struct {
		name, kind, body string
		want             error
	}{
		{"signed", multipart, good, nil},
		{"SignedData", opaque, string(signature(t, signer, entity, nil, false)), nil},
		{"by SHA-512", multipart, clear(entity, signature(t, signer, entity, pkcs7.OIDDigestAlgorithmSHA512, true)), nil},
		{"below another CA", multipart, clear(entity, signature(t, below.Issue(certstest.Spec{URI: uri, Usages: email}), entity, nil, true)), nil},
		{"an XMPP address", multipart, by(certstest.Spec{XMPPAddr: []string{"romeo@example.net/orchard"}, Usages: email}), nil},
		{"an XMPP address in capitals", multipart, by(certstest.Spec{XMPPAddr: []string{"Romeo@EXAMPLE.net"}, Usages: email}), nil},
		{"a pres: address, in capitals", multipart, by(certstest.Spec{URI: []string{"PRES:Romeo@EXAMPLE.net"}, Usages: email}), nil},
		{"without usages", multipart, by(certstest.Spec{URI: uri, Usages: []asn1.ObjectIdentifier{}}), nil},

		{"plain text", "text/plain", "But soft!", smime.Unsigned},
		{"a type that is none", "x", "", smime.Unsigned},
		{"encrypted", "application/pkcs7-mime; smime-type=enveloped-data", "\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", smime.Unseen},
		{"changed", multipart, strings.Replace(good, "But soft!", "But hard!", 1), smime.Bad},
		{"another's signature of another text", multipart, clear(entity, signature(t, signer, entity+" ", nil, true)), smime.Bad},
		{"somebody else's", multipart, by(certstest.Spec{URI: []string{"im:tybalt@example.net"}, Usages: email}), smime.Other},
		{"a domain's", multipart, by(certstest.Spec{DNS: []string{"example.net"}, URI: []string{"sip:example.net"}, Usages: email}), smime.Other},
		{"a name in the subject", multipart, by(certstest.Spec{CommonName: "im:romeo@example.net", Usages: email}), smime.Other},
		{"a name of another scheme", multipart, by(certstest.Spec{URI: []string{"sip:romeo@example.net"}, Usages: email}), smime.Other},
		{"a server's certificate", multipart, by(certstest.Spec{URI: uri}), smime.Untrusted},
		{"of yesterday", multipart, by(certstest.Spec{URI: uri, Usages: email, NotAfter: time.Now().Add(-time.Hour)}), smime.Untrusted},
		{"of tomorrow", multipart, by(certstest.Spec{URI: uri, Usages: email, NotBefore: time.Now().Add(time.Hour)}), smime.Untrusted},
		{"a stranger's authority", multipart, clear(entity, signature(t, certstest.NewCA(t).Issue(certstest.Spec{URI: uri, Usages: email}), entity, nil, true)), smime.Untrusted},
		{"his own authority", multipart, clear(entity, signature(t, certstest.SelfSigned(t, certstest.Spec{URI: uri, Usages: email}), entity, nil, true)), smime.Untrusted},
		{"a CA for other domains", multipart, clear(entity, signature(t, ca.Intermediate(certstest.Authority{PermittedDNS: []string{"example.com"}}).Issue(certstest.Spec{URI: uri, Usages: email}), entity, nil, true)), smime.Untrusted},
		{"by SHA-1", multipart, clear(entity, signature(t, signer, entity, pkcs7.OIDDigestAlgorithmSHA1, true)), smime.Weak},
		{"SignedData from somebody else", opaque, string(signature(t, signer, cpimOf("tybalt@example.net", "juliet@example.com"), nil, false)), smime.OtherInner},
		{"SignedData to somebody else", opaque, string(signature(t, signer, cpimOf("romeo@example.net", "nurse@example.com"), nil, false)), smime.OtherInner},
		{"SignedData, forwarded within", opaque, string(signature(t, signer, "Content-Type: message/cpim\r\n\r\nFrom: <im:romeo@example.net>\r\n\r\n"+cpimOf("tybalt@example.net", "juliet@example.com"), nil, false)), smime.OtherInner},
		{"SignedData, a part from somebody else", opaque, string(signature(t, signer, "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n"+cpimOf("tybalt@example.net", "juliet@example.com")+"\r\n--c--\r\n", nil, false)), smime.OtherInner},
		{"SignedData, a mail", opaque, string(signature(t, signer, "Content-Type: message/rfc822\r\n\r\nFrom: tybalt@example.net\r\n\r\nx", nil, false)), smime.OtherInner},
		{"SignedData, encoded", opaque, string(signature(t, signer, "Content-Type: message/cpim\r\nContent-Transfer-Encoding: base64\r\n\r\n"+base64.StdEncoding.EncodeToString([]byte(strings.TrimPrefix(entity, "Content-Type: Message/CPIM\r\n\r\n"))), nil, false)), nil},
		{"SignedData from somebody else in small letters", opaque, string(signature(t, signer, strings.Replace(entity, "From:", "from: <im:tybalt@example.net>\r\nFrom:", 1), nil, false)), smime.OtherInner},
		{"SignedData in two encodings", opaque, string(signature(t, signer, strings.NewReplacer(
			"\r\n\r\nFrom:", "\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Transfer-Encoding: 8bit\r\n\r\nX: =\r\nFrom: <im:tybalt@example.net>\r\nFro=6D:").Replace(entity), nil, false)), smime.Malformed},
		{"SignedData with sip: URIs", opaque, string(signature(t, signer, sipOf("romeo@example.net", "juliet@example.com"), nil, false)), nil},
		{"SignedData from somebody else's sip: URI", opaque, string(signature(t, signer, sipOf("tybalt@example.net", "juliet@example.com"), nil, false)), smime.OtherInner},
		{"SignedData to somebody else's sip: URI", opaque, string(signature(t, signer, sipOf("romeo@example.net", "nurse@example.com"), nil, false)), smime.OtherInner},
		{"SignedData, his own presence", opaque, string(signature(t, signer, presenceOf("pres:romeo@example.net"), nil, false)), nil},
		{"SignedData, somebody else's presence", opaque, string(signature(t, signer, presenceOf("pres:tybalt@example.net"), nil, false)), smime.OtherInner},
		{"SignedData, a malformed presence", opaque, string(signature(t, signer, "Content-Type: application/pidf+xml\r\n\r\n<presence/>", nil, false)), smime.Malformed},
		{"SignedData of no entity", opaque, string(signature(t, signer, "Content-Type: message/cpim\r\n\r\nx", nil, false)), smime.Malformed},
		{"a signature that has a content of its own", multipart, clear(entity, signature(t, signer, entity, nil, false)), smime.Malformed},
		{"no signature in it", opaque, "\x30\x00", smime.Malformed},
		{"nothing", opaque, "", smime.Malformed},
		{"something behind it", opaque, string(append(signature(t, signer, entity, nil, false), 0)), smime.Malformed},
		{"a part that is no signature", multipart, strings.Replace(good, "pkcs7-signature\r\n", "octet-stream\r\n", 1), smime.Malformed},
		{"deep", opaque, strings.Repeat("\x30\x80", 40000), smime.Malformed},
		{"many", opaque, "\x30\x83\x02\x00\x00" + strings.Repeat("\x05\x00", 1<<16), smime.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := smime.New(ca.Pool()).Check(operation(c.kind, c.body), time.Now())
			if err != c.want {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	active := operation(multipart, good)
	active.Activity = adapters.ActivityComposing
	if err := smime.New(ca.Pool()).Check(active, time.Now()); err != smime.Unsigned {
		t.Errorf("composing: %v", err)
	}
	if err := smime.New(ca.Pool()).Check(operation(multipart, good), time.Now().AddDate(100, 0, 0)); err != smime.Untrusted {
		t.Errorf("in a hundred years: %v", err)
	}
}

// What is signed is for the recipient too if it names the address by which the sender knows him, and for nobody else.
func TestSignedForAnotherAddressOfTheRecipient_TID02(t *testing.T) {
	ca := certstest.NewCA(t)
	signer := ca.Issue(certstest.Spec{URI: []string{"im:romeo@example.net"}, Usages: email})
	for _, c := range []struct {
		to, known string
		want      error
	}{
		{`juliet%40example.com@example.org`, `im:juliet%40example.com@example.org`, nil},
		{"juliet@example.com", `im:juliet%40example.com@example.org`, nil},
		{"nurse@example.com", `im:juliet%40example.com@example.org`, smime.OtherInner},
		{`juliet%40example.com@example.org`, "", smime.OtherInner},
	} {
		op := operation("application/pkcs7-mime; smime-type=signed-data", string(signature(t, signer, cpimOf("romeo@example.net", c.to), nil, false)))
		if c.known != "" {
			op.Known = cpim.MustParseAddress(c.known)
		}
		if err := smime.New(ca.Pool()).Check(op, time.Now()); err != c.want {
			t.Errorf("to %s, known as %q: %v, want %v", c.to, c.known, err, c.want)
		}
	}
}

// What a certificate has for an XMPP address is a JID, whose escapes are not those of a user's (XEP-0106 §4.1): o'malley is no other user's signer,
// and is his own.
func TestAnEscapedAddressInACertificate_TID02(t *testing.T) {
	ca := certstest.NewCA(t)
	const text = "Content-Type: text/plain\r\n\r\nBut soft!"
	body := clear(text, signature(t, ca.Issue(certstest.Spec{XMPPAddr: []string{`o\27malley@example.net`}, Usages: email}), text, nil, true))
	for user, want := range map[string]error{"im:o'malley@example.net": nil, `im:o%5C27malley@example.net`: smime.Other} {
		op := operation(multipart, body)
		op.From.Address = cpim.MustParseAddress(user)
		if err := smime.New(ca.Pool()).Check(op, time.Now()); err != want {
			t.Errorf("%s: %v, want %v", user, err, want)
		}
	}
}

// A certificate that nobody stands for may hold a key of any size, and a signature by it is work that a stranger makes the gateway do before it
// knows anything of the message's sender: with 100,000 bits 0.4 s, with a million, which fit into a message, 40 s. None is computed.
func TestNoWorkForAKeyOfNobody(t *testing.T) {
	ca := certstest.NewCA(t)
	signer := ca.Issue(certstest.Spec{URI: []string{"im:romeo@example.net"}, Usages: email})
	n := new(big.Int).Lsh(big.NewInt(1), 100_000)
	huge, err := x509.CreateCertificate(rand.Reader, signer.Certificate, signer.Certificate, &rsa.PublicKey{N: n.Sub(n, big.NewInt(1)), E: 1<<31 - 1}, signer.Key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(huge)
	if err != nil {
		t.Fatal(err)
	}
	// A signature that is none, which only who computes finds out.
	s, err := pkcs7.NewSignedData([]byte(entity))
	if err != nil {
		t.Fatal(err)
	}
	s.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	s.SetEncryptionAlgorithm(pkcs7.OIDEncryptionAlgorithmRSASHA256)
	if err := s.AddSigner(certificate, constant(make([]byte, 12_500)), pkcs7.SignerInfoConfig{}); err != nil {
		t.Fatal(err)
	}
	s.Detach()
	der, err := s.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := smime.New(ca.Pool()).Check(operation(multipart, clear(entity, der)), time.Now()); err != smime.Untrusted {
		t.Errorf("%v, want %v before the signature is looked at", err, smime.Untrusted)
	}
}

// constant is a key that signs everything alike.
type constant []byte

func (c constant) Public() crypto.PublicKey                                  { return &rsa.PublicKey{} }
func (c constant) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return c, nil }

// The attributes that a signature is over are DER like any other: without attributes of its own, a SignedData whose content are those of an earlier
// signature would have that one's signature. So one without attributes does not count (RFC 5652 §5.3).
func TestAttributesAreNoContent(t *testing.T) {
	ca := certstest.NewCA(t)
	signer := ca.Issue(certstest.Spec{URI: []string{"im:romeo@example.net"}, Usages: email})
	s, err := pkcs7.NewSignedData([]byte(entity))
	if err != nil {
		t.Fatal(err)
	}
	s.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := s.SignWithoutAttr(signer.Certificate, signer.Key, pkcs7.SignerInfoConfig{}); err != nil {
		t.Fatal(err)
	}
	der, err := s.Finish()
	if err != nil {
		t.Fatal(err)
	}
	p, err := pkcs7.Parse(der)
	if err != nil || p.Verify() != nil {
		t.Fatalf("the library has it for good otherwise: %v", err)
	}
	if err := smime.New(ca.Pool()).Check(operation("application/pkcs7-mime", string(der)), time.Now()); err != smime.Malformed {
		t.Errorf("%v", err)
	}
}

func TestOpen(t *testing.T) {
	ca, dir := certstest.NewCA(t), t.TempDir()
	file := ca.WriteRoot(dir)
	v, err := smime.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	signer := ca.Issue(certstest.Spec{URI: []string{"im:romeo@example.net"}, Usages: email})
	if err := v.Check(operation(multipart, clear(entity, signature(t, signer, entity, nil, true))), time.Now()); err != nil {
		t.Error(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{filepath.Join(dir, "none"), empty, dir} {
		if _, err := smime.Open(bad); err == nil || strings.HasPrefix(err.Error(), "tls") || !strings.Contains(err.Error(), "; ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// FuzzCheck_TFZ12: no CMS of a stranger does anything but fail, unless it is the signature of this message.
func FuzzCheck_TFZ12(f *testing.F) {
	ca := certstest.NewCA(f)
	signer := ca.Issue(certstest.Spec{URI: []string{"im:romeo@example.net"}, Usages: email})
	good := signature(f, signer, entity, nil, true)
	f.Add(good, entity)
	f.Add(signature(f, signer, entity, nil, false), entity)
	f.Add([]byte("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01\x00\x00\x00\x00\x00\x00"), "")
	f.Add([]byte{}, "x")
	v, now := smime.New(ca.Pool()), time.Now()
	f.Fuzz(func(t *testing.T, cms []byte, content string) {
		err := v.Check(operation(multipart, clear(content, cms)), now)
		var fault smime.Fault
		switch {
		case err != nil && !errors.As(err, &fault):
			t.Errorf("%T %v", err, err)
		case err == nil && content != entity:
			t.Errorf("%q is signed by %x", content, cms)
		case bytes.Equal(cms, good) && content == entity && err != nil:
			t.Error(err)
		}
		if err := v.Check(operation("application/pkcs7-mime", string(cms)), now); err == nil {
			// Its own content was signed: by the one who can.
			if p, bad := pkcs7.Parse(cms); bad != nil || string(p.Content) != entity {
				t.Errorf("%x: %v", cms, bad)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	ca := certstest.NewCA(b)
	signer := ca.Issue(certstest.Spec{URI: []string{"im:romeo@example.net"}, Usages: email})
	op, v, now := operation(multipart, clear(entity, signature(b, signer, entity, nil, true))), smime.New(ca.Pool()), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Check(op, now); err != nil {
			b.Fatal(err)
		}
	}
}
