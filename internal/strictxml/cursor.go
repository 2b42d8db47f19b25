package strictxml

import (
	"bytes"
	"unicode/utf8"
)

// Kind is the kind of a token.
type Kind uint8

const (
	// End: the element or document is complete. It is also what Next returns
	// beside an error.
	End Kind = iota
	// StartElement: a start tag, or an empty-element tag, whose EndElement
	// follows as a token of its own.
	StartElement
	// EndElement: an end tag, or the second half of an empty-element tag.
	EndElement
	// Text: a whole run of character data, references and CDATA sections
	// between two tags. It stands for at least one character.
	Text
)

// Cursor is a pull tokenizer over one element or document in memory. It is as
// strict as ParseElement, about what is skipped too, but vouches only for the
// octets it has passed: input is well-formed when Next has returned the
// EndElement of the root (or Skip its octets), which includes that nothing
// follows it.
//
// A Cursor allocates nothing for what the caller does not ask a string of,
// once its stacks have grown. Its zero value is at the end of empty input;
// Reset makes it ready, as often as wanted. It is for one goroutine, and must
// not be copied after Reset.
type Cursor struct {
	_ noCopy

	raw      []byte
	src      string // a copy of raw, made by Element for its strings; else ""
	lim      Limits
	scope    *Scope
	err      *SyntaxError
	phase    phase
	document bool // white space may follow the root

	kind    Kind
	pos     int  // after the current token
	start   int  // of the current token
	closing bool // the EndElement of an empty-element tag is still to come
	popping bool // the element of the current EndElement is still on the stack
	markup  bool // the current Text has to be decoded

	open  []openElement
	attrs []attribute
	binds []binding

	inherited int // number of bindings that came with Reset

	nodes   []Node // of the open elements of the tree being built
	scratch []byte // decoded text and values of the current token
}

// noCopy makes go vet report copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// phase is where in its input a Cursor is.
type phase uint8

const (
	phaseDone     phase = iota // after the root
	phaseDocument              // at the start of a document
	phaseElement               // at the start of an element
	phaseContent               // inside the root
)

// maxBytes is the greatest Limits.Bytes, since positions are kept as int32.
const maxBytes = 1 << 30

// Namespaces of names that are not an index into binds.
const (
	nsNone = -1 // in no namespace
	nsXML  = -2 // XMLNamespace
)

// span is a part of the input.
type span struct{ start, end int32 }

// openElement is an element whose end has not been passed.
type openElement struct {
	start    int32 // of its start tag
	content  int32 // after its start tag
	name     span  // its qualified name
	local    int32 // start of the local part
	ns       int32
	binds    int32 // number of bindings outside of it
	children int32
	nodes    int32    // start of its nodes in Cursor.nodes, while a tree is built
	tree     *Element // likewise
}

// attribute is an attribute of the current start tag.
type attribute struct {
	name   span
	local  int32
	ns     int32
	value  span
	markup bool // the value has to be decoded
}

// binding is one namespace declaration in force.
type binding struct {
	prefix span   // empty for the default namespace
	value  span   // the uri as it stands in the input
	uri    []byte // the uri, unless inherited
	scope  *Scope // if inherited, or once a tree needs it; else nil
	hash   uint32 // of the prefix
	given  bool   // inherited: prefix and uri are in scope only
	markup bool   // uri differs from value
}

// Reset makes the Cursor read raw, which must be exactly one element, without
// even white space around it, in the namespace scope inherited from around it
// (nil for none). The Cursor reads from raw until it is done with it, and
// writes to it never.
func (c *Cursor) Reset(raw []byte, scope *Scope, lim Limits) {
	c.reset(raw, scope, lim)
	c.phase, c.document = phaseElement, false
}

// ResetDocument makes the Cursor read a document: a byte order mark and an XML
// declaration, if any, and one element with only white space around it.
func (c *Cursor) ResetDocument(doc []byte, lim Limits) {
	c.reset(doc, nil, lim)
	c.phase, c.document = phaseDocument, true
}

