package stanza

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Envelope is what a message's stanza needs beside the operation.
type Envelope struct {
	// ID is the stanza's id; "" stands for op.TransID.
	ID string
	// Now is the time of sending. A message that was written more than lateAfter before it carries a delay (XEP-0203). Zero: none does.
	Now time.Time
}

// lateAfter is how old a message must be for its date to be told: below it, clients would show every message as a late one.
const lateAfter = time.Minute

// AppendMessage appends the one stanza that op is (RFC 7572 §5, Table 2), in the default namespace of its stream. The error is a
// *Refusal; dst is then returned as it was.
//
// The body is the content's text, octet for octet: CR is written as a reference, because a parser would else read it as LF
// (XML 1.0 §2.11), and text with characters that XML cannot carry at all is refused.
func AppendMessage(dst []byte, op *adapters.MessageOp, env Envelope) ([]byte, error) {
	text, lang, err := plainText(op)
	if err != nil {
		return dst, err
	}
	from, err := jid.FromAddress(op.From.Address, op.From.Instance)
	if err != nil {
		return dst, unmappable("sender")
	}
	to, err := jid.FromAddress(op.To.Address, op.To.Instance)
	if err != nil {
		return dst, unmappable("recipient")
	}
	id := env.ID
	if id == "" {
		id = op.TransID
	}
	ok := carries(id) && carries(op.Thread) && carries(op.ParentThread) && carriesBytes(text)
	for i := range op.Subjects {
		ok = ok && carries(op.Subjects[i].Text)
	}
	for i := range op.Alternatives {
		ok = ok && carries(op.Alternatives[i].Text)
	}
	if !ok {
		return dst, &Refusal{Reason: adapters.ReasonNotAcceptable, Detail: "The text holds characters that XMPP cannot carry"}
	}
	dst = appendHead(dst, "message", from, to, id)
	switch op.Kind {
	case adapters.KindChat:
		dst = append(dst, " type='chat'"...)
	case adapters.KindHeadline:
		dst = append(dst, " type='headline'"...)
	default:
		// RFC 7572 §5: "MUST specify no XMPP 'type' attribute or, equivalently, a 'type' attribute whose value is "normal"".
	}
	if !isTag(lang) {
		lang = "" // what is no tag must not travel as one
	}
	dst = appendLang(dst, lang, "")
	dst = append(dst, '>')
	for i, s := range op.Subjects {
		// RFC 6121 §5.2.4: more than one only if each has a language of its own, and here the first is the default.
		if !taken(op.Subjects[:i], s.Lang, lang) {
			dst = appendText(dst, "subject", s, lang)
		}
	}
	dst = append(dst, "<body>"...)
	dst = strictxml.AppendText(dst, string(text))
	dst = append(dst, "</body>"...)
	for i, a := range op.Alternatives {
		// RFC 6121 §5.2.3: the same of bodies, of which the content was the first.
		if !strings.EqualFold(inForce(a.Lang, lang), lang) && !taken(op.Alternatives[:i], a.Lang, lang) {
			dst = appendText(dst, "body", a, lang)
		}
	}
	if op.Thread != "" {
		dst = append(dst, "<thread"...)
		if op.ParentThread != "" {
			dst = appendAttr(dst, "parent", op.ParentThread)
		}
		dst = append(dst, '>')
		dst = strictxml.AppendText(dst, op.Thread)
		dst = append(dst, "</thread>"...)
	}
	if op.Wants&adapters.WantDelivered != 0 && id != "" {
		dst = append(dst, "<request xmlns='"+SpaceReceipts+"'/>"...)
	}
	if !op.Sent.IsZero() && env.Now.Sub(op.Sent) > lateAfter {
		dst = append(dst, "<delay xmlns='"+SpaceDelay+"' stamp='"...)
		dst = op.Sent.UTC().AppendFormat(dst, "2006-01-02T15:04:05Z")
		dst = append(dst, "'/>"...)
	}
	return append(dst, "</message>"...), nil
}

// inForce is the language that an element tagged lang has inside of a stanza in the language outer.
func inForce(lang, outer string) string {
	if !isTag(lang) {
		return outer
	}
	return lang
}

