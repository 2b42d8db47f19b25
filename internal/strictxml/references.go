package strictxml

import "unicode/utf8"

// scanReference checks the reference that begins at the '&' at b[i] and
// returns the character it stands for and the position after its ';'. A
// fault's position is next.
func scanReference(b []byte, i int) (r rune, next int, f fault, ok bool) {
	i++
	if i < len(b) && b[i] == '#' {
		return scanCharReference(b, i+1)
	}
	end := scanNCName(b, i)
	switch {
	case end == len(b):
		return 0, end, faultEnd, false
	case end == i:
		return 0, end, faultReference, false
	}
	if b[end] == ':' {
		// A Name may contain colons; no such entity is predefined.
		return 0, i, faultEntity, false
	}
	if b[end] != ';' {
		return 0, end, faultReference, false
	}
	switch string(b[i:end]) {
	case "amp":
		r = '&'
	case "lt":
		r = '<'
	case "gt":
		r = '>'
	case "quot":
		r = '"'
	case "apos":
		r = '\''
	default:
		return 0, i, faultEntity, false
	}
	return r, end + 1, 0, true
}

// scanCharReference is scanReference from the octet after "&#".
func scanCharReference(b []byte, i int) (r rune, next int, f fault, ok bool) {
	base := rune(10)
	if i < len(b) && b[i] == 'x' {
		base = 16
		i++
	}
	first := i
	for ; i < len(b); i++ {
		var digit rune
		switch c := b[i]; {
		case c >= '0' && c <= '9':
			digit = rune(c - '0')
		case base == 16 && c >= 'a' && c <= 'f':
			digit = rune(c-'a') + 10
		case base == 16 && c >= 'A' && c <= 'F':
			digit = rune(c-'A') + 10
		case c == ';' && i > first:
			if !isChar(r) {
				return 0, first, faultCharReference, false
			}
			return r, i + 1, 0, true
		default:
			return 0, i, faultReference, false
		}
		if r <= utf8.MaxRune { // further digits cannot make it valid again
			r = r*base + digit
		}
	}
	return 0, i, faultEnd, false
}

// appendDecoded appends character data or an attribute value that has passed
// the tokenizer: references and CDATA sections resolved, line ends normalised
// to LF (XML 1.0 §2.11). In an attribute value white space that stands there
// literally becomes a space (XML 1.0 §3.3.3).
func appendDecoded(dst, b []byte, value bool) []byte {
	stop := clsText
	if value {
		stop = clsValue
	}
	for i := 0; i < len(b); {
		run := i
		for i < len(b) && classes[b[i]]&stop == 0 {
			i++
		}
		dst = append(dst, b[run:i]...)
		if i == len(b) {
			break
		}
		switch c := b[i]; {
		case c == '&':
			r, next, _, _ := scanReference(b, i)
			dst = utf8.AppendRune(dst, r)
			i = next
		case c == '<': // in character data only: a CDATA section
			end := cdataEnd(b, i)
			dst = appendLines(dst, b[i+len(cdataStart):end-len("]]>")])
			i = end
		case c == '\r':
			i++
			if i < len(b) && b[i] == '\n' {
				i++
			}
			if value {
				dst = append(dst, ' ')
			} else {
				dst = append(dst, '\n')
			}
		case value && isSpace(c):
			dst = append(dst, ' ')
			i++
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

// appendLines appends the content of a CDATA section with its line ends
// normalised to LF.
func appendLines(dst, b []byte) []byte {
	for i, c := range b {
		switch {
		case c != '\r':
			dst = append(dst, c)
		case i+1 == len(b) || b[i+1] != '\n':
			dst = append(dst, '\n')
		}
	}
	return dst
}
