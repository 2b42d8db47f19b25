package pidf

import (
	"slices"
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Flag is a boolean capability: said to be so, said not to be so, or not said.
type Flag uint8

const (
	// FlagAbsent: no statement either way (RFC 4479 §3.6).
	FlagAbsent Flag = iota
	FlagTrue
	FlagFalse
)

// String gives "true", "false", or "" for absent.
func (f Flag) String() string {
	switch f {
	case FlagTrue:
		return "true"
	case FlagFalse:
		return "false"
	}
	return ""
}

// Capability is one entry of a CapSet: the name of its element, and its text, which only <s> and <l> need.
type Capability struct{ Name, Text string }

// CapSet lists what is supported and what is not (RFC 5196 §4.1): an entry in both is supported.
type CapSet struct {
	Supported, NotSupported []Capability
	// SupportedExtensions and NotSupportedExtensions are the entries of other namespaces.
	SupportedExtensions, NotSupportedExtensions []Extension
}

// Supports says what the set says of the entry with this name ("s" and "l" are looked up by their text): "in case of conflicting
// information … the watcher can safely assume that the listed capability is supported" (RFC 5196 §4.1).
func (c *CapSet) Supports(name string) Flag {
	if c == nil {
		return FlagAbsent
	}
	is := func(e Capability) bool { return e.Name == name || (e.Name == "s" || e.Name == "l") && e.Text == name }
	if slices.ContainsFunc(c.Supported, is) {
		return FlagTrue
	}
	if slices.ContainsFunc(c.NotSupported, is) {
		return FlagFalse
	}
	return FlagAbsent
}

// ServiceCaps are the capabilities of a service (RFC 5196 §3.2). Sets are nil for none.
type ServiceCaps struct {
	Actor         *CapSet
	Application   Flag
	Audio         Flag
	Automata      Flag
	Class         *CapSet
	Control       Flag
	Data          Flag
	Descriptions  []Note
	Duplex        *CapSet
	EventPackages *CapSet
	// SIPExtensions is <extensions>: option tags.
	SIPExtensions *CapSet
	IsFocus       Flag
	Message       Flag
	Methods       *CapSet
	// Languages has entries named "l".
	Languages *CapSet
	Priority  *CapPriority
	// Schemes has entries named "s".
	Schemes *CapSet
	Text    Flag
	// Types are media types: "a string of the form "type/subtype"" (RFC 5196 §3.2.9).
	Types []string
	Video Flag
	// Extensions are the elements of other namespaces, in order.
	Extensions []Extension
	// Attributes are those of other specifications.
	Attributes []Attribute
}

// DeviceCaps are the capabilities of a device (RFC 5196 §3.3).
type DeviceCaps struct {
	Descriptions []Note
	// Mobility is nil for none.
	Mobility *CapSet
	// Extensions are the elements of other namespaces, in order.
	Extensions []Extension
	// Attributes are those of other specifications.
	Attributes []Attribute
}

// capsFields gives the local names of the children of <servcaps>, in the order of the schema (RFC 5196 §6).
func capsFields() []string {
	return []string{
		"actor", "application", "audio", "automata", "class", "control", "data", "description", "duplex", "event-packages",
		"extensions", "isfocus", "message", "methods", "languages", "priority", "schemes", "text", "type", "video",
	}
}

func (c *ServiceCaps) flag(local string) *Flag {
	switch local {
	case "application":
		return &c.Application
	case "audio":
		return &c.Audio
	case "automata":
		return &c.Automata
	case "control":
		return &c.Control
	case "data":
		return &c.Data
	case "isfocus":
		return &c.IsFocus
	case "message":
		return &c.Message
	case "text":
		return &c.Text
	case "video":
		return &c.Video
	}
	return nil
}

func (c *ServiceCaps) set(local string) **CapSet {
	switch local {
	case "actor":
		return &c.Actor
	case "class":
		return &c.Class
	case "duplex":
		return &c.Duplex
	case "event-packages":
		return &c.EventPackages
	case "extensions":
		return &c.SIPExtensions
	case "methods":
		return &c.Methods
	case "languages":
		return &c.Languages
	case "schemes":
		return &c.Schemes
	}
	return nil
}

// capsChildren walks the children of a capability element: those of its namespace go to field with their place in names, those of
// other namespaces become extensions. Unknown names of its namespace are ignored (RFC 3863 §4.2.3). repeat says which names may
// occur several times.
func (r *reader) capsChildren(e *strictxml.Element, names []string, repeat func(string) bool, field func(*strictxml.Element) error) ([]Extension, error) {
	var extensions []Extension
	position := -1
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		if c == nil {
			if !isSpace(e.Nodes[i].Text) {
				return nil, r.fault(e, "character-data", "RFC 5196 §6", "elements only")
			}
			continue
		}
		if c.Name.Space != NamespaceCaps {
			x, err := r.extension(c)
			if err != nil {
				return nil, err
			}
			extensions = append(extensions, x)
			position = len(names)
			continue
		}
		at := slices.Index(names, c.Name.Local)
		if at < 0 {
			continue
		}
		if at < position && !r.tolerate(LenientCapsOrder, c.Offset) {
			return nil, r.fault(c, "caps-order", "RFC 5196 §6", "the elements in the order of the schema")
		}
		if at == position && !repeat(c.Name.Local) {
			return nil, r.fault(c, "caps-once", "RFC 5196 §6", "this element at most once")
		}
		position = max(position, at)
		if err := field(c); err != nil {
			return nil, err
		}
	}
	return extensions, nil
}

