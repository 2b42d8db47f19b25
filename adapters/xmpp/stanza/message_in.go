package stanza

import (
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// plainType is the content type of every body.
const plainType = "text/plain;charset=UTF-8"

// ToMessage makes the operation of a message (RFC 7572 §4, Table 1). Exactly one of the results is not nil, or neither: a message
// without body and subject is no message to a person (a chat state, a marker, a receipt) and has no operation.
//
// The operation holds copies; it may outlive the Reader's next stanza.
func ToMessage(s *Stanza) (*adapters.MessageOp, *Error) {
	if s.Fault != nil {
		return nil, s.Fault
	}
	op := &adapters.MessageOp{
		Thread: s.Thread, ParentThread: s.ParentThread, TransID: s.ID, Sent: s.Delay, Hops: adapters.DefaultHops, Subjects: s.Subjects,
	}
	switch s.Type {
	case "", "normal":
	case "chat":
		op.Kind = adapters.KindChat
	case "headline":
		op.Kind = adapters.KindHeadline
	case "groupchat":
		// RFC 6121 §8.5.2.1.1, of type "groupchat": "the server MUST NOT deliver the stanza to any of the available resources
		// but instead MUST return a stanza error to the sender, which SHOULD be <service-unavailable/>".
		return nil, fault(ServiceUnavailable, "There are no rooms at this address")
	case "error":
		return nil, nil
	default:
		// RFC 6121 §5.2.2: "If ... the application does not understand the value of the 'type' attribute provided, it MUST
		// consider the message to be of type "normal"".
	}
	if !s.HasBody && len(s.Subjects) == 0 {
		return nil, nil
	}
	var e *Error
	if op.From, e = party(s.From, cpim.IM, "from"); e != nil {
		return nil, e
	}
	if op.To, e = party(s.To, cpim.IM, "to"); e != nil {
		return nil, e
	}
	op.Content = adapters.Content{Type: plainType, Language: s.BodyLang, Octets: s.Body}
	if !s.HasBody {
		op.Content.Language, op.Content.Octets = s.Lang, []byte{}
	}
	if len(s.Alternatives) > 0 {
		op.Alternatives = append([]adapters.LangText(nil), s.Alternatives...)
	}
	if s.WantsReceipt && s.ID != "" {
		// XEP-0184 §5.1: a request is for the id of the message; without one there is nothing to refer to.
		op.Wants = adapters.WantDelivered
	}
	return op, nil
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

// ToReport makes a report of a message that says what became of an earlier one of ours: a stanza of type "error" or a delivery
// receipt (XEP-0184). It is nil for any other, and for one that names no earlier message. Now is when it came.
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
	case s.ReceiptFor != "":
		r.Kind, r.TransID = adapters.ReportDelivered, s.ReceiptFor
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
