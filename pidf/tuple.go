package pidf

import (
	"bytes"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Basic is the basic status (RFC 3863 §4.1.4).
type Basic uint8

const (
	// BasicAbsent: the status has no <basic>, and must then have another value.
	BasicAbsent Basic = iota
	// BasicOpen: ready to accept an instant message. XMPP: a <presence/> without a type (RFC 8048 §6.2 note 4).
	BasicOpen
	// BasicClosed: unable to accept one. XMPP: type 'unavailable'.
	BasicClosed
)

// String gives "open", "closed", or "" for absent.
func (b Basic) String() string {
	switch b {
	case BasicOpen:
		return "open"
	case BasicClosed:
		return "closed"
	}
	return ""
}

// Status is the <status> of a tuple (RFC 3863 §4.1.3): at least one value.
type Status struct {
	Basic Basic
	// Show is the XMPP availability, ShowNone if there is no element {jabber:client}show. ReadShow also looks at what
	// others use for it.
	Show Show
	// Extensions are the other status values, in order. Before using one, ask its MayProcess.
	Extensions []Extension
}

// Contact is the communication address of a tuple (RFC 3863 §4.1.5), the service URI of RFC 4479 §5.
type Contact struct {
	// URI is zero for an empty contact, which the service classes other than electronic need (RFC 4480 §3.10).
	URI URI
	// Priority is zero for none.
	Priority Priority
}

// Tuple is one service (RFC 3863 §4.1.2, RFC 4479 §5).
type Tuple struct {
	// ID is mandatory and differs from every other ID in the document.
	ID ID
	// Status is mandatory.
	Status Status
	// Rich holds the elements of RPID, CIPID, timed status and capabilities; nil for none.
	Rich *Rich
	// Extensions are the other elements between status and contact, in order.
	Extensions []Extension
	// Contact is nil for none.
	Contact *Contact
	// Notes are about this tuple.
	Notes []Note
	// Timestamp is when the status of this tuple changed; zero for none.
	Timestamp datetime.Value
}

// EqualButTime says whether both print the same but for the timestamp, and so tell the same status.
func (t *Tuple) EqualButTime(u *Tuple) bool {
	a, b := *t, *u
	a.Timestamp, b.Timestamp = datetime.Value{}, datetime.Value{}
	const most = 512 // of nearly all tuples: each watcher's document is compared when a device says something, and growing costs more than printing
	room := make([]byte, 2*most)
	v, w := strictxml.NewWriter(room[:0:most]), strictxml.NewWriter(room[most:most])
	a.append(v)
	b.append(w)
	return bytes.Equal(v.Bytes(), w.Bytes())
}

func (t *Tuple) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespacePIDF, Local: "tuple"})
	w.Attr("id", t.ID.s)
	w.Start(strictxml.Name{Space: NamespacePIDF, Local: "status"})
	if t.Status.Basic != BasicAbsent {
		appendText(w, NamespacePIDF, "basic", t.Status.Basic.String())
	}
	if t.Status.Show != ShowNone {
		appendText(w, NamespaceClient, "show", t.Status.Show.String())
	}
	for _, x := range t.Status.Extensions {
		x.append(w)
	}
	w.End()
	t.Rich.append(w)
	for _, x := range t.Extensions {
		x.append(w)
	}
	if t.Contact != nil {
		w.Start(strictxml.Name{Space: NamespacePIDF, Local: "contact"})
		if t.Contact.Priority.IsSet() {
			w.Attr("priority", t.Contact.Priority.String())
		}
		w.Text(t.Contact.URI.s)
		w.End()
	}
	appendNotes(w, NamespacePIDF, t.Notes)
	if !t.Timestamp.IsZero() {
		appendText(w, NamespacePIDF, "timestamp", t.Timestamp.String())
	}
	w.End()
}

func (t *Tuple) check(seen *idSet) error {
	if err := seen.checkID(t.ID, "tuple-id", "RFC 3863 §4.1.2"); err != nil {
		return err
	}
	if t.Status.Basic > BasicClosed || t.Status.Show > ShowXA {
		return unprintable("basic-value", "RFC 3863 §4.1.4", "a defined value of Basic and of Show")
	}
	if t.Status.Basic == BasicAbsent && t.Status.Show == ShowNone && len(t.Status.Extensions) == 0 {
		return unprintable("status-empty", "RFC 3863 §4.1.3", "at least one status value")
	}
	if err := checkComponentExtensions(t.Status.Extensions, NamespacePIDF); err != nil {
		return err
	}
	for _, x := range t.Status.Extensions {
		if x.name == (Name{NamespaceClient, "show"}) {
			return unprintable("show-extension", "RFC 8048 §6.2", "the show element in Status.Show")
		}
		if x.hasMustUnderstand() && !x.mustUnderstandValues() {
			return unprintable("must-understand-value", "RFC 3863 §4.4", "true, false, 1 or 0")
		}
	}
	if err := checkOutsideStatus(t.Extensions, NamespacePIDF); err != nil {
		return err
	}
	for _, n := range t.Notes {
		if err := n.check(); err != nil {
			return err
		}
	}
	return t.Rich.check(placeTuple, t, seen)
}

func appendText(w *strictxml.Writer, space, local, text string) {
	w.Start(strictxml.Name{Space: space, Local: local})
	w.Text(text)
	w.End()
}
