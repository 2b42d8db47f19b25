package strictxml

import "bytes"

// ParseDocument parses a whole document: an optional byte order mark, an
// optional XML declaration, one root element, white space; nothing else. The
// error is always a *SyntaxError.
func ParseDocument(doc []byte, lim Limits) (*Element, error) {
	p := newParser()
	p.ResetDocument(doc, lim)
	return p.root()
}

// ParseElement parses raw, which must be exactly one element without even
// white space around it, in the namespace scope inherited from around it (nil
// for none). The error is always a *SyntaxError.
func ParseElement(raw []byte, scope *Scope, lim Limits) (*Element, error) {
	p := newParser()
	p.Reset(raw, scope, lim)
	return p.root()
}

// parser is a Cursor with the room that most stanzas need, in one piece.
type parser struct {
	Cursor
	openRoom  [8]openElement
	attrsRoom [12]attribute
	bindsRoom [6]binding
	nodesRoom [12]Node
}

func newParser() *parser {
	p := new(parser)
	p.open, p.attrs = p.openRoom[:0], p.attrsRoom[:0]
	p.binds, p.nodes = p.bindsRoom[:0], p.nodesRoom[:0]
	return p
}

// root parses all of the input. What follows the root is checked at its end.
func (p *parser) root() (*Element, error) {
	if !p.next() {
		return nil, p.err
	}
	return p.Element()
}

// header parses a start tag that is all of the input, and tells whether it is
// an empty-element tag. It returns false on an error, which is in p.err.
func (p *parser) header() (root *Element, closed, ok bool) {
	if !p.next() {
		return nil, false, false
	}
	p.src = string(p.raw)
	room := roomFor(p.raw)
	root = p.grow(&room, nil)
	root.Raw = p.src
	return root, p.closing, true
}

// Element moves from a StartElement to the EndElement of the same element, as
// Skip does, and returns the element as a tree. The namespaces it inherits
// are resolved; the xml:lang around it is not looked at.
func (c *Cursor) Element() (*Element, error) {
	if c.kind != StartElement {
		return nil, ErrNotAtElement
	}
	if c.src == "" {
		c.src = string(c.raw)
	}
	// Only for the root is the rest of the input a guess of its size. A caller
	// may ask for each of many small elements: counting the rest each time
	// would be quadratic, and room for the rest memory for nothing.
	var room room
	if len(c.open) == 1 {
		room = roomFor(c.raw[c.start:])
	}
	depth := len(c.open)
	c.nodes = c.nodes[:0]
	root := c.grow(&room, nil)
	e := root
	for {
		if !c.next() {
			clear(c.nodes)
			return nil, c.err
		}
		switch c.kind {
		case StartElement:
			e = c.grow(&room, e)
		case Text:
			c.nodes = append(c.nodes, Node{Text: c.Text()})
		case EndElement:
			top := &c.open[len(c.open)-1]
			e.Nodes = room.takeNodes(c.nodes[top.nodes:])
			e.Raw = c.src[e.Offset:c.pos]
			clear(c.nodes[top.nodes:])
			c.nodes = c.nodes[:top.nodes]
			if len(c.open) == depth {
				return root, nil
			}
			e = c.open[len(c.open)-2].tree
		}
	}
}

// grow makes the Element of the current StartElement and hangs it into its
// parent, if that is not nil.
func (c *Cursor) grow(room *room, parent *Element) *Element {
	top := &c.open[len(c.open)-1]
	e := room.element()
	top.tree = e
	e.Offset, e.tagBytes = int(top.start), int(top.content-top.start)
	e.scope, e.outer = c.scopeOf(room, len(c.binds)), c.scopeOf(room, int(top.binds))
	e.Name = Name{Space: c.spaceString(top.ns), Local: c.src[top.local:top.name.end]}
	if parent != nil {
		e.lang = parent.lang
		c.nodes = append(c.nodes, Node{Element: e})
	}
	top.nodes = int32(len(c.nodes))
	if len(c.attrs) > 0 {
		e.Attrs = room.takeAttrs(len(c.attrs))
		for i := range c.attrs {
			a := &c.attrs[i]
			e.Attrs[i] = Attr{
				Name:  Name{Space: c.spaceString(a.ns), Local: c.src[a.local:a.name.end]},
				Value: c.valueString(a),
			}
			if a.ns == nsXML && e.Attrs[i].Name.Local == "lang" {
				e.lang = e.Attrs[i].Value
			}
		}
	}
	return e
}

