package pidf

import (
	"slices"
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// patch applies the operations that are children of diff to the document, in order (RFC 5261 §4): "After the first patch has
// been applied … the patched XML document becomes a new independent XML document against which the next patch will be applied."
// The operations are elements <add>, <replace> and <remove> of the namespace given. The document is changed also if it fails.
func patch(doc *patchNode, diff *strictxml.Element, space string) error {
	index, work := 0, maxPatchWork
	for i := range diff.Nodes {
		op := diff.Nodes[i].Element
		if op == nil {
			if !isSpace(diff.Nodes[i].Text) {
				return &PatchError{Condition: PatchInvalidDiffFormat, Phrase: "text between the operations", Index: -1}
			}
			continue
		}
		if op.Name.Space != space || op.Name.Local != "add" && op.Name.Local != "replace" && op.Name.Local != "remove" {
			return &PatchError{Condition: PatchInvalidDiffFormat, Phrase: "an element that is no operation", Index: -1}
		}
		if fault := patchOperation(doc, op, &work); fault != nil {
			return &PatchError{Condition: fault.condition, Phrase: fault.phrase, Index: index, Operation: extensionOf(op).raw}
		}
		index++
	}
	return nil
}

// patchOperation applies one operation.
func patchOperation(doc *patchNode, op *strictxml.Element, work *int) *selectFault {
	var typ, pos, ws string
	hasSel := false
	for i := range op.Attrs {
		a := &op.Attrs[i]
		known := a.Name.Space == ""
		switch {
		case !known:
		case a.Name.Local == "sel":
			hasSel = true
		case a.Name.Local == "type" && op.Name.Local == "add":
			typ = a.Value
		case a.Name.Local == "pos" && op.Name.Local == "add":
			pos = a.Value
		case a.Name.Local == "ws" && op.Name.Local == "remove":
			ws = a.Value
		default:
			known = false
		}
		if !known && a.Name.Space != strictxml.XMLNamespace && a.Name.Space != schemaInstance {
			return &selectFault{PatchInvalidDirective, "an attribute that the operation does not have"}
		}
	}
	if !hasSel {
		return &selectFault{PatchInvalidAttributeValue, "no selector"}
	}
	text, _ := op.Attr("", "sel")
	sel, fault := parseSelector(text, op.Scope())
	if fault != nil {
		return fault
	}
	at, found := sel.locate(doc, work)
	if *work < 0 {
		return &selectFault{PatchUnlocatedNode, "the selectors of the diff look at too many nodes"}
	}
	if !found {
		return &selectFault{PatchUnlocatedNode, "the selector does not locate one node"}
	}
	switch op.Name.Local {
	case "add":
		return patchAdd(at, op, typ, pos)
	case "replace":
		return patchReplace(at, op)
	}
	return patchRemove(at, op, ws)
}

// singleText gives the content of an operation that must be one text, or none.
func singleText(op *strictxml.Element) (string, bool) {
	if len(op.Nodes) == 0 {
		return "", true
	}
	return op.Nodes[0].Text, len(op.Nodes) == 1 && op.Nodes[0].Element == nil
}

// patchAdd is RFC 5261 §4.3.
func patchAdd(at location, op *strictxml.Element, typ, pos string) *selectFault {
	if at.kind == stepAttribute || at.kind == stepNamespace {
		return &selectFault{PatchInvalidAttributeValue, "an addition selects an element or a text"}
	}
	if typ != "" {
		if pos != "" {
			return &selectFault{PatchInvalidDirective, "'pos' is not used when adding attributes or namespaces"}
		}
		if at.kind != stepElement {
			return &selectFault{PatchInvalidNodeTypes, "only an element has attributes"}
		}
		value, ok := singleText(op)
		if !ok || len(op.Nodes) == 0 {
			return &selectFault{PatchInvalidAttributeValue, "the content must be a single text"}
		}
		if prefix, ok := strings.CutPrefix(typ, "namespace::"); ok {
			return addNamespace(at.node, prefix, value)
		}
		return addAttribute(at.node, op, typ, value)
	}
	parent, place := at.node, len(at.node.children)
	switch pos {
	case "":
	case "prepend":
		place = 0
	case "before":
		parent, place = at.node.parent, at.node.index()
	case "after":
		parent, place = at.node.parent, at.node.index()+1
	default:
		return &selectFault{PatchInvalidAttributeValue, "'pos' is before, after or prepend"}
	}
	if parent.local == "" && parent.parent == nil {
		return &selectFault{PatchInvalidRoot, "nothing stands beside the root element"}
	}
	if parent.isText() {
		return &selectFault{PatchInvalidNodeTypes, "a text has no children"}
	}
	nodes, fault := mangled(op, parent)
	if fault != nil {
		return fault
	}
	parent.insert(place, nodes)
	return nil
}

func addAttribute(n *patchNode, op *strictxml.Element, typ, value string) *selectFault {
	qname, ok := strings.CutPrefix(typ, "@")
	prefix, local, prefixed := strings.Cut(qname, ":")
	if !prefixed {
		prefix, local = "", qname
	}
	if !ok || !validNCName(local) || prefixed && !validNCName(prefix) || prefix == "xmlns" || qname == "xmlns" {
		return &selectFault{PatchInvalidAttributeValue, "'type' is @name or namespace::prefix"}
	}
	name := Name{"", local}
	if prefixed {
		uri, ok := op.Scope().Lookup(prefix)
		if !ok {
			return &selectFault{PatchInvalidNamespacePrefix, "the prefix in 'type' is not declared"}
		}
		name.Space = uri
		if prefix != "xml" {
			// "the possible default namespace declaration of the context element isn't applicable" (RFC 5261 §4.3.2)
			if prefix, ok = targetPrefix(n, n.inScope(), prefix, uri, false, nil); !ok {
				return &selectFault{PatchInvalidNamespaceURI, "the target does not declare the namespace of the attribute"}
			}
		}
	}
	if n.attribute(name) >= 0 {
		return &selectFault{PatchInvalidDirective, "the element has the attribute"}
	}
	n.attrs = append(n.attrs, patchAttribute{prefix, local, value})
	return nil
}

// addNamespace adds a prefixed declaration (RFC 5261 §4.3.3), if it does not take a prefix away from names that use it.
func addNamespace(n *patchNode, prefix, uri string) *selectFault {
	if !validNCName(prefix) {
		return &selectFault{PatchInvalidAttributeValue, "'type' is @name or namespace::prefix"}
	}
	if fault := bindable(prefix, uri); fault != nil {
		return fault
	}
	if n.declaration(prefix) >= 0 {
		return &selectFault{PatchInvalidDirective, "the element declares the prefix"}
	}
	if old, ok := n.lookup(prefix); ok && old != uri && n.uses(prefix) {
		return &selectFault{PatchInvalidNamespacePrefix, "the prefix is in use with another namespace"}
	}
	n.decls = append(n.decls, declaration{prefix, uri})
	return nil
}

// bindable says what Namespaces in XML forbids of a declaration.
func bindable(prefix, uri string) *selectFault {
	if _, ok := strictxml.NewScope(nil, prefix, uri); !ok {
		return &selectFault{PatchInvalidNamespaceURI, "this prefix cannot have this namespace"}
	}
	return nil
}

// patchReplace is RFC 5261 §4.4.
func patchReplace(at location, op *strictxml.Element) *selectFault {
	value, isText := singleText(op)
	switch at.kind {
	case stepElement:
		if len(op.Nodes) != 1 || op.Nodes[0].Element == nil {
			return &selectFault{PatchInvalidNodeTypes, "an element is replaced by one element"}
		}
		parent, place := at.node.parent, at.node.index()
		nodes, fault := mangled(op, parent)
		if fault != nil {
			return fault
		}
		nodes[0].parent = parent
		parent.children[place] = nodes[0]
		return nil
	case stepText:
		if !isText {
			return &selectFault{PatchInvalidNodeTypes, "a text is replaced by text"}
		}
		// "If a text node is updated and the <replace> element is empty, the text node MUST thus be removed" (§4.4.6).
		at.node.text = value
		at.node.parent.joinTexts()
		return nil
	case stepAttribute:
		if !isText {
			return &selectFault{PatchInvalidNodeTypes, "an attribute's value is replaced by text"}
		}
		at.node.attrs[at.at].value = value
		return nil
	}
	if !isText || value == "" {
		return &selectFault{PatchInvalidNodeTypes, "a namespace is replaced by text"}
	}
	if fault := bindable(at.node.decls[at.at].prefix, value); fault != nil {
		return fault
	}
	at.node.decls[at.at].uri = value
	if !distinctAttributes(at.node) {
		return &selectFault{PatchInvalidNamespaceURI, "two attributes would have one name"}
	}
	return nil
}

// distinctAttributes says whether no element at or below n has two attributes of one name, as a changed declaration can make.
func distinctAttributes(n *patchNode) bool {
	for i := range n.attrs {
		if n.attribute(n.attributeName(&n.attrs[i])) != i {
			return false
		}
	}
	return !slices.ContainsFunc(n.children, func(c *patchNode) bool { return !c.isText() && !distinctAttributes(c) })
}

// patchRemove is RFC 5261 §4.5.
func patchRemove(at location, op *strictxml.Element, ws string) *selectFault {
	if len(op.Nodes) > 0 {
		return &selectFault{PatchInvalidDirective, "a removal is empty"}
	}
	if ws != "" && ws != "before" && ws != "after" && ws != "both" {
		return &selectFault{PatchInvalidAttributeValue, "'ws' is before, after or both"}
	}
	if ws != "" && at.kind != stepElement {
		return &selectFault{PatchInvalidDirective, "'ws' is only for removing elements"}
	}
	n := at.node
	switch at.kind {
	case stepAttribute:
		n.attrs = slices.Delete(n.attrs, at.at, at.at+1)
		return nil
	case stepNamespace:
		// "this prefix MUST NOT be associated with any node prior to the removal" (§4.5.3).
		if n.uses(n.decls[at.at].prefix) {
			return &selectFault{PatchInvalidNamespacePrefix, "the prefix is in use"}
		}
		n.decls = slices.Delete(n.decls, at.at, at.at+1)
		return nil
	case stepText:
		n.parent.remove(n.index())
		return nil
	}
	parent, place := n.parent, n.index()
	if parent.parent == nil {
		return &selectFault{PatchInvalidRoot, "the root element cannot be removed"}
	}
	blank := func(i int) bool {
		return i >= 0 && i < len(parent.children) && parent.children[i].isText() && isSpace(parent.children[i].text)
	}
	first, last := place, place+1
	if ws == "before" || ws == "both" {
		if first--; !blank(first) {
			return &selectFault{PatchInvalidWhitespace, "no white space before the element"}
		}
	}
	if ws == "after" || ws == "both" {
		if !blank(last) {
			return &selectFault{PatchInvalidWhitespace, "no white space after the element"}
		}
		last++
	}
	parent.children = slices.Delete(parent.children, first, last)
	parent.joinTexts()
	return nil
}
