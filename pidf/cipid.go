package pidf

import (
	"slices"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// CIPID is contact information of a tuple or a person (RFC 4482 §3). URIs are zero for none. §8: who resolves one may tell the
// presentity that it is being watched, so a gateway never does.
type CIPID struct {
	// Card points to a business card.
	Card URI
	// DisplayNames are names to show, each in another language (RFC 4482 §3.2).
	DisplayNames []Note
	// Homepage, Icon, Map and Sound point to what their names say.
	Homepage, Icon, Map, Sound URI
}

// field gives the field of a URI element, or nil.
func (c *CIPID) field(local string) *URI {
	switch local {
	case "card":
		return &c.Card
	case "homepage":
		return &c.Homepage
	case "icon":
		return &c.Icon
	case "map":
		return &c.Map
	case "sound":
		return &c.Sound
	}
	return nil
}

// cipid reads one element into c.
func (r *reader) cipid(e *strictxml.Element, c *CIPID) error {
	if e.Name.Local == "display-name" {
		n, err := r.noteElement(e)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(c.DisplayNames, func(m Note) bool { return m.Lang == n.Lang }) {
			return r.fault(e, "cipid-display-name", "RFC 4482 §3.2", "several display names only with different xml:lang")
		}
		c.DisplayNames = append(c.DisplayNames, n)
		return nil
	}
	field := c.field(e.Name.Local)
	if !field.IsZero() {
		return r.fault(e, "cipid-once", "RFC 4482 §3", "each element at most once")
	}
	uri, err := r.uriText(e, "cipid-uri", "RFC 4482 §3")
	if err != nil {
		return err
	}
	*field = uri
	return r.attributes(e)
}

func (c *CIPID) append(w *strictxml.Writer) {
	for _, local := range [...]string{"card", "display-name", "homepage", "icon", "map", "sound"} {
		if local == "display-name" {
			for _, n := range c.DisplayNames {
				appendNote(w, NamespaceCIPID, local, n)
			}
			continue
		}
		if field := c.field(local); !field.IsZero() {
			appendText(w, NamespaceCIPID, local, field.s)
		}
	}
}

func (c *CIPID) check() error {
	if c == nil {
		return nil
	}
	for i, n := range c.DisplayNames {
		if slices.ContainsFunc(c.DisplayNames[:i], func(m Note) bool { return m.Lang == n.Lang }) {
			return unprintable("cipid-display-name", "RFC 4482 §3.2", "several display names only with different xml:lang")
		}
	}
	return checkNotes(c.DisplayNames)
}
