package sip

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// Presence that is signed or encrypted by S/MIME (RFC 3859 §4): the object crosses whole, beside a document for those who cannot open it.

// The types of S/MIME objects that a NOTIFY may carry (RFC 8551 §3.2, §3.5).
const (
	mediaSigned = "multipart/signed"
	mediaCMS    = "application/pkcs7-mime"
)

// acceptedSealed is what a SUBSCRIBE takes beside documents: whatever form the presentity gives its presence (RFC 3856 §6.7).
const acceptedSealed = mediaSigned + ";q=0.5, " + mediaCMS + ";q=0.5"

// wordsSealed is the note of presence that only who has the key can read.
const wordsSealed = "This presence is encrypted (S/MIME)"

// Sealing tells which S/MIME objects a watcher takes, by the Accept of its SUBSCRIBE: "one of the types listed in the Accept header field in the
// most recent SUBSCRIBE request" (RFC 3856 §6.7).
type Sealing struct {
	// Signed is for multipart/signed, CMS for application/pkcs7-mime.
	Signed, CMS bool
}

// acceptedSealing is what Accept says of S/MIME objects. Only their own names count: a watcher that takes "*/*" has not said that it can open them.
func acceptedSealing(req *wire.Message) (s Sealing) {
	for v := range req.Headers("Accept") {
		switch media, q := acceptRange(v); media {
		case mediaSigned:
			s.Signed = q > 0
		case mediaCMS:
			s.CMS = q > 0
		}
	}
	return s
}

// takes tells whether the watcher takes an object of this type.
func (s Sealing) takes(contentType string) bool {
	t, err := cpim.ParseContentType(contentType)
	if err != nil || !mimebody.SMIME(t) {
		return false
	}
	if t.Type() == "multipart" {
		return s.Signed
	}
	return s.CMS
}

// sealedBody is the body of a NOTIFY or PUBLISH that carries the object of op as it is. fall is the one for who does not take it.
func sealedBody(op *adapters.NotifyOp, fall *body) *body {
	b := &body{octets: op.Sealed.Octets, media: op.Sealed.Type, doc: fall.doc, fall: fall}
	if fall.digest != "" {
		h := sha256.Sum256(op.Sealed.Octets)
		b.digest = hex.EncodeToString(h[:16])
	}
	return b
}

// sealedOf tells whether a request carries an S/MIME object as presence, and of which type.
func sealedOf(req *wire.Message, opts ReadOptions) (cpim.ContentType, bool) {
	t, err := cpim.ParseContentType(req.ContentType())
	return t, err == nil && mimebody.SMIME(t) && opts.SMIME != SMIMERefuse && !encoded(req)
}

// readSealed reads an S/MIME object of type t that is the presence of the presentity. doc is the document that it has in clear, or one that says
// that there is one to be opened; a document in clear must be about the presentity (G8, T-ID-07).
func readSealed(req *wire.Message, t cpim.ContentType, presentity cpim.Address, opts ReadOptions) (sealed *adapters.Content, doc *pidf.Presence, _ *Refusal) {
	sealed = &adapters.Content{Type: strings.Clone(req.ContentType()), Octets: req.Body()}
	if v, ok := req.Header("Content-Transfer-Encoding"); ok {
		octets, err := mimebody.Decode(v, sealed.Octets)
		if err != nil || t.Type() == "multipart" && len(octets) != len(sealed.Octets) {
			return nil, nil, refuse(WhySyntax, 400, "Bad Request: Content-Transfer-Encoding")
		}
		sealed.Octets = octets
	}
	sealed.Octets = append([]byte(nil), sealed.Octets...) // it outlives the request
	var bad *Refusal
	err := mimebody.Readable(*sealed, mimebody.Limits{}, func(t cpim.ContentType, octets []byte) error {
		switch {
		case mimebody.SMIME(t), mimebody.Signature(t):
			return nil
		case !t.Is(pidf.MediaType):
			bad = refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept", Value: acceptedPresence})
			return errStop
		}
		d, err := pidf.Parse(octets)
		if err != nil {
			return err
		}
		if bad = checkEntity(d, presentity, opts); bad != nil {
			return errStop
		}
		if doc != nil {
			return errors.New("sip: two presence documents")
		}
		doc = d
		return nil
	})
	switch {
	case bad != nil:
		return nil, nil, bad
	case err != nil:
		return nil, nil, refuse(WhySyntax, 400, "Bad Request: a malformed signed presence document")
	case doc != nil:
		return sealed, doc, nil
	}
	entity, err := pidf.ParseURI(presentity.String())
	if err != nil {
		return nil, nil, refuse(WhyAddress, 400, phraseOf(400))
	}
	// RFC 3923 §4.3, Example 12: what is encrypted is told without a type, as available. Who is behind it says the rest inside.
	return sealed, &pidf.Presence{Entity: entity, Tuples: []pidf.Tuple{{
		ID: pidf.TupleID(""), Status: pidf.Status{Basic: pidf.BasicOpen}, Notes: []pidf.Note{{Text: wordsSealed, Lang: "en"}},
	}}}, nil
}
