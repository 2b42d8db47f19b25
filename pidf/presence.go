package pidf

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Presence is a presence document (RFC 3863 §4.1.1). A document that Parse gave may be read by any number of goroutines; who
// changes one must own it. Its fields are what Append prints; Raw is what came.
type Presence struct {
	// Entity is the URI of the presentity: "The <presence> element MUST have an 'entity' attribute." It is zero only
	// after ParseLenient of a document without one.
	Entity URI
	// Tuples are the services, in order. There may be none: see ZeroTuples.
	Tuples []Tuple
	// Notes are about the presentity: they hold for each person without notes of its own (RFC 4479 §5).
	Notes []Note
	// Persons and Devices are those of the data model (RFC 4479 §5), each kind in order.
	Persons []Person
	Devices []Device
	// Extensions are the other children of the document, in order.
	Extensions []Extension

	raw string
}

// ZeroTuples says that the document has no tuple: PIDF allows it (RFC 3863 §4.1.1), and it then tells about the presentity as
// a whole. RFC 3922 §6.3.2: a gateway takes such a document as presence of the bare address, and "MUST NOT generate a PIDF
// document with zero <tuple/> children when receiving a presence stanza"; Composer never does. With notes, it has no XMPP
// form at all (RFC 3922 §5.2.11).
func (p *Presence) ZeroTuples() bool { return len(p.Tuples) == 0 }

// Raw gives the octets that Parse read, for relaying "without any interpretation or modification" (RFC 3863 §4), as a copy;
// nil for a document that was not parsed. Changes to the fields do not show in it.
func (p *Presence) Raw() []byte {
	if p.raw == "" {
		return nil
	}
	return []byte(p.raw)
}

// Tuple gives the first tuple with this id, or nil.
func (p *Presence) Tuple(id ID) *Tuple {
	for i := range p.Tuples {
		if p.Tuples[i].ID == id {
			return &p.Tuples[i]
		}
	}
	return nil
}

// Newest gives the latest timestamp in the document, zero if there is none. RFC 3863 §6: "if the newest timestamp in presence
// information is older than the newest timestamp in the last received presence information, it should be considered outdated".
func (p *Presence) Newest() datetime.Value {
	var newest datetime.Value
	for i := range p.Tuples {
		if t := p.Tuples[i].Timestamp; t.After(newest) {
			newest = t
		}
	}
	for i := range p.Persons {
		if t := p.Persons[i].Timestamp; t.After(newest) {
			newest = t
		}
	}
	for i := range p.Devices {
		if t := p.Devices[i].Timestamp; t.After(newest) {
			newest = t
		}
	}
	return newest
}

// Outdated says whether the document is older than last by the rule of Newest: it "SHOULD be ignored". Without a timestamp in
// both it is not.
func (p *Presence) Outdated(last *Presence) bool {
	a, b := p.Newest(), last.Newest()
	return !a.IsZero() && !b.IsZero() && a.Before(b)
}

// Shrunk says whether tuples, persons or devices of last are gone and nothing that both have is older here: such a document comes behind last, although the
// newest timestamp has gone with the device that had it.
func (p *Presence) Shrunk(last *Presence) bool {
	now := make(map[ID]datetime.Value)
	p.stamps(func(id ID, at datetime.Value) { now[id] = at })
	gone, older := false, false
	last.stamps(func(id ID, then datetime.Value) {
		at, has := now[id]
		gone = gone || !has
		older = older || !at.IsZero() && !then.IsZero() && at.Before(then)
	})
	return gone && !older
}

// stamps calls f with the id and the timestamp of each tuple, person and device.
func (p *Presence) stamps(f func(ID, datetime.Value)) {
	for i := range p.Tuples {
		f(p.Tuples[i].ID, p.Tuples[i].Timestamp)
	}
	for i := range p.Persons {
		f(p.Persons[i].ID, p.Persons[i].Timestamp)
	}
	for i := range p.Devices {
		f(p.Devices[i].ID, p.Devices[i].Timestamp)
	}
}

// NotesFor gives the notes that hold for a person: its own, else those of the document (RFC 4479 §5).
func (p *Presence) NotesFor(person *Person) []Note {
	if len(person.Notes) > 0 {
		return person.Notes
	}
	return p.Notes
}

