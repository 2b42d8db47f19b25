package strictxml

import "unicode/utf8"

// What escaping does with one ASCII character.
const (
	escNone  = iota
	escText  // a reference in character data and in attribute values
	escValue // a reference in attribute values only
	escBad   // cannot be in XML at all (XML 1.0 §2.2)
)

// asciiEscapes tells what to do with each ASCII character. CR is a reference
// in character data too, because a parser would read it as LF (XML 1.0 §2.11).
var asciiEscapes = func() (t [utf8.RuneSelf]uint8) {
	for b := range 0x20 {
		t[b] = escBad
	}
	t['&'], t['<'], t['>'], t['\r'] = escText, escText, escText, escText
	t['"'], t['\''], t['\t'], t['\n'] = escValue, escValue, escValue, escValue
	return t
}()

// AppendText appends s as character data: '&', '<', '>' and CR become
// references; invalid UTF-8, one octet at a time, and characters that XML 1.0
// cannot carry even as references (XML 1.0 §2.2) become U+FFFD.
func AppendText(dst []byte, s string) []byte { return appendEscaped(dst, s, escText) }

// AppendAttrValue appends s so that it can stand in an attribute value
// between quotes of either kind: as AppendText does, and both quotes, TAB and
// LF become references too, which keeps them from being normalised to spaces
// (XML 1.0 §3.3.3).
func AppendAttrValue(dst []byte, s string) []byte { return appendEscaped(dst, s, escValue) }

// appendEscaped copies s in runs, stopping at each character that needs
// something done at the given level.
func appendEscaped(dst []byte, s string, level uint8) []byte {
	run := 0
	for i := 0; i < len(s); {
		b := s[i]
		size, with := 1, ""
		if b < utf8.RuneSelf {
			switch e := asciiEscapes[b]; {
			case e == escNone || e == escValue && level == escText:
				i++
				continue
			case e == escBad:
				with = "\uFFFD"
			default:
				with = reference(b)
			}
		} else {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if !(r == utf8.RuneError && size == 1) && isChar(r) {
				i += size
				continue
			}
			with = "\uFFFD"
		}
		dst = append(dst, s[run:i]...)
		dst = append(dst, with...)
		i += size
		run = i
	}
	return append(dst, s[run:]...)
}

// reference returns the reference that stands for b.
func reference(b byte) string {
	switch b {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '"':
		return "&quot;"
	case '\'':
		return "&apos;"
	case '\t':
		return "&#9;"
	case '\n':
		return "&#10;"
	default:
		return "&#13;"
	}
}
