package pidf

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Extension is an element that this package does not know: its name and its octets. The octets stand alone: they declare every
// namespace that they use, so they can be pasted into any document. Extensions are compared octet by octet (==).
type Extension struct {
	name Name
	raw  string
}

// ParseExtension takes one whole element that declares the namespaces it uses.
func ParseExtension(raw []byte) (Extension, error) {
	e, err := strictxml.ParseElement(raw, nil, strictxml.Limits{})
	if err != nil {
		return Extension{}, xmlFault(err, 0)
	}
	return extensionOf(e), nil
}

// MustParseExtension is ParseExtension for constants and tests; it panics on a fault.
func MustParseExtension(raw string) Extension {
	x, err := ParseExtension([]byte(raw))
	if err != nil {
		panic(err)
	}
	return x
}

// Name gives the expanded name of the element.
func (x Extension) Name() Name { return x.name }

// Octets gives the element, with the namespace declarations it needs.
func (x Extension) Octets() string { return x.raw }

// Text gives the character data directly in the element.
func (x Extension) Text() string {
	e := x.element()
	if e == nil {
		return ""
	}
	return e.Text()
}

// MayProcess says whether a processor that recognizes this element's name may use it: not if an element within it is marked
// mustUnderstand, is not within another that is ignored, and has a name for which recognized is false. "<myex:ex1> must be
// understood and, if it is not recognized, <myex:complexExtension> MUST be ignored" (RFC 3863 §4.3.3). recognized is also
// asked about the element itself; nil recognizes nothing.
func (x Extension) MayProcess(recognized func(Name) bool) bool {
	e := x.element()
	if e == nil || recognized == nil || !recognized(x.name) {
		return false
	}
	return understood(e, recognized)
}

// understood walks the recognized elements below e: "a mustUnderstand='true' or mustUnderstand='1' attribute within an element
// that is being ignored is itself ignored" (RFC 3863 §4.2.3).
func understood(e *strictxml.Element, recognized func(Name) bool) bool {
	for c := range e.Children() {
		if !recognized(nameOf(c.Name)) {
			if marked, _ := mustUnderstand(c); marked {
				return false
			}
			continue
		}
		if !understood(c, recognized) {
			return false
		}
	}
	return true
}

// mustUnderstand reads the attribute, an xs:boolean in the namespace of PIDF (RFC 3863 §4.4); ok is false if it has another value.
func mustUnderstand(e *strictxml.Element) (marked, ok bool) {
	v, has := e.Attr(NamespacePIDF, "mustUnderstand")
	if !has {
		return false, true
	}
	return parseBoolean(v)
}

// anyMustUnderstand says whether the element or one below it has the attribute.
func anyMustUnderstand(e *strictxml.Element) bool {
	if _, has := e.Attr(NamespacePIDF, "mustUnderstand"); has {
		return true
	}
	for c := range e.Children() {
		if anyMustUnderstand(c) {
			return true
		}
	}
	return false
}

func (x Extension) hasMustUnderstand() bool {
	if !strings.Contains(x.raw, "mustUnderstand") {
		return false
	}
	e := x.element()
	return e == nil || anyMustUnderstand(e)
}

func (x Extension) element() *strictxml.Element {
	e, err := strictxml.ParseElement([]byte(x.raw), nil, strictxml.Limits{})
	if err != nil {
		return nil
	}
	return e
}

func (x Extension) append(w *strictxml.Writer) { w.Raw([]byte(x.raw)) }

// checkExtensions refuses what cannot stand where the schemas have <xs:any namespace="##other">: an element of the parent's own
// namespace or of none, and the zero Extension.
func checkExtensions(xs []Extension, parent string) error {
	for _, x := range xs {
		if x.name.Local == "" || x.name.Space == "" || x.name.Space == parent {
			return unprintable("extension-namespace", "RFC 3863 §4.4", "an extension element of another namespace")
		}
	}
	return nil
}

// checkComponentExtensions is checkExtensions for the children of a document, tuple, status, person or device: elements that have
// a field of their own there are refused too, since they would be read into that field.
func checkComponentExtensions(xs []Extension, parent string) error {
	for _, x := range xs {
		if typed(x.name) {
			return unprintable("extension-typed", "RFC 4480 §3.1", "this element in its own field")
		}
	}
	return checkExtensions(xs, parent)
}

// checkOutsideStatus is checkComponentExtensions where mustUnderstand is not allowed.
func checkOutsideStatus(xs []Extension, parent string) error {
	for _, x := range xs {
		if x.hasMustUnderstand() {
			return unprintable("must-understand-place", "RFC 3863 §4.2.3", "mustUnderstand only within a status")
		}
	}
	return checkComponentExtensions(xs, parent)
}

