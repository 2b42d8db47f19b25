// Package contentxml reads the shape that the XML contents of instant messages
// share: an element of known children in a fixed order, each at most once, with
// elements of other namespaces among them as extensions.
package contentxml

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Limits are the bounds of a content document: 64 KiB, nested no deeper than
// 16, and the defaults of strictxml for the rest.
func Limits() strictxml.Limits {
	lim := strictxml.DefaultLimits()
	lim.Bytes = 64 << 10
	lim.Depth = 16
	return lim
}

// Document reads a whole document and checks its root element; noNamespace
// also takes a root without a namespace and reports that it was one.
func Document(doc []byte, s Shape, root string, noNamespace bool) (el *strictxml.Element, bare bool, _ *syntax.Error) {
	el, err := strictxml.ParseDocument(doc, Limits())
	if err != nil {
		return nil, false, xmlError(err)
	}
	if el.Name.Local == root && el.Name.Space == "" && noNamespace {
		return el, true, nil
	}
	if el.Name != (strictxml.Name{Space: s.Namespace, Local: root}) {
		return nil, false, &syntax.Error{Offset: el.Offset, Rule: "xml-root", Section: s.Section, Expected: root + " in " + s.Namespace}
	}
	return el, false, nil
}

// xmlError turns an error of the XML reader into one of ours, and keeps it as
// the cause.
func xmlError(err error) *syntax.Error {
	var x *strictxml.SyntaxError
	if !errors.As(err, &x) {
		return &syntax.Error{Rule: "xml", Section: "RFC 6120 §11.1", Cause: err}
	}
	return &syntax.Error{Offset: int(x.Offset), Rule: "xml-" + x.Rule, Section: x.Section, Expected: x.Detail, Cause: err}
}

// Shape is what an element may hold.
type Shape struct {
	// Namespace is that of the known children.
	Namespace string
	// Names are the known children in the order of the schema.
	Names []string
	// Section is where the schema stands.
	Section string
	// Bare says that the known children are those without a namespace, and
	// that unknown ones without a namespace are extensions.
	Bare bool
}

// Children returns the known children of el by their index in Names, nil for
// those that are missing, and the extensions in order.
func (s Shape) Children(el *strictxml.Element) (known []*strictxml.Element, extensions []*strictxml.Element, _ *syntax.Error) {
	if err := s.attributes(el); err != nil {
		return nil, nil, err
	}
	known = make([]*strictxml.Element, len(s.Names))
	last := -1
	for _, n := range el.Nodes {
		c := n.Element
		if c == nil {
			if Trim(n.Text) != "" {
				return nil, nil, &syntax.Error{Offset: el.ContentOffset(), Rule: "xml-text", Section: s.Section, Expected: "no text between the elements"}
			}
			continue
		}
		own := c.Name.Space == s.Namespace || s.Bare && c.Name.Space == ""
		i := slices.Index(s.Names, c.Name.Local)
		switch {
		case own && i >= 0 && known[i] != nil:
			return nil, nil, s.fault(c, "xml-once", c.Name.Local+" once")
		case own && i >= 0 && i < last:
			return nil, nil, s.fault(c, "xml-order", "the elements in the order of the schema")
		case own && i >= 0:
			known[i], last = c, i
		case s.Bare || !own && c.Name.Space != "":
			extensions = append(extensions, c)
		default:
			return nil, nil, s.fault(c, "xml-element", "an element of the schema, or one of another namespace")
		}
	}
	return known, extensions, nil
}

func (s Shape) fault(el *strictxml.Element, rule, expected string) *syntax.Error {
	return &syntax.Error{Offset: el.Offset, Rule: rule, Section: s.Section, Expected: expected}
}

// attributes refuses attributes without a namespace: no schema here has any.
func (s Shape) attributes(el *strictxml.Element) *syntax.Error {
	for _, a := range el.Attrs {
		if a.Name.Space == "" {
			return s.fault(el, "xml-attribute", "no attribute "+a.Name.Local)
		}
	}
	return nil
}

// Text returns the text of an element that has only text, without the white
// space around it.
func (s Shape) Text(el *strictxml.Element) (string, *syntax.Error) {
	if err := s.attributes(el); err != nil {
		return "", err
	}
	for c := range el.Children() {
		return "", s.fault(c, "xml-element", "only text")
	}
	return Trim(el.Text()), nil
}

// Empty checks that an element has no content but white space.
func (s Shape) Empty(el *strictxml.Element) *syntax.Error {
	t, err := s.Text(el)
	if err == nil && t != "" {
		return &syntax.Error{Offset: el.ContentOffset(), Rule: "xml-text", Section: s.Section, Expected: "no content"}
	}
	return err
}

// Trim removes XML white space from both ends.
func Trim(s string) string { return strings.Trim(s, " \t\r\n") }

// Raw returns each element so that it can stand under any parent.
func Raw(elements []*strictxml.Element) []string {
	var raw []string
	for _, e := range elements {
		raw = append(raw, string(e.AppendSelfContained(nil)))
	}
	return raw
}

// CheckExtension checks that raw is one element that can stand under any parent
// and is in another namespace than ours, and in one at all.
func (s Shape) CheckExtension(raw string) *syntax.Error {
	el, err := strictxml.ParseElement([]byte(raw), nil, Limits())
	if err != nil {
		return xmlError(err)
	}
	if el.Name.Space == "" || el.Name.Space == s.Namespace {
		return s.fault(el, "xml-element", "an element of another namespace")
	}
	return nil
}

// ValidText reports whether s is UTF-8 of characters that XML 1.0 can carry, so
// that it reads back as it was written.
func ValidText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	return true
}
