package pidf

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// capsValues gives the entries that a set may have, in the order of the schema (RFC 5196 §6). Entries of "schemes" and "languages"
// repeat.
func capsValues(set string) []string {
	switch set {
	case "actor":
		return []string{"attendant", "information", "msg-taker", "principal"}
	case "class":
		return []string{"business", "personal"}
	case "duplex":
		return []string{"full", "half", "receive-only", "send-only"}
	case "event-packages":
		return []string{
			"conference", "dialog", "kpml", "message-summary", "poc-settings", "presence", "reg", "refer",
			"Siemens-RTP-Stats", "spirits-INDPs", "spirits-user-prof", "winfo",
		}
	case "extensions":
		return []string{
			"rel100", "early-session", "eventlist", "from-change", "gruu", "hist-info", "join", "norefersub", "path",
			"precondition", "pref", "privacy", "recipient-list-invite", "recipient-list-subscribe", "replaces", "resource-priority",
			"sdp-anat", "sec-agree", "tdialog", "timer",
		}
	case "methods":
		return []string{
			"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER",
			"REGISTER", "SUBSCRIBE", "UPDATE",
		}
	case "languages":
		return []string{"l"}
	case "schemes":
		return []string{"s"}
	case "mobility":
		return []string{"fixed", "mobile"}
	}
	return nil
}

func repeats(local string) bool { return local == "s" || local == "l" }

func once(string) bool { return false }

// capSet reads an element with <supported> and <notsupported>.
func (r *reader) capSet(e *strictxml.Element, names []string) (*CapSet, error) {
	s := &CapSet{}
	if err := r.attributes(e); err != nil {
		return nil, err
	}
	foreign, err := r.capsChildren(e, []string{"supported", "notsupported"}, once, func(f *strictxml.Element) error {
		if err := r.attributes(f); err != nil {
			return err
		}
		var entries []Capability
		extensions, err := r.capsChildren(f, names, repeats, func(c *strictxml.Element) error {
			text, err := r.textOf(c, "caps-value", "RFC 5196 §6")
			entries = append(entries, Capability{c.Name.Local, text})
			return err
		})
		if err != nil {
			return err
		}
		if len(extensions) > 0 && repeats(names[0]) {
			return r.fault(f, "caps-value", "RFC 5196 §6", "elements of the caps namespace only")
		}
		if f.Name.Local == "supported" {
			s.Supported, s.SupportedExtensions = entries, extensions
		} else {
			s.NotSupported, s.NotSupportedExtensions = entries, extensions
		}
		return nil
	})
	if err == nil && len(foreign) > 0 {
		err = r.fault(e, "caps-value", "RFC 5196 §6", "<supported> and <notsupported> only")
	}
	return s, err
}

func (s *CapSet) append(w *strictxml.Writer, local string) {
	if s == nil {
		return
	}
	names := capsValues(local)
	w.Start(strictxml.Name{Space: NamespaceCaps, Local: local})
	half := func(name string, entries []Capability, extensions []Extension) {
		if len(entries)+len(extensions) == 0 {
			return
		}
		w.Start(strictxml.Name{Space: NamespaceCaps, Local: name})
		entries = slices.Clone(entries)
		slices.SortStableFunc(entries, func(a, b Capability) int {
			return cmp.Compare(slices.Index(names, a.Name), slices.Index(names, b.Name))
		})
		for _, c := range entries {
			appendText(w, NamespaceCaps, c.Name, c.Text)
		}
		for _, x := range extensions {
			x.append(w)
		}
		w.End()
	}
	half("supported", s.Supported, s.SupportedExtensions)
	half("notsupported", s.NotSupported, s.NotSupportedExtensions)
	w.End()
}

func (s *CapSet) check(names []string) error {
	if s == nil {
		return nil
	}
	for _, half := range [...][]Capability{s.Supported, s.NotSupported} {
		for i, c := range half {
			if !slices.Contains(names, c.Name) || !validChars(c.Text) ||
				!repeats(c.Name) && slices.ContainsFunc(half[:i], func(d Capability) bool { return d.Name == c.Name }) {
				return unprintable("caps-value", "RFC 5196 §6", "entries that the schema lists, each once")
			}
		}
	}
	if repeats(names[0]) && len(s.SupportedExtensions)+len(s.NotSupportedExtensions) > 0 {
		return unprintable("caps-value", "RFC 5196 §6", "elements of the caps namespace only")
	}
	return firstFault(checkExtensions(s.SupportedExtensions, NamespaceCaps), checkExtensions(s.NotSupportedExtensions, NamespaceCaps))
}

// RangeKind is how a PriorityRange is bounded (RFC 5196 §3.2.15).
type RangeKind uint8

const (
	// RangeEquals is <equals>: Min is the one value.
	RangeEquals RangeKind = iota
	// RangeHigherThan is <higherthan>: "All values equal and above" Min. The schema spells it "higherhan", which is read too.
	RangeHigherThan
	// RangeLowerThan is <lowerthan>: "All values equal and below" Max.
	RangeLowerThan
	// RangeBetween is <range>: from Min to Max.
	RangeBetween
)

