package pidf

import (
	"cmp"
	"slices"
	"strings"
)

// singleID is the id of the one tuple that Single makes: always the same one, that of the bare address. A watcher that reads one tuple takes another
// id for another contact, or shows the one before for ever, so the tuple must not take the id of the resource that it shows at the moment. That of the
// bare address stands for the whole user, which this tuple does; it is the id under which nobody being there is told (see Composer); and it names no
// resource, so that a gateway on the far side takes it for presence of the bare address and not for a device that comes and goes.
var singleID = TupleID("")

// Single gives the document for watchers that look at one tuple alone: p with the best of its tuples in place of all. It is made of p's values and
// shares them; p is not changed. It prints and parses if p does, and Single of it says the same.
//
// The best is what RFC 6121 §8.5.2.1.1 calls the most available resource, as far as PIDF tells: open comes before closed; then the highest priority of
// the contact, none being the lowest; then the availability, which is chat, none, away, xa, dnd; then the newest timestamp; and of what is equal in all
// that the smallest id. A negative XMPP priority is not in a document (RFC 8048 §6.2 note 6) and counts as none.
//
// The tuple has an id of its own, the same one in every document. Its timestamp is the newest of all tuples: another that is shown may have changed
// before the last that was, and would be taken for outdated (RFC 3863 §6). Persons, notes and extensions of the document stay, and so do devices but
// those that only the tuples left out refer to. An id that another element has in common with the tuple gives way, as in Merge.
//
// Of a document without a tuple the result says closed: who reads one tuple would go on showing what was there before.
func (p *Presence) Single() *Presence {
	one := Tuple{Status: Status{Basic: BasicClosed}}
	if len(p.Tuples) > 0 {
		best := 0
		for i := range p.Tuples {
			if p.compareTuples(&p.Tuples[i], &p.Tuples[best]) > 0 {
				best = i
			}
		}
		one = p.Tuples[best]
		for i := range p.Tuples {
			if at := p.Tuples[i].Timestamp; at.After(one.Timestamp) {
				one.Timestamp = at
			}
		}
	}
	var seen idSet
	one.ID = singleID
	seen.add(singleID)
	one.Rich = one.Rich.withFreeIDs(&seen)

	s := &Presence{Entity: p.Entity, Notes: p.Notes, Extensions: p.Extensions}
	for _, m := range p.Persons {
		m.ID, m.Rich = seen.free(m.ID), m.Rich.withFreeIDs(&seen)
		s.Persons = append(s.Persons, m)
	}
	for _, d := range p.Devices {
		refers := func(t Tuple) bool { return t.Rich != nil && slices.Contains(t.Rich.DeviceIDs, d.DeviceID) }
		if !refers(one) && slices.ContainsFunc(p.Tuples, refers) {
			continue
		}
		d.ID, d.Rich = seen.free(d.ID), d.Rich.withFreeIDs(&seen)
		s.Devices = append(s.Devices, d)
	}
	s.Tuples = []Tuple{one}
	return s
}

// compareTuples orders tuples of p by how good they are to reach the presentity at, the worst first: see Single. No two with different ids are equal.
func (p *Presence) compareTuples(a, b *Tuple) int {
	priority := func(t *Tuple) Priority {
		if t.Contact == nil {
			return Priority{}
		}
		return t.Contact.Priority
	}
	show := func(t *Tuple) int {
		s, _ := ReadShow(p, t)
		return slices.Index([]Show{ShowDND, ShowXA, ShowAway, ShowNone, ShowChat}, s)
	}
	openness := func(t *Tuple) int { return slices.Index([]Basic{BasicClosed, BasicAbsent, BasicOpen}, t.Status.Basic) }
	return cmp.Or(
		cmp.Compare(openness(a), openness(b)), priority(a).Compare(priority(b)), cmp.Compare(show(a), show(b)),
		a.Timestamp.Compare(b.Timestamp), strings.Compare(b.ID.s, a.ID.s),
	)
}
