package watch

import (
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// learn keeps what op says of the presentity, and tells whether it said anything.
func (t *turn) learn(op *adapters.NotifyOp) (changed bool) {
	switch {
	case op.Presence == nil:
		return false
	case len(t.devices) > 0 && allGone(op):
		// The whole user is gone, and so is every device that was told of.
		for i := range t.devices {
			t.devices[i].Tuple, t.devices[i].Doubted = closedTuple(t.devices[i].Tuple), false
		}
	case op.Whole:
		if t.document != nil && op.Presence.Outdated(t.document) && !op.Presence.Shrunk(t.document) {
			// "it should be considered outdated" and ignored (RFC 3863 §6). One that only lacks what was there before is none: whose device had the newest
			// timestamp and is gone would else be there for ever.
			t.drop(DropOutdated)
			return false
		}
		t.document, t.devices, t.person = op.Presence, nil, nil
	case len(op.Presence.Tuples) == 0:
		return t.learnPerson(op.Presence)
	case !t.learnDevice(op.Instance, op.Presence.Tuples[0]):
		return false
	}
	t.sealed = op.Sealed
	t.believe()
	return true
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

func (t *turn) learnDevice(instance string, tuple pidf.Tuple) (changed bool) {
	if t.document != nil {
		// What was told as a whole is told device by device now.
		t.document, changed = nil, true
	}
	if i := slices.IndexFunc(t.devices, func(d Device) bool { return d.Instance == instance }); i >= 0 {
		// Said again, as in the answer to a probe, it is no newer than it was; what is new gets the time of the document that tells it.
		was := &t.devices[i].Tuple
		if tuple.Timestamp = (datetime.Value{}); tuple.EqualButTime(was) {
			tuple.Timestamp = was.Timestamp
		}
		t.devices[i].Tuple, t.devices[i].Doubted = tuple, false
		return true
	}
	if len(t.devices) >= t.rules.Devices {
		t.drop(DropDevices)
		return changed
	}
	t.devices = append(t.devices, Device{Instance: instance, Tuple: tuple})
	return true
}

// maxGone bounds the tuples that a watcher's side has not taken to be gone. Only a presentity that names its tuples anew all the time,
// while the watcher's side takes nothing for days, has more; the oldest are left out then.
const maxGone = 100

// show takes in that the watches are told p, nil for nothing, and returns the tuples that they were told of and that p has not. Where
// tuples are told one by one they are told again until the watcher's side has taken it.
func (t *turn) show(p *pidf.Presence) (withdrawn []pidf.ID) {
	status := func(id pidf.ID) (has, open bool) {
		if p == nil {
			return false, false
		}
		u := p.Tuple(id)
		return u != nil, u != nil && u.Status.Basic != pidf.BasicClosed
	}
	t.gone = slices.DeleteFunc(t.gone, func(id pidf.ID) bool {
		_, open := status(id)
		return open
	})
	for _, id := range t.shown {
		if _, open := status(id); !open && !slices.Contains(t.gone, id) {
			t.gone = append(t.gone, id)
		}
	}
	t.gone = t.gone[max(0, len(t.gone)-maxGone):]
	for _, id := range t.gone {
		if has, _ := status(id); !has {
			withdrawn = append(withdrawn, id)
		}
	}
	t.shown = t.shown[:0]
	if p != nil {
		for i := range p.Tuples {
			if p.Tuples[i].Status.Basic != pidf.BasicClosed {
				t.shown = append(t.shown, p.Tuples[i].ID)
			}
		}
	}
	if len(t.shown) == 0 {
		t.shown = nil
	}
	if !t.rules.OneByOne || len(t.gone) == 0 {
		t.gone = nil
	}
	return withdrawn
}

// withdraw is show for watches that go on. What was told before and is only in doubt, because nothing is known in its place yet, stands until the
// doubt is over: who is told something else meanwhile, as that she was approved, is not told that everything is gone and a moment later that it is there.
func (t *turn) withdraw(p *pidf.Presence) (withdrawn []pidf.ID) {
	if p == nil && !t.doubtAt.IsZero() {
		return slices.Clone(t.gone)
	}
	return t.show(p)
}

// withdrawAll takes in that nothing more is told, and returns every tuple that may have been: who ends is told that all of them are gone,
// also those that were closed.
func (t *turn) withdrawAll() []pidf.ID {
	if t.document != nil {
		for i := range t.document.Tuples {
			t.mention(t.document.Tuples[i].ID)
		}
	}
	for i := range t.devices {
		t.mention(t.devices[i].Tuple.ID)
	}
	return t.show(nil)
}

func (t *turn) mention(id pidf.ID) {
	if !slices.Contains(t.shown, id) {
		t.shown = append(t.shown, id)
	}
}

// tellable is what is known and may be told.
func (t *turn) tellable() *pidf.Presence {
	if t.auth != Granted {
		return nil
	}
	return t.known()
}

// unknow forgets the presentity's state: it is "unknown" from now on, never a stale open.
func (t *turn) unknow() { t.devices, t.document, t.person, t.sealed = nil, nil, nil, nil }

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
	for i := range tuples {
		t.devices[i].Tuple.Timestamp = tuples[i].Timestamp
	}
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
// the same one, also when the clock steps back (T-CP-14). It is that of the tuples that are new, which have none yet, or else of the newest; the
// others keep theirs, "the date and time of the status change of this tuple", which is how a watcher tells the device that was used last.
func (t *turn) compose(tuples []pidf.Tuple) *pidf.Presence {
	entity, err := pidf.ParseURI(t.presentity.String())
	if err != nil {
		return nil // an Address always prints as a URI
	}
	if len(tuples) == 0 {
		return &pidf.Presence{Entity: entity}
	}
	stamp := t.now.Round(0).Truncate(time.Millisecond)
	if !stamp.After(t.stamp) {
		stamp = t.stamp.Add(time.Millisecond)
	}
	t.stamp = stamp
	value := datetime.FromTimeDigits(stamp.UTC(), 3)
	newest, fresh := 0, false
	for i := range tuples {
		if at := tuples[i].Timestamp; at.IsZero() || !at.Before(value) {
			tuples[i].Timestamp, fresh = value, true
		} else if at.After(tuples[newest].Timestamp) {
			newest = i
		}
	}
	if !fresh {
		tuples[newest].Timestamp = value
	}
	return &pidf.Presence{Entity: entity, Tuples: tuples}
}