// scopeOf returns the n outermost bindings as a Scope, making the links that
// are missing.
func (c *Cursor) scopeOf(room *room, n int) *Scope {
	i := n
	for i > 0 && c.binds[i-1].scope == nil {
		i--
	}
	var s *Scope
	if i > 0 {
		s = c.binds[i-1].scope
	}
	for ; i < n; i++ {
		b := &c.binds[i]
		prefix := c.src[b.prefix.start:b.prefix.end]
		if prefix == "xml" {
			continue // bound anyway
		}
		link := room.scope()
		link.prefix, link.outer = prefix, s
		if b.markup {
			link.uri = string(b.uri)
		} else {
			link.uri = c.src[b.value.start:b.value.end]
		}
		b.scope, s = link, link
	}
	return s
}

// room hands out the parts of a tree from a few larger pieces of memory. A
// small tree takes one piece; the first pieces of a larger one are of a size
// guessed from the input.
type room struct {
	elements []Element
	attrs    []Attr
	nodes    []Node
	scopes   []Scope
	tags     int // a guess at the number of '<'
	equals   int // the number of '=', less the attributes handed out
}

// smallRoom is the piece for a small tree.
type smallRoom struct {
	elements [5]Element
	attrs    [6]Attr
	nodes    [8]Node
	scopes   [2]Scope
}

// Greatest first pieces, so that what is in the input's character data cannot
// make us take much memory for nothing.
const (
	maxElementRoom = 64
	maxAttrRoom    = 64
	maxNodeRoom    = 128
)

// roomFor guesses the room a tree needs. Of an element with content there are
// two '<', of one without there is one, and a "/>".
func roomFor(b []byte) (r room) {
	r.tags = bytes.Count(b, []byte("<"))
	r.equals = bytes.Count(b, []byte("="))
	elements := (r.tags+bytes.Count(b, []byte("/>")))/2 + 1
	// One more may turn out to be a mere guess.
	if elements <= len(smallRoom{}.elements)+1 {
		small := new(smallRoom)
		r.elements, r.attrs = small.elements[:0], small.attrs[:0]
		r.nodes, r.scopes = small.nodes[:0], small.scopes[:0]
	} else {
		r.elements = make([]Element, 0, min(elements, maxElementRoom))
	}
	return r
}

func (r *room) element() *Element {
	n := len(r.elements)
	if n == cap(r.elements) {
		r.elements, n = make([]Element, 0, min(2*n+1, maxElementRoom)), 0
	}
	r.elements = r.elements[:n+1]
	return &r.elements[n]
}

func (r *room) scope() *Scope {
	n := len(r.scopes)
	if n == cap(r.scopes) {
		r.scopes, n = make([]Scope, 0, 4), 0
	}
	r.scopes = r.scopes[:n+1]
	return &r.scopes[n]
}

func (r *room) takeAttrs(n int) []Attr {
	if n > cap(r.attrs)-len(r.attrs) {
		r.attrs = make([]Attr, 0, max(n, min(r.equals, maxAttrRoom)))
	}
	start := len(r.attrs)
	r.attrs = r.attrs[:start+n]
	r.equals -= n
	return r.attrs[start : start+n : start+n]
}

func (r *room) takeNodes(nodes []Node) []Node {
	n := len(nodes)
	if n == 0 {
		return nil
	}
	if n > cap(r.nodes)-len(r.nodes) {
		r.nodes = make([]Node, 0, max(n, min(r.tags, maxNodeRoom)))
	}
	start := len(r.nodes)
	r.nodes = append(r.nodes, nodes...)
	return r.nodes[start : start+n : start+n]
}
