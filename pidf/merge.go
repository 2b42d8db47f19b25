package pidf

import "slices"

// Merge puts several documents about one presentity into one: all tuples, persons, devices, notes and extensions, in the order of
// the documents. RFC 4479 §3.5 leaves it to the watcher to resolve what contradicts itself, and demands that the occurrence
// identifiers differ: an id that was there before gets a hyphen and a number, the same one each time if the documents come in the
// same order. An element, note or extension that is the same as one before is left out; an 'id' of an RPID element that was there
// before is dropped. The entities of the documents are not looked at: whether they mean one presentity is for the caller to know.
func Merge(entity URI, docs ...*Presence) *Presence {
	p := &Presence{Entity: entity}
	var seen idSet
	// What was there before, printed: equal elements print the same.
	had := make(map[string]struct{})
	isNew := func(one *Presence) bool {
		one.Entity = URI{"pres:x"}
		b, err := one.Append(nil)
		if err != nil {
			return true
		}
		_, old := had[string(b)]
		had[string(b)] = struct{}{}
		return !old
	}
	for _, d := range docs {
		for _, t := range d.Tuples {
			if isNew(&Presence{Tuples: []Tuple{t}}) {
				t.ID, t.Rich = seen.free(t.ID), t.Rich.withFreeIDs(&seen)
				p.Tuples = append(p.Tuples, t)
			}
		}
		for _, m := range d.Persons {
			if isNew(&Presence{Persons: []Person{m}}) {
				m.ID, m.Rich = seen.free(m.ID), m.Rich.withFreeIDs(&seen)
				p.Persons = append(p.Persons, m)
			}
		}
		for _, m := range d.Devices {
			if isNew(&Presence{Devices: []Device{m}}) {
				m.ID, m.Rich = seen.free(m.ID), m.Rich.withFreeIDs(&seen)
				p.Devices = append(p.Devices, m)
			}
		}
		for _, n := range d.Notes {
			if !slices.Contains(p.Notes, n) {
				p.Notes = append(p.Notes, n)
			}
		}
		for _, x := range d.Extensions {
			if !slices.Contains(p.Extensions, x) {
				p.Extensions = append(p.Extensions, x)
			}
		}
	}
	return p
}

// withFreeIDs gives the elements without those ids that are taken; r itself is not changed.
func (r *Rich) withFreeIDs(seen *idSet) *Rich {
	if r == nil {
		return nil
	}
	c := *r
	free := func(id *ID) {
		if !id.IsZero() && !seen.add(*id) {
			*id = ID{}
		}
	}
	c.Activities = slices.Clone(r.Activities)
	for i := range c.Activities {
		free(&c.Activities[i].ID)
	}
	c.Moods = slices.Clone(r.Moods)
	for i := range c.Moods {
		free(&c.Moods[i].ID)
	}
	c.PlaceIs = slices.Clone(r.PlaceIs)
	for i := range c.PlaceIs {
		free(&c.PlaceIs[i].ID)
	}
	c.PlaceTypes = slices.Clone(r.PlaceTypes)
	for i := range c.PlaceTypes {
		free(&c.PlaceTypes[i].ID)
	}
	c.Privacy = slices.Clone(r.Privacy)
	for i := range c.Privacy {
		free(&c.Privacy[i].ID)
	}
	c.Spheres = slices.Clone(r.Spheres)
	for i := range c.Spheres {
		free(&c.Spheres[i].ID)
	}
	c.StatusIcons = slices.Clone(r.StatusIcons)
	for i := range c.StatusIcons {
		free(&c.StatusIcons[i].ID)
	}
	c.TimeOffsets = slices.Clone(r.TimeOffsets)
	for i := range c.TimeOffsets {
		free(&c.TimeOffsets[i].ID)
	}
	if r.UserInput != nil {
		u := *r.UserInput
		free(&u.ID)
		c.UserInput = &u
	}
	return &c
}
