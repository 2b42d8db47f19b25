package pidf

import (
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Device is one occurrence of a device (RFC 4479 §3.4, §5).
type Device struct {
	// ID is the occurrence identifier, mandatory: several occurrences may have one DeviceID.
	ID ID
	// DeviceID is the URN of the device, mandatory, which a tuple's Rich.DeviceIDs refer to.
	DeviceID URI
	// Rich holds RPID's class and user-input and the device capabilities of RFC 5196; nil for none.
	Rich *Rich
	// Extensions are the other elements, in order.
	Extensions []Extension
	// Notes are about this device.
	Notes []Note
	// Timestamp is when this device's data last changed (RFC 4479 §3.5); zero for none.
	Timestamp datetime.Value
}

func (d *Device) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespaceDataModel, Local: "device"})
	w.Attr("id", d.ID.s)
	d.Rich.append(w)
	for _, x := range d.Extensions {
		x.append(w)
	}
	appendText(w, NamespaceDataModel, "deviceID", d.DeviceID.s)
	appendNotes(w, NamespaceDataModel, d.Notes)
	if !d.Timestamp.IsZero() {
		appendText(w, NamespaceDataModel, "timestamp", d.Timestamp.String())
	}
	w.End()
}

func (d *Device) check(seen *idSet) error {
	if err := seen.checkID(d.ID, "device-id", "RFC 4479 §5"); err != nil {
		return err
	}
	if !d.DeviceID.isURN() {
		return unprintable("device-urn", "RFC 4479 §3.4", "a URN as deviceID")
	}
	if err := checkComponent(d.Extensions, d.Notes); err != nil {
		return err
	}
	return d.Rich.check(placeDevice, nil, seen)
}
