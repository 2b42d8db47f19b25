package sip

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/iscomposing"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
)

// acceptedContent is the Accept of a 415 and of OPTIONS: what a MESSAGE may carry and be understood. Signed and encrypted bodies are taken
// too, and kept whole, but it depends on the other side whether they can be carried, so nobody is invited to send them. The one type is
// "message/imdn+xml" in message/cpim only (RFC 5438 §7.2.1).
const acceptedContent = "text/plain, message/cpim, text/html, multipart/mixed, multipart/alternative, multipart/related, " +
	iscomposing.MediaType + ", " + mimebody.ExternalBody + ", " + mimebody.FileTransfer + ", " + mimebody.URIList

// plainText is the type that we give and prefer. SIP's default charset for text is UTF-8 (RFC 3261 §7.4.1).
const plainText = "text/plain;charset=UTF-8"

// readBody reads the body by its encoding, disposition and type: "If there are any bodies whose type (indicated by the Content-Type),
// language (indicated by the Content-Language) or encoding (indicated by the Content-Encoding) are not understood, and that body part is
// not optional (as indicated by the Content-Disposition header field), the UAS MUST reject the request with a 415 (Unsupported Media
// Type) response" (RFC 3261 §8.2.3).
func readBody(op *adapters.MessageOp, req *wire.Message, opts ReadOptions) (Incoming, *Refusal) {
	kind, body := req.ContentType(), req.Body()
	if kind == "" && len(body) == 0 {
		op.Content.Type = plainText // a MESSAGE "MAY contain a body" (RFC 3428 §9)
		return Incoming{Message: op}, nil
	}
	disposition, optional := "", false
	if v, ok := req.Header("Content-Disposition"); ok {
		disposition, optional = mimebody.ParseDisposition(v)
	}
	in, ref := readDisposed(op, disposition, req, opts)
	if ref != nil && ref.Code == 415 && optional {
		// "If the parameter has the value 'optional', the UAS ignores the message body" (RFC 5621 §8).
		op.Content = adapters.Content{Type: plainText, Language: op.Content.Language}
		return Incoming{Message: op}, nil
	}
	return in, ref
}

// readDisposed reads a body with this disposition type.
func readDisposed(op *adapters.MessageOp, disposition string, req *wire.Message, opts ReadOptions) (Incoming, *Refusal) {
	for v := range req.Headers("Content-Encoding") {
		if !strings.EqualFold(v, "identity") {
			return Incoming{}, refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept-Encoding", Value: "identity"},
				wire.Header{Name: "Accept", Value: acceptedContent})
		}
	}
	switch disposition {
	case "", "render", "session", "notification", "inline", "attachment":
	default:
		return Incoming{}, refuseContent()
	}
	in, ref := readContent(op, req, opts)
	if ref == nil && in.Message != nil {
		ref = checkSecured(in.Message, req, opts)
	}
	if ref != nil {
		return Incoming{}, ref
	}
	return in, nil
}

func refuseContent() *Refusal {
	return refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept", Value: acceptedContent})
}

// readContent reads the body into op, or into Reports.
func readContent(op *adapters.MessageOp, req *wire.Message, opts ReadOptions) (Incoming, *Refusal) {
	contentType, body := req.ContentType(), req.Body()
	if contentType == "" {
		// "The Content-Type header field MUST be present if the body is not empty" (RFC 3261 §20.15).
		return Incoming{}, refuse(WhySyntax, 400, "Bad Request: a body without Content-Type")
	}
	if isPlainUTF8(contentType) { // the common case, without allocating
		if !utf8.Valid(body) {
			return Incoming{}, refuse(WhyCharset, 400, "Bad Request: the body is not UTF-8")
		}
		op.Content.Type, op.Content.Octets = contentType, body
		return Incoming{Message: op}, nil
	}
	t, err := cpim.ParseContentType(contentType)
	if err != nil {
		return Incoming{}, refuse(WhySyntax, 400, "Bad Request: malformed Content-Type")
	}
	if t.Is("message/cpim") {
		return readCPIM(op, body, req, opts)
	}
	known, ref := setContent(op, t, contentType, body)
	if ref == nil && !known {
		ref = refuseContent()
	}
	if ref != nil {
		return Incoming{}, ref
	}
	return Incoming{Message: op}, nil
}

