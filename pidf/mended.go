package pidf

// Mended is what of a document that ParseLenient took can be printed: the document itself if all of it can, else a copy. Elements of RPID that
// stand in a tuple and are a person's (LenientPlace) go into a person, if there is no other; a tuple without a status value is closed, so
// that nobody takes it for somebody who is there; ids that are missing or there twice are replaced; what then still cannot be printed is left
// out: first extensions and notes, then the component. A document without an entity comes back as it is.
func (p *Presence) Mended() *Presence {
	if p.Entity.IsZero() || p.prints() {
		return p
	}
	m := mender{out: &Presence{Entity: p.Entity}, persons: len(p.Persons)}
	for _, t := range p.Tuples {
		m.tuple(t)
	}
	for _, x := range p.Persons {
		m.person(x)
	}
	for _, d := range p.Devices {
		d.ID, d.Rich = m.seen.free(named(d.ID)), d.Rich.withFreeIDs(&m.seen)
		m.keep(Presence{Devices: []Device{d}}, func() { m.out.Devices = append(m.out.Devices, d) })
	}
	for _, n := range p.Notes {
		m.keep(Presence{Notes: []Note{n}}, func() { m.out.Notes = append(m.out.Notes, n) })
	}
	for _, x := range p.Extensions {
		m.keep(Presence{Extensions: []Extension{x}}, func() { m.out.Extensions = append(m.out.Extensions, x) })
	}
	return m.out
}

// prints tells whether the document can be printed.
func (p *Presence) prints() bool {
	_, err := p.Append(nil)
	return err == nil
}

// mender puts a document together of what can be printed.
type mender struct {
	out     *Presence
	seen    idSet
	persons int // of the document as it was
}

// keep calls take if a document with nothing but that can be printed.
func (m *mender) keep(one Presence, take func()) bool {
	one.Entity = m.out.Entity
	if !one.prints() {
		return false
	}
	take()
	return true
}

func (m *mender) tuple(t Tuple) {
	t.ID, t.Rich = m.seen.free(named(t.ID)), t.Rich.withFreeIDs(&m.seen)
	if s := &t.Status; s.Basic == BasicAbsent && s.Show == ShowNone && len(s.Extensions) == 0 {
		s.Basic = BasicClosed
	}
	add := func() { m.out.Tuples = append(m.out.Tuples, t) }
	if m.keep(Presence{Tuples: []Tuple{t}}, add) {
		return
	}
	moved := t.Rich
	t.Rich = nil
	if !m.keep(Presence{Tuples: []Tuple{t}}, add) {
		// What is left is what every watcher needs.
		t = Tuple{ID: t.ID, Status: Status{Basic: t.Status.Basic, Show: t.Status.Show}, Contact: t.Contact, Timestamp: t.Timestamp}
		if t.Status.Basic == BasicAbsent {
			t.Status.Basic = BasicClosed
		}
		m.keep(Presence{Tuples: []Tuple{t}}, add)
	}
	if moved != nil && m.persons == 0 && len(m.out.Persons) == 0 {
		m.person(Person{Rich: moved})
	}
}

func (m *mender) person(x Person) {
	x.ID = m.seen.free(named(x.ID))
	if len(m.out.Persons) > 0 || m.persons > 0 {
		x.Rich = x.Rich.withFreeIDs(&m.seen)
	}
	add := func() { m.out.Persons = append(m.out.Persons, x) }
	if !m.keep(Presence{Persons: []Person{x}}, add) {
		x = Person{ID: x.ID, Rich: x.Rich, Timestamp: x.Timestamp}
		m.keep(Presence{Persons: []Person{x}}, add)
	}
}

// named is an id, or for none the one that TupleID gives to nobody's resource.
func named(id ID) ID {
	if id.IsZero() {
		return ID{"ID-mended"}
	}
	return id
}