func (c *Cursor) reset(raw []byte, scope *Scope, lim Limits) {
	c.raw, c.src, c.lim, c.scope, c.err = raw, "", lim.orDefault(), scope, nil
	c.lim.Bytes = min(c.lim.Bytes, maxBytes)
	c.kind, c.pos, c.start = End, 0, 0
	c.closing, c.popping, c.markup = false, false, false
	if c.open == nil {
		c.open = make([]openElement, 0, 8)
		c.attrs = make([]attribute, 0, 16)
		c.binds = make([]binding, 0, 8)
	}
	c.open, c.attrs, c.binds, c.scratch = c.open[:0], c.attrs[:0], c.binds[:0], c.scratch[:0]
	c.inherit(scope)
	c.inherited = len(c.binds)
}

// inherit puts the bindings of scope at the bottom of the stack, the innermost
// on top. The recursion is as deep as the scope is long, which the limit on
// attributes bounds.
func (c *Cursor) inherit(scope *Scope) {
	if scope != nil {
		c.inherit(scope.outer)
		c.binds = append(c.binds, binding{scope: scope, given: true, hash: prefixHash(scope.prefix)})
	}
}

// fail makes a fault at a position the Cursor's error for good.
func (c *Cursor) fail(f fault, at int) bool {
	c.err = f.at(int64(at))
	c.kind, c.phase, c.closing, c.popping = End, phaseDone, false, false
	return false
}

// Next moves to the next token and returns its kind: End when the input is
// complete, and with an error, which stays. The error is always a *SyntaxError.
func (c *Cursor) Next() (Kind, error) {
	if !c.next() {
		return End, c.err
	}
	return c.kind, nil
}

// next does the work of Next; it returns false on an error.
func (c *Cursor) next() bool {
	c.scratch = c.scratch[:0]
	if c.popping {
		c.pop()
	}
	if c.closing {
		c.closing = false
		c.start = c.pos
		return c.endElement()
	}
	if c.phase != phaseContent {
		if c.phase == phaseDone {
			c.kind, c.start = End, c.pos
			return c.err == nil
		}
		if !c.prolog() {
			return false
		}
	}
	c.start = c.pos
	switch {
	case c.pos == len(c.raw):
		return c.fail(faultEnd, c.pos)
	case c.raw[c.pos] != '<':
		return c.text()
	}
	return c.tag()
}

// tag reads whatever begins with the '<' at the Cursor's position.
func (c *Cursor) tag() bool {
	if c.pos+1 == len(c.raw) {
		return c.fail(faultEnd, c.pos+1)
	}
	switch c.raw[c.pos+1] {
	case '/':
		return c.endTag()
	case '!':
		return c.text()
	case '?':
		return c.failMarkup(c.pos)
	}
	return c.startTag()
}

// failMarkup fails with what is wrong with the markup at i, which markupFault
// knows.
func (c *Cursor) failMarkup(i int) bool {
	f := markupFault(c.raw[i:])
	if f == faultEnd {
		i = len(c.raw)
	}
	return c.fail(f, i)
}

// prolog checks the characters of the whole input and goes to the '<' of the
// root's start tag.
func (c *Cursor) prolog() bool {
	if len(c.raw) > c.lim.Bytes {
		return c.fail(faultBytes, c.lim.Bytes)
	}
	if otherEncoding(c.raw) {
		return c.fail(faultUTF16, 0)
	}
	if at, f := checkChars(c.raw); at >= 0 {
		return c.fail(f, at)
	}
	i := 0
	if c.phase == phaseDocument {
		if len(c.raw) >= 3 && string(c.raw[:3]) == "\uFEFF" {
			i = 3
		}
		if isDeclaration(c.raw[i:]) {
			next, f, ok := scanDeclaration(c.raw[i:], false)
			if !ok {
				return c.fail(f, i+next)
			}
			i += next
		}
		i = skipSpace(c.raw, i)
	}
	switch {
	case i == len(c.raw):
		return c.fail(faultNoRoot, i)
	case c.raw[i] != '<':
		return c.fail(faultOutside, i)
	case i+1 == len(c.raw):
		return c.fail(faultEnd, i+1)
	case c.raw[i+1] == '/':
		return c.fail(faultMarkup, i)
	case begins(c.raw[i:], cdataStart):
		return c.fail(faultOutside, i)
	case c.raw[i+1] == '!' || c.raw[i+1] == '?':
		return c.failMarkup(i)
	}
	c.pos = i
	c.phase = phaseContent
	return true
}

