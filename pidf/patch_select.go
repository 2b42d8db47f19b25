package pidf

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Limits of a selector.
const (
	maxSelector      = 4096 // octets
	maxSelectorSteps = 64   // location steps, and predicates in one step

	// maxPatchWork is how many nodes the selectors of one diff may look at together. A diff of a thousand operations on a
	// document of a thousand elements needs fewer.
	maxPatchWork = 2_000_000
)

// stepKind is what a location step selects.
type stepKind uint8

const (
	stepElement   stepKind = iota
	stepText               // text()
	stepNever              // comment() and processing-instruction(): documents here have none
	stepAttribute          // @name
	stepNamespace          // namespace::prefix
)

// selector is a parsed 'sel' value.
type selector struct {
	id    string // of id('…'), if hasID
	hasID bool
	steps []step
}

type step struct {
	kind       stepKind
	any        bool // "*"
	name       Name // of an element or attribute; of a namespace, Local is the prefix
	predicates []predicate
}

// predicate is one of [@name='v'], [name='v'], [.='v'] and [n].
type predicate struct {
	kind     predicateKind
	name     Name
	value    string
	position int
}

type predicateKind uint8

const (
	predicateAttribute predicateKind = iota
	predicateChild
	predicateSelf
	predicatePosition
)

// selectFault is the fault of a selector before any node is looked for.
type selectFault struct {
	condition PatchCondition
	phrase    string
}

// selectorParser reads the grammar of RFC 5261 §8, the types "xpath" and "xpath-add". Prefixes are those of the diff document:
// "it MUST be looked up in the diff document namespace declarations" (§4.2.1).
type selectorParser struct {
	s     string
	i     int
	scope *strictxml.Scope
	fault *selectFault
}

func (p *selectorParser) fail(condition PatchCondition, phrase string) {
	if p.fault == nil {
		p.fault = &selectFault{condition, phrase}
	}
}

func parseSelector(s string, scope *strictxml.Scope) (selector, *selectFault) {
	var sel selector
	p := &selectorParser{s: s, scope: scope}
	if len(s) > maxSelector {
		p.fail(PatchInvalidAttributeValue, "the selector is too long")
		return sel, p.fault
	}
	p.accept("/")
	if p.accept("id(") {
		sel.hasID = true
		sel.id = p.quoted()
		if p.fault == nil && sel.id != "" && !validNCName(sel.id) {
			p.fail(PatchInvalidAttributeValue, "id() takes a name")
		}
		p.expect(")")
		if p.fault != nil || p.i == len(p.s) {
			return sel, p.fault
		}
		p.expect("/")
	}
	for p.fault == nil {
		st := p.step()
		sel.steps = append(sel.steps, st)
		if p.fault != nil || p.i == len(p.s) {
			break
		}
		if st.kind != stepElement || len(sel.steps) == maxSelectorSteps {
			p.fail(PatchInvalidAttributeValue, "only elements have steps after them, and at most 64")
			break
		}
		p.expect("/")
	}
	return sel, p.fault
}

func (p *selectorParser) accept(token string) bool {
	if !strings.HasPrefix(p.s[p.i:], token) {
		return false
	}
	p.i += len(token)
	return true
}

func (p *selectorParser) expect(token string) {
	if p.fault == nil && !p.accept(token) {
		p.fail(PatchInvalidAttributeValue, "the selector is not of the grammar of RFC 5261")
	}
}

// quoted reads a string in apostrophes or quotation marks; nothing is the empty string, which the grammar allows in id().
func (p *selectorParser) quoted() string {
	if p.i == len(p.s) || p.s[p.i] != '\'' && p.s[p.i] != '"' {
		return ""
	}
	end := strings.IndexByte(p.s[p.i+1:], p.s[p.i])
	if end < 0 {
		p.fail(PatchInvalidAttributeValue, "a string in the selector has no end")
		return ""
	}
	v := p.s[p.i+1 : p.i+1+end]
	p.i += end + 2
	return v
}