func (r *reader) serviceCaps(e *strictxml.Element) (*ServiceCaps, error) {
	c := &ServiceCaps{Attributes: foreignAttributes(e)}
	var err error
	c.Extensions, err = r.capsChildren(e, capsFields(), func(s string) bool { return s == "description" || s == "type" }, func(f *strictxml.Element) error {
		local := f.Name.Local
		if flag := c.flag(local); flag != nil {
			text, err := r.textOf(f, "caps-boolean", "RFC 5196 §3.2.2")
			if err != nil {
				return err
			}
			v, ok := parseBoolean(text)
			if !ok {
				return r.fault(f, "caps-boolean", "RFC 5196 §3.2.2", "true or false")
			}
			*flag = FlagFalse
			if v {
				*flag = FlagTrue
			}
			return nil
		}
		if set := c.set(local); set != nil {
			s, err := r.capSet(f, capsValues(local))
			*set = s
			return err
		}
		switch local {
		case "description":
			n, err := r.noteElement(f)
			c.Descriptions = append(c.Descriptions, n)
			return err
		case "type":
			text, err := r.textOf(f, "caps-type", "RFC 5196 §3.2.9")
			if err != nil {
				return err
			}
			if !validMediaType(text) {
				return r.fault(f, "caps-type", "RFC 5196 §3.2.9", "type/subtype")
			}
			c.Types = append(c.Types, text)
		case "priority":
			p, err := r.capPriority(f)
			c.Priority = p
			return err
		}
		return nil
	})
	return c, err
}

func (r *reader) deviceCaps(e *strictxml.Element) (*DeviceCaps, error) {
	c := &DeviceCaps{Attributes: foreignAttributes(e)}
	var err error
	c.Extensions, err = r.capsChildren(e, []string{"description", "mobility"}, func(s string) bool { return s == "description" }, func(f *strictxml.Element) error {
		if f.Name.Local == "description" {
			n, err := r.noteElement(f)
			c.Descriptions = append(c.Descriptions, n)
			return err
		}
		set, err := r.capSet(f, capsValues("mobility"))
		c.Mobility = set
		return err
	})
	return c, err
}

func foreignAttributes(e *strictxml.Element) []Attribute {
	var as []Attribute
	for i := range e.Attrs {
		if a := &e.Attrs[i]; a.Name.Space != "" && a.Name.Space != schemaInstance {
			as = append(as, Attribute{nameOf(a.Name), a.Value})
		}
	}
	return as
}

// validMediaType takes token "/" token of RFC 2045 §5.1.
func validMediaType(s string) bool {
	t, sub, ok := strings.Cut(s, "/")
	return ok && validToken(t) && validToken(sub)
}

func validToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7F || strings.IndexByte(`()<>@,;:\"/[]?=`, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}

func (c *ServiceCaps) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespaceCaps, Local: "servcaps"})
	appendIDAndAttributes(w, ID{}, c.Attributes)
	for _, local := range capsFields() {
		if flag := c.flag(local); flag != nil {
			if *flag != FlagAbsent {
				appendText(w, NamespaceCaps, local, flag.String())
			}
			continue
		}
		if set := c.set(local); set != nil {
			(*set).append(w, local)
			continue
		}
		switch local {
		case "description":
			for _, n := range c.Descriptions {
				appendNote(w, NamespaceCaps, local, n)
			}
		case "type":
			for _, t := range c.Types {
				appendText(w, NamespaceCaps, local, t)
			}
		case "priority":
			c.Priority.append(w)
		}
	}
	for _, x := range c.Extensions {
		x.append(w)
	}
	w.End()
}

func (c *DeviceCaps) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespaceCaps, Local: "devcaps"})
	appendIDAndAttributes(w, ID{}, c.Attributes)
	for _, n := range c.Descriptions {
		appendNote(w, NamespaceCaps, "description", n)
	}
	c.Mobility.append(w, "mobility")
	for _, x := range c.Extensions {
		x.append(w)
	}
	w.End()
}

func (c *ServiceCaps) check() error {
	if c == nil {
		return nil
	}
	for _, local := range capsFields() {
		if flag := c.flag(local); flag != nil && *flag > FlagFalse {
			return unprintable("caps-boolean", "RFC 5196 §3.2.2", "a defined value of Flag")
		}
		if set := c.set(local); set != nil {
			if err := (*set).check(capsValues(local)); err != nil {
				return err
			}
		}
	}
	for _, t := range c.Types {
		if !validMediaType(t) {
			return unprintable("caps-type", "RFC 5196 §3.2.9", "type/subtype")
		}
	}
	return firstFault(checkNotes(c.Descriptions), c.Priority.check(), checkExtensions(c.Extensions, NamespaceCaps), checkIDAndAttributes(ID{}, c.Attributes, nil))
}

func (c *DeviceCaps) check() error {
	if c == nil {
		return nil
	}
	return firstFault(checkNotes(c.Descriptions), c.Mobility.check(capsValues("mobility")), checkExtensions(c.Extensions, NamespaceCaps),
		checkIDAndAttributes(ID{}, c.Attributes, nil))
}
