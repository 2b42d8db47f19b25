package strictxml

import (
	"bytes"
	"errors"
)

// ErrNotAtElement is the error of Cursor.Skip and Cursor.Element where the
// current token is not a StartElement. It is a fault of the caller, not of
// the input, and does not stay.
var ErrNotAtElement = errors.New("strictxml: the current token is not a start tag")

// Offset returns the position in the input of the first octet of the current
// token.
func (c *Cursor) Offset() int { return c.start }

// EndOffset returns the position in the input after the current token.
func (c *Cursor) EndOffset() int { return c.pos }

// Depth returns the number of open elements, the one of a current StartElement
// or EndElement included.
func (c *Cursor) Depth() int { return len(c.open) }

// top returns the innermost open element; ok is false if there is none.
func (c *Cursor) top() (e *openElement, ok bool) {
	if len(c.open) == 0 {
		return nil, false
	}
	return &c.open[len(c.open)-1], true
}

// Name returns the expanded name of the element of a StartElement or
// EndElement, or of the element around a Text. It allocates; to compare names
// use Is.
func (c *Cursor) Name() Name {
	e, ok := c.top()
	if !ok {
		return Name{}
	}
	return Name{Space: c.spaceString(e.ns), Local: c.str(e.local, e.name.end)}
}

// Is tells whether Name is this one, without allocating.
func (c *Cursor) Is(space, local string) bool {
	e, ok := c.top()
	return ok && string(c.raw[e.local:e.name.end]) == local && c.spaceIs(e.ns, space)
}

// Local returns the local part of Name, as octets of the input.
func (c *Cursor) Local() []byte {
	e, ok := c.top()
	if !ok {
		return nil
	}
	return c.raw[e.local:e.name.end:e.name.end]
}

// InSpace tells whether the namespace name of Name is this one ("" for none),
// without allocating.
func (c *Cursor) InSpace(space string) bool {
	e, ok := c.top()
	return ok && c.spaceIs(e.ns, space)
}

// AttrCount returns the number of attributes of the current StartElement.
func (c *Cursor) AttrCount() int {
	if c.kind != StartElement {
		return 0
	}
	return len(c.attrs)
}

// AttrAt returns the attribute number i, from 0 in the order of the input. It
// is the zero Attr if i is not in [0, AttrCount).
func (c *Cursor) AttrAt(i int) Attr {
	if i < 0 || i >= c.AttrCount() {
		return Attr{}
	}
	a := &c.attrs[i]
	return Attr{Name: Name{Space: c.spaceString(a.ns), Local: c.str(a.local, a.name.end)}, Value: c.valueString(a)}
}

// Attr returns the value of an attribute of the current StartElement and
// whether it is there.
func (c *Cursor) Attr(space, local string) (value string, ok bool) {
	if a := c.find(space, local); a != nil {
		return c.valueString(a), true
	}
	return "", false
}

// AttrBytes is Attr without allocating a string. The octets are valid until
// the next call of Next, Skip, Element or Reset, and must not be changed.
func (c *Cursor) AttrBytes(space, local string) (value []byte, ok bool) {
	a := c.find(space, local)
	if a == nil {
		return nil, false
	}
	return c.decoded(a.value, a.markup, true), true
}

// find returns an attribute of the current StartElement, or nil.
func (c *Cursor) find(space, local string) *attribute {
	for i := range c.AttrCount() {
		a := &c.attrs[i]
		if string(c.raw[a.local:a.name.end]) == local && c.spaceIs(a.ns, space) {
			return a
		}
	}
	return nil
}

// Text returns the character data of the current Text, "" at other tokens.
func (c *Cursor) Text() string {
	switch {
	case c.kind != Text:
		return ""
	case c.markup:
		return decodedString(c.raw[c.start:c.pos], false)
	}
	return c.str(int32(c.start), int32(c.pos))
}