// PriorityRange is a range of call priorities. A bound that Kind does not have is 0.
type PriorityRange struct {
	Kind     RangeKind
	Min, Max int64
}

// Contains says whether the priority is in the range.
func (p PriorityRange) Contains(priority int64) bool {
	switch p.Kind {
	case RangeEquals:
		return priority == p.Min
	case RangeHigherThan:
		return priority >= p.Min
	case RangeLowerThan:
		return priority <= p.Max
	}
	return priority >= p.Min && priority <= p.Max
}

// CapPriority lists the call priorities that a service handles and does not (RFC 5196 §3.2.15).
type CapPriority struct {
	Supported, NotSupported []PriorityRange
	// SupportedExtensions and NotSupportedExtensions are the entries of other namespaces.
	SupportedExtensions, NotSupportedExtensions []Extension
}

func (r *reader) capPriority(e *strictxml.Element) (*CapPriority, error) {
	p := &CapPriority{}
	if err := r.attributes(e); err != nil {
		return nil, err
	}
	foreign, err := r.capsChildren(e, []string{"supported", "notsupported"}, once, func(f *strictxml.Element) error {
		var ranges []PriorityRange
		// The schema has "higherhan" (RFC 5196 §6), the text <higherthan> (§3.2.15.2): both are read at that place.
		extensions, err := r.capsChildren(f, []string{"equals", "higherhan", "higherthan", "lowerthan", "range"}, func(string) bool { return true }, func(c *strictxml.Element) error {
			v, err := r.priorityRange(c)
			ranges = append(ranges, v)
			return err
		})
		if err != nil {
			return err
		}
		if f.Name.Local == "supported" {
			p.Supported, p.SupportedExtensions = ranges, extensions
		} else {
			p.NotSupported, p.NotSupportedExtensions = ranges, extensions
		}
		return r.attributes(f)
	})
	if err == nil && len(foreign) > 0 {
		err = r.fault(e, "caps-value", "RFC 5196 §6", "<supported> and <notsupported> only")
	}
	return p, err
}

func (r *reader) priorityRange(e *strictxml.Element) (PriorityRange, error) {
	var p PriorityRange
	bound := func(name string, into *int64) bool {
		text, ok := e.Attr("", name)
		if !ok {
			return false
		}
		v, ok := parseXMLInteger(collapse(text))
		*into = v
		return ok
	}
	ok, count := false, 1
	switch e.Name.Local {
	case "equals":
		p.Kind, ok = RangeEquals, bound("value", &p.Min)
	case "lowerthan":
		p.Kind, ok = RangeLowerThan, bound("maxvalue", &p.Max)
	case "range":
		p.Kind, ok, count = RangeBetween, bound("minvalue", &p.Min) && bound("maxvalue", &p.Max), 2
	default:
		p.Kind, ok = RangeHigherThan, bound("minvalue", &p.Min)
	}
	if !ok || len(e.Attrs) != count || len(e.Nodes) > 0 {
		return p, r.fault(e, "caps-priority", "RFC 5196 §3.2.15", "the integer bounds of this element as attributes, and nothing else")
	}
	return p, nil
}

func (p *CapPriority) append(w *strictxml.Writer) {
	if p == nil {
		return
	}
	w.Start(strictxml.Name{Space: NamespaceCaps, Local: "priority"})
	half := func(name string, ranges []PriorityRange, extensions []Extension) {
		if len(ranges)+len(extensions) == 0 {
			return
		}
		w.Start(strictxml.Name{Space: NamespaceCaps, Local: name})
		ranges = slices.Clone(ranges)
		slices.SortStableFunc(ranges, func(a, b PriorityRange) int { return cmp.Compare(a.Kind, b.Kind) })
		for _, v := range ranges {
			low, high := strconv.FormatInt(v.Min, 10), strconv.FormatInt(v.Max, 10)
			w.Start(strictxml.Name{Space: NamespaceCaps, Local: [...]string{"equals", "higherthan", "lowerthan", "range"}[v.Kind]})
			switch v.Kind {
			case RangeEquals:
				w.Attr("value", low)
			case RangeHigherThan:
				w.Attr("minvalue", low)
			case RangeLowerThan:
				w.Attr("maxvalue", high)
			case RangeBetween:
				w.Attr("minvalue", low)
				w.Attr("maxvalue", high)
			}
			w.End()
		}
		for _, x := range extensions {
			x.append(w)
		}
		w.End()
	}
	half("supported", p.Supported, p.SupportedExtensions)
	half("notsupported", p.NotSupported, p.NotSupportedExtensions)
	w.End()
}

func (p *CapPriority) check() error {
	if p == nil {
		return nil
	}
	for _, half := range [...][]PriorityRange{p.Supported, p.NotSupported} {
		for _, v := range half {
			if v.Kind > RangeBetween {
				return unprintable("caps-priority", "RFC 5196 §3.2.15", "a defined value of RangeKind")
			}
		}
	}
	return firstFault(checkExtensions(p.SupportedExtensions, NamespaceCaps), checkExtensions(p.NotSupportedExtensions, NamespaceCaps))
}
