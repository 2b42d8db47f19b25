package pidf

import (
	"slices"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// mangled copies the content of an operation for insertion below context, the evaluation context node, with the names changed so
// that they mean there what they mean in the diff document (RFC 5261 §4.2.3).
//
// The plan: declarations within the content "are copied unaltered (prefix and everything)", so a name whose prefix is declared
// there stays. A name whose prefix is declared around the content takes a prefix that the target declares for the same namespace,
// by the three rules of targetPrefix, but never one that a declaration within the content hides at that place. If all are hidden,
// the element gets the declaration of the diff as its own. A namespace that the target does not declare at all is an error,
// invalid-namespace-uri.
func mangled(op *strictxml.Element, context *patchNode) ([]*patchNode, *selectFault) {
	nodes := nodesOf(op, nil)
	in := context.inScope()
	for i, n := range nodes {
		if op.Nodes[i].Element == nil {
			continue
		}
		if fault := mangle(n, op.Scope(), context, in, nil); fault != nil {
			return nil, fault
		}
	}
	return nodes, nil
}

// mangle rewrites the prefixes of one element and those below. inner are the prefixes that the content declares around n.
func mangle(n *patchNode, scope *strictxml.Scope, context *patchNode, in []declaration, inner []string) *selectFault {
	for _, d := range n.decls {
		inner = append(inner, d.prefix)
	}
	hidden := slices.Clone(inner)
	if !slices.Contains(hidden, n.prefix) {
		uri, _ := scope.Lookup(n.prefix)
		prefix, fault := translate(n, n.prefix, uri, context, in, hidden, true)
		if fault != nil {
			return fault
		}
		n.prefix = prefix
		if n.declaration(prefix) >= 0 && !slices.Contains(hidden, prefix) {
			hidden = append(hidden, prefix)
		}
	}
	for i := range n.attrs {
		a := &n.attrs[i]
		if a.prefix == "" || a.prefix == "xml" || slices.Contains(inner, a.prefix) {
			continue
		}
		uri, _ := scope.Lookup(a.prefix)
		prefix, fault := translate(n, a.prefix, uri, context, in, hidden, false)
		if fault != nil {
			return fault
		}
		a.prefix = prefix
		if n.declaration(prefix) >= 0 && !slices.Contains(hidden, prefix) {
			hidden = append(hidden, prefix)
		}
	}
	for _, c := range n.children {
		if c.local == "" {
			continue
		}
		if fault := mangle(c, scope, context, in, slices.Clone(hidden)); fault != nil {
			return fault
		}
	}
	return nil
}

// translate gives the prefix for a name of the namespace uri that has prefix in the diff document.
func translate(n *patchNode, prefix, uri string, context *patchNode, in []declaration, hidden []string, element bool) (string, *selectFault) {
	if uri == "" {
		// A name in no namespace needs a place without a default declaration.
		if slices.ContainsFunc(in, func(d declaration) bool { return d.prefix == "" && d.uri != "" }) || slices.Contains(hidden, "") {
			n.decls = append(n.decls, declaration{"", ""})
		}
		return "", nil
	}
	if to, ok := targetPrefix(context, in, prefix, uri, element, hidden); ok {
		return to, nil
	}
	if _, ok := targetPrefix(context, in, prefix, uri, true, nil); !ok {
		return "", &selectFault{PatchInvalidNamespaceURI, "the target does not declare a namespace of the content"}
	}
	// All prefixes of the target are hidden here, or only its default declaration has the namespace of an attribute.
	for slices.Contains(hidden, prefix) || prefix == "" && !element || n.declaration(prefix) >= 0 {
		prefix += "_"
	}
	n.decls = append(n.decls, declaration{prefix, uri})
	return prefix, nil
}

// targetPrefix chooses among the prefixes that the context declares for the namespace (RFC 5261 §4.2.3): the one of the diff
// document, else that of the context node itself, else the one that "appears as the closest and just before the compared prefix" in
// alphabetical order, else the first. The default declaration counts as the first of the list, but only for elements.
func targetPrefix(context *patchNode, in []declaration, prefix, uri string, element bool, hidden []string) (string, bool) {
	var declared []string
	for _, d := range in {
		if d.uri == uri && (d.prefix != "" || element) && !slices.Contains(hidden, d.prefix) {
			declared = append(declared, d.prefix)
		}
	}
	if len(declared) == 0 {
		return "", false
	}
	if slices.Contains(declared, prefix) {
		return prefix, true
	}
	if context.local != "" && slices.Contains(declared, context.prefix) && context.name().Space == uri {
		return context.prefix, true
	}
	slices.Sort(declared)
	at, _ := slices.BinarySearch(declared, prefix)
	return declared[max(at-1, 0)], true
}

// inScope gives the declarations in force at the node, each prefix once.
func (n *patchNode) inScope() []declaration {
	var in []declaration
	seen := make(map[string]struct{})
	for ; n != nil; n = n.parent {
		for _, d := range n.decls {
			if _, hidden := seen[d.prefix]; !hidden {
				seen[d.prefix] = struct{}{}
				in = append(in, d)
			}
		}
	}
	return in
}