// taken tells whether one of all has the language in force that lang would have.
func taken(all []adapters.LangText, lang, outer string) bool {
	for i := range all {
		if strings.EqualFold(inForce(all[i].Lang, outer), inForce(lang, outer)) {
			return true
		}
	}
	return false
}

// plainText finds the text of op: its content, or the content of the message/cpim object that it relays. Only text/plain in ASCII
// or UTF-8 crosses.
func plainText(op *adapters.MessageOp) (text []byte, lang string, err error) {
	if op.Object == nil && isPlain(op.Content.Type) {
		return checkUTF8(op.Content.Octets, op.Content.Language)
	}
	t, err := cpim.ParseContentType(op.Content.Type)
	if err != nil {
		return nil, "", unsupported()
	}
	text, lang = op.Content.Octets, op.Content.Language
	if t.Is("message/cpim") {
		object := op.Object
		if object == nil {
			object = op.Content.Octets
		}
		m, err := cpim.ParseMessage(object, cpim.Limits{})
		if err != nil {
			return nil, "", &Refusal{Reason: adapters.ReasonBadRequest, Detail: "The message/cpim object is malformed"}
		}
		t, text = m.Content().ContentType(), m.Content().Body()
		if h, ok := m.Content().Header("Content-Language"); ok {
			lang = string(h.Value)
		}
	}
	if !t.IsZero() && !t.Is("text/plain") {
		return nil, "", unsupported()
	}
	if !t.IsZero() && !t.IsUTF8() {
		return nil, "", &Refusal{Reason: adapters.ReasonUnsupportedContent, Detail: "Only text in UTF-8 can be carried"}
	}
	return checkUTF8(text, lang)
}

// isPlain knows the usual ways to write the one type that crosses; others are parsed.
func isPlain(t string) bool {
	switch t {
	case plainType, "text/plain", "text/plain;charset=utf-8", "text/plain; charset=utf-8", "text/plain; charset=UTF-8":
		return true
	}
	return false
}

func checkUTF8(text []byte, lang string) ([]byte, string, error) {
	if !utf8.Valid(text) {
		return nil, "", &Refusal{Reason: adapters.ReasonBadRequest, Detail: "The text is not UTF-8"}
	}
	return text, lang, nil
}

func unsupported() error {
	return &Refusal{Reason: adapters.ReasonUnsupportedContent, Detail: "Only text/plain can be carried"}
}

func unmappable(whose string) error {
	return &Refusal{Reason: adapters.ReasonAddressMalformed, Detail: "The " + whose + "'s address cannot be carried to XMPP"}
}

// AppendReport appends what tells the sender of an earlier message its outcome: a receipt (XEP-0184) for ReportDelivered, an error
// stanza with the message's own id for ReportFailed (RFC 7247 §7.2). The id is the receipt's own. Other kinds have no form in
// this package and are refused.
func AppendReport(dst []byte, r *adapters.Report, id string) ([]byte, error) {
	from, err := jid.FromAddress(r.Recipient.Address, r.Recipient.Instance)
	if err != nil {
		return dst, unmappable("recipient")
	}
	to, err := jid.FromAddress(r.Sender.Address, r.Sender.Instance)
	if err != nil {
		return dst, unmappable("sender")
	}
	if r.TransID == "" || !carries(r.TransID) || !carries(r.Thread) {
		return dst, &Refusal{Reason: adapters.ReasonBadRequest, Detail: "The message had no identifier that a report could name"}
	}
	switch r.Kind {
	case adapters.ReportDelivered:
		dst = appendHead(dst, "message", from, to, id)
		dst = append(dst, "><received xmlns='"+SpaceReceipts+"'"...)
		dst = appendAttr(dst, "id", r.TransID)
		dst = append(dst, "/></message>"...)
		return dst, nil
	case adapters.ReportFailed:
		return AppendError(dst, ErrorReply{Kind: Message, From: from, To: to, ID: r.TransID, Error: ErrorOf(r.Status)}), nil
	}
	return dst, &Refusal{Reason: adapters.ReasonNotImplemented, Detail: "This kind of report has no form in XMPP"}
}
