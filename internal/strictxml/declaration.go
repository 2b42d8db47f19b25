package strictxml

// declarationStart begins an XML declaration, and cdataStart a CDATA section.
const (
	declarationStart = "<?xml"
	cdataStart       = "<![CDATA["
)

// isDeclaration tells whether b begins with an XML declaration and not with a
// processing instruction such as <?xml-stylesheet?>.
func isDeclaration(b []byte) bool {
	n := len(declarationStart)
	return len(b) > n && string(b[:n]) == declarationStart && (isSpace(b[n]) || b[n] == '?')
}

// otherEncoding tells whether b begins like a document in UTF-16 or UTF-32,
// with a byte order mark or with '<' (XML 1.0 appendix F.1).
func otherEncoding(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	switch [2]byte{b[0], b[1]} {
	case [2]byte{0xFE, 0xFF}, [2]byte{0xFF, 0xFE}, [2]byte{'<', 0}, [2]byte{0, '<'}, [2]byte{0, 0}:
		return true
	}
	return false
}

// scanDeclaration checks the XML declaration at the start of b (XML 1.0 §2.8)
// and returns the position after it, or that of the fault. In a stream there
// must be no standalone declaration (RFC 6120 §11.5).
func scanDeclaration(b []byte, inStream bool) (next int, f fault, ok bool) {
	i := len(declarationStart)
	i, value, ok := scanPseudoAttribute(b, i, "version")
	if !ok {
		return i, faultDeclaration, false
	}
	if string(value) != "1.0" {
		return i - 1 - len(value), faultVersion, false
	}
	if next, value, ok := scanPseudoAttribute(b, i, "encoding"); ok {
		if !isUTF8Name(value) {
			return next - 1 - len(value), faultEncoding, false
		}
		i = next
	}
	if next, value, ok := scanPseudoAttribute(b, i, "standalone"); ok {
		if inStream {
			return skipSpace(b, i), faultStandalone, false
		}
		if s := string(value); s != "yes" && s != "no" {
			return next - 1 - len(value), faultDeclaration, false
		}
		i = next
	}
	i = skipSpace(b, i)
	if i+2 > len(b) || b[i] != '?' || b[i+1] != '>' {
		return i, faultDeclaration, false
	}
	return i + 2, 0, true
}

// scanPseudoAttribute reads white space, the given name, '=' and a value in
// quotes; ok is false, and next where it ceases to match, if that is not what
// stands at b[i].
func scanPseudoAttribute(b []byte, i int, name string) (next int, value []byte, ok bool) {
	start := i
	i = skipSpace(b, i)
	if i == start || len(b)-i < len(name) || string(b[i:i+len(name)]) != name {
		return i, nil, false
	}
	i = skipSpace(b, i+len(name))
	if i == len(b) || b[i] != '=' {
		return i, nil, false
	}
	i = skipSpace(b, i+1)
	if i == len(b) || b[i] != '"' && b[i] != '\'' {
		return i, nil, false
	}
	quote := b[i]
	i++
	start = i
	for i < len(b) && b[i] != quote {
		if b[i] == '<' || b[i] == '>' {
			return i, nil, false
		}
		i++
	}
	if i == len(b) {
		return i, nil, false
	}
	return i + 1, b[start:i], true
}

// isUTF8Name tells whether an encoding declaration names UTF-8; encoding
// names are compared without regard to case (XML 1.0 §4.3.3).
func isUTF8Name(value []byte) bool {
	const name = "utf-8"
	if len(value) != len(name) {
		return false
	}
	for i, c := range value {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}
