package pidf

import (
	"bytes"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Person is one occurrence of the person component (RFC 4479 §5): the human whom the presentity stands for. Several
// occurrences in a document say that the state is ambiguous (RFC 4479 §3.5).
type Person struct {
	// ID is the occurrence identifier, mandatory.
	ID ID
	// Rich holds the elements of RPID and CIPID; nil for none.
	Rich *Rich
	// Extensions are the other elements, in order.
	Extensions []Extension
	// Notes override those of the document: see Presence.NotesFor.
	Notes []Note
	// Timestamp is when this person's data last changed (RFC 4479 §3.5); zero for none.
	Timestamp datetime.Value
}

func (p *Person) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespaceDataModel, Local: "person"})
	w.Attr("id", p.ID.s)
	p.Rich.append(w)
	for _, x := range p.Extensions {
		x.append(w)
	}
	appendNotes(w, NamespaceDataModel, p.Notes)
	if !p.Timestamp.IsZero() {
		appendText(w, NamespaceDataModel, "timestamp", p.Timestamp.String())
	}
	w.End()
}

// Equal says whether both print the same; nil equals nil alone.
func (p *Person) Equal(q *Person) bool {
	if p == nil || q == nil {
		return p == q
	}
	a, b := strictxml.NewWriter(nil), strictxml.NewWriter(nil)
	p.append(a)
	q.append(b)
	return bytes.Equal(a.Bytes(), b.Bytes())
}

func (p *Person) check(seen *idSet) error {
	if err := seen.checkID(p.ID, "person-id", "RFC 4479 §5"); err != nil {
		return err
	}
	if err := checkComponent(p.Extensions, p.Notes); err != nil {
		return err
	}
	return p.Rich.check(placePerson, nil, seen)
}

// checkComponent is what persons and devices have in common.
func checkComponent(extensions []Extension, notes []Note) error {
	if err := checkOutsideStatus(extensions, NamespaceDataModel); err != nil {
		return err
	}
	for _, n := range notes {
		if err := n.check(); err != nil {
			return err
		}
	}
	return nil
}
