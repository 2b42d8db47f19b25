package strictxml

import (
	"iter"
	"strings"
)

// Name is an expanded name: a namespace name, "" for none, and a local name.
// It is comparable.
type Name struct{ Space, Local string }

// Attr is one attribute with its value normalised (XML 1.0 §3.3.3).
// Namespace declarations are not attributes here. An attribute without a
// prefix is in no namespace (Namespaces in XML 1.0 §6.2).
type Attr struct {
	Name  Name
	Value string
}

// Node is a piece of an element's content: exactly one of the fields is set.
// References and CDATA sections are resolved, and adjacent character data is
// one node.
type Node struct {
	Text    string
	Element *Element
}

// Element is one element of a tree. All of its strings are parts of one
// private copy of the input, so it stays valid when the input is overwritten;
// keeping any part of it keeps that copy (at most Limits.Bytes).
//
// An Element made by ParseDocument, ParseElement, Cursor.Element or
// Stream.Header must not be changed. One may also be made by hand, for
// AppendSelfContained or Writer.Element, with Name, Attrs and Nodes only.
type Element struct {
	Name  Name
	Attrs []Attr
	// Nodes is the content in document order.
	Nodes []Node
	// Raw is the element's octets as they came, from the '<' of its start
	// tag to the '>' of its end tag. It is "" in an Element made by hand. For
	// a stream header it is the start tag alone.
	Raw string
	// Offset is the position of Raw in the input of the parse.
	Offset int

	tagBytes int    // length of the start tag in Raw
	scope    *Scope // in force in the content of the element
	outer    *Scope // in force around the element
	lang     string // xml:lang of the element or its nearest ancestor in the tree
}

// Attr returns the value of the attribute with this expanded name and whether
// it is there; space is "" for attributes without a prefix.
func (e *Element) Attr(space, local string) (value string, ok bool) {
	for i := range e.Attrs {
		if a := &e.Attrs[i]; a.Name.Local == local && a.Name.Space == space {
			return a.Value, true
		}
	}
	return "", false
}

// Child returns the first element child with this expanded name, or nil.
func (e *Element) Child(space, local string) *Element {
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c != nil && c.Name.Local == local && c.Name.Space == space {
			return c
		}
	}
	return nil
}

// Children iterates over the element children in order.
func (e *Element) Children() iter.Seq[*Element] {
	return func(yield func(*Element) bool) {
		for i := range e.Nodes {
			if c := e.Nodes[i].Element; c != nil && !yield(c) {
				return
			}
		}
	}
}

// Text returns the direct character data, joined; that of child elements is
// not in it.
func (e *Element) Text() string {
	first, parts, size := "", 0, 0
	for i := range e.Nodes {
		if e.Nodes[i].Element == nil {
			if parts == 0 {
				first = e.Nodes[i].Text
			}
			parts++
			size += len(e.Nodes[i].Text)
		}
	}
	if parts <= 1 {
		return first
	}
	var b strings.Builder
	b.Grow(size)
	for i := range e.Nodes {
		b.WriteString(e.Nodes[i].Text)
	}
	return b.String()
}

// Lang returns the xml:lang in force on the element: its own or that of its
// nearest ancestor in the parsed tree (XML 1.0 §2.12). It is "" if neither
// has one, or it is empty; what a stream header says is not looked at.
func (e *Element) Lang() string { return e.lang }

// Prefix returns the prefix the element was written with, "" for none or for
// an Element made by hand. Names are compared by namespace; a prefix matters
// only where a text rules on it (RFC 6120 §4.8.5).
func (e *Element) Prefix() string {
	q := e.qname()
	if i := strings.IndexByte(q, ':'); i >= 0 {
		return q[:i]
	}
	return ""
}

// Scope returns the namespace declarations in force in the element's content,
// for values that contain prefixes (RFC 5261 §4.2); nil if there are none.
func (e *Element) Scope() *Scope { return e.scope }

// ContentOffset returns the position in the input of the first octet after
// the start tag, for errors about the element's content.
func (e *Element) ContentOffset() int { return e.Offset + e.tagBytes }

// qname returns the qualified name as it stands in the start tag.
func (e *Element) qname() string {
	if e.Raw == "" {
		return ""
	}
	i := strings.IndexAny(e.Raw, " \t\r\n/>")
	if i < 0 {
		return ""
	}
	return e.Raw[1:i]
}

// AppendSelfContained appends the element so that it can be pasted under any
// parent: its octets as they came, with the namespace declarations added to
// its start tag that it inherited and may need. Those are the default
// namespace (also as xmlns=” where an element in no namespace would else be
// captured by its new parent) and every prefix that occurs in it followed by
// a colon, so that prefixes in values keep their meaning too. An Element made
// by hand is written out with a Writer.
func (e *Element) AppendSelfContained(dst []byte) []byte {
	if e.Raw == "" {
		w := NewStanzaWriter(dst, anySpace)
		w.Element(e)
		return w.Bytes()
	}
	return e.appendUnder(dst, anySpace)
}

// appendUnder is AppendSelfContained for a parsed element and a parent whose
// default namespace is space, which is not declared again.
func (e *Element) appendUnder(dst []byte, space string) []byte {
	name := e.qname()
	dst = append(dst, '<')
	dst = append(dst, name...)
	if uri, ok := e.outer.Lookup(""); uri != space && !e.scope.hides(e.outer, "") && (ok || e.hasUnqualified()) {
		dst = appendDeclaration(dst, "", uri)
	}
	for s := e.outer; s != nil; s = s.outer {
		if s.prefix != "" && !e.scope.hides(s, s.prefix) && mentions(e.Raw, s.prefix) {
			dst = appendDeclaration(dst, s.prefix, s.uri)
		}
	}
	dst = append(dst, e.Raw[1+len(name):]...)
	if len(e.Raw) == e.tagBytes && !strings.HasSuffix(e.Raw, "/>") {
		dst = append(dst, '<', '/') // a stream header
		dst = append(dst, name...)
		dst = append(dst, '>')
	}
	return dst
}

// hasUnqualified tells whether the element or one below it is in no namespace.
// The depth of the recursion is that of the tree (Limits.Depth).
func (e *Element) hasUnqualified() bool {
	if e.Name.Space == "" {
		return true
	}
	for c := range e.Children() {
		if c.hasUnqualified() {
			return true
		}
	}
	return false
}

// mentions tells whether raw contains prefix directly followed by a colon.
func mentions(raw, prefix string) bool {
	for {
		i := strings.Index(raw, prefix)
		if i < 0 {
			return false
		}
		raw = raw[i+len(prefix):]
		if raw != "" && raw[0] == ':' {
			return true
		}
	}
}

// appendDeclaration appends a namespace declaration with its leading space.
func appendDeclaration(dst []byte, prefix, uri string) []byte {
	dst = append(dst, " xmlns"...)
	if prefix != "" {
		dst = append(dst, ':')
		dst = append(dst, prefix...)
	}
	dst = append(dst, '=', '\'')
	dst = AppendAttrValue(dst, uri)
	return append(dst, '\'')
}
