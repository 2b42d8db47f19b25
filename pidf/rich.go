package pidf

import (
	"slices"
	"strconv"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Rich holds the elements that RFC 4480, 4481, 4482 and 5196 define for a tuple, a person or a device. Which may stand where is
// table 1 of RFC 4480 §3.1 and the text of the others; each field says it, and Append refuses a wrong one. The slices hold what
// may occur several times: elements with a time range.
type Rich struct {
	// Activities: person (RFC 4480 §3.2).
	Activities []Activities
	// Class groups similar elements: tuple, person, device (RFC 4480 §3.3); "" for none. White space is collapsed.
	Class string
	// DeviceIDs are URNs of devices that provide the service: tuple (RFC 4480 §3.4).
	DeviceIDs []URI
	// Moods: person (RFC 4480 §3.5).
	Moods []Mood
	// PlaceIs: person (RFC 4480 §3.6).
	PlaceIs []PlaceIs
	// PlaceTypes: person (RFC 4480 §3.7).
	PlaceTypes []PlaceType
	// Privacy: tuple, person (RFC 4480 §3.8).
	Privacy []Privacy
	// Relationship: tuple (RFC 4480 §3.9); nil for none, which means "self".
	Relationship *Relationship
	// ServiceClass: tuple (RFC 4480 §3.10); nil for none, which means "electronic".
	ServiceClass *ServiceClass
	// Spheres: person (RFC 4480 §3.11).
	Spheres []Sphere
	// StatusIcons: tuple, person (RFC 4480 §3.12).
	StatusIcons []StatusIcon
	// TimeOffsets: person (RFC 4480 §3.13).
	TimeOffsets []TimeOffset
	// UserInput: tuple, person, device (RFC 4480 §3.14); nil for none.
	UserInput *UserInput
	// CIPID: tuple, person (RFC 4482 §3); nil for none.
	CIPID *CIPID
	// TimedStatus: tuple (RFC 4481 §3).
	TimedStatus []TimedStatus
	// ServiceCaps: tuple (RFC 5196 §3.2); nil for none.
	ServiceCaps *ServiceCaps
	// DeviceCaps: device (RFC 5196 §3.3); nil for none.
	DeviceCaps *DeviceCaps
}

// Attribute is an attribute of another specification on an RPID or capability element, which the schemas allow there.
type Attribute struct {
	Name  Name
	Value string
}

// Span is what RPID elements with a time range have in common (RFC 4480 §3.1): "the absolute time when the element assumed
// this value and the absolute time until which this element is expected to be valid", and an id.
type Span struct {
	// From and Until are zero for none.
	From, Until datetime.Value
	// ID is zero for none; else it differs from every other ID in the document.
	ID ID
	// Attributes are those of other specifications.
	Attributes []Attribute
}

// place is where a Rich stands.
type place uint8

const (
	placeTuple place = 1 << iota
	placePerson
	placeDevice
)

// placesOf gives where an element with a field in Rich may stand; 0 for an element without one.
func placesOf(n Name) place {
	switch n.Space {
	case NamespaceRPID:
		switch n.Local {
		case "activities", "mood", "place-is", "place-type", "sphere", "time-offset":
			return placePerson
		case "class", "user-input":
			return placeTuple | placePerson | placeDevice
		case "privacy", "status-icon":
			return placeTuple | placePerson
		case "relationship", "service-class":
			return placeTuple
		}
	case NamespaceDataModel:
		if n.Local == "deviceID" {
			return placeTuple
		}
	case NamespaceTimedStatus:
		if n.Local == "timed-status" {
			return placeTuple
		}
	case NamespaceCIPID:
		switch n.Local {
		case "card", "display-name", "homepage", "icon", "map", "sound":
			return placeTuple | placePerson
		}
	case NamespaceCaps:
		switch n.Local {
		case "servcaps":
			return placeTuple
		case "devcaps":
			return placeDevice
		}
	}
	return 0
}

// typed says whether an element has a type and a field of its own in this package, and so is never an Extension.
func typed(n Name) bool {
	return placesOf(n) != 0 || n.Space == NamespaceDataModel && (n.Local == "person" || n.Local == "device")
}

// sectionOf gives the text that says where an element may stand.
func sectionOf(n Name) string {
	switch n.Space {
	case NamespaceRPID, NamespaceDataModel:
		return "RFC 4480 §3.1"
	case NamespaceTimedStatus:
		return "RFC 4481 §3"
	case NamespaceCIPID:
		return "RFC 4482 §3"
	}
	return "RFC 5196 §3.2"
}

// append prints the elements in a fixed order: deviceID, RPID by name, timed status, CIPID, capabilities.
func (r *Rich) append(w *strictxml.Writer) {
	if r == nil {
		return
	}
	for _, u := range r.DeviceIDs {
		appendText(w, NamespaceDataModel, "deviceID", u.s)
	}
	for i := range r.Activities {
		r.Activities[i].append(w)
	}
	if r.Class != "" {
		appendText(w, NamespaceRPID, "class", r.Class)
	}
	for i := range r.Moods {
		r.Moods[i].append(w)
	}
	for i := range r.PlaceIs {
		r.PlaceIs[i].append(w)
	}
	for i := range r.PlaceTypes {
		r.PlaceTypes[i].append(w)
	}
	for i := range r.Privacy {
		r.Privacy[i].append(w)
	}
	if r.Relationship != nil {
		r.Relationship.append(w)
	}
	if r.ServiceClass != nil {
		r.ServiceClass.append(w)
	}
	for i := range r.Spheres {
		r.Spheres[i].append(w)
	}
	for i := range r.StatusIcons {
		r.StatusIcons[i].append(w)
	}
	for i := range r.TimeOffsets {
		r.TimeOffsets[i].append(w)
	}
	if r.UserInput != nil {
		r.UserInput.append(w)
	}
	for i := range r.TimedStatus {
		r.TimedStatus[i].append(w)
	}
	if r.CIPID != nil {
		r.CIPID.append(w)
	}
	if r.ServiceCaps != nil {
		r.ServiceCaps.append(w)
	}
	if r.DeviceCaps != nil {
		r.DeviceCaps.append(w)
	}
}

// check refuses what must not be printed at this place; tuple is the tuple around it, or nil.
func (r *Rich) check(at place, tuple *Tuple, seen *idSet) error {
	if r == nil {
		return nil
	}
	misplaced := func(n Name, present bool) error {
		if present && placesOf(n)&at == 0 {
			return unprintable("rich-place", sectionOf(n), "this element only where table 1 of RFC 4480 and its own text put it")
		}
		return nil
	}
	rpid := func(local string) Name { return Name{NamespaceRPID, local} }
	for _, f := range [...]struct {
		name    Name
		present bool
	}{
		{rpid("activities"), len(r.Activities) > 0},
		{rpid("class"), r.Class != ""},
		{Name{NamespaceDataModel, "deviceID"}, len(r.DeviceIDs) > 0},
		{rpid("mood"), len(r.Moods) > 0},
		{rpid("place-is"), len(r.PlaceIs) > 0},
		{rpid("place-type"), len(r.PlaceTypes) > 0},
		{rpid("privacy"), len(r.Privacy) > 0},
		{rpid("relationship"), r.Relationship != nil},
		{rpid("service-class"), r.ServiceClass != nil},
		{rpid("sphere"), len(r.Spheres) > 0},
		{rpid("status-icon"), len(r.StatusIcons) > 0},
		{rpid("time-offset"), len(r.TimeOffsets) > 0},
		{rpid("user-input"), r.UserInput != nil},
		{Name{NamespaceTimedStatus, "timed-status"}, len(r.TimedStatus) > 0},
		{Name{NamespaceCIPID, "card"}, r.CIPID != nil},
		{Name{NamespaceCaps, "servcaps"}, r.ServiceCaps != nil},
		{Name{NamespaceCaps, "devcaps"}, r.DeviceCaps != nil},
	} {
		if err := misplaced(f.name, f.present); err != nil {
			return err
		}
	}
	for _, u := range r.DeviceIDs {
		if !u.isURN() {
			return unprintable("device-urn", "RFC 4479 §3.4", "a URN as deviceID")
		}
	}
	if r.Class != collapse(r.Class) || !validChars(r.Class) {
		return unprintable("class-token", "RFC 4480 §5.1", "an xs:token: no outer, double or other white space than single spaces")
	}
	return firstFault(
		each(r.Activities, func(a *Activities) error { return a.check(seen) }),
		each(r.Moods, func(m *Mood) error { return m.check(seen) }),
		each(r.PlaceIs, func(p *PlaceIs) error { return p.check(seen) }),
		each(r.PlaceTypes, func(p *PlaceType) error { return p.check(seen) }),
		each(r.Privacy, func(p *Privacy) error { return p.check(seen) }),
		each(r.Spheres, func(s *Sphere) error { return s.check(seen) }),
		each(r.StatusIcons, func(s *StatusIcon) error { return s.check(seen) }),
		each(r.TimeOffsets, func(t *TimeOffset) error { return t.check(seen) }),
		each(r.TimedStatus, func(t *TimedStatus) error { return t.check(tuple) }),
		r.Relationship.check(),
		r.ServiceClass.check(tuple),
		r.UserInput.check(seen),
		r.CIPID.check(),
		r.ServiceCaps.check(),
		r.DeviceCaps.check(),
	)
}

func each[T any](xs []T, check func(*T) error) error {
	for i := range xs {
		if err := check(&xs[i]); err != nil {
			return err
		}
	}
	return nil
}

func firstFault(errs ...error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

func (s *Span) append(w *strictxml.Writer) {
	if !s.From.IsZero() {
		w.Attr("from", s.From.String())
	}
	if !s.Until.IsZero() {
		w.Attr("until", s.Until.String())
	}
	appendIDAndAttributes(w, s.ID, s.Attributes)
}

func appendIDAndAttributes(w *strictxml.Writer, id ID, attributes []Attribute) {
	if !id.IsZero() {
		w.Attr("id", id.s)
	}
	for i, a := range attributes {
		// The writer makes up no prefixes. These are unusual, so that nobody's text looks like a name with one.
		if a.Name.Space != strictxml.XMLNamespace && !slices.ContainsFunc(attributes[:i], func(b Attribute) bool { return b.Name.Space == a.Name.Space }) {
			w.Declare("x-attr"+strconv.Itoa(i), a.Name.Space)
		}
		w.AttrNS(strictxml.Name(a.Name), a.Value)
	}
}

func (s *Span) check(seen *idSet) error {
	return checkIDAndAttributes(s.ID, s.Attributes, seen)
}

func checkIDAndAttributes(id ID, attributes []Attribute, seen *idSet) error {
	if !id.IsZero() && !seen.add(id) {
		return unprintable("id-unique", "RFC 4480 §3.1", "an id that no other element of the document has")
	}
	for i, a := range attributes {
		if a.Name.Space == "" || a.Name.Space == strictxml.XMLNamespace && a.Name.Local != "lang" || !validNCName(a.Name.Local) ||
			slices.ContainsFunc(attributes[:i], func(b Attribute) bool { return b.Name == a.Name }) || !validChars(a.Value) {
			return unprintable("attribute", "RFC 4480 §5.1", "different attributes of other namespaces, with values that XML 1.0 can carry")
		}
	}
	return nil
}

func checkNotes(notes []Note) error {
	for _, n := range notes {
		if err := n.check(); err != nil {
			return err
		}
	}
	return nil
}
