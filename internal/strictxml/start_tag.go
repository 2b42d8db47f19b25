package strictxml

import "bytes"

// startTag reads a start tag or an empty-element tag: its name, then the
// attributes one after the other, declarations going on the stack of bindings
// at once, and at last, when all declarations of the tag are known, the
// namespaces of the names (Namespaces in XML 1.0 §6).
func (c *Cursor) startTag() bool {
	depth := len(c.open)
	if depth >= c.lim.Depth {
		return c.fail(faultDepth, c.pos)
	}
	if depth > 0 {
		parent := &c.open[depth-1]
		if int(parent.children) >= c.lim.Children {
			return c.fail(faultChildren, c.pos)
		}
		parent.children++
	}
	name, local, i, ok := c.qname(c.pos+1, faultMarkup)
	if !ok {
		return false
	}
	c.attrs = c.attrs[:0]
	outside := len(c.binds)
	count := 0
	for {
		space := i
		i = skipSpace(c.raw, i)
		if i == len(c.raw) {
			return c.fail(faultEnd, i)
		}
		if b := c.raw[i]; b == '>' {
			i++
			break
		} else if b == '/' {
			if i+1 == len(c.raw) {
				return c.fail(faultEnd, i+1)
			}
			if c.raw[i+1] != '>' {
				return c.fail(faultTag, i+1)
			}
			i += 2
			c.closing = true
			break
		}
		if i == space {
			if count > 0 {
				return c.fail(faultAttributeSpace, i)
			}
			return c.fail(faultTag, i)
		}
		if count++; count > c.lim.Attributes {
			return c.fail(faultAttributes, i)
		}
		if i, ok = c.attribute(i, outside); !ok {
			return false
		}
	}
	ns, ok := c.resolve(name, local, true)
	if !ok || !c.resolveAttributes() {
		return false
	}
	c.open = append(c.open, openElement{
		start: int32(c.pos), content: int32(i), name: name, local: local, ns: ns, binds: int32(outside),
	})
	c.pos = i
	c.kind = StartElement
	return true
}

// qname reads the qualified name that begins at i (Namespaces in XML 1.0 §4);
// f is the fault if there is no name at all.
func (c *Cursor) qname(i int, f fault) (name span, local int32, next int, ok bool) {
	start := i
	end := scanNCName(c.raw, i)
	if end < len(c.raw) && c.raw[end] == ':' {
		if end == start {
			return span{}, 0, 0, c.fail(faultQName, end)
		}
		i = end + 1
		if end = scanNCName(c.raw, i); end > i && end < len(c.raw) && c.raw[end] == ':' {
			return span{}, 0, 0, c.fail(faultQName, end)
		}
		f = faultQName
	}
	if end-start > c.lim.NameBytes {
		return span{}, 0, 0, c.fail(faultNameBytes, start+c.lim.NameBytes)
	}
	switch {
	case end == len(c.raw):
		return span{}, 0, 0, c.fail(faultEnd, end)
	case end == i:
		return span{}, 0, 0, c.fail(f, end)
	}
	return span{int32(start), int32(end)}, int32(i), end, true
}

// attribute reads the attribute or declaration at i and returns the position
// after it; outside is the number of bindings older than the tag.
func (c *Cursor) attribute(i, outside int) (next int, ok bool) {
	name, local, i, ok := c.qname(i, faultName)
	if !ok {
		return 0, false
	}
	i = skipSpace(c.raw, i)
	if i == len(c.raw) {
		return 0, c.fail(faultEnd, i)
	}
	if c.raw[i] != '=' {
		return 0, c.fail(faultAttribute, i)
	}
	i = skipSpace(c.raw, i+1)
	if i == len(c.raw) {
		return 0, c.fail(faultEnd, i)
	}
	quote := c.raw[i]
	if quote != '"' && quote != '\'' {
		return 0, c.fail(faultValueQuote, i)
	}
	i++
	a := attribute{name: name, local: local, value: span{start: int32(i)}}
	for {
		for i < len(c.raw) && classes[c.raw[i]]&clsValue == 0 {
			i++
		}
		if i == len(c.raw) {
			return 0, c.fail(faultEnd, i)
		}
		switch b := c.raw[i]; b {
		case quote:
			a.value.end = int32(i)
			if c.isDeclaration(name, local) {
				return i + 1, c.declare(&a, outside)
			}
			c.attrs = append(c.attrs, a)
			return i + 1, true
		case '<':
			return 0, c.fail(faultValueMarkup, i)
		case '&':
			_, next, f, ok := scanReference(c.raw, i)
			if !ok {
				return 0, c.fail(f, next)
			}
			a.markup = true
			i = next
		case '"', '\'':
			i++
		default: // white space other than a space
			a.markup = true
			i++
		}
	}
}

