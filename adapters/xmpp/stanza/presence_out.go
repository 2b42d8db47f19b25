package stanza

import (
	"slices"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// AppendWatch appends the presence stanza that asks on behalf of a watcher (RFC 8048 §5.3, §7.2): "subscribe" to ask, "probe" to open
// or fetch, "unavailable" to close (§5.3.3), "unsubscribe" to cancel. The error is a *Refusal.
func AppendWatch(dst []byte, op *adapters.WatchOp, id string) ([]byte, error) {
	from, err := jid.FromAddress(op.Watch.Watcher, "")
	if err != nil {
		return dst, unmappable("watcher")
	}
	to, err := jid.FromAddress(op.Watch.Presentity, "")
	if err != nil {
		return dst, unmappable("presentity")
	}
	var kind, note string
	switch op.Verb {
	case adapters.WatchAsk:
		kind, note = "subscribe", op.Note
	case adapters.WatchOpen, adapters.WatchFetch:
		kind = "probe"
	case adapters.WatchClose:
		kind = "unavailable"
	case adapters.WatchCancel:
		kind = "unsubscribe"
	default:
		return dst, &Refusal{Reason: adapters.ReasonNotImplemented, Detail: "This operation has no form in XMPP"}
	}
	dst = appendHead(dst, "presence", from, to, id)
	dst = appendAttr(dst, "type", kind)
	start := len(dst)
	dst = append(dst, '>')
	if note != "" && carries(note) {
		dst = appendText(dst, "status", adapters.LangText{Lang: op.NoteLang, Text: note}, "")
	}
	if op.Verb == adapters.WatchAsk {
		// XEP-0172 §4.1: a request "SHOULD include the preferred nickname of the sender", and no other presence may.
		dst = appendNick(dst, op.WatcherName)
	}
	return closeTag(dst, start, "presence"), nil
}

// AppendNotify appends the presence stanzas that tell op to its watcher and returns them with their number, which may be 0: "pending"
// tells nothing (RFC 8048 §5.2.1: "refrain from sending any presence stanzas"). In this order: "subscribed" or "unsubscribed",
// "unavailable" for each withdrawn tuple, one stanza per tuple (RFC 8048 §6.3, Table 2), one of them with the object of Sealed (RFC 3923 §8), with a delay (XEP-0203)
// if its status is older than a minute at the time now (zero: none has one). The error is a *Refusal.
func AppendNotify(dst []byte, op *adapters.NotifyOp, now time.Time) (out []byte, stanzas int, err error) {
	return appendNotify(dst, op, tell{now: now})
}

// AppendNotifyWithCaps is AppendNotify with the capabilities of each device that is available (XEP-0115), as AppendAnswer tells them to who asks:
// that the events of XEP-0107 and XEP-0108 are wanted, and what the device can take (RFC 5196).
func AppendNotifyWithCaps(dst []byte, op *adapters.NotifyOp, now time.Time) (out []byte, stanzas int, err error) {
	return appendNotify(dst, op, tell{now: now, caps: true})
}

func appendNotify(dst []byte, op *adapters.NotifyOp, how tell) (out []byte, stanzas int, err error) {
	from, err := jid.FromAddress(op.Watch.Presentity, "")
	if err != nil {
		return dst, 0, unmappable("presentity")
	}
	to, err := jid.FromAddress(op.Watch.Watcher, "")
	if err != nil {
		return dst, 0, unmappable("watcher")
	}
	if op.Failure.Outcome == adapters.Failure {
		return AppendError(dst, ErrorReply{Kind: Presence, From: from, To: to, Error: ErrorOf(op.Failure)}), 1, nil
	}
	if op.State == adapters.WatchPending {
		return dst, 0, nil
	}
	out = dst
	bare := func(kind string) {
		out = appendHead(out, "presence", from, to, "")
		out = appendAttr(out, "type", kind)
		out = append(out, '/', '>')
		stanzas++
	}
	if op.Change == adapters.AuthorizationGranted {
		bare("subscribed")
	}
	for _, id := range op.Withdrawn {
		if j, ok := deviceOf(from, id, op); ok {
			out = appendHead(out, "presence", j, to, "")
			out = append(out, " type='unavailable'/>"...)
			stanzas++
		}
	}
	// Presence is told before an authorization is taken away, after which it would be refused.
	switch p := op.Presence; {
	case op.Change == adapters.AuthorizationRefused:
	case p == nil:
		if op.State == adapters.WatchTerminated && len(op.Withdrawn) == 0 {
			bare("unavailable") // RFC 8048 §5.2.1: no body is "unknown or "closed""
		}
	case p.ZeroTuples():
		// RFC 3922 §6.3.2: presence of the bare address; with notes alone there is no XMPP form (RFC 3922 §5.2.11).
		if len(p.Notes) == 0 {
			bare("unavailable")
		}
	default:
		for i := range p.Tuples {
			if j, ok := deviceOf(from, p.Tuples[i].ID, op); ok {
				how.from, how.to, how.sealed = j, to, op.Sealed != nil && toldSealed(op, i)
				out = appendTuple(out, op, &p.Tuples[i], how)
				stanzas++
			}
		}
	}
	if op.Change == adapters.AuthorizationRefused {
		bare("unsubscribed")
	}
	return out, stanzas, nil
}

// escapedTuple begins the resource of a tuple whose id no resource can have as it is. No id has a colon (it is an xs:ID).
const escapedTuple = "id:"

// deviceOf returns the address of the device that the tuple id stands for among those that op tells of: different ones for different
// ids. It fails for an id that is longer than any resource, even as it is.
//
// That is RFC 8048 §6.2 note 2, backwards: what TupleID made the id of; else the id itself. What is no resource, or is another one once
// the OpaqueString profile has been applied to it (RFC 7622 §3.4), or is that of another tuple, is escapedTuple and the id with every
// octet that is not of "A-Za-z0-9._-" as '%' and two hexadecimal digits.
func deviceOf(from jid.JID, id pidf.ID, op *adapters.NotifyOp) (jid.JID, bool) {
	name, made := id.Resource()
	if !made {
		name = id.String()
	}
	if !strings.HasPrefix(name, escapedTuple) && (made || !isDevice(name, op)) {
		if j, err := from.WithResource(name); err == nil && j.Resource() == name {
			return j, true
		}
	}
	j, err := from.WithResource(string(appendPercent([]byte(escapedTuple), id.String())))
	return j, err == nil
}

// isDevice tells whether name is the resource that TupleID made another tuple's id of.
func isDevice(name string, op *adapters.NotifyOp) bool {
	is := func(id pidf.ID) bool {
		r, ok := id.Resource()
		return ok && r == name
	}
	if op.Presence != nil {
		for i := range op.Presence.Tuples {
			if is(op.Presence.Tuples[i].ID) {
				return true
			}
		}
	}
	for _, id := range op.Withdrawn {
		if is(id) {
			return true
		}
	}
	return false
}

func appendPercent(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		c := s[i]
		if l := c | 0x20; l >= 'a' && l <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-' {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '%', hex[c>>4], hex[c&15])
	}
	return dst
}

