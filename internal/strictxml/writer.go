package strictxml

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// What Writer.Err may return: the first thing a Writer was asked for that has
// no well-formed expression, and what it did instead.
var (
	// ErrWriteName: a local name or prefix is not an NCName (Namespaces in
	// XML 1.0 §3). Each octet that cannot stand in one was written as '_'.
	ErrWriteName = errors.New("strictxml: not a name")
	// ErrWriteOrder: an attribute, a declaration, character data or an end
	// where none can be. It was left out.
	ErrWriteOrder = errors.New("strictxml: not possible here")
	// ErrWriteDuplicate: an attribute or prefix that the start tag has
	// already. The first one stays.
	ErrWriteDuplicate = errors.New("strictxml: attribute or prefix is there already")
	// ErrWriteNamespace: a declaration that Namespaces in XML 1.0 §3
	// forbids, or a name in a namespace that has no prefix. What needs it was
	// left out; an element was written in no namespace.
	ErrWriteNamespace = errors.New("strictxml: not a possible namespace")
	// ErrWriteRaw: octets that are not one well-formed element that can
	// stand anywhere. They were left out.
	ErrWriteRaw = errors.New("strictxml: not a self-contained element")
)

// Writer appends XML to a slice. Whatever it is asked for, its Bytes are
// well-formed and namespace-well-formed, as a document if one element was
// written on the top level, or as children of one: what cannot be expressed
// is left out or replaced, and the first such fault is in Err, which writers
// of what they have not checked themselves should look at. It never makes up
// prefixes: elements are written without one, with a declaration of the
// default namespace where that changes, unless StartPrefixed is used.
//
// Make one with NewWriter. It is for one goroutine.
type Writer struct {
	dst      []byte
	err      error
	space    string // default namespace in force around everything
	tag      int    // where the attributes of the open start tag begin; 0 if none is open
	open     []writerElement
	prefixes []writerPrefix
}

// writerElement is an element that has not been ended. Its qualified name is
// dst[name:name+length].
type writerElement struct {
	name, length int
	space        string // default namespace in force in it
	prefixes     int    // number of prefixes outside of it
	declared     bool   // its start tag declares the default namespace
}

// writerPrefix is a prefix in force.
type writerPrefix struct{ prefix, uri string }

// NewWriter returns a Writer that appends to dst, for a document or for
// elements whose parent has no default namespace.
func NewWriter(dst []byte) *Writer { return &Writer{dst: dst} }

// NewStanzaWriter returns a Writer that appends to dst elements whose parent,
// such as a stream's root, has the given default namespace: an element in it
// carries no declaration (RFC 6120 §4.8.2).
func NewStanzaWriter(dst []byte, space string) *Writer { return &Writer{dst: dst, space: space} }

// Reset makes the Writer append to dst, as NewStanzaWriter does, keeping what
// memory it has.
func (w *Writer) Reset(dst []byte, space string) {
	*w = Writer{dst: dst, space: space, open: w.open[:0], prefixes: w.prefixes[:0]}
}

// anySpace stands for a default namespace that is not known, so that every
// element declares its own; it is not a possible namespace name.
const anySpace = "\x00"

// Err returns the first fault, or nil.
func (w *Writer) Err() error { return w.err }

// Depth returns the number of elements started and not ended.
func (w *Writer) Depth() int { return len(w.open) }

// Bytes ends all open elements and returns dst with all that was appended.
func (w *Writer) Bytes() []byte {
	for len(w.open) > 0 {
		w.End()
	}
	return w.dst
}

