package pidf

import (
	"slices"
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// patchNode is a node of a document under patches: an element, or a text, by the data model of XPath 1.0 as RFC 5261 §3 uses it.
// Unlike strictxml.Element it keeps prefixes and declarations, and can be changed. Names are resolved when they are asked for, so
// that a changed declaration changes the names that depend on it. The document itself is an element with no name and one element.
type patchNode struct {
	parent   *patchNode
	prefix   string
	local    string // "" for a text and for the document
	decls    []declaration
	attrs    []patchAttribute
	children []*patchNode
	text     string
}

type patchAttribute struct{ prefix, local, value string }

func (n *patchNode) isText() bool { return n.local == "" && n.parent != nil }

// patchTree makes a document of an element and all below it.
func patchTree(e *strictxml.Element) *patchNode {
	doc := &patchNode{}
	doc.children = []*patchNode{nodeOf(e, doc)}
	return doc
}

func nodeOf(e *strictxml.Element, parent *patchNode) *patchNode {
	n := &patchNode{parent: parent, prefix: e.Prefix(), local: e.Name.Local}
	if len(e.Attrs) > 0 || strings.Contains(startTag(e.Raw), "xmlns") {
		eachAttribute(e.Raw, func(name, value string) {
			if name == "xmlns" {
				n.decls = append(n.decls, declaration{"", value})
				return
			}
			prefix, local, ok := strings.Cut(name, ":")
			switch {
			case !ok:
				n.attrs = append(n.attrs, patchAttribute{"", name, value})
			case prefix == "xmlns":
				n.decls = append(n.decls, declaration{local, value})
			default:
				n.attrs = append(n.attrs, patchAttribute{prefix, local, value})
			}
		})
	}
	n.children = nodesOf(e, n)
	return n
}

// nodesOf gives the content of an element as nodes of parent.
func nodesOf(e *strictxml.Element, parent *patchNode) []*patchNode {
	nodes := make([]*patchNode, 0, len(e.Nodes))
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c != nil {
			nodes = append(nodes, nodeOf(c, parent))
		} else {
			nodes = append(nodes, &patchNode{parent: parent, text: e.Nodes[i].Text})
		}
	}
	return nodes
}

// lookup gives the namespace that a prefix has at the node; ok is false for a prefix that is not declared. The empty prefix is
// always ok, and "" if there is no default declaration.
func (n *patchNode) lookup(prefix string) (uri string, ok bool) {
	if prefix == "xml" {
		return strictxml.XMLNamespace, true
	}
	for ; n != nil; n = n.parent {
		for i := range n.decls {
			if n.decls[i].prefix == prefix {
				return n.decls[i].uri, true
			}
		}
	}
	return "", prefix == ""
}

// name gives the expanded name of an element.
func (n *patchNode) name() Name {
	uri, _ := n.lookup(n.prefix)
	return Name{uri, n.local}
}

// attributeName gives the expanded name of an attribute: one without a prefix is in no namespace.
func (n *patchNode) attributeName(a *patchAttribute) Name {
	if a.prefix == "" {
		return Name{"", a.local}
	}
	uri, _ := n.lookup(a.prefix)
	return Name{uri, a.local}
}

// attribute gives the index of the attribute with this name, or -1.
func (n *patchNode) attribute(name Name) int {
	for i := range n.attrs {
		if n.attrs[i].local == name.Local && n.attributeName(&n.attrs[i]) == name {
			return i
		}
	}
	return -1
}

// declaration gives the index of the node's own declaration of the prefix, or -1.
func (n *patchNode) declaration(prefix string) int {
	return slices.IndexFunc(n.decls, func(d declaration) bool { return d.prefix == prefix })
}

// value gives the string-value of XPath 1.0: all text in and below the node.
func (n *patchNode) value() string {
	if n.isText() {
		return n.text
	}
	if len(n.children) == 1 {
		return n.children[0].value()
	}
	var b strings.Builder
	for _, c := range n.children {
		b.WriteString(c.value())
	}
	return b.String()
}

// size gives what value costs: the number of nodes at and below n, and one for each 64 octets of text.
func (n *patchNode) size() int {
	total := 1 + len(n.text)/64
	for _, c := range n.children {
		total += c.size()
	}
	return total
}

// uses says whether the node or one below it has a name with this prefix, by the declaration in force around the node.
func (n *patchNode) uses(prefix string) bool {
	if n.isText() {
		return false
	}
	if n.prefix == prefix || slices.ContainsFunc(n.attrs, func(a patchAttribute) bool { return prefix != "" && a.prefix == prefix }) {
		return true
	}
	return slices.ContainsFunc(n.children, func(c *patchNode) bool { return c.declaration(prefix) < 0 && c.uses(prefix) })
}

// index gives the place of the node among its parent's children.
func (n *patchNode) index() int { return slices.Index(n.parent.children, n) }

// insert puts nodes at a place among the children, and joins texts that become neighbours (RFC 5261 §4.3.5).
func (n *patchNode) insert(at int, nodes []*patchNode) {
	for _, c := range nodes {
		c.parent = n
	}
	n.children = slices.Insert(n.children, at, nodes...)
	n.joinTexts()
}

// remove takes out the child at a place, and joins texts that become neighbours (RFC 5261 §4.5.6).
func (n *patchNode) remove(at int) {
	n.children = slices.Delete(n.children, at, at+1)
	n.joinTexts()
}

// joinTexts keeps the rule of XPath 1.0 that "a text node MUST NOT have another text node as an immediate sibling node".
func (n *patchNode) joinTexts() {
	kept := n.children[:0]
	for _, c := range n.children {
		if c.isText() && c.text == "" {
			continue
		}
		if c.isText() && len(kept) > 0 && kept[len(kept)-1].isText() {
			kept[len(kept)-1] = &patchNode{parent: n, text: kept[len(kept)-1].text + c.text}
			continue
		}
		kept = append(kept, c)
	}
	clear(n.children[len(kept):])
	n.children = kept
}

// append prints the node with its prefixes and declarations.
func (n *patchNode) append(b []byte) []byte {
	if n.isText() {
		return strictxml.AppendText(b, n.text)
	}
	if n.local == "" {
		return n.children[0].append(append(b, xmlDeclaration...))
	}
	b = append(b, '<')
	start := len(b)
	if n.prefix != "" {
		b = append(append(b, n.prefix...), ':')
	}
	b = append(b, n.local...)
	end := len(b)
	for _, d := range n.decls {
		b = appendDeclaration(b, d.prefix, d.uri)
	}
	for _, a := range n.attrs {
		b = append(b, ' ')
		if a.prefix != "" {
			b = append(append(b, a.prefix...), ':')
		}
		b = append(append(b, a.local...), '=', '"')
		b = append(strictxml.AppendAttrValue(b, a.value), '"')
	}
	if len(n.children) == 0 {
		return append(b, '/', '>')
	}
	b = append(b, '>')
	for _, c := range n.children {
		b = c.append(b)
	}
	b = append(b, '<', '/')
	b = append(b, b[start:end]...)
	return append(b, '>')
}
