package pidf

import (
	"slices"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Privacy says which communication third parties near the presentity are unlikely to intercept (RFC 4480 §3.8).
type Privacy struct {
	Span
	Notes []Note
	// Unknown excludes the others.
	Unknown bool
	// Audio, Text and Video: not likely to be overheard or seen.
	Audio, Text, Video bool
	// Extensions are media of other namespaces.
	Extensions []Extension
}

func (r *reader) privacy(e *strictxml.Element) (Privacy, error) {
	span, err := r.span(e, "", nil)
	if err != nil {
		return Privacy{}, err
	}
	v, err := r.values(e, func(local string) bool {
		return local == "note" || local == "unknown" || local == "audio" || local == "text" || local == "video"
	})
	if err != nil {
		return Privacy{}, err
	}
	p := Privacy{Span: span, Notes: v.notes, Extensions: v.extensions}
	for _, n := range v.names {
		switch n {
		case "unknown":
			p.Unknown = true
		case "audio":
			p.Audio = true
		case "text":
			p.Text = true
		case "video":
			p.Video = true
		}
	}
	if fault := unknownAlone(v.names, v.count()); fault != "" {
		if r.tolerate(LenientChoice, e.Offset) {
			p.Unknown = false
			return p, nil
		}
		return p, r.fault(e, "rpid-unknown", "RFC 4480 §5.1", fault)
	}
	// "audio", "text", "video" are in the order of the schema if they are in that of the alphabet.
	if (!slices.IsSorted(v.names) || len(slices.Compact(v.names)) != len(v.names)) && !r.tolerate(LenientOrder, e.Offset) {
		return p, r.fault(e, "rpid-order", "RFC 4480 §5.1", "audio, text, video, in this order, each at most once")
	}
	return p, nil
}

func (p *Privacy) append(w *strictxml.Writer) {
	names := make([]string, 0, 4)
	for _, m := range [...]struct {
		name string
		set  bool
	}{{"unknown", p.Unknown}, {"audio", p.Audio}, {"text", p.Text}, {"video", p.Video}} {
		if m.set {
			names = append(names, m.name)
		}
	}
	appendValues(w, "privacy", &p.Span, p.Notes, names, nil, p.Extensions)
}

func (p *Privacy) check(seen *idSet) error {
	if p.Unknown && (p.Audio || p.Text || p.Video || len(p.Extensions) > 0) {
		return unprintable("rpid-unknown", "RFC 4480 §5.1", "<unknown/> without other values")
	}
	return firstFault(p.Span.check(seen), checkNotes(p.Notes), checkExtensions(p.Extensions, NamespaceRPID))
}

// Relation is one of the values of RFC 4480 §3.9; its string is the element's name.
type Relation string

// The relations of RFC 4480 §3.9.
const (
	RelationAssistant  Relation = "assistant"
	RelationAssociate  Relation = "associate"
	RelationFamily     Relation = "family"
	RelationFriend     Relation = "friend"
	RelationSelf       Relation = "self"
	RelationSupervisor Relation = "supervisor"
	RelationUnknown    Relation = "unknown"
)

// Valid says whether RFC 4480 §3.9 lists the value.
func (v Relation) Valid() bool {
	switch v {
	case RelationAssistant, RelationAssociate, RelationFamily, RelationFriend, RelationSelf, RelationSupervisor, RelationUnknown:
		return true
	}
	return false
}

// Relationship says whom a tuple reaches, if not the presentity (RFC 4480 §3.9): at most one of Value, Other and Extensions.
type Relationship struct {
	Notes []Note
	// Value is "" for none.
	Value Relation
	// Other is a free description; nil for none.
	Other *Note
	// Extensions are relations of other namespaces.
	Extensions []Extension
}

func (r *reader) relationship(e *strictxml.Element) (*Relationship, error) {
	v, err := r.values(e, func(local string) bool { return local == "note" || local == "other" || Relation(local).Valid() })
	if err != nil {
		return nil, err
	}
	if err := r.attributes(e); err != nil {
		return nil, err
	}
	p := &Relationship{Notes: v.notes, Extensions: v.extensions}
	if len(v.names) > 0 {
		p.Value = Relation(v.names[0])
	}
	if len(v.others) > 0 {
		p.Other = &v.others[0]
	}
	if len(v.names)+len(v.others) > 1 || len(v.names)+len(v.others) == 1 && len(v.extensions) > 0 {
		return p, r.fault(e, "relationship-choice", "RFC 4480 §5.1", "one relation")
	}
	return p, nil
}

func (p *Relationship) append(w *strictxml.Writer) {
	var names []Relation
	if p.Value != "" {
		names = []Relation{p.Value}
	}
	var others []Note
	if p.Other != nil {
		others = []Note{*p.Other}
	}
	appendValues(w, "relationship", nil, p.Notes, names, others, p.Extensions)
}

func (p *Relationship) check() error {
	if p == nil {
		return nil
	}
	var err error
	count := 0
	if p.Value != "" {
		count++
		if !p.Value.Valid() {
			return unprintable("rpid-value", "RFC 4480 §3.9", "a relation that the section lists")
		}
	}
	if p.Other != nil {
		count++
		err = p.Other.check()
	}
	if len(p.Extensions) > 0 {
		count++
	}
	if count > 1 {
		return unprintable("relationship-choice", "RFC 4480 §5.1", "one relation")
	}
	return firstFault(err, checkNotes(p.Notes), checkExtensions(p.Extensions, NamespaceRPID))
}

// Service is one of the values of RFC 4480 §3.10; its string is the element's name.
type Service string

// The service classes of RFC 4480 §3.10.
const (
	ServiceCourier    Service = "courier"
	ServiceElectronic Service = "electronic"
	ServiceFreight    Service = "freight"
	ServiceInPerson   Service = "in-person"
	ServicePostal     Service = "postal"
	ServiceUnknown    Service = "unknown"
)

// Valid says whether RFC 4480 §3.10 lists the value.
func (v Service) Valid() bool {
	switch v {
	case ServiceCourier, ServiceElectronic, ServiceFreight, ServiceInPerson, ServicePostal, ServiceUnknown:
		return true
	}
	return false
}

// physical says that the class goes only with an empty contact.
func (v Service) physical() bool {
	return v == ServicePostal || v == ServiceCourier || v == ServiceFreight || v == ServiceInPerson
}

// ServiceClass is the type of service that a tuple offers (RFC 4480 §3.10): one of Value and Extensions.
type ServiceClass struct {
	Notes []Note
	// Value is "" if Extensions say it. "The service types 'postal', 'courier', 'freight', and 'in-person' MUST NOT be
	// used unless the contact URI is empty."
	Value Service
	// Extensions are classes of other namespaces.
	Extensions []Extension
}

func (r *reader) serviceClass(e *strictxml.Element) (*ServiceClass, error) {
	v, err := r.values(e, func(local string) bool { return local == "note" || Service(local).Valid() })
	if err != nil {
		return nil, err
	}
	if err := r.attributes(e); err != nil {
		return nil, err
	}
	p := &ServiceClass{Notes: v.notes, Extensions: v.extensions}
	if len(v.names) > 0 {
		p.Value = Service(v.names[0])
	}
	if v.count() == 0 || len(v.names) > 1 || len(v.names) == 1 && len(v.extensions) > 0 {
		return p, r.fault(e, "service-class-choice", "RFC 4480 §5.1", "one service class")
	}
	return p, nil
}

func (p *ServiceClass) append(w *strictxml.Writer) {
	var names []Service
	if p.Value != "" {
		names = []Service{p.Value}
	}
	appendValues(w, "service-class", nil, p.Notes, names, nil, p.Extensions)
}

func (p *ServiceClass) check(tuple *Tuple) error {
	if p == nil {
		return nil
	}
	if p.Value != "" && !p.Value.Valid() {
		return unprintable("rpid-value", "RFC 4480 §3.10", "a service class that the section lists")
	}
	if (p.Value == "") == (len(p.Extensions) == 0) {
		return unprintable("service-class-choice", "RFC 4480 §5.1", "one service class")
	}
	if p.Value.physical() && tuple != nil && tuple.Contact != nil && !tuple.Contact.URI.IsZero() {
		return unprintable("service-class-contact", "RFC 4480 §3.10", "an empty contact with this service class")
	}
	return firstFault(checkNotes(p.Notes), checkExtensions(p.Extensions, NamespaceRPID))
}