// note keeps the first fault.
func (w *Writer) note(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Start begins an element without a prefix. If its namespace is not the
// default one in force, it is declared as such.
func (w *Writer) Start(name Name) {
	space := name.Space
	if space == XMLNamespace { // has a prefix of its own, and can have no other
		w.begin("xml", name.Local, w.defaultSpace())
		return
	}
	if space == xmlnsNamespace || !isChars(space) {
		w.note(ErrWriteNamespace)
		space = ""
	}
	outer := w.defaultSpace()
	w.begin("", name.Local, space)
	if space != outer {
		w.declareDefault(space)
	}
}

// StartPrefixed begins an element with a prefix, which is declared if it is
// not bound to the namespace of the name. With prefix "" it is Start.
func (w *Writer) StartPrefixed(prefix string, name Name) {
	if prefix == "" {
		w.Start(name)
		return
	}
	bound := w.bound(prefix)
	if bound != name.Space || bound == "" {
		if !validPrefix(prefix, name.Space) {
			w.note(ErrWriteNamespace)
			w.Start(name)
			return
		}
	}
	w.begin(prefix, name.Local, w.defaultSpace())
	if bound != name.Space {
		w.declare(prefix, name.Space)
	}
}

// Declare declares a prefix in the start tag just begun, for attributes,
// elements or values in it that use the prefix; with prefix "", the default
// namespace, which only a tag with a prefix of its own can choose. It does
// nothing if the declaration is in force already.
func (w *Writer) Declare(prefix, uri string) {
	if w.tag == 0 {
		w.note(ErrWriteOrder)
		return
	}
	top := &w.open[len(w.open)-1]
	if prefix == "" {
		// The default namespace applies to the element's own name too.
		prefixed := bytes.IndexByte(w.dst[top.name:top.name+top.length], ':') >= 0
		switch {
		case top.space == uri:
		case top.declared || !prefixed:
			w.note(ErrWriteDuplicate)
		case uri == XMLNamespace || uri == xmlnsNamespace || !isChars(uri):
			w.note(ErrWriteNamespace)
		default:
			w.declareDefault(uri)
		}
		return
	}
	switch {
	case w.bound(prefix) == uri && uri != "":
	case !validPrefix(prefix, uri):
		w.note(ErrWriteNamespace)
	case w.usedInTag(prefix):
		w.note(ErrWriteDuplicate)
	default:
		w.declare(prefix, uri)
	}
}

// Attr adds an attribute in no namespace to the start tag just begun.
func (w *Writer) Attr(local, value string) { w.attr("", local, value) }

// AttrNS adds an attribute. If its name is in a namespace, that is the XML
// one, or a prefix for it must be in force, by Declare or StartPrefixed; the
// innermost one is used.
func (w *Writer) AttrNS(name Name, value string) {
	switch name.Space {
	case "":
		w.attr("", name.Local, value)
		return
	case XMLNamespace:
		w.attr("xml", name.Local, value)
		return
	}
	for i := len(w.prefixes) - 1; i >= 0; i-- {
		if p := w.prefixes[i]; p.uri == name.Space && w.bound(p.prefix) == p.uri {
			w.attr(p.prefix, name.Local, value)
			return
		}
	}
	w.note(ErrWriteNamespace)
}

// Text adds character data to the innermost open element.
func (w *Writer) Text(s string) {
	if len(w.open) == 0 {
		if s != "" {
			w.note(ErrWriteOrder)
		}
		return
	}
	if s == "" {
		return
	}
	w.closeTag()
	w.dst = AppendText(w.dst, s)
}

// End ends the innermost open element, as <a/> if it has no content.
func (w *Writer) End() {
	if len(w.open) == 0 {
		w.note(ErrWriteOrder)
		return
	}
	top := w.open[len(w.open)-1]
	if w.tag != 0 {
		w.tag = 0
		w.dst = append(w.dst, '/', '>')
	} else {
		w.dst = append(w.dst, '<', '/')
		w.dst = append(w.dst, w.dst[top.name:top.name+top.length]...)
		w.dst = append(w.dst, '>')
	}
	w.prefixes = w.prefixes[:top.prefixes]
	w.open = w.open[:len(w.open)-1]
}

// Raw adds one element that is given as octets, such as AppendSelfContained
// makes: it is checked to be well-formed without anything inherited, and not
// to change its meaning here. DefaultLimits apply.
func (w *Writer) Raw(selfContained []byte) {
	p := newParser()
	p.Reset(selfContained, nil, Limits{})
	captured := false
	for {
		if !p.next() {
			w.note(ErrWriteRaw)
			return
		}
		if p.kind == End {
			break
		}
		if p.kind == StartElement && p.capturable() {
			captured = true
		}
	}
	if captured && w.defaultSpace() != "" {
		w.note(ErrWriteRaw)
		return
	}
	w.closeTag()
	w.dst = append(w.dst, selfContained...)
}

// capturable tells whether the current StartElement is in no namespace only
// because no default namespace has been declared around it.
func (p *parser) capturable() bool {
	top := &p.open[len(p.open)-1]
	if top.ns != nsNone {
		return false
	}
	for i := range p.binds {
		if b := &p.binds[i]; b.prefix.start == b.prefix.end {
			return false
		}
	}
	return true
}

// Element adds a copy of an element: the octets of one that was parsed, and
// what else they need here (see Element.AppendSelfContained); of one made by
// hand its Name, Attrs and Nodes. The depth of an Element made by hand must be
// finite.
func (w *Writer) Element(e *Element) {
	if e == nil {
		return
	}
	if e.Raw != "" {
		w.closeTag()
		w.dst = e.appendUnder(w.dst, w.defaultSpace())
		return
	}
	w.Start(e.Name)
	for _, a := range e.Attrs {
		w.AttrNS(a.Name, a.Value)
	}
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c != nil {
			w.Element(c)
		} else {
			w.Text(e.Nodes[i].Text)
		}
	}
	w.End()
}

// defaultSpace returns the default namespace in force.
func (w *Writer) defaultSpace() string {
	if len(w.open) == 0 {
		return w.space
	}
	return w.open[len(w.open)-1].space
}

// bound returns the namespace a prefix is bound to, or "".
func (w *Writer) bound(prefix string) string {
	for i := len(w.prefixes) - 1; i >= 0; i-- {
		if w.prefixes[i].prefix == prefix {
			return w.prefixes[i].uri
		}
	}
	if prefix == "xml" {
		return XMLNamespace
	}
	return ""
}

