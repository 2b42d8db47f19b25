// Package smime verifies the signatures of messages (S/MIME, RFC 8551) where an operator's policy asks for it. It makes and changes nothing:
// objects cross as they are, whatever it says of them.
//
// CMS is read by github.com/smallstep/pkcs7, with what that library leaves open checked here: the depth of what it parses recursively, that what
// is signed are signed attributes of the content, and which algorithms count. Paths and names of certificates are judged by internal/certs.
package smime

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// Fault is why a message has no good signature of its sender, as its sender may be told.
type Fault string

// The faults.
const (
	Unsigned   Fault = "The message is not signed (S/MIME)"
	Unseen     Fault = "The message is encrypted, so that nobody on the way can see whether it is signed"
	Malformed  Fault = "The signature is malformed"
	Weak       Fault = "The signature is made by an algorithm that does not count: SHA-256, SHA-384 or SHA-512 with RSA or ECDSA do"
	Bad        Fault = "The signature is not of this message"
	Untrusted  Fault = "The signer's certificate leads to no authority that this gateway knows, or is not valid for this now"
	Other      Fault = "The signature is not the sender's: no address in the certificate is"
	OtherInner Fault = "What is signed is from or to somebody else"
)

// Error implements error.
func (f Fault) Error() string { return string(f) }

// maxSignature bounds the CMS object of a signature in octets; one is two to eight kibibytes with its certificates.
const maxSignature = 256 << 10

// Verifier verifies signatures by trust anchors. It never changes; any number of goroutines may use it.
type Verifier struct{ roots *x509.CertPool }

