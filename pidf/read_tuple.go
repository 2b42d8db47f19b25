package pidf

import (
	"strconv"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// The places of a child in a tuple, in the order of RFC 3863 §4.1.2.
const (
	tupleStatus = iota
	tupleExtensions
	tupleContact
	tupleNotes
	tupleTimestamp
)

// tuple reads the current <tuple>, the nth of the document.
func (r *reader) tuple(t *Tuple, nth int) error {
	start := r.cursor.Offset()
	id, hasID, lang, err := r.coreAttributes("id")
	if err != nil {
		return err
	}
	if hasID {
		t.ID, err = r.idAt(id, start, "tuple-id", "RFC 3863 §4.1.2")
	} else {
		t.ID, err = r.missingID(start, "tuple", nth, "tuple-id", "RFC 3863 §4.1.2")
	}
	if err != nil {
		return err
	}
	r.lang = lang
	stage, hasStatus := tupleStatus, false
	// once is for a child that may occur once: it says whether to read it.
	place := func(at int, once, seen bool) (bool, error) {
		if at < stage || once && seen {
			if !r.tolerate(LenientOrder, r.cursor.Offset()) {
				return false, r.faultHere("tuple-order", "RFC 3863 §4.1.2", "status, extension elements, contact, notes, timestamp; status, contact and timestamp once")
			}
			if once && seen {
				return false, r.skip()
			}
		}
		if at > tupleStatus && !hasStatus && !r.lenient {
			return false, r.faultHere("status-missing", "RFC 3863 §4.1.2", "a <status> first")
		}
		stage = max(stage, at)
		return true, nil
	}
	for {
		kind, err := r.next()
		if err != nil {
			return err
		}
		if kind == strictxml.EndElement {
			break
		}
		here, read := r.cursor.Offset(), false
		switch {
		case r.cursor.Is(r.space, "status"):
			if read, err = place(tupleStatus, true, hasStatus); read {
				hasStatus = true
				err = r.status(&t.Status)
			}
		case r.cursor.Is(r.space, "contact"):
			if read, err = place(tupleContact, true, t.Contact != nil); read {
				t.Contact, err = r.contact()
			}
		case r.cursor.Is(r.space, "note"):
			if read, err = place(tupleNotes, false, false); read {
				t.Notes, err = r.note(t.Notes)
			}
		case r.cursor.Is(r.space, "timestamp"):
			if read, err = place(tupleTimestamp, true, !t.Timestamp.IsZero()); read {
				var text string
				if _, _, _, err = r.coreAttributes(""); err == nil {
					if text, err = r.text("timestamp", "RFC 3863 §4.1.7"); err == nil {
						t.Timestamp, err = r.timestamp(text, here)
					}
				}
			}
		case r.cursor.InSpace(r.space):
			err = r.skip()
		default:
			if read, err = place(tupleExtensions, false, false); read {
				err = r.tupleExtension(t)
			}
		}
		if err != nil {
			return err
		}
	}
	if !hasStatus && !r.tolerate(LenientStatus, start) {
		return r.faultAt(start, "status-missing", "RFC 3863 §4.1.2", "a <status>")
	}
	return r.tupleRules(t, start)
}

// tupleRules checks what concerns several children of a tuple.
func (r *reader) tupleRules(t *Tuple, start int) error {
	if t.Rich == nil {
		return nil
	}
	if c := t.Rich.ServiceClass; c != nil && c.Value.physical() && t.Contact != nil && !t.Contact.URI.IsZero() && !r.tolerate(LenientRich, start) {
		return r.faultAt(start, "service-class-contact", "RFC 4480 §3.10", "an empty contact with this service class")
	}
	for i := range t.Rich.TimedStatus {
		if fault := t.Rich.TimedStatus[i].timedFault(t.Timestamp); fault != "" && !r.tolerate(LenientRich, start) {
			return r.faultAt(start, "timed-status-range", "RFC 4481 §3", fault)
		}
	}
	return nil
}

func (r *reader) tupleExtension(t *Tuple) error {
	e, err := r.element()
	if err != nil {
		return err
	}
	if placesOf(nameOf(e.Name)) != 0 {
		return r.richElement(e, placeTuple, &t.Rich)
	}
	if typed(nameOf(e.Name)) {
		return r.misplaced(e)
	}
	x, err := r.extensionOutsideStatus(e)
	if err != nil {
		return err
	}
	t.Extensions = append(t.Extensions, x)
	return nil
}

// status reads the current <status>: "one OPTIONAL <basic> element, followed by any number of OPTIONAL extension elements …
// under the restriction that at least one child element appears" (RFC 3863 §4.1.3).
func (r *reader) status(s *Status) error {
	start := r.cursor.Offset()
	if _, _, _, err := r.coreAttributes(""); err != nil {
		return err
	}
	children := 0
	for {
		kind, err := r.next()
		if err != nil {
			return err
		}
		if kind == strictxml.EndElement {
			break
		}
		here := r.cursor.Offset()
		switch {
		case r.cursor.Is(r.space, "basic"):
			if children > 0 && !r.tolerate(LenientOrder, here) {
				return r.faultHere("status-order", "RFC 3863 §4.1.3", "one <basic>, before the extension elements")
			}
			if _, _, _, err := r.coreAttributes(""); err != nil {
				return err
			}
			text, err := r.text("basic-value", "RFC 3863 §4.1.4")
			if err != nil {
				return err
			}
			b, err := r.basic(text, here)
			if err != nil {
				return err
			}
			if s.Basic == BasicAbsent {
				s.Basic = b
			}
		case r.cursor.Is(NamespaceClient, "show"), r.cursor.Is(r.space, "show"):
			// An unknown name in the namespace of PIDF would be ignored, but this one is a mistake with a known cause.
			if !r.cursor.InSpace(NamespaceClient) && !r.tolerate(LenientShow, here) {
				return r.faultHere("show-namespace", "RFC 8048 §6.2", "<show> in the namespace jabber:client")
			}
			if err := r.show(s, here); err != nil {
				return err
			}
		case r.cursor.InSpace(r.space):
			if err := r.skip(); err != nil {
				return err
			}
			continue
		default:
			if err := r.statusExtension(s); err != nil {
				return err
			}
		}
		children++
	}
	if children == 0 && !r.tolerate(LenientStatus, start) {
		return r.faultAt(start, "status-empty", "RFC 3863 §4.1.3", "at least one status value")
	}
	return nil
}

// show reads the current <show>.
func (r *reader) show(s *Status, here int) error {
	for i := range r.cursor.AttrCount() {
		a := r.cursor.AttrAt(i)
		if a.Name.Space == NamespacePIDF && a.Name.Local == "mustUnderstand" {
			if _, ok := parseBoolean(a.Value); !ok && !r.tolerate(LenientMustUnderstand, here) {
				return r.faultHere("must-understand-value", "RFC 3863 §4.4", "true, false, 1 or 0")
			}
		} else if a.Name.Space != strictxml.XMLNamespace && !r.tolerate(LenientAttribute, here) {
			return r.faultHere("attribute", "RFC 6121 §4.7.2.1", "no attributes on <show>")
		}
	}
	text, err := r.text("show-value", "RFC 6121 §4.7.2.1")
	if err != nil {
		return err
	}
	if r.lenient && text != collapse(text) {
		r.tolerate(LenientShow, here)
		text = collapse(text)
	}
	show, ok := ParseShow(text)
	if !ok || s.Show != ShowNone {
		if r.tolerate(LenientShow, here) {
			return nil
		}
		return r.faultAt(here, "show-value", "RFC 6121 §4.7.2.1", "one <show> with away, chat, dnd or xa")
	}
	s.Show = show
	return nil
}

func (r *reader) statusExtension(s *Status) error {
	e, err := r.element()
	if err != nil {
		return err
	}
	if typed(nameOf(e.Name)) {
		if nameOf(e.Name) == (Name{NamespaceTimedStatus, "timed-status"}) && !r.lenient {
			return r.fault(e, "timed-status-place", "RFC 4481 §3", "timed-status in the tuple, not in the status")
		}
		return r.misplaced(e)
	}
	if !mustUnderstandValues(e) && !r.tolerate(LenientMustUnderstand, e.Offset) {
		return r.fault(e, "must-understand-value", "RFC 3863 §4.4", "true, false, 1 or 0")
	}
	x, err := r.extension(e)
	if err != nil {
		return err
	}
	s.Extensions = append(s.Extensions, x)
	return nil
}

// mustUnderstandValues says whether the attribute has a boolean value wherever it is.
func mustUnderstandValues(e *strictxml.Element) bool {
	if _, ok := mustUnderstand(e); !ok {
		return false
	}
	for c := range e.Children() {
		if !mustUnderstandValues(c) {
			return false
		}
	}
	return true
}

// contact reads the current <contact>; nil if the lenient reader leaves it out.
func (r *reader) contact() (*Contact, error) {
	c := &Contact{}
	here := r.cursor.Offset()
	priority, has, _, err := r.coreAttributes("priority")
	if err != nil {
		return nil, err
	}
	if has {
		if c.Priority, err = ParsePriority(collapse(priority)); err != nil && !r.tolerate(LenientPriority, here) {
			return nil, r.faultHere("contact-priority", "RFC 3863 §4.1.5", "a decimal number from 0 to 1 with at most 3 digits after the point")
		}
	}
	text, err := r.text("contact-uri", "RFC 3863 §4.1.5")
	if err != nil {
		return nil, err
	}
	if isSpace(text) {
		return c, nil
	}
	c.URI, err = r.uri(text, "contact-uri", "RFC 3863 §4.1.5")
	if err != nil {
		if r.tolerate(LenientContact, here) {
			return nil, nil
		}
		return nil, r.faultAt(here, "contact-uri", "RFC 3863 §4.1.5", "an absolute URI")
	}
	return c, nil
}

// idAt reads a mandatory or optional id and holds it against those of the document.
func (r *reader) idAt(s string, offset int, rule, section string) (ID, error) {
	id, err := ParseID(collapse(s))
	if err != nil {
		if !r.tolerate(LenientID, offset) {
			return id, r.faultAt(offset, rule, section, "an xs:ID: a letter or underscore, then letters, digits, hyphens, underscores and full stops")
		}
		if len(s) > 1024 {
			s = s[:1024]
		}
		id = TupleID(s)
	}
	return r.unique(id, offset, section)
}

// unique refuses an id that the document had before; the lenient reader makes another of it.
func (r *reader) unique(id ID, offset int, section string) (ID, error) {
	free := r.ids.free(id)
	if free != id && !r.tolerate(LenientIDDuplicate, offset) {
		return id, r.faultAt(offset, "id-unique", section, "an id that no other element of the document has")
	}
	return free, nil
}

// missingID is for an element without the id that it must have.
func (r *reader) missingID(offset int, what string, nth int, rule, section string) (ID, error) {
	if !r.tolerate(LenientIDMissing, offset) {
		return ID{}, r.faultAt(offset, rule, section, "an 'id' attribute")
	}
	return r.unique(ID{what + "-" + strconv.Itoa(nth)}, offset, section)
}