// isDeclaration tells whether an attribute's name is xmlns or xmlns:….
func (c *Cursor) isDeclaration(name span, local int32) bool {
	const xmlns = "xmlns"
	if local == name.start {
		return name.end-name.start == int32(len(xmlns)) && string(c.raw[name.start:name.end]) == xmlns
	}
	return local-1-name.start == int32(len(xmlns)) && string(c.raw[name.start:local-1]) == xmlns
}

// declare puts a namespace declaration on the stack of bindings.
func (c *Cursor) declare(a *attribute, outside int) bool {
	b := binding{value: a.value, uri: c.raw[a.value.start:a.value.end], markup: a.markup}
	if a.local != a.name.start {
		b.prefix = span{a.local, a.name.end}
	}
	if a.markup {
		b.uri = appendDecoded(nil, b.uri, true)
	}
	prefix := c.raw[b.prefix.start:b.prefix.end]
	for i := outside; i < len(c.binds); i++ {
		if p := c.binds[i].prefix; bytes.Equal(c.raw[p.start:p.end], prefix) {
			return c.fail(faultDuplicate, int(a.name.start))
		}
	}
	switch {
	case len(c.binds)-c.inherited >= 2*c.lim.Attributes:
		return c.fail(faultAttributes, int(a.name.start))
	case string(prefix) == "xmlns":
		return c.fail(faultReservedPrefix, int(a.local))
	case string(prefix) == "xml":
		if string(b.uri) != XMLNamespace {
			return c.fail(faultReservedPrefix, int(a.value.start))
		}
	case string(b.uri) == XMLNamespace || string(b.uri) == xmlnsNamespace:
		return c.fail(faultReservedNamespace, int(a.value.start))
	case len(prefix) > 0 && len(b.uri) == 0:
		return c.fail(faultUndeclare, int(a.value.start))
	}
	b.hash = prefixHash(prefix)
	c.binds = append(c.binds, b)
	return true
}

// resolve returns the namespace of a name: an index into binds, nsNone or
// nsXML. The default namespace applies to elements only (Namespaces in XML
// 1.0 §6.2).
func (c *Cursor) resolve(name span, local int32, element bool) (ns int32, ok bool) {
	var prefix []byte
	if local != name.start {
		prefix = c.raw[name.start : local-1]
		if string(prefix) == "xml" {
			return nsXML, true
		}
	} else if !element {
		return nsNone, true
	}
	hash := prefixHash(prefix)
	for i := len(c.binds) - 1; i >= 0; i-- {
		b := &c.binds[i]
		if b.hash != hash {
			continue
		}
		if b.given {
			if b.scope.prefix == string(prefix) {
				return boundTo(i, len(b.scope.uri)), true
			}
		} else if bytes.Equal(c.raw[b.prefix.start:b.prefix.end], prefix) {
			return boundTo(i, len(b.uri)), true
		}
	}
	if len(prefix) == 0 {
		return nsNone, true
	}
	return 0, c.fail(faultUnbound, int(name.start))
}

// boundTo is binding i, unless it undeclares the default namespace.
func boundTo(i, length int) int32 {
	if length == 0 {
		return nsNone
	}
	return int32(i)
}

// prefixHash lets most of the declarations in force be passed over quickly.
// That of no prefix is 0.
func prefixHash[T []byte | string](prefix T) uint32 {
	var h uint32
	for i := range len(prefix) {
		h = h*31 + uint32(prefix[i])
	}
	return h
}

// resolveAttributes finds the attributes' namespaces and refuses duplicates
// (Namespaces in XML 1.0 §6.3).
func (c *Cursor) resolveAttributes() bool {
	for i := range c.attrs {
		a := &c.attrs[i]
		ns, ok := c.resolve(a.name, a.local, false)
		if !ok {
			return false
		}
		a.ns = ns
		local := c.raw[a.local:a.name.end]
		for j := range i {
			o := &c.attrs[j]
			if o.name.end-o.local == a.name.end-a.local && bytes.Equal(c.raw[o.local:o.name.end], local) && c.sameSpace(o.ns, ns) {
				return c.fail(faultDuplicate, int(a.name.start))
			}
		}
	}
	return true
}

// sameSpace tells whether two resolved namespaces have the same name.
func (c *Cursor) sameSpace(a, b int32) bool {
	if a == b {
		return true
	}
	if a < 0 || b < 0 {
		return false // nothing can be bound to what they stand for
	}
	x, y := &c.binds[a], &c.binds[b]
	switch {
	case x.given && y.given:
		return x.scope.uri == y.scope.uri
	case x.given:
		return x.scope.uri == string(y.uri)
	case y.given:
		return y.scope.uri == string(x.uri)
	}
	return bytes.Equal(x.uri, y.uri)
}