// parseBoolean reads an xs:boolean.
func parseBoolean(s string) (value, ok bool) {
	switch collapse(s) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// extensionOf keeps an element's octets and adds to its start tag the declarations that it inherited and needs. A declaration is
// needed if an element without a prefix would otherwise change its namespace, or if a prefix bound outside occurs in the element,
// in a name or in a value. Nothing else is added, so that octets which stand alone already are kept as they are.
func extensionOf(e *strictxml.Element) Extension {
	x := Extension{name: nameOf(e.Name)}
	tag := startTag(e.Raw)
	own := declarations(e.Raw)
	var add []byte
	if needsDefault(e) {
		uri, _ := e.Scope().Lookup("")
		add = appendDeclaration(add, "", uri)
	}
	seen := ""
	for i := strings.IndexByte(e.Raw, ':'); i >= 0; {
		start := i
		for start > 0 && prefixByte(e.Raw[start-1]) {
			start--
		}
		prefix := e.Raw[start:i]
		if prefix != "" && prefix != seen && prefix != "xml" && prefix != "xmlns" && !declares(own, prefix) {
			if uri, ok := e.Scope().Lookup(prefix); ok {
				add = appendDeclaration(add, prefix, uri)
				own = append(own, declaration{prefix: prefix, uri: uri})
			}
		}
		seen = prefix
		next := strings.IndexByte(e.Raw[i+1:], ':')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	if add == nil {
		x.raw = e.Raw
		return x
	}
	at := len(tag) - 1
	if strings.HasSuffix(tag, "/>") {
		at--
	}
	x.raw = e.Raw[:at] + string(add) + e.Raw[at:]
	return x
}

// needsDefault says whether an element without a prefix, at e or below, takes its namespace from a default declaration outside e.
func needsDefault(e *strictxml.Element) bool {
	if declares(declarations(e.Raw), "") {
		return false
	}
	if e.Prefix() == "" {
		return true
	}
	for c := range e.Children() {
		if needsDefault(c) {
			return true
		}
	}
	return false
}

func prefixByte(c byte) bool {
	return isAlpha(c) || isDigit(c) || c == '-' || c == '_' || c == '.' || c >= 0x80
}

// declaration is one namespace declaration as it stands in a start tag; prefix "" is the default.
type declaration struct{ prefix, uri string }

func declares(ds []declaration, prefix string) bool {
	for i := range ds {
		if ds[i].prefix == prefix {
			return true
		}
	}
	return false
}

func appendDeclaration(b []byte, prefix, uri string) []byte {
	b = append(b, " xmlns"...)
	if prefix != "" {
		b = append(b, ':')
		b = append(b, prefix...)
	}
	b = append(b, '=', '"')
	b = strictxml.AppendAttrValue(b, uri)
	return append(b, '"')
}

// startTag gives the start tag of an element whose octets the XML reader has accepted.
func startTag(raw string) string {
	quote := byte(0)
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return raw[:i+1]
		}
	}
	return raw
}

// declarations gives the namespace declarations in the start tag of an element that the XML reader has accepted, in order.
func declarations(raw string) []declaration {
	if !strings.Contains(startTag(raw), "xmlns") {
		return nil
	}
	var ds []declaration
	eachAttribute(raw, func(name, value string) {
		if name == "xmlns" {
			ds = append(ds, declaration{"", value})
		} else if prefix, ok := strings.CutPrefix(name, "xmlns:"); ok {
			ds = append(ds, declaration{prefix, value})
		}
	})
	return ds
}

// eachAttribute calls yield with the qualified name and the literal value, its references resolved where they are the predefined
// or numeric ones, of each attribute and declaration in the start tag of an accepted element.
func eachAttribute(raw string, yield func(name, value string)) {
	s := startTag(raw)
	s = strings.TrimSuffix(strings.TrimSuffix(s, ">"), "/")
	i := strings.IndexAny(s, " \t\r\n")
	for i >= 0 && i < len(s) {
		s = strings.TrimLeft(s[i:], " \t\r\n")
		eq := strings.IndexByte(s, '=')
		if eq < 0 {
			return
		}
		name := strings.TrimRight(s[:eq], " \t\r\n")
		s = strings.TrimLeft(s[eq+1:], " \t\r\n")
		if s == "" {
			return
		}
		end := strings.IndexByte(s[1:], s[0])
		if end < 0 {
			return
		}
		yield(name, resolveReferences(s[1:1+end]))
		i = end + 2
	}
}

// resolveReferences resolves the references that the XML reader accepts in an attribute value, and turns its white space into
// spaces (XML 1.0 §3.3.3).
func resolveReferences(s string) string {
	if !strings.ContainsAny(s, "&\t\r\n") {
		return s
	}
	var b strings.Builder
	s = strings.ReplaceAll(s, "\r\n", "\n")
	for s != "" {
		if s[0] != '&' {
			if s[0] == '\t' || s[0] == '\r' || s[0] == '\n' {
				b.WriteByte(' ')
			} else {
				b.WriteByte(s[0])
			}
			s = s[1:]
			continue
		}
		end := strings.IndexByte(s, ';')
		if end < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(reference(s[1:end]))
		s = s[end+1:]
	}
	return b.String()
}

func reference(name string) string {
	switch name {
	case "amp":
		return "&"
	case "lt":
		return "<"
	case "gt":
		return ">"
	case "quot":
		return `"`
	case "apos":
		return "'"
	}
	digits, base := strings.TrimPrefix(name, "#"), rune(10)
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	var v rune
	for i := 0; i < len(digits) && v <= 0x10FFFF; i++ {
		d := rune(digits[i] | 0x20)
		if d >= 'a' {
			d = d - 'a' + 10
		} else {
			d = rune(digits[i]) - '0'
		}
		v = v*base + d
	}
	return string(v)
}

// mustUnderstandValues says whether every mustUnderstand in the element has a boolean value.
func (x Extension) mustUnderstandValues() bool {
	e := x.element()
	return e != nil && mustUnderstandValues(e)
}
