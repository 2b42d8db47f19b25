package stanza

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// What a client that does not know RFC 3923 shows in place of a message that it cannot open.
const (
	wordsEncrypted = "This message is encrypted (S/MIME), and this program cannot open it (RFC 3923)"
	wordsSecured   = "This message is signed or encrypted (S/MIME), and this program cannot open it (RFC 3923)"
	wordsSigned    = "This message is signed (S/MIME), and this program cannot open it (RFC 3923)"
)

// securedTexts is a message whose content t is an S/MIME object: the object, and a body for programs that do not know of it (RFC 3923 §7, case
// #1: they "ignore the <e2e/> extension").
func securedTexts(op *adapters.MessageOp, t cpim.ContentType) (texts, error) {
	object, err := wrapped(op, t)
	if err != nil {
		return texts{}, err
	}
	out := texts{lang: "en", e2e: object}
	if text, lang, ok := clearText(op.Content, t); ok {
		out.plain, out.lang = []byte(text), lang
		return out, nil
	}
	words := wordsSecured
	switch kind, _ := t.Param("smime-type"); {
	case mimebody.SMIMESigned(t):
		words = wordsSigned
	case strings.EqualFold(kind, "enveloped-data"), strings.EqualFold(kind, "authEnveloped-data"):
		words = wordsEncrypted
	}
	out.plain = []byte(words)
	return out, nil
}

// object is what <e2e/> holds: "it MUST remove the non-XMPP "wrapper" (if any) in order to reveal the multipart S/MIME object, wrap the object
// in an XMPP message" (RFC 3923 §8). It is a MIME entity, as the character data that says it.
type object struct {
	text []byte
	// exact tells that each CR must come back as it is; else text has LF alone.
	exact bool
}

// wrapped is the object of op.
//
//   - A text (multipart/signed, Message/CPIM) whose lines all end with CR LF is given with LF for each: XML has no other line end in a CDATA
//     section (XML 1.0 §2.11), and what is signed has no other than CR LF (RFC 8551 §3.1.1), so whoever reads it knows what each LF was.
//   - If something beside what is signed has other line ends (OpenSSL writes LF in the base64 of the signature), CR is written as a reference.
//   - CMS is binary, which XML cannot carry although RFC 3923 §6.4 asks for it, so it is given in base64, as RFC 3923 §3.3 shows it.
//
// What would not be the same on the other end is refused: octets that are no characters of XML, and other line ends in what is signed, because
// XMPP servers do not keep references.
func wrapped(op *adapters.MessageOp, t cpim.ContentType) (object, error) {
	octets, kind := op.Content.Octets, op.Content.Type
	if op.Object != nil {
		octets, kind = op.Object, "Message/CPIM"
	}
	if op.Object == nil && t.Type() != "multipart" {
		return object{text: appendBase64([]byte("Content-Type: "+kind+"\nContent-Transfer-Encoding: base64\n\n"), octets)}, nil
	}
	if !carriesBytes(octets) || !carries(kind) || !signedInLines(op.Content, t) {
		return object{}, &Refusal{Reason: adapters.ReasonUnsupportedContent, Detail: "The signed message holds octets that XMPP cannot carry unchanged"}
	}
	if !canonicalLines(octets) {
		return object{text: append([]byte("Content-Type: "+kind+"\r\n\r\n"), octets...), exact: true}, nil
	}
	return object{text: append([]byte("Content-Type: "+kind+"\n\n"), bytes.ReplaceAll(octets, []byte("\r\n"), []byte("\n"))...)}, nil
}

// signedInLines tells whether what is signed in clear has the one line end that it can have, CR LF. It is true where nothing is.
func signedInLines(c adapters.Content, t cpim.ContentType) bool {
	if t.Type() != "multipart" {
		return true
	}
	parts, err := mimebody.Split(t, c.Octets, mimebody.Limits{})
	return err == nil && canonicalLines(parts[0].Bytes())
}

// canonicalLines tells whether each line ends with CR LF, and neither of the two stands alone.
func canonicalLines(b []byte) bool {
	for i, c := range b {
		if c == '\r' && (i+1 == len(b) || b[i+1] != '\n') || c == '\n' && (i == 0 || b[i-1] != '\r') {
			return false
		}
	}
	return true
}

// base64Line is how many octets make a line of 76 characters (RFC 2045 §6.8).
const base64Line = 57

func appendBase64(dst, octets []byte) []byte {
	for len(octets) > 0 {
		n := min(base64Line, len(octets))
		dst = append(base64.StdEncoding.AppendEncode(dst, octets[:n]), '\n')
		octets = octets[n:]
	}
	return dst
}

// clearText is what a person could read of a message that is signed in clear: the text of what is signed.
func clearText(c adapters.Content, t cpim.ContentType) (text, lang string, ok bool) {
	if t.Type() != "multipart" {
		return "", "", false
	}
	parts, err := mimebody.Split(t, c.Octets, mimebody.Limits{})
	if err != nil {
		return "", "", false
	}
	kind := parts[0].Type()
	octets, err := parts[0].Decoded()
	if err != nil {
		return "", "", false
	}
	lang = parts[0].Header("Content-Language")
	if kind.Is("message/cpim") {
		m, err := cpim.ParseMessage(octets, cpim.Limits{})
		if err != nil {
			return "", "", false
		}
		e := m.Content()
		kind = e.ContentType()
		h, _ := e.Header("Content-Language")
		lang = h.Text()
		encoding, _ := e.Header("Content-Transfer-Encoding")
		if octets, err = mimebody.Decode(encoding.Text(), e.Body()); err != nil {
			return "", "", false
		}
	}
	r, err := mimebody.Render(adapters.Content{Type: kind.String(), Language: lang, Octets: octets}, mimebody.Limits{})
	if err != nil || len(r.Texts) == 0 || strings.TrimSpace(r.Texts[0].Text) == "" || !carries(r.Texts[0].Text) {
		return "", "", false
	}
	return r.Texts[0].Text, r.Texts[0].Lang, true
}

// appendE2E appends the object to a message, and that its body is for programs that do not know of it (XEP-0428).
func appendE2E(dst []byte, o object) []byte {
	return append(appendObject(dst, o), "<fallback xmlns='"+SpaceFallback+"' for='"+spaceE2E+"'/>"...)
}

// appendObject appends the object, within a CDATA section (RFC 3923 §3.1) unless it has references, which a section cannot have.
func appendObject(dst []byte, o object) []byte {
	dst = append(dst, "<e2e xmlns='"+spaceE2E+"'>"...)
	if o.exact {
		dst = strictxml.AppendText(dst, string(o.text))
	} else {
		dst = append(dst, "<![CDATA["...)
		// "]]>" ends a section, so it is divided between two.
		dst = append(dst, bytes.ReplaceAll(o.text, []byte("]]>"), []byte("]]]]><![CDATA[>"))...)
		dst = append(dst, "]]>"...)
	}
	return append(dst, "</e2e>"...)
}
