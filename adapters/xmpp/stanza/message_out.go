package stanza

import (
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Envelope is what a message's stanza needs beside the operation.
type Envelope struct {
	// ID is the stanza's id; "" stands for op.TransID.
	ID string
	// Now is the time of sending. A message that was written more than lateAfter before it carries a delay (XEP-0203). Zero: none does.
	Now time.Time
	// State goes with a message that has content: ActivityActive for a sender who tells chat states (XEP-0085 §5.1: "an <active/>
	// notification in each content message"), ActivityNone for one who does not.
	State adapters.Activity
	// Nick has the sender's name told (XEP-0172 §4.2: "with the first message sent to the contact").
	Nick bool
}

// lateAfter is how old a message must be for its date to be told: below it, clients would show every message as a late one.
const lateAfter = time.Minute

// AppendMessage appends the one stanza that op is (RFC 7572 §5, Table 2), in the default namespace of its stream. The error is a
// *Refusal; dst is then returned as it was.
//
// The body is the content's text, octet for octet: CR is written as a reference, because a parser would else read it as LF
// (XML 1.0 §2.11), and text with characters that XML cannot carry at all is refused. Content in HTML becomes its plain text, and
// XHTML-IM beside it (RFC 7572 §7). An operation with an Activity becomes a chat state and nothing else.
func AppendMessage(dst []byte, op *adapters.MessageOp, env Envelope) ([]byte, error) {
	if op.Activity != adapters.ActivityNone {
		return appendState(dst, op, env.ID)
	}
	t, err := textOf(op)
	if err != nil {
		return dst, err
	}
	from, to, err := ends(op)
	if err != nil {
		return dst, err
	}
	id, lang := env.ID, t.lang
	if id == "" {
		id = op.TransID
	}
	ok := carries(id) && carries(op.Thread) && carries(op.ParentThread) && carriesBytes(t.plain) && carries(op.OriginID) && carries(t.html)
	for i := range op.Subjects {
		ok = ok && carries(op.Subjects[i].Text)
	}
	for i := range t.others {
		ok = ok && carries(t.others[i].Text)
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
	dst = strictxml.AppendTextOctets(dst, t.plain)
	dst = append(dst, "</body>"...)
	for i, a := range t.others {
		// RFC 6121 §5.2.3: the same of bodies, of which the content was the first.
		if !strings.EqualFold(inForce(a.Lang, lang), lang) && !taken(t.others[:i], a.Lang, lang) {
			dst = appendText(dst, "body", a, lang)
		}
	}
	dst = appendThread(dst, op)
	if op.Wants != 0 && id != "" {
		if op.Wants&adapters.WantDelivered != 0 {
			dst = append(dst, "<request xmlns='"+SpaceReceipts+"'/>"...)
		}
		if op.Wants&adapters.WantDisplayed != 0 {
			dst = append(dst, "<markable xmlns='"+SpaceMarkers+"'/>"...)
		}
	}
	if !op.Sent.IsZero() && env.Now.Sub(op.Sent) > lateAfter {
		dst = appendDelay(dst, op.Sent)
	}
	if t.html != "" {
		dst = append(dst, "<html xmlns='"+SpaceXHTMLIM+"'><body xmlns='"+SpaceXHTML+"'>"...)
		dst = append(append(dst, t.html...), "</body></html>"...)
	}
	if t.e2e.text != nil {
		dst = appendE2E(dst, t.e2e)
	}
	return append(appendExtensions(dst, op, t.links, env), "</message>"...), nil
}

// ends returns the two addresses of op.
func ends(op *adapters.MessageOp) (from, to jid.JID, err error) {
	if from, err = jid.FromAddress(op.From.Address, op.From.Instance); err != nil {
		return from, to, unmappable("sender")
	}
	if to, err = jid.FromAddress(op.To.Address, op.To.Instance); err != nil {
		return from, to, unmappable("recipient")
	}
	return from, to, nil
}

func appendThread(dst []byte, op *adapters.MessageOp) []byte {
	if op.Thread == "" {
		return dst
	}
	dst = append(dst, "<thread"...)
	if op.ParentThread != "" {
		dst = appendAttr(dst, "parent", op.ParentThread)
	}
	dst = append(dst, '>')
	dst = strictxml.AppendText(dst, op.Thread)
	return append(dst, "</thread>"...)
}

// appendDelay appends when a stanza was first sent (XEP-0203), in UTC and in seconds (XEP-0082).
func appendDelay(dst []byte, sent time.Time) []byte {
	dst = append(dst, "<delay xmlns='"+SpaceDelay+"' stamp='"...)
	dst = sent.UTC().AppendFormat(dst, "2006-01-02T15:04:05Z")
	return append(dst, "'/>"...)
}

// appendExtensions appends what stands beside the text.
func appendExtensions(dst []byte, op *adapters.MessageOp, links []adapters.Link, env Envelope) []byte {
	if env.State != adapters.ActivityNone {
		dst = appendEmpty(dst, env.State.String(), SpaceStates)
	}
	for i := range links {
		if i == maxLinks {
			break
		}
		dst = appendLink(dst, &links[i])
	}
	if op.OriginID != "" {
		dst = append(dst, "<origin-id xmlns='"+SpaceIDs+"'"...)
		dst = appendAttr(dst, "id", op.OriginID)
		dst = append(dst, '/', '>')
	}
	if op.NoStore {
		dst = append(dst, "<no-permanent-store xmlns='"+SpaceHints+"'/>"...)
	}
	if len(op.Trace) > 0 {
		dst = append(dst, "<way xmlns='"+SpaceWay+"' hops='"...)
		dst = strconv.AppendInt(dst, int64(op.Hops), 10)
		dst = append(dst, "' by='"...)
		dst = append(adapters.AppendTrace(dst, op.Trace), "'/>"...)
	}
	if s := op.Signature.String(); s != "" {
		dst = append(dst, "<signature xmlns='"+SpaceSignature+"'"...)
		dst = appendAttr(dst, "state", s)
		dst = append(dst, '/', '>')
	}
	if env.Nick {
		dst = appendNick(dst, op.SenderName)
	}
	return dst
}

func appendEmpty(dst []byte, name, space string) []byte {
	dst = append(append(dst, '<'), name...)
	dst = appendAttr(dst, "xmlns", space)
	return append(dst, '/', '>')
}

// appendLink appends a link (XEP-0066 §3), if it can be one.
func appendLink(dst []byte, l *adapters.Link) []byte {
	if !isWeb(l.URL) || !carries(l.URL) {
		return dst
	}
	dst = append(dst, "<x xmlns='"+SpaceLink+"'><url>"...)
	dst = strictxml.AppendText(dst, l.URL)
	dst = append(dst, "</url>"...)
	description := l.Description
	if description == "" {
		description = l.Name
	}
	if description = oneLine(cut(description)); description != "" {
		dst = append(dst, "<desc>"...)
		dst = strictxml.AppendText(dst, description)
		dst = append(dst, "</desc>"...)
	}
	return append(dst, "</x>"...)
}

// appendNick appends a name (XEP-0172 §2), unless there is none that can be shown.
func appendNick(dst []byte, name string) []byte {
	if len(name) > maxNick {
		return dst
	}
	if name = oneLine(name); name == "" {
		return dst
	}
	dst = append(dst, "<nick xmlns='"+SpaceNick+"'>"...)
	dst = strictxml.AppendText(dst, name)
	return append(dst, "</nick>"...)
}

// appendState appends a chat state that stands alone. XEP-0085 §5.6: it "MUST NOT contain any child elements other than the chat state
// notification extension ...; however, if threads are used ... then the standalone notification MUST also contain the <thread/>
// element"; §5.4: its type SHOULD be "chat".
func appendState(dst []byte, op *adapters.MessageOp, id string) ([]byte, error) {
	from, to, err := ends(op)
	if err != nil {
		return dst, err
	}
	if id == "" {
		id = op.TransID
	}
	name := op.Activity.String()
	if op.Activity > adapters.ActivityGone || !carries(id) || !carries(op.Thread) || !carries(op.ParentThread) {
		return dst, &Refusal{Reason: adapters.ReasonNotAcceptable, Detail: "This cannot be carried to XMPP"}
	}
	dst = appendHead(dst, "message", from, to, id)
	dst = append(dst, " type='chat'>"...)
	dst = appendEmpty(dst, name, SpaceStates)
	dst = appendThread(dst, op)
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

func unmappable(whose string) error {
	return &Refusal{Reason: adapters.ReasonAddressMalformed, Detail: "The " + whose + "'s address cannot be carried to XMPP"}
}

// AppendReport appends what tells the sender of an earlier message its outcome: a receipt (XEP-0184) for ReportDelivered, a
// displayed marker (XEP-0333) for ReportDisplayed, an error stanza with the message's own id for ReportFailed (RFC 7247 §7.2). The id is the receipt's own. Other kinds have no form in
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
	case adapters.ReportDisplayed:
		dst = appendHead(dst, "message", from, to, id)
		dst = append(dst, "><displayed xmlns='"+SpaceMarkers+"'"...)
		dst = appendAttr(dst, "id", r.TransID)
		dst = append(dst, "/></message>"...)
		return dst, nil
	case adapters.ReportFailed:
		return AppendError(dst, ErrorReply{Kind: Message, From: from, To: to, ID: r.TransID, Error: ErrorOf(r.Status)}), nil
	}
	return dst, &Refusal{Reason: adapters.ReasonNotImplemented, Detail: "This kind of report has no form in XMPP"}
}