func (p *selectorParser) step() step {
	switch {
	case p.accept("@"):
		return step{kind: stepAttribute, name: p.qname(false)}
	case p.accept("namespace::"):
		return step{kind: stepNamespace, name: Name{Local: p.ncname()}}
	case p.accept("text()"):
		return step{kind: stepText, predicates: p.predicates(true)}
	case p.accept("comment()"):
		return step{kind: stepNever, predicates: p.predicates(true)}
	case p.accept("processing-instruction("):
		if target := p.quoted(); target != "" && !validNCName(target) {
			p.fail(PatchInvalidAttributeValue, "a processing instruction has a name")
		}
		p.expect(")")
		return step{kind: stepNever, predicates: p.predicates(true)}
	case p.accept("*"):
		return step{any: true, predicates: p.predicates(false)}
	}
	return step{name: p.qname(true), predicates: p.predicates(false)}
}

// predicates reads conditions; those of text() and its like are at most one position.
func (p *selectorParser) predicates(positionOnly bool) []predicate {
	var ps []predicate
	for p.fault == nil && p.accept("[") {
		if len(ps) == maxSelectorSteps || positionOnly && len(ps) == 1 {
			p.fail(PatchInvalidAttributeValue, "too many predicates")
			break
		}
		pr := predicate{}
		switch {
		case p.i < len(p.s) && isDigit(p.s[p.i]):
			pr.kind = predicatePosition
			for p.i < len(p.s) && isDigit(p.s[p.i]) && pr.position < 1<<20 {
				pr.position = pr.position*10 + int(p.s[p.i]-'0')
				p.i++
			}
		case positionOnly:
			p.fail(PatchInvalidAttributeValue, "only a position selects among texts")
		default:
			switch {
			case p.accept("@"):
				pr.kind, pr.name = predicateAttribute, p.qname(false)
			case p.accept("."):
				pr.kind = predicateSelf
			default:
				pr.kind, pr.name = predicateChild, p.qname(true)
			}
			p.expect("=")
			if p.fault == nil && (p.i == len(p.s) || p.s[p.i] != '\'' && p.s[p.i] != '"') {
				p.fail(PatchInvalidAttributeValue, "a predicate compares with a string")
			}
			pr.value = p.quoted()
		}
		p.expect("]")
		ps = append(ps, pr)
	}
	return ps
}

func (p *selectorParser) ncname() string {
	start := p.i
	for p.i < len(p.s) && prefixByte(p.s[p.i]) {
		p.i++
	}
	name := p.s[start:p.i]
	if !validNCName(name) {
		p.fail(PatchInvalidAttributeValue, "the selector needs a name here")
	}
	return name
}

// qname reads a name and resolves its prefix. "When the diff document has a default namespace declaration, any element selector
// without a prefix MUST be evaluated using that namespace" (RFC 5261 §4.2.1); attributes without a prefix are in no namespace.
func (p *selectorParser) qname(element bool) Name {
	local := p.ncname()
	if p.fault == nil && p.i+1 < len(p.s) && p.s[p.i] == ':' && p.s[p.i+1] != ':' {
		p.i++
		prefix := local
		local = p.ncname()
		uri, ok := p.scope.Lookup(prefix)
		if !ok {
			p.fail(PatchInvalidNamespacePrefix, "a prefix in the selector is not declared")
		}
		return Name{uri, local}
	}
	if !element {
		return Name{"", local}
	}
	uri, _ := p.scope.Lookup("")
	return Name{uri, local}
}

// location is a located node: an element or text, or an attribute or declaration of an element.
type location struct {
	kind stepKind
	node *patchNode
	at   int // of the attribute or declaration
}

