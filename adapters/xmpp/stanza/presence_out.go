package stanza

import (
	"strings"

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
	if note == "" || !carries(note) {
		return append(dst, '/', '>'), nil
	}
	dst = append(dst, '>')
	dst = appendText(dst, "status", adapters.LangText{Text: note}, "")
	return append(dst, "</presence>"...), nil
}

// AppendNotify appends the presence stanzas that tell op to its watcher and returns them with their number, which may be 0: "pending"
// tells nothing (RFC 8048 §5.2.1: "refrain from sending any presence stanzas"). In this order: "subscribed" or "unsubscribed",
// "unavailable" for each withdrawn tuple, one stanza per tuple (RFC 8048 §6.3, Table 2). The error is a *Refusal.
func AppendNotify(dst []byte, op *adapters.NotifyOp) (out []byte, stanzas int, err error) {
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
		if j, err := from.WithResource(resourceOf(id, nil)); err == nil {
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
			j, err := from.WithResource(resourceOf(p.Tuples[i].ID, p.Tuples[:i]))
			if err != nil {
				continue // no resource can have that name
			}
			out = appendTuple(out, p, &p.Tuples[i], j, to)
			stanzas++
		}
	}
	if op.Change == adapters.AuthorizationRefused {
		bare("unsubscribed")
	}
	return out, stanzas, nil
}

// resourceOf returns the resourcepart of a tuple (RFC 8048 §6.2 note 2, backwards): what TupleID made the id of, else the id
// without "ID-", else, if an earlier tuple already has that, the whole id.
func resourceOf(id pidf.ID, earlier []pidf.Tuple) string {
	if r, ok := id.Resource(); ok {
		return r
	}
	s := id.String()
	for i := range earlier {
		if r, ok := earlier[i].ID.Resource(); ok && r == s {
			return "ID-" + s
		}
	}
	return s
}

// appendTuple appends the presence of one tuple.
func appendTuple(dst []byte, p *pidf.Presence, t *pidf.Tuple, from, to jid.JID) []byte {
	dst = appendHead(dst, "presence", from, to, "")
	show, _ := pidf.ReadShow(p, t)
	// A status without <basic> tells of availability only through what else it shows.
	available := t.Status.Basic == pidf.BasicOpen || t.Status.Basic == pidf.BasicAbsent && show != pidf.ShowNone
	if !available {
		dst = append(dst, " type='unavailable'"...)
	}
	dst = append(dst, '>')
	start := len(dst)
	if available && show != pidf.ShowNone {
		dst = appendText(dst, "show", adapters.LangText{Text: show.String()}, "")
	}
	notes := t.Notes
	if len(notes) == 0 {
		notes = p.Notes
	}
	for i, n := range notes {
		if n.Text == "" || !carries(n.Text) || sameLang(notes[:i], n.Lang) {
			continue // RFC 6121 §4.7.2.2: one <status/> per language
		}
		dst = appendText(dst, "status", adapters.LangText{Lang: n.Lang, Text: n.Text}, "")
	}
	if available && t.Contact != nil {
		if v, ok := t.Contact.Priority.XMPP(); ok {
			dst = append(dst, "<priority>"...)
			dst = appendDecimal(dst, int(v))
			dst = append(dst, "</priority>"...)
		}
	}
	if len(dst) == start {
		dst[start-1] = '/'
		return append(dst, '>')
	}
	return append(dst, "</presence>"...)
}

func sameLang(notes []pidf.Note, lang string) bool {
	for i := range notes {
		if strings.EqualFold(inForce(notes[i].Lang, ""), inForce(lang, "")) && notes[i].Text != "" && carries(notes[i].Text) {
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
