package stanza

import (
	"bytes"
	"errors"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/imdn"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// e2e reads <e2e/> (RFC 3923 §9).
func (r *Reader) e2e() error {
	t, err := r.textWith(lineEndsKept)
	if err != nil {
		return err
	}
	s := &r.st
	if s.E2E != nil {
		r.refuse(BadRequest, "Two signed or encrypted objects in one stanza")
		return nil
	}
	s.Encrypted, s.E2E = true, append(make([]byte, 0, len(t)), t...)
	return nil
}

// unwrap makes the content of op of what <e2e/> holds: "it MUST remove the XMPP "wrapper" ... in order to reveal the multipart S/MIME object"
// (RFC 3923 §8). What is signed in clear must say of itself what the stanza says (T-ID-02). What stands beside it in the stanza's body is for
// programs that do not know of <e2e/>, and goes no further.
func unwrap(op *adapters.MessageOp, s *Stanza) *Error {
	content, t, e := entityContent(s.E2E)
	if e != nil {
		return e
	}
	op.Content = content
	octets := content.Octets
	if t.Is("message/cpim") {
		m, err := cpim.ParseMessage(octets, cpim.Limits{})
		if err != nil {
			return fault(BadRequest, "The Message/CPIM object in <e2e/> is malformed")
		}
		if e := sameEnds(m, op, s); e != nil {
			return e
		}
		if e := plainEnvelope(m); e != nil {
			return e
		}
		op.Object = octets
		inner := m.Content()
		t = inner.ContentType()
		encoding, _ := inner.Header("Content-Transfer-Encoding")
		if octets, err = mimebody.Decode(encoding.Text(), inner.Body()); err != nil {
			return fault(BadRequest, "The transfer encoding in Message/CPIM is malformed or unknown")
		}
		op.Content = adapters.Content{Type: t.String(), Octets: octets}
		takeDate(op, m)
	}
	if !mimebody.SMIME(t) {
		return fault(NotAcceptable, "What <e2e/> holds is neither signed nor encrypted by S/MIME, and cannot be carried to the other network")
	}
	if !signedInLines(op.Content, t) {
		return fault(BadRequest, "The signed object in <e2e/> is malformed")
	}
	var bad *Error
	err := mimebody.Readable(op.Content, mimebody.Limits{}, func(t cpim.ContentType, octets []byte) error {
		if mimebody.Letter(t) {
			bad = fault(NotAcceptable, "What is signed names a sender of its own, and cannot be carried to the other network")
			return errRefused
		}
		if t.Is("application/pidf+xml") {
			doc, err := pidf.Parse(octets)
			if err != nil {
				return err
			}
			if about, err := cpim.ParseAddress(doc.Entity.String()); err != nil || about.WithScheme(cpim.IM) != op.From.Address {
				bad = fault(NotAcceptable, "The signed presence document is about somebody else")
				return errRefused
			}
			return nil
		}
		if !t.Is("message/cpim") {
			return nil
		}
		m, err := cpim.ParseMessage(octets, cpim.Limits{})
		if err != nil {
			return err
		}
		if bad = sameEnds(m, op, s); bad != nil {
			return errRefused
		}
		takeDate(op, m)
		return nil
	})
	switch {
	case bad != nil:
		return bad
	case err != nil:
		return fault(BadRequest, "The signed object in <e2e/> is malformed")
	}
	return nil
}

// errRefused ends a walk whose outcome is known.
var errRefused = errors.New("stanza: refused")

// plainEnvelope refuses a Message/CPIM around an S/MIME object that wants something of who reads it: a header that must be known (RFC 3862
// §4.7), or a notice (RFC 5438), which XMPP asks for beside it.
func plainEnvelope(m *cpim.Message) *Error {
	for range m.Requires() {
		return fault(NotAcceptable, "A Message/CPIM object with Require cannot be carried to the other network")
	}
	asks, err := imdn.RequestOf(m)
	switch {
	case err != nil:
		return fault(BadRequest, "The Message/CPIM object in <e2e/> is malformed")
	case asks.Want != 0 || asks.MessageID != "" || imdn.IsNotification(m):
		return fault(NotAcceptable, "A Message/CPIM object with disposition notifications cannot be carried to the other network")
	}
	return nil
}

// takeDate takes when a message was written from within it, unless the stanza says it.
func takeDate(op *adapters.MessageOp, m *cpim.Message) {
	if at, ok := m.DateTime(); ok && op.Sent.IsZero() {
		op.Sent = at.Time()
	}
}

// sameEnds compares who an object is from and to with the stanza.
func sameEnds(m *cpim.Message, op *adapters.MessageOp, s *Stanza) *Error {
	is := func(mb cpim.Mailbox, is ...cpim.Address) bool {
		a, err := cpim.ParseAddress(mb.URI())
		if err != nil {
			return false
		}
		for _, b := range is {
			if a.WithScheme(cpim.IM) == b {
				return true
			}
		}
		return false
	}
	if from, ok := m.From(); m.TwoFaced() || ok && !is(from, op.From.Address) {
		return fault(NotAcceptable, "The From inside the signed message is not the sender")
	}
	named, found := false, false
	for mb := range m.To() {
		named, found = true, found || is(mb, op.To.Address, s.Reaches)
	}
	if named && !found {
		return fault(NotAcceptable, "The To inside the signed message is not the recipient")
	}
	return nil
}

// entityOf reads the character data of <e2e/> as a MIME entity.
//
// A text without any CR had its line ends normalised by XML (see wrapped), so each LF was CR LF. A text with some is as its sender wrote it.
// White space before the object is the stanza's, and then so is
// the white space behind it (RFC 3923 §3.2, Example 3).
func entityOf(text []byte) (*cpim.Entity, error) {
	if object := bytes.TrimLeft(text, " \t\r\n"); len(object) < len(text) {
		end := "\n"
		if bytes.IndexByte(object, '\r') >= 0 {
			end = "\r\n"
		}
		text = append(bytes.TrimRight(object, " \t\r\n"), end...)
	}
	if bytes.IndexByte(text, '\r') < 0 {
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	e, err := cpim.ParseEntity(text, cpim.Limits{})
	if err != nil {
		head, body, ok := bytes.Cut(text, []byte("\r\n\r\n"))
		if !ok {
			return bareCMS(text)
		}
		// COMPAT(RFC 3923, Example 3): an unquoted protocol=application/pkcs7-signature, which has a "/" that RFC 2045 §5.1 wants quoted.
		quoted, found := quoteProtocol(string(head))
		if !found {
			return nil, err
		}
		return cpim.ParseEntity(append([]byte(quoted+"\r\n\r\n"), body...), cpim.Limits{})
	}
	if _, ok := e.Header("Content-Type"); !ok || !e.HasBody() {
		return nil, errors.New("stanza: no Content-Type")
	}
	return e, nil
}

// quoteProtocol quotes the protocol parameter, if it has the one value that RFC 3923 writes without quotes.
func quoteProtocol(head string) (string, bool) {
	const bare = "protocol=application/pkcs7-signature"
	before, after, found := strings.Cut(head, bare)
	if !found || after != "" && strings.IndexByte("; \t\r", after[0]) < 0 {
		return head, false
	}
	return before + `protocol="application/pkcs7-signature"` + after, true
}

// bareCMS reads an object without header fields, as RFC 3923 §3.3 shows an encrypted one: base64 of CMS, which says itself which kind of
// content it has (RFC 5652 §3).
func bareCMS(text []byte) (*cpim.Entity, error) {
	octets, err := mimebody.Decode("base64", text)
	if err != nil {
		return nil, err
	}
	kind := smimeType(octets)
	if kind == "" {
		return nil, errors.New("stanza: neither MIME nor CMS")
	}
	return cpim.ParseEntity(append([]byte("Content-Type: application/pkcs7-mime; smime-type="+kind+"\r\nContent-Transfer-Encoding: base64\r\n\r\n"), text...), cpim.Limits{})
}

// smimeType is the smime-type (RFC 8551 §3.2.2) of a ContentInfo in BER (RFC 5652 §3): a sequence that begins with the content's object
// identifier. "" if it is none.
func smimeType(ber []byte) string {
	if len(ber) < 2 || ber[0] != 0x30 {
		return ""
	}
	n := 2
	if ber[1] > 0x80 {
		n += int(ber[1] & 0x7f)
	}
	if n > 6 || n >= len(ber) {
		return ""
	}
	rest := ber[n:]
	for _, k := range []struct{ oid, name string }{
		{"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", "signed-data"},                // 1.2.840.113549.1.7.2
		{"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", "enveloped-data"},             // 1.2.840.113549.1.7.3
		{"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17", "authEnveloped-data"}, // 1.2.840.113549.1.9.16.1.23
		{"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09", "compressed-data"},    // 1.2.840.113549.1.9.16.1.9
	} {
		if bytes.HasPrefix(rest, []byte(k.oid)) {
			return k.name
		}
	}
	return ""
}

// e2eWords says the conditions of RFC 3923 §7 in words; "" for another. The names of the second are those of its text and of its schema.
func e2eWords(condition string) string {
	switch condition {
	case "bad-timestamp":
		return "The time in the signed message is not the present"
	case "unverified-signature", "signature-unverified":
		return "The recipient could not verify the signature"
	case "decryption-failed":
		return "The recipient could not decrypt the message"
	}
	return ""
}