// TextBytes is Text without allocating a string. The octets are valid until
// the next call of Next, Skip, Element or Reset, and must not be changed.
func (c *Cursor) TextBytes() []byte {
	if c.kind != Text {
		return nil
	}
	return c.decoded(span{int32(c.start), int32(c.pos)}, c.markup, false)
}

// AppendTextKeepingCR appends TextBytes, but with a carriage return that stands
// in the input as itself kept instead of normalised to LF (XML 1.0 §2.11).
// Where the text has a CDATA section it is the same as TextBytes.
//
// It is for one purpose. COMPAT(Prosody, 0.12.3): it writes a carriage return
// in character data as itself, although the client had written the reference
// that means one, so what an XML processor makes of it is not what the user
// sent. Nothing else may use it: on what is security-relevant two readers of
// one text must agree.
func (c *Cursor) AppendTextKeepingCR(dst []byte) []byte {
	if c.kind != Text {
		return dst
	}
	raw := c.raw[c.start:c.pos]
	if bytes.IndexByte(raw, '\r') < 0 || bytes.Contains(raw, []byte(cdataStart)) {
		return append(dst, c.TextBytes()...)
	}
	for {
		line, rest, more := bytes.Cut(raw, []byte{'\r'})
		dst = appendDecoded(dst, line, false)
		if !more {
			return dst
		}
		dst, raw = append(dst, '\r'), rest
	}
}

// IsSpace tells whether the current token is a Text of white space only (XML
// 1.0 §2.3), such as indentation.
func (c *Cursor) IsSpace() bool {
	if c.kind != Text {
		return false
	}
	for _, b := range c.TextBytes() {
		if !isSpace(b) {
			return false
		}
	}
	return true
}

// Skip moves from a StartElement to the EndElement of the same element,
// checking everything between, and returns the octets of the element, which
// are a part of the input. After a StartElement that opens another element
// than wanted, this is the way on.
func (c *Cursor) Skip() (raw []byte, err error) {
	e, ok := c.top()
	if !ok || c.kind != StartElement {
		return nil, ErrNotAtElement
	}
	start, depth := int(e.start), len(c.open)
	for {
		if !c.next() {
			return nil, c.err
		}
		if c.kind == EndElement && len(c.open) == depth {
			return c.raw[start:c.pos:c.pos], nil
		}
	}
}

// decoded returns a value or text with everything resolved, in the input or
// in scratch.
func (c *Cursor) decoded(s span, markup, value bool) []byte {
	b := c.raw[s.start:s.end:s.end]
	if !markup {
		return b
	}
	start := len(c.scratch)
	c.scratch = appendDecoded(c.scratch, b, value)
	return c.scratch[start:len(c.scratch):len(c.scratch)]
}

// decodedString resolves a text or value by way of the goroutine's stack, as
// most are short.
func decodedString(b []byte, value bool) string {
	var room [256]byte
	return string(appendDecoded(room[:0], b, value))
}

func (c *Cursor) valueString(a *attribute) string {
	if a.markup {
		return decodedString(c.raw[a.value.start:a.value.end], true)
	}
	return c.str(a.value.start, a.value.end)
}

// str returns a part of the input as a string, without allocating if Element
// has made a copy of all of it.
func (c *Cursor) str(start, end int32) string {
	if c.src != "" {
		return c.src[start:end]
	}
	return string(c.raw[start:end])
}

// spaceIs compares a resolved namespace.
func (c *Cursor) spaceIs(ns int32, space string) bool {
	switch ns {
	case nsNone:
		return space == ""
	case nsXML:
		return space == XMLNamespace
	}
	if b := &c.binds[ns]; b.scope != nil {
		return b.scope.uri == space
	} else {
		return string(b.uri) == space
	}
}

// spaceString returns the name of a resolved namespace.
func (c *Cursor) spaceString(ns int32) string {
	switch ns {
	case nsNone:
		return ""
	case nsXML:
		return XMLNamespace
	}
	b := &c.binds[ns]
	if b.scope != nil {
		return b.scope.uri
	}
	return string(b.uri)
}