// validPrefix tells whether a prefix may be declared for a namespace.
func validPrefix(prefix, uri string) bool {
	_, ok := NewScope(nil, prefix, uri)
	return ok
}

// closeTag ends the open start tag, if there is one, since content follows.
func (w *Writer) closeTag() {
	if w.tag != 0 {
		w.tag = 0
		w.dst = append(w.dst, '>')
	}
}

// begin writes the beginning of a start tag.
func (w *Writer) begin(prefix, local, space string) {
	w.closeTag()
	w.dst = append(w.dst, '<')
	name := len(w.dst)
	if prefix != "" {
		w.dst = append(w.dst, prefix...)
		w.dst = append(w.dst, ':')
	}
	w.name(local)
	w.tag = len(w.dst)
	if w.open == nil {
		w.open = make([]writerElement, 0, 8)
	}
	w.open = append(w.open, writerElement{name: name, length: len(w.dst) - name, space: space, prefixes: len(w.prefixes)})
}

// name appends a local name, with '_' for each octet that cannot be in it.
func (w *Writer) name(local string) {
	if isNCName(local) {
		w.dst = append(w.dst, local...)
		return
	}
	w.note(ErrWriteName)
	if local == "" {
		w.dst = append(w.dst, '_')
	}
	for i := 0; i < len(local); {
		r, size := utf8.DecodeRuneInString(local[i:])
		ok := !(r == utf8.RuneError && size == 1)
		switch {
		case r < utf8.RuneSelf:
			ok = classes[r]&clsName != 0 && (i > 0 || classes[r]&clsNameStart != 0)
		default:
			ok = ok && isNameChar(r) && (i > 0 || isNameStart(r))
		}
		if ok {
			w.dst = append(w.dst, local[i:i+size]...)
		} else {
			w.dst = append(w.dst, '_')
		}
		i += size
	}
}

func (w *Writer) declareDefault(uri string) {
	top := &w.open[len(w.open)-1]
	top.space, top.declared = uri, true
	w.dst = appendDeclaration(w.dst, "", uri)
}

func (w *Writer) declare(prefix, uri string) {
	w.prefixes = append(w.prefixes, writerPrefix{prefix, uri})
	w.dst = appendDeclaration(w.dst, prefix, uri)
}

// attr adds an attribute whose prefix is in force or empty.
func (w *Writer) attr(prefix, local, value string) {
	if w.tag == 0 {
		w.note(ErrWriteOrder)
		return
	}
	if prefix == "" && local == "xmlns" {
		w.note(ErrWriteNamespace)
		return
	}
	start := len(w.dst)
	w.dst = append(w.dst, ' ')
	if prefix != "" {
		w.dst = append(w.dst, prefix...)
		w.dst = append(w.dst, ':')
	}
	at := len(w.dst)
	w.name(local)
	written := w.dst[start:]
	w.dst = w.dst[:start]
	if w.has(prefix, written[at-start:]) {
		w.note(ErrWriteDuplicate)
		return
	}
	w.dst = w.dst[:start+len(written)]
	w.dst = append(w.dst, '=', '\'')
	w.dst = AppendAttrValue(w.dst, value)
	w.dst = append(w.dst, '\'')
}

// has tells whether the open start tag has an attribute or declaration of a
// qualified name, or an attribute of the same expanded name. The tag is walked
// as it was written: " name='value'" with no apostrophe in the value.
func (w *Writer) has(prefix string, local []byte) bool {
	space := w.bound(prefix)
	for rest := w.dst[w.tag:]; len(rest) > 0; {
		var p, l []byte
		p, l, rest = nextAttribute(rest)
		if bytes.Equal(l, local) && (string(p) == prefix || space != "" && w.bound(string(p)) == space) {
			return true
		}
	}
	return false
}

// usedInTag tells whether the open start tag declares a prefix or uses it, so
// that it cannot be declared any more.
func (w *Writer) usedInTag(prefix string) bool {
	top := &w.open[len(w.open)-1]
	if i := bytes.IndexByte(w.dst[top.name:top.name+top.length], ':'); i >= 0 && string(w.dst[top.name:top.name+i]) == prefix {
		return true
	}
	for rest := w.dst[w.tag:]; len(rest) > 0; {
		var p, l []byte
		p, l, rest = nextAttribute(rest)
		if string(p) == prefix || string(p) == "xmlns" && string(l) == prefix {
			return true
		}
	}
	return false
}

// nextAttribute splits the first attribute off what Writer has written.
func nextAttribute(b []byte) (prefix, local, rest []byte) {
	eq := bytes.IndexByte(b, '=')
	name := b[1:eq]
	end := eq + 2 + bytes.IndexByte(b[eq+2:], '\'') + 1
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		return name[:i], name[i+1:], b[end:]
	}
	return nil, name, b[end:]
}
