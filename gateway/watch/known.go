package watch

import (
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// learn keeps what op says of the presentity. It returns the tuples that are gone since the last document, and whether
// anything was learnt.
func (t *turn) learn(op *adapters.NotifyOp) (withdrawn []pidf.ID, changed bool) {
	switch {
	case op.Presence == nil:
		return nil, false
	case len(t.devices) > 0 && allGone(op):
		// The whole user is gone, and so is every device that was told of.
		for i := range t.devices {
			t.devices[i].Tuple = closedTuple(t.devices[i].Tuple)
		}
		return nil, true
	case op.Whole:
		if t.document != nil && op.Presence.Outdated(t.document) {
			// "it should be considered outdated" and ignored (RFC 3863 §6).
			t.drop(DropOutdated)
			return nil, false
		}
		withdrawn = missing(t.instances(), op.Presence)
		t.document, t.devices, t.person = op.Presence, nil, nil
		return withdrawn, true
	case len(op.Presence.Tuples) == 0:
		return nil, t.learnPerson(op.Presence)
	}
	return t.learnDevice(op.Instance, op.Presence.Tuples[0])
}

// allGone tells whether op says that the presentity has no device: one closed tuple, of the bare address.
func allGone(op *adapters.NotifyOp) bool {
	return op.Instance == "" && len(op.Presence.Tuples) == 1 && op.Presence.Tuples[0].ID == pidf.TupleID("") &&
		op.Presence.Tuples[0].Status.Basic == pidf.BasicClosed
}

// learnPerson keeps what a document without tuples says of the user herself, apart from her devices: her mood, what she is doing. It returns
// whether that is news to who watches her.
func (t *turn) learnPerson(p *pidf.Presence) bool {
	var now *pidf.Person
	if len(p.Persons) > 0 && p.Persons[0].Rich != nil {
		now = &p.Persons[0]
	}
	last := t.person
	t.person = now
	return len(t.devices) > 0 && !last.Equal(now)
}

func (t *turn) learnDevice(instance string, tuple pidf.Tuple) (withdrawn []pidf.ID, changed bool) {
	if t.document != nil {
		// What was told as a whole is told device by device now.
		withdrawn = missing(t.instances(), &pidf.Presence{Tuples: []pidf.Tuple{tuple}})
		t.document = nil
	}
	if i := slices.IndexFunc(t.devices, func(d Device) bool { return d.Instance == instance }); i >= 0 {
		t.devices[i].Tuple = tuple
		return withdrawn, true
	}
	if len(t.devices) >= t.rules.Devices {
		t.drop(DropDevices)
		return withdrawn, len(withdrawn) > 0
	}
	t.devices = append(t.devices, Device{Instance: instance, Tuple: tuple})
	return withdrawn, true
}

// missing returns those of ids that p does not have.
func missing(ids []pidf.ID, p *pidf.Presence) []pidf.ID {
	return slices.DeleteFunc(ids, func(id pidf.ID) bool { return p.Tuple(id) != nil })
}

// instances returns the tuples of everything known, to be withdrawn when it is known no more.
func (t *turn) instances() []pidf.ID {
	var all []pidf.ID
	if t.document != nil {
		for i := range t.document.Tuples {
			all = append(all, t.document.Tuples[i].ID)
		}
	}
	for _, d := range t.devices {
		all = append(all, d.Tuple.ID)
	}
	return all
}

// unknow forgets the presentity's state: it is "unknown" from now on, never a stale open.
func (t *turn) unknow() { t.devices, t.document, t.person = nil, nil, nil }

// settleDevices drops the devices that closed: the watchers have been told once, and the next document is without them.
// The last one stays, so that the document keeps saying "closed" and not nothing.
func (t *turn) settleDevices() {
	open := slices.ContainsFunc(t.devices, func(d Device) bool { return d.Tuple.Status.Basic != pidf.BasicClosed })
	if open {
		t.devices = slices.DeleteFunc(t.devices, func(d Device) bool { return d.Tuple.Status.Basic == pidf.BasicClosed })
	} else if len(t.devices) > 1 {
		t.devices = t.devices[:1]
	}
}

// known returns the whole of what is known as one document, nil if nothing is.
func (t *turn) known() *pidf.Presence {
	if t.document != nil {
		return t.document
	}
	if len(t.devices) == 0 {
		return nil
	}
	tuples := make([]pidf.Tuple, 0, len(t.devices))
	for _, d := range t.devices {
		tuples = append(tuples, d.Tuple)
	}
	p := t.compose(tuples)
	if p != nil && t.person != nil && slices.ContainsFunc(tuples, func(u pidf.Tuple) bool { return u.Status.Basic == pidf.BasicOpen }) {
		p.Persons = []pidf.Person{*t.person} // of somebody who is not there nothing is told
	}
	return p
}

// knownClosed is known with everything closed, for the last notification of a watch (RFC 8048 §5.3.3).
func (t *turn) knownClosed() *pidf.Presence {
	var tuples []pidf.Tuple
	switch {
	case t.document != nil:
		for _, u := range t.document.Tuples {
			tuples = append(tuples, closedTuple(u))
		}
	case len(t.devices) > 0:
		for _, d := range t.devices {
			tuples = append(tuples, closedTuple(d.Tuple))
		}
	default:
		tuples = []pidf.Tuple{{ID: pidf.TupleID(""), Status: pidf.Status{Basic: pidf.BasicClosed}}}
	}
	if len(tuples) == 0 {
		return nil
	}
	return t.compose(tuples)
}

// closedTuple is u with nothing but its identity and a closed status.
func closedTuple(u pidf.Tuple) pidf.Tuple {
	return pidf.Tuple{ID: u.ID, Status: pidf.Status{Basic: pidf.BasicClosed}}
}

// compose makes a document of its own with a timestamp of its own: RFC 3863 §4.1.7 forbids two successive documents with
// the same one, also when the clock steps back (T-CP-14).
func (t *turn) compose(tuples []pidf.Tuple) *pidf.Presence {
	entity, err := pidf.ParseURI(t.presentity.String())
	if err != nil {
		return nil // an Address always prints as a URI
	}
	stamp := t.now.Round(0).Truncate(time.Millisecond)
	if !stamp.After(t.stamp) {
		stamp = t.stamp.Add(time.Millisecond)
	}
	t.stamp = stamp
	for i := range tuples {
		tuples[i].Timestamp = datetime.FromTimeDigits(stamp.UTC(), 3)
	}
	return &pidf.Presence{Entity: entity, Tuples: tuples}
}
