package pidf

import "github.com/isthmus-gateway/isthmus/internal/strictxml"

func (r *reader) fault(e *strictxml.Element, rule, section, expected string) error {
	return r.faultAt(e.Offset, rule, section, expected)
}

func (r *reader) id(e *strictxml.Element, s, section string) (ID, error) {
	return r.idAt(s, e.Offset, "id-value", section)
}

// strayAttribute is for an attribute that the schema does not have.
func (r *reader) strayAttribute(e *strictxml.Element) error {
	if r.tolerate(LenientAttribute, e.Offset) {
		return nil
	}
	return r.fault(e, "attribute", "RFC 3863 §4.4", "only the attributes that the schema gives this element")
}

// attributes refuses any attribute but xml:lang and those of XML Schema.
func (r *reader) attributes(e *strictxml.Element) error {
	for i := range e.Attrs {
		switch e.Attrs[i].Name.Space {
		case strictxml.XMLNamespace, schemaInstance:
		default:
			if err := r.strayAttribute(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// extension keeps an element that the package does not know. An element of no namespace cannot stand where the schemas have
// <xs:any namespace="##other">.
func (r *reader) extension(e *strictxml.Element) (Extension, error) {
	if e.Name.Space == "" && !r.tolerate(LenientNamespace, e.Offset) {
		return Extension{}, r.fault(e, "extension-namespace", "RFC 3863 §4.4", "an extension element in a namespace")
	}
	return extensionOf(e), nil
}

// extensionOutsideStatus is extension for the places where mustUnderstand is not allowed: "the mustUnderstand attribute MUST be
// used only within optional elements nested in a <status> element" (RFC 3863 §4.2.3).
func (r *reader) extensionOutsideStatus(e *strictxml.Element) (Extension, error) {
	if anyMustUnderstand(e) {
		if !r.tolerate(LenientMustUnderstand, e.Offset) {
			return Extension{}, r.fault(e, "must-understand-place", "RFC 3863 §4.2.3", "mustUnderstand only within a status")
		}
	}
	return r.extension(e)
}

// misplaced is for an element with a place of its own elsewhere.
func (r *reader) misplaced(e *strictxml.Element) error {
	if r.tolerate(LenientPlace, e.Offset) {
		return nil
	}
	return r.fault(e, "rich-place", sectionOf(nameOf(e.Name)), "this element only where table 1 of RFC 4480 and its own text put it")
}

// richElement reads an element with a field in Rich, and makes the Rich if there is none.
func (r *reader) richElement(e *strictxml.Element, at place, rich **Rich) error {
	if placesOf(nameOf(e.Name))&at == 0 {
		if !r.tolerate(LenientPlace, e.Offset) {
			return r.fault(e, "rich-place", sectionOf(nameOf(e.Name)), "this element only where table 1 of RFC 4480 and its own text put it")
		}
	}
	if *rich == nil {
		*rich = &Rich{}
	}
	_, err := r.whole(e, r.richField(e, *rich))
	return err
}

// richField reads the element into its field.
func (r *reader) richField(e *strictxml.Element, into *Rich) error {
	// Elements without a time range "MUST NOT appear more than once in each <person>, <tuple>, or <device>" (RFC 4480 §5).
	once := func(seen bool) error {
		if seen {
			return r.fault(e, "rich-once", "RFC 4480 §5", "this element at most once")
		}
		return nil
	}
	switch e.Name.Space {
	case NamespaceDataModel:
		u, err := r.deviceID(e)
		if err == nil {
			into.DeviceIDs = append(into.DeviceIDs, u)
		}
		return err
	case NamespaceTimedStatus:
		return appendRead(&into.TimedStatus, e, r.timedStatus)
	case NamespaceCIPID:
		if into.CIPID == nil {
			into.CIPID = &CIPID{}
		}
		return r.cipid(e, into.CIPID)
	case NamespaceCaps:
		if e.Name.Local == "servcaps" {
			return setOnce(&into.ServiceCaps, e, once, r.serviceCaps)
		}
		return setOnce(&into.DeviceCaps, e, once, r.deviceCaps)
	}
	switch e.Name.Local {
	case "activities":
		return appendRead(&into.Activities, e, r.activities)
	case "class":
		if err := once(into.Class != ""); err != nil {
			return err
		}
		text, err := r.textOf(e, "class-token", "RFC 4480 §3.3")
		into.Class = collapse(text)
		return err
	case "mood":
		return appendRead(&into.Moods, e, r.mood)
	case "place-is":
		return appendRead(&into.PlaceIs, e, r.placeIs)
	case "place-type":
		return appendRead(&into.PlaceTypes, e, r.placeType)
	case "privacy":
		return appendRead(&into.Privacy, e, r.privacy)
	case "relationship":
		return setOnce(&into.Relationship, e, once, r.relationship)
	case "service-class":
		return setOnce(&into.ServiceClass, e, once, r.serviceClass)
	case "sphere":
		return appendRead(&into.Spheres, e, r.sphere)
	case "status-icon":
		return appendRead(&into.StatusIcons, e, r.statusIcon)
	case "time-offset":
		return appendRead(&into.TimeOffsets, e, r.timeOffset)
	}
	return setOnce(&into.UserInput, e, once, r.userInput)
}

func appendRead[T any](into *[]T, e *strictxml.Element, read func(*strictxml.Element) (T, error)) error {
	v, err := read(e)
	if err == nil {
		*into = append(*into, v)
	}
	return err
}

func setOnce[T any](into **T, e *strictxml.Element, once func(bool) error, read func(*strictxml.Element) (*T, error)) error {
	if err := once(*into != nil); err != nil {
		return err
	}
	v, err := read(e)
	if err == nil {
		*into = v
	}
	return err
}

// deviceID reads a <deviceID>: "In particular, a device ID is a URN" (RFC 4479 §3.4).
func (r *reader) deviceID(e *strictxml.Element) (URI, error) {
	u, err := r.uriText(e, "device-urn", "RFC 4479 §3.4")
	if err != nil {
		return u, err
	}
	if !u.isURN() && !r.tolerate(LenientDeviceURN, e.Offset) {
		return u, r.fault(e, "device-urn", "RFC 4479 §3.4", "a URN")
	}
	for i := range e.Attrs {
		if n := e.Attrs[i].Name; n.Space == "" && (n.Local == "from" || n.Local == "until") && !r.lenient {
			return u, r.fault(e, "rpid-range", "RFC 4480 §3.4", "no 'from' or 'until' on this element")
		}
	}
	return u, r.attributes(e)
}

// The places of a child in a person or device, in the order of the schema of RFC 4479 §5.1.2.
const (
	componentExtensions = iota
	componentDeviceID
	componentNotes
	componentTimestamp
)

// person reads a <person>, the nth of the document.
func (r *reader) person(e *strictxml.Element, nth int) (Person, error) {
	var d Device
	err := r.personOrDevice(e, &d, placePerson, nth)
	return Person{ID: d.ID, Rich: d.Rich, Extensions: d.Extensions, Notes: d.Notes, Timestamp: d.Timestamp}, err
}

// device reads a <device>, the nth of the document.
func (r *reader) device(e *strictxml.Element, nth int) (Device, error) {
	var d Device
	err := r.personOrDevice(e, &d, placeDevice, nth)
	if err == nil && d.DeviceID.IsZero() {
		err = r.fault(e, "device-id-missing", "RFC 4479 §5", "a <deviceID>")
	}
	return d, err
}

// personOrDevice reads what both have: a device is a person with a deviceID.
func (r *reader) personOrDevice(e *strictxml.Element, d *Device, at place, nth int) error {
	rule, section := "person-id", "RFC 4479 §5"
	if at == placeDevice {
		rule = "device-id"
	}
	hasID := false
	for i := range e.Attrs {
		a := &e.Attrs[i]
		var err error
		switch {
		case a.Name.Space == "" && a.Name.Local == "id":
			hasID = true
			d.ID, err = r.idAt(a.Value, e.Offset, rule, section)
		case a.Name.Space == strictxml.XMLNamespace, a.Name.Space == schemaInstance:
		case a.Name.Space == NamespacePIDF && a.Name.Local == "mustUnderstand":
			if !r.tolerate(LenientMustUnderstand, e.Offset) {
				err = r.fault(e, "must-understand-place", "RFC 3863 §4.2.3", "mustUnderstand only within a status")
			}
		default:
			err = r.strayAttribute(e)
		}
		if err != nil {
			return err
		}
	}
	if !hasID {
		var err error
		if d.ID, err = r.missingID(e.Offset, e.Name.Local, nth, rule, section); err != nil {
			return err
		}
	}
	stage := componentExtensions
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		if c == nil {
			if !isSpace(e.Nodes[i].Text) && !r.tolerate(LenientText, e.Offset) {
				return r.fault(e, "character-data", "RFC 4479 §5.1.2", "elements only")
			}
			continue
		}
		name := nameOf(c.Name)
		own := name.Space == NamespaceDataModel
		to := componentExtensions
		switch {
		case own && name.Local == "deviceID" && at == placeDevice:
			to = componentDeviceID
		case own && name.Local == "note":
			to = componentNotes
		case own && name.Local == "timestamp":
			to = componentTimestamp
		case own && typed(name):
			if err := r.misplaced(c); err != nil {
				return err
			}
			continue
		case own:
			continue // RFC 3863 §4.2.3: an unrecognized local name is ignored
		}
		again := to == componentDeviceID && !d.DeviceID.IsZero() || to == componentTimestamp && !d.Timestamp.IsZero()
		if to < stage || again {
			if !r.tolerate(LenientOrder, c.Offset) {
				return r.fault(c, "component-order", "RFC 4479 §5", "other elements, deviceID in a device, notes, timestamp")
			}
			if again {
				continue
			}
		}
		stage = max(stage, to)
		if err := r.componentChild(c, d, at, to); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) componentChild(c *strictxml.Element, d *Device, at place, to int) error {
	switch to {
	case componentDeviceID:
		u, err := r.deviceID(c)
		d.DeviceID = u
		return err
	case componentNotes:
		n, err := r.noteElement(c)
		d.Notes = append(d.Notes, n)
		return err
	case componentTimestamp:
		text, err := r.textOf(c, "timestamp", "RFC 4479 §3.5")
		if err == nil {
			d.Timestamp, err = r.timestamp(text, c.Offset)
		}
		return err
	}
	if placesOf(nameOf(c.Name)) != 0 {
		return r.richElement(c, at, &d.Rich)
	}
	x, err := r.extensionOutsideStatus(c)
	if err == nil {
		d.Extensions = append(d.Extensions, x)
	}
	return err
}