// closeTag ends an element whose start tag's '>' is at start: as an empty-element tag if nothing followed it.
func closeTag(dst []byte, start int, name string) []byte {
	if len(dst) == start+1 {
		dst[start] = '/'
		return append(dst, '>')
	}
	dst = append(append(dst, '<', '/'), name...)
	return append(dst, '>')
}

// tell is how a tuple is told: whose device, to whom, and when.
type tell struct {
	from, to jid.JID
	now      time.Time
	caps     bool
	sealed   bool // with the object of Sealed
}

// appendTuple appends the presence of one tuple.
func appendTuple(dst []byte, op *adapters.NotifyOp, t *pidf.Tuple, how tell) []byte {
	p, lang := op.Presence, op.Language
	if !isTag(lang) {
		lang = ""
	}
	notes := t.Notes
	if len(notes) == 0 {
		notes = p.Notes
	}
	if lang == "" && !slices.ContainsFunc(notes, func(n pidf.Note) bool { return !isTag(n.Lang) }) && len(notes) > 0 {
		lang = notes[0].Lang // no note would inherit it by mistake
	}
	dst = appendHead(dst, "presence", how.from, how.to, "")
	show, _ := pidf.ReadShow(p, t)
	available := availableAs(p, t)
	if !available {
		dst = append(dst, " type='unavailable'"...)
	}
	dst = appendLang(dst, lang, "") // RFC 8048 §6.3 Table 2: Content-Language to xml:lang
	start := len(dst)
	dst = append(dst, '>')
	if available && show != pidf.ShowNone {
		dst = appendText(dst, "show", adapters.LangText{Text: show.String()}, "")
	}
	for i, n := range notes {
		if n.Text == "" || !carries(n.Text) || sameLang(notes[:i], n.Lang, lang) {
			continue // RFC 6121 §4.7.2.2: one <status/> per language
		}
		dst = appendText(dst, "status", adapters.LangText{Lang: n.Lang, Text: n.Text}, lang)
	}
	if available && t.Contact != nil {
		if v, ok := t.Contact.Priority.XMPP(); ok {
			dst = append(dst, "<priority>"...)
			dst = appendDecimal(dst, int(v))
			dst = append(dst, "</priority>"...)
		}
	}
	if !how.now.IsZero() && !t.Timestamp.IsZero() {
		if at := t.Timestamp.Time(); how.now.Sub(at) > lateAfter {
			dst = appendDelay(dst, at)
		}
	}
	if available && how.caps {
		dst = appendCaps(dst, deviceCapsOf(t))
	}
	if how.sealed {
		if o, ok := sealedObject(op); ok {
			dst = appendObject(dst, o)
		}
	}
	return closeTag(dst, start, "presence")
}

func sameLang(notes []pidf.Note, lang, outer string) bool {
	for i := range notes {
		if strings.EqualFold(inForce(notes[i].Lang, outer), inForce(lang, outer)) && notes[i].Text != "" && carries(notes[i].Text) {
			return true
		}
	}
	return false
}

func appendDecimal(dst []byte, v int) []byte {
	if v >= 100 {
		dst = append(dst, '0'+byte(v/100))
	}
	if v >= 10 {
		dst = append(dst, '0'+byte(v/10%10))
	}
	return append(dst, '0'+byte(v%10))
}
