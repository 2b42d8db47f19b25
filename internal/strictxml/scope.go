package strictxml

import "strings"

// The two namespace names that are bound without a declaration (Namespaces in
// XML 1.0 §3).
const (
	// XMLNamespace is the namespace of the prefix xml, as in xml:lang.
	XMLNamespace = "http://www.w3.org/XML/1998/namespace"
	// xmlnsNamespace is the namespace of the prefix xmlns; nothing but a
	// declaration may be in it.
	xmlnsNamespace = "http://www.w3.org/2000/xmlns/"
)

// Scope is a set of namespace declarations in force, such as those of a
// stream header. It is an immutable list, innermost declaration first; nil
// means that nothing is declared. The prefix xml needs no declaration and is
// never in the list. It may be used by any number of goroutines.
type Scope struct {
	prefix string // "" for the default namespace
	uri    string // "" only with the prefix "": the default is undeclared
	outer  *Scope
}

// NewScope returns outer (which may be nil) with one more declaration: prefix
// bound to uri, or the default namespace if prefix is "". It returns nil,
// false, if Namespaces in XML 1.0 §3 forbids the declaration: a prefix that is
// not an NCName, the prefixes xml and xmlns and their namespaces, or a prefix
// undeclared by an empty uri.
func NewScope(outer *Scope, prefix, uri string) (*Scope, bool) {
	if prefix != "" && !isNCName(prefix) {
		return nil, false
	}
	if prefix == "xml" || prefix == "xmlns" || uri == XMLNamespace || uri == xmlnsNamespace {
		return nil, false
	}
	if prefix != "" && uri == "" || !isChars(uri) {
		return nil, false
	}
	return &Scope{prefix: prefix, uri: uri, outer: outer}, true
}

// Lookup returns the namespace name bound to prefix; prefix "" asks for the
// default namespace. It returns "", false if there is none in force, and
// knows the prefix xml without a declaration.
func (s *Scope) Lookup(prefix string) (uri string, ok bool) {
	for ; s != nil; s = s.outer {
		if s.prefix == prefix {
			return s.uri, s.uri != ""
		}
	}
	if prefix == "xml" {
		return XMLNamespace, true
	}
	return "", false
}

// detached returns the same declarations in memory of their own. Those of a
// parsed tree keep all of the tree, which is much for what lives as long as a
// stream.
func (s *Scope) detached() *Scope {
	n := 0
	for t := s; t != nil; t = t.outer {
		n++
	}
	if n == 0 {
		return nil
	}
	links := make([]Scope, n)
	for i := range links {
		links[i].prefix, links[i].uri = strings.Clone(s.prefix), strings.Clone(s.uri)
		if i > 0 {
			links[i-1].outer = &links[i]
		}
		s = s.outer
	}
	return &links[0]
}

// hides tells whether a declaration between s and the older scope outer,
// which is part of the same list, binds prefix anew.
func (s *Scope) hides(outer *Scope, prefix string) bool {
	for ; s != nil && s != outer; s = s.outer {
		if s.prefix == prefix {
			return true
		}
	}
	return false
}
