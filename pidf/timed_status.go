package pidf

import (
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// TimedStatus is a status of the past or of the future (RFC 4481 §3).
type TimedStatus struct {
	// From is mandatory.
	From datetime.Value
	// Until is zero if the status holds until overridden; From must then be in the future.
	Until datetime.Value
	Basic Basic
	// Note is nil for none.
	Note *Note
	// Extensions are other status values, in order.
	Extensions []Extension
}

// Covers says whether the time is within the range. "The time range MUST NOT encompass the present time, i.e., the PIDF <timestamp>
// value"; a compositor that meets one which does "MAY either discard that element or MAY convert it to a regular <status>"
// (RFC 4481 §3).
func (t *TimedStatus) Covers(at datetime.Value) bool {
	return !t.From.After(at) && (t.Until.IsZero() || at.Before(t.Until))
}

func (r *reader) timedStatus(e *strictxml.Element) (TimedStatus, error) {
	var t TimedStatus
	for i := range e.Attrs {
		a := &e.Attrs[i]
		var err error
		switch {
		case a.Name.Space == "" && a.Name.Local == "from":
			t.From, err = r.dateTime(e, a.Value, "timed-status-datetime", "RFC 4481 §3")
		case a.Name.Space == "" && a.Name.Local == "until":
			t.Until, err = r.dateTime(e, a.Value, "timed-status-datetime", "RFC 4481 §3")
		case a.Name.Space == strictxml.XMLNamespace, a.Name.Space == schemaInstance:
		default:
			err = r.strayAttribute(e)
		}
		if err != nil {
			return t, err
		}
	}
	if t.From.IsZero() {
		return t, r.fault(e, "timed-status-from", "RFC 4481 §3", "a 'from' attribute")
	}
	position := 0
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		if c == nil {
			if !isSpace(e.Nodes[i].Text) {
				return t, r.fault(e, "character-data", "RFC 4481 §5", "elements only")
			}
			continue
		}
		at := 3
		switch {
		case c.Name.Space != NamespaceTimedStatus:
			x, err := r.extension(c)
			if err != nil {
				return t, err
			}
			t.Extensions = append(t.Extensions, x)
		case c.Name.Local == "basic":
			at = 1
			text, err := r.textOf(c, "basic-value", "RFC 3863 §4.1.4")
			if err != nil {
				return t, err
			}
			if t.Basic, err = r.basic(text, c.Offset); err != nil {
				return t, err
			}
		case c.Name.Local == "note":
			at = 2
			n, err := r.noteElement(c)
			if err != nil {
				return t, err
			}
			t.Note = &n
		case c.Name.Local == "timed-status":
			return t, r.fault(c, "timed-status-place", "RFC 4481 §3", "no timed-status in another")
		default:
			continue
		}
		if (at < position || at == position && at < 3) && !r.tolerate(LenientOrder, c.Offset) {
			return t, r.fault(c, "timed-status-order", "RFC 4481 §5", "basic, note, then other elements; the first two at most once")
		}
		position = at
	}
	return t, nil
}

// timedFault gives what is wrong with the range, measured against the tuple's timestamp; "" for nothing or no timestamp.
func (t *TimedStatus) timedFault(now datetime.Value) string {
	if !t.Until.IsZero() && !t.From.Before(t.Until) {
		return "'from' before 'until'"
	}
	if now.IsZero() || !t.Covers(now) {
		return ""
	}
	return "a range without the present time, the timestamp of the tuple"
}

func (t *TimedStatus) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespaceTimedStatus, Local: "timed-status"})
	w.Attr("from", t.From.String())
	if !t.Until.IsZero() {
		w.Attr("until", t.Until.String())
	}
	if t.Basic != BasicAbsent {
		appendText(w, NamespaceTimedStatus, "basic", t.Basic.String())
	}
	if t.Note != nil {
		appendNote(w, NamespaceTimedStatus, "note", *t.Note)
	}
	for _, x := range t.Extensions {
		x.append(w)
	}
	w.End()
}

func (t *TimedStatus) check(tuple *Tuple) error {
	if t.From.IsZero() || t.Basic > BasicClosed {
		return unprintable("timed-status-from", "RFC 4481 §3", "a 'from' time")
	}
	var now datetime.Value
	if tuple != nil {
		now = tuple.Timestamp
	}
	if fault := t.timedFault(now); fault != "" {
		return unprintable("timed-status-range", "RFC 4481 §3", fault)
	}
	var err error
	if t.Note != nil {
		err = t.Note.check()
	}
	return firstFault(err, checkExtensions(t.Extensions, NamespaceTimedStatus))
}
