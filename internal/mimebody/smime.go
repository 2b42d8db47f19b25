package mimebody

import (
	"errors"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// SMIME tells whether a content of this type is an S/MIME object (RFC 8551 §3.2, §3.5): CMS, or a multipart/signed whose signature is CMS.
// What is signed by other means (OpenPGP) is Secured too, and no S/MIME.
func SMIME(t cpim.ContentType) bool {
	switch t.Media() {
	case "application/pkcs7-mime", "application/x-pkcs7-mime":
		return true
	case "multipart/signed":
		p, _ := t.Param("protocol")
		return strings.EqualFold(p, "application/pkcs7-signature") || strings.EqualFold(p, "application/x-pkcs7-signature")
	}
	return false
}

// Signature tells whether a part of this type is the detached signature of an S/MIME object (RFC 8551 §3.5.3).
func Signature(t cpim.ContentType) bool {
	return t.Media() == "application/pkcs7-signature" || t.Media() == "application/x-pkcs7-signature"
}

// Letter tells whether a content of this type says itself who it is from, in a form that is compared with nothing here: a mail, a SIP message (RFC 3261
// §23.4), a stanza (RFC 3923 §5). What is signed in clear and is one would let its signer speak as somebody else inside of it (T-ID-02).
func Letter(t cpim.ContentType) bool {
	switch t.Media() {
	case "message/rfc822", "message/global", "message/sip", "message/sipfrag", "application/xmpp+xml":
		return true
	}
	return false
}

// SMIMESigned tells whether an S/MIME object of this type says of itself that it is signed. An encrypted one may be signed inside, which
// nobody on the way can know.
func SMIMESigned(t cpim.ContentType) bool {
	kind, _ := t.Param("smime-type")
	return SMIME(t) && (t.Type() == "multipart" || strings.EqualFold(kind, "signed-data"))
}

// Readable visits what a content of several parts holds in clear: each part that has no parts itself, in its order, with its transfer
// encoding undone. Of a multipart/signed that is what is signed, and the signature; after a message/cpim comes what is in it. A content without
// parts has nothing to visit: it is the caller's. An error of visit ends the walk and is returned; the others are those of Split, Decoded and
// cpim.ParseMessage.
func Readable(c adapters.Content, lim Limits, visit func(t cpim.ContentType, octets []byte) error) error {
	t, err := cpim.ParseContentType(c.Type)
	if err != nil || t.Type() != "multipart" {
		return err
	}
	return Visit(t, c.Octets, lim, visit)
}

// Visit is Readable for a content of type t that may be one part alone: then that is visited.
func Visit(t cpim.ContentType, octets []byte, lim Limits, visit func(t cpim.ContentType, octets []byte) error) error {
	lim = lim.orDefault()
	w := walk{lim: lim, parts: lim.Parts, visit: visit}
	return w.part(t, octets, 1)
}

// walk holds what is left of the limits.
type walk struct {
	lim   Limits
	parts int
	visit func(cpim.ContentType, []byte) error
}

func (w *walk) part(t cpim.ContentType, octets []byte, depth int) error {
	container := t.Type() == "multipart" || t.Is("message/cpim")
	if container && depth > w.lim.Depth {
		return &syntax.Error{Rule: "multipart-depth", Section: multipartSection, Expected: "parts nested no deeper than the limit"}
	}
	if t.Type() == "multipart" {
		return w.into(t, octets, depth)
	}
	if err := w.visit(t, octets); err != nil || !container {
		return err
	}
	m, err := cpim.ParseMessage(octets, cpim.Limits{})
	if err != nil {
		return err
	}
	inner := m.Content()
	encoding, _ := inner.Header("Content-Transfer-Encoding")
	octets, err = Decode(encoding.Text(), inner.Body())
	switch {
	case errors.Is(err, ErrUnsupported):
		return nil
	case err != nil:
		return err
	}
	return w.part(inner.ContentType(), octets, depth+1)
}

func (w *walk) into(t cpim.ContentType, octets []byte, depth int) error {
	parts, err := Split(t, octets, w.lim)
	if err != nil {
		return err
	}
	if w.parts -= len(parts); w.parts < 0 {
		return &syntax.Error{Rule: "multipart-parts", Section: multipartSection, Expected: "no more parts than the limit"}
	}
	if t.Is("multipart/signed") && len(parts) != 2 {
		// "The multipart/signed content type contains exactly two body parts" (RFC 1847, which RFC 8551 §3.5.3 builds on): else readers would
		// choose what is signed.
		return &syntax.Error{Rule: "signed-parts", Section: "RFC 8551 §3.5.3", Expected: "two parts: what is signed, and the signature"}
	}
	for i := range parts {
		inner := parts[i].Type()
		octets, err := parts[i].Decoded()
		switch {
		case errors.Is(err, ErrUnsupported):
			continue // an encoding that nobody knows hides what it encodes
		case err != nil:
			return err
		}
		if err := w.part(inner, octets, depth+1); err != nil {
			return err
		}
	}
	return nil
}