// markupFault tells what is wrong with markup, beginning with '<' and then '!'
// or '?', that is not a CDATA section. It is faultEnd if the octets end too
// early to tell.
func markupFault(b []byte) fault {
	switch {
	case len(b) < 2:
		return faultEnd
	case b[1] == '?':
		if isDeclaration(b) {
			return faultDeclarationPlace
		}
		if len(b) <= len(declarationStart) && declarationStart[:len(b)] == string(b) {
			return faultEnd
		}
		return faultInstruction
	case b[1] != '!':
		return faultMarkup
	case len(b) < len(cdataStart) && cdataStart[:len(b)] == string(b):
		return faultEnd
	case b[2] == '-':
		return faultComment
	case b[2] == 'D':
		return faultDoctype
	}
	return faultMarkupDeclaration
}

// begins tells whether b begins with prefix.
func begins(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// text reads a run of character data and CDATA sections up to the next tag.
// If there is no character in it, as in <![CDATA[]]>, it reads the tag too.
func (c *Cursor) text() bool {
	raw := c.raw
	c.markup = false
	empty := true          // nothing but empty CDATA sections so far
	i, run := c.pos, c.pos // run is where the current stretch of literal data begins
	for {
		for i < len(raw) && classes[raw[i]]&clsText == 0 {
			i++
		}
		if i == len(raw) {
			return c.fail(faultEnd, i)
		}
		switch raw[i] {
		case '&':
			_, next, f, ok := scanReference(raw, i)
			if !ok {
				return c.fail(f, next)
			}
			c.markup = true
			i = next
		case '\r':
			c.markup = true
			i++
		case '>':
			if i-run >= 2 && raw[i-1] == ']' && raw[i-2] == ']' {
				return c.fail(faultCDATAEnd, i)
			}
			i++
		default: // '<'
			empty = empty && i == run
			if i+1 < len(raw) && raw[i+1] == '!' {
				if !begins(raw[i:], cdataStart) {
					return c.failMarkup(i)
				}
				end := cdataEnd(raw, i)
				if end < 0 {
					return c.fail(faultEnd, len(raw))
				}
				empty = empty && end-i == len(cdataStart)+len("]]>")
				c.markup = true
				i, run = end, end
				continue
			}
			c.pos = i
			if empty {
				c.start = i
				return c.tag()
			}
			c.kind = Text
			return true
		}
	}
}

// cdataEnd returns the position after the CDATA section that begins at i, or
// -1.
func cdataEnd(b []byte, i int) int {
	for i += len(cdataStart); i+2 < len(b); i++ {
		if b[i] == ']' && b[i+1] == ']' && b[i+2] == '>' {
			return i + 3
		}
	}
	return -1
}

// endTag reads an end tag and compares it with the open element's name.
func (c *Cursor) endTag() bool {
	top := &c.open[len(c.open)-1]
	name := c.raw[top.name.start:top.name.end]
	rest := c.raw[c.pos+2:]
	if !bytes.HasPrefix(rest, name) {
		if bytes.HasPrefix(name, rest) {
			return c.fail(faultEnd, len(c.raw))
		}
		return c.fail(faultMismatch, c.pos+2)
	}
	i := c.pos + 2 + len(name)
	end := skipSpace(c.raw, i)
	if end == len(c.raw) {
		return c.fail(faultEnd, end)
	}
	if c.raw[end] != '>' {
		if b := c.raw[end]; end == i && (b == ':' || b >= utf8.RuneSelf || classes[b]&clsName != 0) {
			return c.fail(faultMismatch, c.pos+2) // the name goes on
		}
		return c.fail(faultEndTag, end)
	}
	c.pos = end + 1
	return c.endElement()
}

// endElement makes EndElement the current token and, if it is the root's,
// checks that nothing follows.
func (c *Cursor) endElement() bool {
	c.kind, c.popping = EndElement, true
	if len(c.open) > 1 {
		return true
	}
	c.phase = phaseDone
	end := c.pos
	if c.document {
		end = skipSpace(c.raw, end)
	}
	if end == len(c.raw) {
		return true
	}
	if c.raw[end] == '<' && end+1 < len(c.raw) && (c.raw[end+1] == '!' || c.raw[end+1] == '?') &&
		!begins(c.raw[end:], cdataStart) {
		return c.failMarkup(end)
	}
	return c.fail(faultAfterRoot, end)
}

// pop takes the element whose EndElement has been passed off the stack.
func (c *Cursor) pop() {
	c.popping = false
	top := len(c.open) - 1
	c.binds = c.binds[:c.open[top].binds]
	c.open = c.open[:top]
}