// Equal says whether both documents print the same. A document that cannot be printed equals none.
func (p *Presence) Equal(q *Presence) bool {
	a, err := p.Append(nil)
	if err != nil {
		return false
	}
	b, err := q.Append(nil)
	return err == nil && bytes.Equal(a, b)
}

// xmlDeclaration begins every document: "It MUST have the XML declaration and it SHOULD contain an encoding declaration"
// (RFC 3863 §4.1).
const xmlDeclaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

// Append appends the document to dst, as Parse takes it: the same value gives the same octets. The error is a *SyntaxError with
// offset -1 for a value that no valid document has (no entity, two equal ids, a person's element in a tuple, …); dst is then
// returned unchanged.
func (p *Presence) Append(dst []byte) ([]byte, error) {
	if err := p.check(); err != nil {
		return dst, err
	}
	w := strictxml.NewWriter(append(dst, xmlDeclaration...))
	w.Start(strictxml.Name{Space: NamespacePIDF, Local: "presence"})
	w.Attr("entity", p.Entity.s)
	p.appendContent(w)
	w.End()
	if w.Err() != nil {
		return dst, unprintable("xml", "RFC 3863 §4.1", "values that XML 1.0 can carry")
	}
	return w.Bytes(), nil
}

// appendContent prints what is between the tags: the tuples, notes and extensions, in the order of RFC 3863 §4.1.1.
func (p *Presence) appendContent(w *strictxml.Writer) {
	for i := range p.Tuples {
		p.Tuples[i].append(w)
	}
	appendNotes(w, NamespacePIDF, p.Notes)
	for i := range p.Persons {
		p.Persons[i].append(w)
	}
	for i := range p.Devices {
		p.Devices[i].append(w)
	}
	for _, x := range p.Extensions {
		x.append(w)
	}
}

// check refuses what Append must not print.
func (p *Presence) check() error {
	if p.Entity.IsZero() {
		return unprintable("entity-missing", "RFC 3863 §4.1.1", "the URI of the presentity")
	}
	var seen idSet
	for i := range p.Tuples {
		if err := p.Tuples[i].check(&seen); err != nil {
			return err
		}
	}
	for i := range p.Persons {
		if err := p.Persons[i].check(&seen); err != nil {
			return err
		}
	}
	for i := range p.Devices {
		if err := p.Devices[i].check(&seen); err != nil {
			return err
		}
	}
	for _, n := range p.Notes {
		if err := n.check(); err != nil {
			return err
		}
	}
	return checkOutsideStatus(p.Extensions, NamespacePIDF)
}

// idSet finds an ID that occurs twice. It compares one by one while there are few, as there nearly always are.
type idSet struct {
	few  []ID
	room [4]ID
	many map[ID]struct{}
	next map[ID]int // the number after the last suffix that free tried
}

// add says whether the ID is new.
func (s *idSet) add(id ID) bool {
	if s.many == nil {
		if slices.Contains(s.few, id) {
			return false
		}
		if s.few == nil {
			s.few = s.room[:0]
		}
		if len(s.few) < 32 {
			s.few = append(s.few, id)
			return true
		}
		s.many = make(map[ID]struct{}, 2*len(s.few))
		for _, have := range s.few {
			s.many[have] = struct{}{}
		}
	}
	if _, have := s.many[id]; have {
		return false
	}
	s.many[id] = struct{}{}
	return true
}

// free adds the id, or if it is taken the first free one that is the id, a hyphen and a number from 2 up.
func (s *idSet) free(id ID) ID {
	if s.add(id) {
		return id
	}
	if s.next == nil {
		s.next = make(map[ID]int)
	}
	for n := max(s.next[id], 2); ; n++ {
		if again := (ID{id.s + "-" + strconv.Itoa(n)}); s.add(again) {
			s.next[id] = n + 1
			return again
		}
	}
}

// checkID is the check of a mandatory ID before printing.
func (s *idSet) checkID(id ID, rule, section string) error {
	if id.IsZero() {
		return unprintable(rule, section, "an id")
	}
	if !s.add(id) {
		return unprintable("id-unique", section, "an id that no other element of the document has")
	}
	return nil
}