// locate finds the one node that the selector locates: "it is an error condition if multiple nodes are found" (RFC 5261 §4.1).
func (sel *selector) locate(doc *patchNode, work *int) (location, bool) {
	set := []*patchNode{doc}
	if sel.hasID {
		set = findID(doc, sel.id, nil, work)
		if len(set) != 1 {
			return location{}, false
		}
	}
	for i := range sel.steps {
		st := &sel.steps[i]
		switch st.kind {
		case stepAttribute, stepNamespace:
			var found []location
			for _, n := range set {
				at := -1
				if n.isText() || n.local == "" {
					continue
				}
				if st.kind == stepAttribute {
					at = n.attribute(st.name)
				} else {
					at = n.declaration(st.name.Local)
				}
				if at >= 0 {
					found = append(found, location{st.kind, n, at})
				}
			}
			if len(found) != 1 {
				return location{}, false
			}
			return found[0], true
		}
		var next []*patchNode
		for _, n := range set {
			next = append(next, st.from(n, i == 0 && !sel.hasID, work)...)
		}
		set = next
	}
	if len(set) != 1 || set[0] == doc {
		return location{}, false
	}
	if set[0].isText() {
		return location{kind: stepText, node: set[0]}, true
	}
	return location{kind: stepElement, node: set[0]}, true
}

// from gives the children of one context node that the step selects. The predicates filter one after another, so that a position
// counts what those before it left, as in XPath 1.0 §2.4.
func (st *step) from(n *patchNode, root bool, work *int) []*patchNode {
	var set []*patchNode
	if *work -= len(n.children); *work < 0 {
		return nil
	}
	for _, c := range n.children {
		switch st.kind {
		case stepText:
			if c.isText() {
				set = append(set, c)
			}
		case stepElement:
			if !c.isText() && (st.any || st.matches(c, root)) {
				set = append(set, c)
			}
		}
	}
	for i := range st.predicates {
		p := &st.predicates[i]
		if p.kind == predicatePosition {
			if p.position < 1 || p.position > len(set) {
				return nil
			}
			set = set[p.position-1 : p.position]
			continue
		}
		kept := set[:0]
		for _, c := range set {
			if p.holds(c, work) {
				kept = append(kept, c)
			}
		}
		set = kept
	}
	return set
}

// matches compares a name. The examples of RFC 5262 §6 and RFC 5263 §5 select the root of the local copy, which is <pidf-full>, as
// "presence", since that is what it stands for; so both names select it.
func (st *step) matches(c *patchNode, root bool) bool {
	name := c.name()
	return name == st.name || root && name == Name{NamespaceDiff, "pidf-full"} && st.name == Name{NamespacePIDF, "presence"}
}

func (p *predicate) holds(n *patchNode, work *int) bool {
	if *work -= 1 + len(n.children); *work < 0 {
		return false
	}
	switch p.kind {
	case predicateAttribute:
		at := n.attribute(p.name)
		return at >= 0 && n.attrs[at].value == p.value
	case predicateSelf:
		*work -= n.size()
		return *work >= 0 && n.value() == p.value
	}
	for _, c := range n.children {
		if c.isText() || c.name() != p.name {
			continue
		}
		if *work -= c.size(); *work >= 0 && c.value() == p.value {
			return true
		}
	}
	return false
}

// findID gives the elements whose attribute of type xs:ID, or whose xml:id, is id. RFC 5262 §3: implementations "MUST support the
// usage of the XML schema data type ID" of PIDF and its extensions.
func findID(n *patchNode, id string, found []*patchNode, work *int) []*patchNode {
	if *work -= len(n.children); *work < 0 {
		return nil
	}
	for _, c := range n.children {
		if c.isText() {
			continue
		}
		at := c.attribute(Name{strictxml.XMLNamespace, "id"})
		if at < 0 && hasIDAttribute(c.name()) {
			at = c.attribute(Name{"", "id"})
		}
		if at >= 0 && id != "" && collapse(c.attrs[at].value) == id {
			found = append(found, c)
		}
		found = findID(c, id, found, work)
	}
	return found
}

func hasIDAttribute(n Name) bool {
	switch n.Space {
	case NamespacePIDF:
		return n.Local == "tuple"
	case NamespaceDataModel:
		return n.Local == "person" || n.Local == "device"
	case NamespaceRPID:
		return placesOf(n) != 0 && n.Local != "class" && n.Local != "relationship" && n.Local != "service-class"
	}
	return false
}