// Open reads the trust anchors of a file in PEM. Its error says what is wrong with the file, and what to do.
func Open(file string) (*Verifier, error) {
	list, err := certs.ReadRoots("", "", file)
	if err != nil {
		var f *certs.FileFault
		if errors.As(err, &f) {
			return nil, errors.New(certs.Quote(f.File) + " " + f.Problem + "; " + f.Instead)
		}
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range list {
		pool.AddCert(c)
	}
	return &Verifier{pool}, nil
}

// New is a Verifier by these anchors.
func New(roots *x509.CertPool) *Verifier { return &Verifier{roots} }

// Check says whether op is signed by its sender, at the time now. The error is a Fault. Of an object that is signed and then encrypted nothing can
// be said, of one that is encrypted and then signed it is.
func (v *Verifier) Check(op *adapters.MessageOp, now time.Time) error {
	t, err := cpim.ParseContentType(op.Content.Type)
	if err != nil || op.Activity != adapters.ActivityNone || !mimebody.SMIME(t) {
		return Unsigned
	}
	cms, content, detached := op.Content.Octets, []byte(nil), t.Type() == "multipart"
	if detached {
		parts, err := mimebody.Split(t, op.Content.Octets, mimebody.Limits{})
		if err != nil || len(parts) != 2 || !mimebody.Signature(parts[1].Type()) {
			return Malformed
		}
		content = parts[0].Bytes()
		if cms, err = parts[1].Decoded(); err != nil {
			return Malformed
		}
	}
	leaf, inner, err := v.verify(cms, content, detached, now)
	if err != nil {
		return err
	}
	if !names(leaf, op.From.Address) {
		return Other
	}
	if !detached {
		// One that is in clear was compared by the adapter (T-ID-02).
		return agrees(inner, op)
	}
	return nil
}

// The digests that count.
var (
	oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
)

// verify verifies SignedData (RFC 5652 §5) over content, or over what is in it, and returns the signer's certificate and what was signed.
func (v *Verifier) verify(cms, content []byte, detached bool, now time.Time) (path *certs.Path, signed []byte, err error) {
	defer func() {
		if recover() != nil { // a library's fault over what a stranger wrote is a malformed signature
			path, signed, err = nil, nil, Malformed
		}
	}()
	if len(cms) > maxSignature && detached || !shallow(cms) {
		return nil, nil, Malformed
	}
	if enveloped(cms) {
		return nil, nil, Unseen
	}
	p, err := pkcs7.Parse(cms)
	if err != nil || len(p.Signers) != 1 {
		return nil, nil, Malformed
	}
	if detached {
		if len(p.Content) > 0 {
			return nil, nil, Malformed // it has a content of its own, and readers would differ in which is signed
		}
		p.Content = content
	}
	s := &p.Signers[0]
	digest := s.DigestAlgorithm.Algorithm
	if !digest.Equal(oidSHA256) && !digest.Equal(oidSHA384) && !digest.Equal(oidSHA512) {
		return nil, nil, Weak
	}
	for _, weak := range []asn1.ObjectIdentifier{
		pkcs7.OIDDigestAlgorithmECDSASHA1, pkcs7.OIDDigestAlgorithmDSA, pkcs7.OIDDigestAlgorithmDSASHA1, pkcs7.OIDEncryptionAlgorithmRSASHA1, pkcs7.OIDEncryptionAlgorithmRSAMD5,
	} {
		if s.DigestEncryptionAlgorithm.Algorithm.Equal(weak) {
			return nil, nil, Weak
		}
	}
	// Without signed attributes the signature is over the content itself, so that the attributes of another message's signature could be shown
	// as a content that was signed. S/MIME has them always, each once (RFC 5652 §5.3, §11.1, §11.2), and the library compares no content type.
	count := map[string]int{}
	for _, a := range s.AuthenticatedAttributes {
		count[a.Type.String()]++
	}
	var kind asn1.ObjectIdentifier
	if count[pkcs7.OIDAttributeContentType.String()] != 1 || count[pkcs7.OIDAttributeMessageDigest.String()] != 1 ||
		count[pkcs7.OIDAttributeSigningTime.String()] > 1 || p.UnmarshalSignedAttribute(pkcs7.OIDAttributeContentType, &kind) != nil || !kind.Equal(pkcs7.OIDData) {
		return nil, nil, Malformed
	}
	leaf := p.GetOnlySigner()
	if leaf == nil {
		return nil, nil, Malformed // "No certificate for signer": RFC 3923 §6.6 has senders include it
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return nil, nil, Untrusted
	}
	presented := append([]*x509.Certificate{leaf}, slices.DeleteFunc(slices.Clone(p.Certificates), leaf.Equal)...)
	if path, err = certs.Verify(presented, []certs.Usage{certs.EmailProtection()}, certs.Trust{Roots: v.roots, Now: now}); err != nil {
		return nil, nil, Untrusted
	}
	// Last, by a key that an authority stands for: one of a stranger's own may be as large as a message, and takes seconds (CVE-2023-29409).
	if err := p.VerifyWithChainAtTime(nil, now); err != nil {
		return nil, nil, Bad
	}
	return path, p.Content, nil
}

// names tells whether a certificate is of a user: "Certificates that are used for S/MIME IM operations SHOULD, for the purposes of reference
// integrity, contain a subjectAltName field containing the IM URI of their subject" (RFC 3860 §4), or her XMPP address (RFC 3923 §6.3). "The
// resource identifier portion of the JID ... SHOULD be ignored", and that of a name in a certificate too. The subject does not count.
func names(path *certs.Path, user cpim.Address) bool {
	if !path.Permits(user.Domain()) {
		return false
	}
	user = user.WithScheme(cpim.IM)
	hers := func(uri string) bool {
		bare, _, _ := strings.Cut(uri, "/")
		a, err := cpim.ParseAddressFold(bare)
		return err == nil && a.WithScheme(cpim.IM) == user
	}
	if slices.ContainsFunc(path.Names().URI, func(uri string) bool {
		scheme, _, _ := strings.Cut(uri, ":")
		return (strings.EqualFold(scheme, "im") || strings.EqualFold(scheme, "pres")) && hers(uri)
	}) {
		return true
	}
	return slices.ContainsFunc(path.Names().XMPPAddr, func(name string) bool {
		j, err := jid.Parse(name)
		if err != nil {
			return false
		}
		a, err := jid.ToAddress(j, cpim.IM)
		return err == nil && a == user
	})
}

// agrees compares who an object that was signed opaquely, or a part of it, is from and to with the message, as adapters do with one that is signed
// in clear (T-ID-02).
func agrees(entity []byte, op *adapters.MessageOp) error {
	e, err := cpim.ParseEntity(entity, cpim.Limits{})
	if err != nil {
		return Malformed
	}
	encoding, _ := e.Header("Content-Transfer-Encoding")
	octets, err := mimebody.Decode(encoding.Text(), e.Body())
	if err != nil {
		return Malformed
	}
	err = mimebody.Visit(e.ContentType(), octets, mimebody.Limits{}, func(t cpim.ContentType, octets []byte) error {
		switch {
		case mimebody.Letter(t):
			return OtherInner
		case t.Is("message/cpim"):
			return agreesInner(octets, op)
		case t.Is(pidf.MediaType):
			doc, err := pidf.Parse(octets)
			if err == nil && !is(doc.Entity.String(), op.From.Address) {
				err = OtherInner
			}
			return err
		}
		return nil
	})
	if err != nil && !errors.Is(err, OtherInner) {
		return Malformed
	}
	return err
}

// agreesInner compares a Message/CPIM.
func agreesInner(octets []byte, op *adapters.MessageOp) error {
	m, err := cpim.ParseMessage(octets, cpim.Limits{})
	if err != nil {
		return err
	}
	if from, ok := m.From(); m.TwoFaced() || ok && !is(from.URI(), op.From.Address) {
		return OtherInner
	}
	named, found := false, false
	for mb := range m.To() {
		named = true
		found = found || is(mb.URI(), op.To.Address) || !op.Known.IsZero() && is(mb.URI(), op.Known)
	}
	if named && !found {
		return OtherInner
	}
	return nil
}

// is tells whether a URI names a user: im: and pres: ones, and what SIP user agents write there.
func is(uri string, user cpim.Address) bool {
	a, err := cpim.ParseAddress(uri)
	if err != nil {
		u, bad := cpim.ParseSIPURI(uri)
		if bad != nil {
			return false
		}
		id, bad := cpim.AddressFromSIPURI(u, cpim.IM)
		if bad != nil {
			return false
		}
		a = id.Address
	}
	return a.WithScheme(cpim.IM) == user
}
