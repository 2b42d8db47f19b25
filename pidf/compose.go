package pidf

import (
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
)

// Source is the presence of one XMPP resource, as one tuple shows it (RFC 8048 §6.2, table 1).
type Source struct {
	// Resource is the resource identifier; "" for presence of the bare address. It decides the tuple's id: see TupleID.
	Resource string
	// Basic is BasicOpen for a stanza without a type, BasicClosed for type 'unavailable'.
	Basic Basic
	// Show is the <show/>; it is dropped if Basic is BasicClosed.
	Show Show
	// Contact is the address of the tuple, zero for none. Without one the priority has no place.
	Contact URI
	// Priority is the XMPP priority, which counts if HasPriority; a negative one is never mapped.
	Priority    int8
	HasPriority bool
	// Notes are the <status/> elements, by language.
	Notes []Note
}

// Composer makes the successive documents of one presentity: all sources in one document, a tuple each. It holds to
//
//   - RFC 3863 §4.1.7, "A PRESENTITY MUST NOT generate successive <presence> elements containing the same timestamp": the tuples
//     that changed get a new timestamp, always later than any before, also when the clock steps back; so the newest timestamp of
//     each document is later than that of the last, by which watchers know the order (§6). A document in which nothing changed is
//     not generated again: it is the same one.
//   - RFC 3863 §4.1.2: the id of a tuple stays the same from document to document.
//   - RFC 3922 §6.3.2, "MUST NOT generate a PIDF document with zero <tuple/> children": a source that is gone leaves a closed
//     tuple, which is dropped when something else changes; if there never was a source, the closed tuple is that of the bare
//     address.
//
// It has no clock and does no I/O; it is for one goroutine.
type Composer struct {
	entity URI
	last   time.Time // of the latest timestamp given out
	tuples []composed
	doc    *Presence
}

// composed is a tuple of the last document; gone says that its source is not there any more.
type composed struct {
	tuple Tuple
	gone  bool
}

// NewComposer makes a Composer for a presentity. previous is the last document that was generated for it, perhaps before a
// restart, so that timestamps go on from there; nil if there was none.
func NewComposer(entity URI, previous *Presence) (*Composer, error) {
	if entity.IsZero() {
		return nil, unprintable("entity-missing", "RFC 3863 §4.1.1", "the URI of the presentity")
	}
	c := &Composer{entity: entity}
	if previous == nil {
		return c, nil
	}
	c.last = previous.Newest().Time()
	for _, t := range previous.Tuples {
		c.tuples = append(c.tuples, composed{tuple: t, gone: t.Status.Basic == BasicClosed})
	}
	c.doc = previous
	return c, nil
}

// MaxSources is the most sources that Compose takes: as many elements as the reader takes in one.
const MaxSources = 900

// Compose gives the document for the sources that there are now, each resource once. changed is false if the last document still
// holds; it is then returned again. now is the wall clock; the timestamps are in UTC, to the microsecond. The document must not
// be changed.
func (c *Composer) Compose(now time.Time, sources []Source) (doc *Presence, changed bool, err error) {
	if len(sources) > MaxSources {
		return nil, false, unprintable("sources", "RFC 3863 §4.1.1", "at most 900 sources")
	}
	wanted := make([]Tuple, len(sources))
	index := make(map[ID]int, len(sources))
	for i := range sources {
		wanted[i] = sources[i].tuple()
		if _, again := index[wanted[i].ID]; again {
			return nil, false, unprintable("id-unique", "RFC 3863 §4.1.2", "each resource once")
		}
		index[wanted[i].ID] = i
	}

	// First what changes, then the timestamp, and only then the new state, so that an error changes nothing.
	next := make([]composed, 0, len(c.tuples)+len(wanted))
	fresh := make([]bool, 0, cap(next))
	left := 0 // closed tuples of sources gone before, which are dropped if there is a change
	for _, old := range c.tuples {
		if at, ok := index[old.tuple.ID]; ok {
			delete(index, old.tuple.ID)
			same := sameTuple(&old.tuple, &wanted[at])
			if same {
				wanted[at].Timestamp = old.tuple.Timestamp
			}
			next, fresh = append(next, composed{tuple: wanted[at]}), append(fresh, !same)
			continue
		}
		if old.gone {
			left++
			continue
		}
		gone := Tuple{ID: old.tuple.ID, Status: Status{Basic: BasicClosed}}
		if old.tuple.Contact != nil {
			gone.Contact = &Contact{URI: old.tuple.Contact.URI}
		}
		next, fresh = append(next, composed{tuple: gone, gone: true}), append(fresh, !sameTuple(&old.tuple, &gone))
	}
	for i := range wanted {
		if _, isNew := index[wanted[i].ID]; isNew {
			next, fresh = append(next, composed{tuple: wanted[i]}), append(fresh, true)
		}
	}
	if len(next) == 0 && left == 0 {
		none := Tuple{ID: TupleID(""), Status: Status{Basic: BasicClosed}}
		next, fresh = append(next, composed{tuple: none, gone: true}), append(fresh, true)
	}
	if !slices.Contains(fresh, true) {
		// Nothing shows, but a source that had closed its tuple may be gone now.
		for i := range c.tuples {
			c.tuples[i].gone = c.tuples[i].gone || !slices.ContainsFunc(wanted, func(t Tuple) bool { return t.ID == c.tuples[i].tuple.ID })
		}
		return c.doc, false, nil
	}

	stamp := now.UTC().Truncate(time.Microsecond)
	if !stamp.After(c.last) {
		stamp = c.last.UTC().Truncate(time.Microsecond).Add(time.Microsecond)
	}
	value := datetime.FromTimeDigits(stamp, 6)
	if value.IsZero() {
		return nil, false, unprintable("timestamp", "RFC 3863 §4.1.7", "a year from 0000 to 9999")
	}
	doc = &Presence{Entity: c.entity, Tuples: make([]Tuple, len(next))}
	for i := range next {
		if fresh[i] {
			next[i].tuple.Timestamp = value
		}
		doc.Tuples[i] = next[i].tuple
	}
	if err := doc.check(); err != nil {
		return nil, false, err
	}
	c.last, c.tuples, c.doc = stamp, next, doc
	return doc, true, nil
}

// tuple gives the tuple of a source, without a timestamp.
func (s *Source) tuple() Tuple {
	t := Tuple{ID: TupleID(s.Resource), Status: Status{Basic: s.Basic}, Notes: s.Notes}
	if s.Basic != BasicClosed {
		t.Status.Show = s.Show
	}
	if !s.Contact.IsZero() {
		t.Contact = &Contact{URI: s.Contact}
		if s.HasPriority && s.Basic != BasicClosed {
			t.Contact.Priority, _ = PriorityFromXMPP(s.Priority)
		}
	}
	return t
}

// sameTuple compares what a source decides; a tuple with anything else is not the same.
func sameTuple(a, b *Tuple) bool {
	if a.Status.Basic != b.Status.Basic || a.Status.Show != b.Status.Show || !slices.Equal(a.Notes, b.Notes) {
		return false
	}
	if (a.Contact == nil) != (b.Contact == nil) || a.Contact != nil && *a.Contact != *b.Contact {
		return false
	}
	return !slices.ContainsFunc([]*Tuple{a, b}, func(t *Tuple) bool {
		return t.Rich != nil || len(t.Extensions)+len(t.Status.Extensions) > 0
	})
}
