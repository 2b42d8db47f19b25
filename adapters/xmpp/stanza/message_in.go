package stanza

import (
	"bytes"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// plainType is the content type of every body.
const plainType = "text/plain;charset=UTF-8"

// Words that stand for what SIP has no element for. They are English, as the texts of errors are.
const (
	wordsCorrection = "Correction: "
	wordsReaction   = "Reacted to an earlier message: "
	wordsNoReaction = "Took back the reaction to an earlier message"
)

// ToMessage makes the operation of a message (RFC 7572 §4, Table 1). Exactly one of the results is not nil, or neither: a message
// that says nothing to a person (a receipt, a marker, something unknown) has no operation.
//
// A chat state without text becomes an operation with an Activity and no content (XEP-0085); with text it is not needed. A correction
// (XEP-0308) says that it is one, a reaction (XEP-0444) becomes words, and a link (XEP-0066) that the text does not name is put behind
// it, unless the message has a text of its own for that (XEP-0428). A reply (XEP-0461) keeps the quotation that its sender put into
// it. A message that is encrypted for its recipient's device is refused, if it has no text for those who cannot decrypt it: nothing
// would be left of it.
//
// The operation holds copies; it may outlive the Reader's next stanza.
func ToMessage(s *Stanza) (*adapters.MessageOp, *Error) {
	if s.Fault != nil {
		return nil, s.Fault
	}
	// With its one subject, which most have at most, in one piece of memory.
	m := &struct {
		op      adapters.MessageOp
		subject [1]adapters.LangText
	}{}
	op := &m.op
	switch s.Type {
	case "", "normal":
	case "chat":
		op.Kind = adapters.KindChat
	case "headline":
		op.Kind = adapters.KindHeadline
	case "groupchat":
		// RFC 6121 §8.5.2.1.1, of type "groupchat": "the server MUST NOT deliver the stanza to any of the available resources
		// but instead MUST return a stanza error to the sender, which SHOULD be <service-unavailable/>".
		return nil, fault(ServiceUnavailable, "")
	case "error":
		return nil, nil
	default:
		// RFC 6121 §5.2.2: "If ... the application does not understand the value of the 'type' attribute provided, it MUST
		// consider the message to be of type "normal"".
	}
	content := s.HasBody || len(s.Subjects) > 0 || s.Reacts || len(s.Links) > 0 || s.E2E != nil
	switch {
	case s.Encrypted && len(bytes.TrimSpace(s.Body)) == 0 && s.E2E == nil:
		// Also with an empty body: nothing would be left of it.
		return nil, fault(NotAcceptable, "An encrypted message cannot be carried to the other network. Send it without encryption")
	case s.Speechless && !content:
		// XEP-0071 has its words in a body too. What has none would be lost in silence.
		return nil, fault(NotAcceptable, "A message without plain text cannot be carried to the other network")
	case !content && s.State == adapters.ActivityNone:
		return nil, nil
	}
	var e *Error
	if op.From, e = party(s.From, cpim.IM, "from"); e != nil {
		return nil, e
	}
	if op.To, e = party(s.To, cpim.IM, "to"); e != nil {
		return nil, e
	}
	op.Thread, op.ParentThread, op.TransID, op.Sent, op.Hops = s.Thread, s.ParentThread, s.ID, s.Delay, adapters.DefaultHops
	if s.Way {
		op.Hops, op.Trace = s.Hops, s.Trace
	}
	op.Fallback = s.Encrypted && s.E2E == nil
	op.SenderName, op.OriginID, op.NoStore = s.Nick, s.OriginID, s.NoStore
	if !content {
		op.Activity = s.State
		return op, nil
	}
	if len(s.Subjects) > 0 {
		op.Subjects = append(m.subject[:0:1], s.Subjects...)
	}
	op.Content = adapters.Content{Type: plainType, Language: s.BodyLang, Octets: s.Body}
	if !s.HasBody {
		op.Content.Language, op.Content.Octets = s.Lang, []byte{}
	}
	switch {
	case s.E2E != nil:
		if e = unwrap(op, s); e != nil {
			return nil, e
		}
	case s.Corrects || s.Reacts || len(s.Links) > 0:
		inWords(op, s)
	}
	if len(s.Alternatives) > 0 && s.E2E == nil {
		op.Alternatives = append([]adapters.LangText(nil), s.Alternatives...)
	}
	if s.ID != "" {
		// XEP-0184 §5.1: a request is for the id of the message; without one there is nothing to refer to.
		if s.WantsReceipt {
			op.Wants |= adapters.WantDelivered
		}
		if s.WantsMarker { // XEP-0333 §4: "The message MUST possess an 'id' attribute for traceability"
			op.Wants |= adapters.WantDisplayed
		}
	}
	return op, nil
}

// Quiet tells whether nobody is told if s cannot be delivered: a message that is well-formed, and says nothing but a chat state or what
// became of another one. An error would answer what is itself an answer, or a keystroke.
func (s *Stanza) Quiet() bool {
	return s.Kind == Message && s.Fault == nil && !s.Says()
}

// Says tells whether a message says something to a person, beside what became of an earlier one and what its sender does.
func (s *Stanza) Says() bool {
	return s.HasBody || len(s.Subjects) > 0 || s.Encrypted || s.Reacts || len(s.Links) > 0 || s.Speechless
}

// inWords says in op's text what stands beside it in s.
func inWords(op *adapters.MessageOp, s *Stanza) {
	text := op.Content.Octets
	switch {
	case s.Reacts && len(text) == 0:
		op.Content.Language = "en"
		if text = []byte(wordsNoReaction); len(s.Reactions) > 0 {
			text = []byte(wordsReaction + strings.Join(s.Reactions, " "))
		}
	case s.Corrects && !s.Fallback:
		text = append([]byte(wordsCorrection), text...)
	}
	if len(s.Links) > 0 {
		op.Links = append([]adapters.Link(nil), s.Links...)
	}
	for _, l := range op.Links {
		if names(text, l.URL) {
			continue
		}
		if len(text) > 0 {
			text = append(text, '\n')
		}
		if l.Description != "" {
			text = append(append(text, l.Description...), ": "...)
		}
		text = append(text, l.URL...)
	}
	op.Content.Octets = text
}

// names tells whether a text has a URL, and not only another one that begins like it.
func names(text []byte, url string) bool {
	for {
		i := bytes.Index(text, []byte(url))
		if i < 0 {
			return false
		}
		text = text[i+len(url):]
		if len(text) == 0 || strings.IndexByte(" \t\r\n<>\"'()[]{},;", text[0]) >= 0 {
			return true
		}
	}
}

// party maps an address with its resourcepart as the instance (RFC 7572 §4 note 1, RFC 7247 §6.3).
func party(j jid.JID, scheme cpim.Scheme, name string) (adapters.Party, *Error) {
	a, err := jid.ToAddress(j, scheme)
	if err != nil {
		if name == "to" {
			// A domain or a localpart that no user of the other network has.
			return adapters.Party{}, fault(ItemNotFound, "There is no user at this address")
		}
		return adapters.Party{}, fault(JIDMalformed, "The '"+name+"' address cannot be carried to the other network")
	}
	return adapters.Party{Address: a, Instance: j.Resource()}, nil
}

// ToReport makes a report of a message that says what became of an earlier one of ours: a stanza of type "error", a delivery
// receipt (XEP-0184) or a displayed marker (XEP-0333). It is nil for any other, and for one that names no earlier message. Now is when it came.
//
// Such a message is never answered (RFC 6120 §8.3.1: "An entity that receives an error stanza MUST NOT respond to the stanza with a further error stanza").
func ToReport(s *Stanza, now time.Time) *adapters.Report {
	r := &adapters.Report{Time: now, Thread: s.Thread}
	switch {
	case s.Kind != Message:
		return nil
	case s.Type == "error":
		if s.ID == "" {
			return nil
		}
		r.Kind, r.TransID, r.Status = adapters.ReportFailed, s.ID, s.Error.Status()
	case s.ReportFor != "" && s.Type != "groupchat":
		r.Kind, r.TransID = s.Report, s.ReportFor
	default:
		return nil
	}
	var e *Error
	if r.Recipient, e = party(s.From, cpim.IM, "from"); e != nil {
		return nil
	}
	if r.Sender, e = party(s.To, cpim.IM, "to"); e != nil {
		return nil
	}
	return r
}
