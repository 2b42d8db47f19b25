package pidf

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// rpidValues is the content of an RPID enumeration: notes, then named values, free values in <other>, and elements of other
// namespaces.
type rpidValues struct {
	notes      []Note
	names      []string
	others     []Note
	extensions []Extension
}

// count gives the number of values of any kind.
func (v *rpidValues) count() int { return len(v.names) + len(v.others) + len(v.extensions) }

// values reads an enumeration. named says which local names are values; "note" and "other" are understood where it says so.
// An element of the namespace of RPID with another name is ignored, as "a processor of PRESENCE INFORMATION MUST ignore any XML
// element with an unrecognized name" (RFC 3863 §4.2.3).
func (r *reader) values(e *strictxml.Element, named func(string) bool) (rpidValues, error) {
	var v rpidValues
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		if c == nil {
			if !isSpace(e.Nodes[i].Text) {
				return v, r.fault(e, "character-data", "RFC 4480 §5.1", "elements only")
			}
			continue
		}
		switch {
		case c.Name.Space != NamespaceRPID:
			x, err := r.extension(c)
			if err != nil {
				return v, err
			}
			v.extensions = append(v.extensions, x)
		case !named(c.Name.Local):
		case c.Name.Local == "note", c.Name.Local == "other":
			n, err := r.noteElement(c)
			if err != nil {
				return v, err
			}
			if c.Name.Local == "other" {
				v.others = append(v.others, n)
				break
			}
			if v.count() > 0 && !r.tolerate(LenientOrder, c.Offset) {
				return v, r.fault(c, "rpid-order", "RFC 4480 §5.1", "notes before values")
			}
			v.notes = append(v.notes, n)
		default:
			if err := r.empty(c); err != nil {
				return v, err
			}
			v.names = append(v.names, c.Name.Local)
		}
	}
	return v, nil
}

// empty refuses content or attributes in an element of the schema's type "empty".
func (r *reader) empty(e *strictxml.Element) error {
	if len(e.Nodes) > 0 {
		return r.fault(e, "rpid-empty", "RFC 4479 §5.1.1", "an empty element")
	}
	return r.attributes(e)
}

// span reads the attributes that an RPID element with a time range has, and gives those in extra (unprefixed) to take.
func (r *reader) span(e *strictxml.Element, extra string, take func(string) error) (Span, error) {
	var s Span
	for i := range e.Attrs {
		a := &e.Attrs[i]
		if a.Name.Space != "" {
			if a.Name.Space != schemaInstance {
				s.Attributes = append(s.Attributes, Attribute{nameOf(a.Name), a.Value})
			}
			continue
		}
		var err error
		switch a.Name.Local {
		case "from", "until":
			if extra == "no-range" {
				err = r.fault(e, "rpid-range", "RFC 4480 §3.1", "no 'from' or 'until' on this element")
				break
			}
			var v datetime.Value
			if v, err = r.dateTime(e, a.Value, "rpid-datetime", "RFC 4480 §3.1"); err == nil {
				if a.Name.Local == "from" {
					s.From = v
				} else {
					s.Until = v
				}
			}
		case "id":
			s.ID, err = r.id(e, a.Value, "RFC 4480 §3.1")
		default:
			if take != nil {
				err = take(a.Name.Local)
			} else {
				err = r.strayAttribute(e)
			}
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// dateTime reads an xs:dateTime with an offset, of an attribute.
func (r *reader) dateTime(e *strictxml.Element, s, rule, section string) (datetime.Value, error) {
	v, err := datetime.Parse(collapse(s), datetime.XML)
	if err != nil {
		return v, r.fault(e, rule, section, "a date and time with an offset: YYYY-MM-DDThh:mm:ssZ")
	}
	return v, nil
}

// noteElement reads an element of the schema's type Note_t.
func (r *reader) noteElement(e *strictxml.Element) (Note, error) {
	for i := range e.Nodes {
		if e.Nodes[i].Element != nil {
			return Note{}, r.fault(e, "note-content", "RFC 3863 §4.1.6", "text only")
		}
	}
	n := Note{Text: e.Text(), Lang: e.Lang()}
	if n.Lang == "" {
		n.Lang = r.lang
	}
	if !validLang(n.Lang) {
		return n, r.fault(e, "note-lang", "RFC 3863 §4.1.6", "a language tag")
	}
	return n, r.attributes(e)
}

// textOf reads the text of an element without children and, but for xml:lang, without attributes.
func (r *reader) textOf(e *strictxml.Element, rule, section string) (string, error) {
	for i := range e.Nodes {
		if e.Nodes[i].Element != nil {
			return "", r.fault(e, rule, section, "text only")
		}
	}
	return e.Text(), r.attributes(e)
}

// convert gives strings the type of an enumeration.
func convert[V ~string](names []string) []V {
	if names == nil {
		return nil
	}
	vs := make([]V, len(names))
	for i, n := range names {
		vs[i] = V(n)
	}
	return vs
}

// appendValues prints an RPID enumeration.
func appendValues[V ~string](w *strictxml.Writer, local string, span *Span, notes []Note, values []V, others []Note, extensions []Extension) {
	w.Start(strictxml.Name{Space: NamespaceRPID, Local: local})
	if span != nil {
		span.append(w)
	}
	appendNotes(w, NamespaceRPID, notes)
	for _, v := range values {
		appendEmpty(w, NamespaceRPID, string(v))
	}
	for _, n := range others {
		appendNote(w, NamespaceRPID, "other", n)
	}
	for _, x := range extensions {
		x.append(w)
	}
	w.End()
}

func appendEmpty(w *strictxml.Writer, space, local string) {
	w.Start(strictxml.Name{Space: space, Local: local})
	w.End()
}

// checkValues is the check of an enumeration before printing.
func checkValues[V ~string](notes []Note, values []V, others []Note, extensions []Extension, named func(string) bool, section string) error {
	for _, v := range values {
		if v == "note" || v == "other" || !named(string(v)) {
			return unprintable("rpid-value", section, "a value that the section lists")
		}
	}
	return firstFault(checkNotes(notes), checkNotes(others), checkExtensions(extensions, NamespaceRPID))
}

func isSpace(s string) bool { return strings.Trim(s, " \t\r\n") == "" }
