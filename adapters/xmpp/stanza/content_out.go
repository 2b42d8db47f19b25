package stanza

import (
	"errors"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/markup"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
)

// texts is what a message says, as XMPP can carry it.
type texts struct {
	plain  []byte
	lang   string
	others []adapters.LangText // in other languages
	html   string              // children of XHTML-IM's body; "" for none
	links  []adapters.Link
	e2e    object // S/MIME; without text: none
}

// textOf finds the text of op: its content, or the content of the message/cpim object that it relays.
func textOf(op *adapters.MessageOp) (texts, error) {
	if op.Object == nil && isPlain(op.Content.Type) {
		return plainTexts(op, op.Content.Octets, op.Content.Language)
	}
	t, err := cpim.ParseContentType(op.Content.Type)
	if err != nil {
		return texts{}, unsupported()
	}
	if mimebody.SMIME(t) {
		return securedTexts(op, t)
	}
	octets, lang := op.Content.Octets, op.Content.Language
	if t.Is("message/cpim") {
		object := op.Object
		if object == nil {
			object = op.Content.Octets
		}
		m, err := cpim.ParseMessage(object, cpim.Limits{})
		if err != nil {
			return texts{}, &Refusal{Reason: adapters.ReasonBadRequest, Detail: "The message/cpim object is malformed"}
		}
		t, octets = m.Content().ContentType(), m.Content().Body()
		if h, ok := m.Content().Header("Content-Language"); ok {
			lang = string(h.Value)
		}
	}
	switch {
	case t.IsZero() || t.Is("text/plain") && t.IsUTF8():
		return plainTexts(op, octets, lang)
	case t.Is("message/cpim"): // one in another: nobody is shown that
		return texts{}, unsupported()
	}
	r, err := mimebody.Render(adapters.Content{Type: t.String(), Language: lang, Octets: octets}, mimebody.Limits{})
	if err != nil {
		return texts{}, unrendered(err)
	}
	out := texts{lang: lang, others: op.Alternatives, links: op.Links}
	if len(out.links) == 0 {
		out.links = r.Links
	}
	if len(r.HTML) > 0 {
		// RFC 7572 §7: a gateway "SHOULD process SIP messages that contain message bodies of type "text/html"; if so, a gateway MUST
		// transform the "text/html" content into XHTML content that conforms to the XHTML-IM Integration Set"; by allow-list
		// (THREATS.md G14).
		if err := out.fromHTML(r.HTML, len(r.Texts) == 0); err != nil {
			return texts{}, err
		}
	}
	if len(r.Texts) > 0 {
		out.plain, out.lang = []byte(r.Texts[0].Text), r.Texts[0].Lang
		if len(out.others) == 0 {
			out.others = r.Texts[1:]
		}
	}
	return out, nil
}

// maxHTML bounds what is made of all documents of one message, in octets: of the text, and of the XHTML-IM, which is left out beyond.
const maxHTML = 128 << 10

// fromHTML sets the text, and XHTML-IM beside it, of HTML in one or more documents. alone tells that nothing else says what they say: then one
// of which no word is left is refused, because its sender would think that it was read.
func (t *texts) fromHTML(documents []string, alone bool) error {
	var plain, xhtml []byte
	marked, large := false, &Refusal{Reason: adapters.ReasonTooLarge, Detail: "The HTML text is too large to be converted"}
	for _, document := range documents {
		h, err := markup.Convert(document, markup.Limits{})
		switch {
		case err != nil:
			return large
		case h.Text == "" && h.Unsaid && alone:
			return unsupported()
		case h.Text == "":
			continue
		}
		if len(plain) > 0 {
			plain = append(plain, '\n')
		}
		plain = append(plain, h.Text...)
		if marked = marked || h.XHTML != ""; h.XHTML != "" {
			xhtml = append(xhtml, h.XHTML...)
			continue
		}
		xhtml = append(xhtml, markup.Paragraph(h.Text)...)
	}
	if len(plain) > maxHTML {
		return large
	}
	t.plain = plain
	if marked && len(xhtml) <= maxHTML {
		t.html = string(xhtml)
	}
	return nil
}

// unrendered is the refusal of a content that nobody could be shown whole.
func unrendered(err error) error {
	switch {
	case errors.Is(err, mimebody.ErrSecured):
		return &Refusal{Reason: adapters.ReasonUnsupportedContent, Detail: "A signed or encrypted message cannot be carried"}
	case errors.Is(err, mimebody.ErrUnsupported):
		return unsupported()
	case errors.Is(err, mimebody.ErrCharset):
		return &Refusal{Reason: adapters.ReasonUnsupportedContent, Detail: "The charset of the text is not known"}
	case errors.Is(err, mimebody.ErrUndecodable):
		return &Refusal{Reason: adapters.ReasonBadRequest, Detail: "The text is not of the charset it claims"}
	}
	return &Refusal{Reason: adapters.ReasonBadRequest, Detail: "The content is malformed"}
}

func plainTexts(op *adapters.MessageOp, text []byte, lang string) (texts, error) {
	if !utf8.Valid(text) {
		return texts{}, &Refusal{Reason: adapters.ReasonBadRequest, Detail: "The text is not UTF-8"}
	}
	return texts{plain: text, lang: lang, others: op.Alternatives, links: op.Links}, nil
}

// isPlain knows the usual ways to write the one type that crosses; others are parsed.
func isPlain(t string) bool {
	switch t {
	case plainType, "text/plain", "text/plain;charset=utf-8", "text/plain; charset=utf-8", "text/plain; charset=UTF-8":
		return true
	}
	return false
}

func unsupported() error {
	return &Refusal{Reason: adapters.ReasonUnsupportedContent, Detail: "This type of content cannot be carried"}
}
