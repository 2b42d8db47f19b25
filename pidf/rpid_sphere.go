package pidf

import (
	"strconv"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// SphereName is one of the values of RFC 4480 §3.11; its string is the element's name.
type SphereName string

// The spheres of RFC 4480 §3.11.
const (
	SphereHome    SphereName = "home"
	SphereWork    SphereName = "work"
	SphereUnknown SphereName = "unknown"
)

// Valid says whether RFC 4480 §3.11 lists the value.
func (v SphereName) Valid() bool { return v == SphereHome || v == SphereWork || v == SphereUnknown }

// Sphere is the state and role that a person plays in one range of time (RFC 4480 §3.11): at most one of Value and Extensions.
type Sphere struct {
	Span
	// Value is "" for none.
	Value SphereName
	// Extensions are spheres of other namespaces.
	Extensions []Extension
	// Text is a sphere in words, which the example of RFC 4480 §4 has and its schema does not allow: ParseLenient reads it,
	// Append refuses it.
	Text string
}

func (r *reader) sphere(e *strictxml.Element) (Sphere, error) {
	span, err := r.span(e, "", nil)
	if err != nil {
		return Sphere{}, err
	}
	s := Sphere{Span: span}
	if len(e.Nodes) == 1 && e.Nodes[0].Element == nil && !isSpace(e.Nodes[0].Text) {
		if !r.tolerate(LenientSphereText, e.Offset) {
			return s, r.fault(e, "sphere-text", "RFC 4480 §5.1", "an element, not text")
		}
		s.Text = collapse(e.Nodes[0].Text)
		return s, nil
	}
	v, err := r.values(e, func(local string) bool { return SphereName(local).Valid() })
	if err != nil {
		return s, err
	}
	s.Extensions = v.extensions
	if len(v.names) > 0 {
		s.Value = SphereName(v.names[0])
	}
	if len(v.names) > 1 || len(v.names) == 1 && len(v.extensions) > 0 {
		return s, r.fault(e, "sphere-choice", "RFC 4480 §5.1", "one sphere")
	}
	return s, nil
}

func (s *Sphere) append(w *strictxml.Writer) {
	var names []SphereName
	if s.Value != "" {
		names = []SphereName{s.Value}
	}
	appendValues(w, "sphere", &s.Span, nil, names, nil, s.Extensions)
}

func (s *Sphere) check(seen *idSet) error {
	if s.Text != "" {
		return unprintable("sphere-text", "RFC 4480 §5.1", "an element, not text")
	}
	if s.Value != "" && !s.Value.Valid() {
		return unprintable("rpid-value", "RFC 4480 §3.11", "a sphere that the section lists")
	}
	if s.Value != "" && len(s.Extensions) > 0 {
		return unprintable("sphere-choice", "RFC 4480 §5.1", "one sphere")
	}
	return firstFault(s.Span.check(seen), checkExtensions(s.Extensions, NamespaceRPID))
}

// StatusIcon points to an image of the current status (RFC 4480 §3.12).
type StatusIcon struct {
	Span
	// URI is mandatory.
	URI URI
}

func (r *reader) statusIcon(e *strictxml.Element) (StatusIcon, error) {
	span, err := r.span(e, "", nil)
	if err != nil {
		return StatusIcon{}, err
	}
	uri, err := r.uriText(e, "status-icon-uri", "RFC 4480 §3.12")
	return StatusIcon{span, uri}, err
}

// uriText reads an element that holds a URI; attributes are left to the caller.
func (r *reader) uriText(e *strictxml.Element, rule, section string) (URI, error) {
	for i := range e.Nodes {
		if e.Nodes[i].Element != nil {
			return URI{}, r.fault(e, rule, section, "a URI")
		}
	}
	uri, err := ParseURI(collapse(e.Text()))
	if err != nil {
		return URI{}, r.fault(e, rule, section, "an absolute URI")
	}
	return uri, nil
}

func (s *StatusIcon) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespaceRPID, Local: "status-icon"})
	s.Span.append(w)
	w.Text(s.URI.s)
	w.End()
}

func (s *StatusIcon) check(seen *idSet) error {
	if s.URI.IsZero() {
		return unprintable("status-icon-uri", "RFC 4480 §3.12", "an absolute URI")
	}
	return s.Span.check(seen)
}

// TimeOffset is the offset from UTC at a person's location in one range of time (RFC 4480 §3.13).
type TimeOffset struct {
	Span
	// Minutes is positive east of Greenwich.
	Minutes int
	// Description is for people, such as "America/New_York"; "" for none.
	Description string
}

func (r *reader) timeOffset(e *strictxml.Element) (TimeOffset, error) {
	var t TimeOffset
	span, err := r.span(e, "", func(local string) error {
		if local != "description" {
			return r.strayAttribute(e)
		}
		t.Description, _ = e.Attr("", "description")
		return nil
	})
	if err != nil {
		return t, err
	}
	t.Span = span
	for i := range e.Nodes {
		if e.Nodes[i].Element != nil {
			return t, r.fault(e, "time-offset", "RFC 4480 §3.13", "a number of minutes")
		}
	}
	v, ok := parseXMLInteger(collapse(e.Text()))
	if !ok || v < -24*60 || v > 24*60 {
		return t, r.fault(e, "time-offset", "RFC 4480 §3.13", "a number of minutes within a day")
	}
	t.Minutes = int(v)
	return t, nil
}

func (t *TimeOffset) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespaceRPID, Local: "time-offset"})
	t.Span.append(w)
	if t.Description != "" {
		w.Attr("description", t.Description)
	}
	w.Text(strconv.Itoa(t.Minutes))
	w.End()
}

func (t *TimeOffset) check(seen *idSet) error {
	if t.Minutes < -24*60 || t.Minutes > 24*60 {
		return unprintable("time-offset", "RFC 4480 §3.13", "a number of minutes within a day")
	}
	if !validChars(t.Description) {
		return unprintable("text-characters", "RFC 4480 §3.13", "text that XML 1.0 can carry")
	}
	return t.Span.check(seen)
}