// setContent makes the content of op from octets of type t, which was written as contentType. Text is given in UTF-8; what is made of
// parts, or points elsewhere, is given as it came, with its links beside it, once it has proved to be well-formed. known is false for
// a type that has no meaning in a message: then op has it as it came.
func setContent(op *adapters.MessageOp, t cpim.ContentType, contentType string, octets []byte) (known bool, _ *Refusal) {
	media := t.Media()
	if media == iscomposing.MediaType {
		return true, readComposing(op, octets)
	}
	op.Content.Type, op.Content.Octets = contentType, octets
	switch {
	case media == "text/plain", media == "text/html":
		return true, setText(&op.Content, t)
	case mimebody.Secured(t):
		// Kept whole (RFC 3862 §6); see checkSecured.
		return true, nil
	case t.Type() == "multipart", media == mimebody.ExternalBody, media == mimebody.FileTransfer, media == mimebody.URIList:
		r, err := mimebody.Render(op.Content, mimebody.Limits{Octets: len(octets) + len(octets)/2 + 4096})
		var fault *mimebody.SyntaxError
		switch {
		case errors.As(err, &fault):
			return true, refuse(WhySyntax, 400, "Bad Request: a malformed body of several parts or a malformed link")
		case errors.Is(err, mimebody.ErrUndecodable):
			return true, refuseUndecodable()
		case err == nil:
			op.Links = r.Links
		}
		// What cannot be shown may still be carried: the other side says.
		return true, nil
	}
	return false, nil
}

// setText gives text in UTF-8.
func setText(c *adapters.Content, t cpim.ContentType) *Refusal {
	text, err := mimebody.Text(t, c.Octets)
	switch {
	case errors.Is(err, mimebody.ErrUndecodable):
		return refuseUndecodable()
	case err != nil:
		return refuse(WhyCharset, 415, "Unsupported Media Type: the charset is not known", wire.Header{Name: "Accept", Value: acceptedContent})
	}
	if t.IsUTF8() {
		return nil
	}
	c.Octets = text
	if c.Type = plainText; !t.Is("text/plain") {
		c.Type = t.Media() + ";charset=UTF-8"
	}
	if utf, err := t.WithParam("charset", "UTF-8"); err == nil {
		c.Type = utf.String()
	}
	return nil
}

func refuseUndecodable() *Refusal {
	return refuse(WhyCharset, 400, "Bad Request: the text is not of the charset that it claims")
}

// readComposing reads application/im-iscomposing+xml: RFC 7573 §6, Table 3. Its content is nobody's message.
func readComposing(op *adapters.MessageOp, body []byte) *Refusal {
	s, err := iscomposing.Parse(body)
	if err != nil {
		return refuse(WhySyntax, 400, "Bad Request: a malformed isComposing document")
	}
	op.Activity, op.Content, op.Subjects = adapters.ActivityActive, adapters.Content{}, nil
	if s.Active() {
		op.Activity = adapters.ActivityComposing
		if s.Fields().Refresh > 0 {
			op.ActivityRefresh = s.Expires()
		}
	}
	return nil
}

// isPlainUTF8 tells whether a Content-Type is text/plain in UTF-8 in one of its usual spellings.
func isPlainUTF8(contentType string) bool {
	if contentType == plainText {
		return true // as both adapters write it
	}
	const media = "text/plain"
	if len(contentType) < len(media) || !strings.EqualFold(contentType[:len(media)], media) {
		return false
	}
	rest := contentType[len(media):]
	if rest == "" {
		return true
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(rest, " "), ";")
	return ok && strings.EqualFold(strings.TrimLeft(rest, " "), "charset=utf-8")
}
