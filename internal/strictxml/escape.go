package strictxml

import (
	"unicode/utf8"
	"unsafe"
)

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

// AppendTextOctets is AppendText for octets, which are not kept.
func AppendTextOctets(dst, octets []byte) []byte {
	return appendEscaped(dst, unsafe.String(unsafe.SliceData(octets), len(octets)), escText)
}

// plain is how long the beginning of s is, in steps of eight octets, that has nothing but ASCII characters which no level escapes: nearly all of what
// is written, looked at eight at a time.
func plain(s string) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		// An octet of these is zero where there is one of: & or ', ", < or >. To take one from an octet borrows only from zero, so the first
		// such octet is found; what it does to those behind it does not matter then.
		amp, quote, angle := (w|ones)^('\''*ones), w^('"'*ones), (w|2*ones)^('>'*ones)
		if (w|(w-' '*ones)|(amp-ones)&^amp|(quote-ones)&^quote|(angle-ones)&^angle)&highs != 0 {
			break
		}
	}
	return i
}

// Plain reports whether nothing in s is escaped in character data or in an attribute value. It may report false for some strings of which that is true.
func Plain(s string) bool {
	i := plain(s)
	for ; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf || asciiEscapes[s[i]] != escNone {
			return false
		}
	}
	return true
}

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
	for i := plain(s); i < len(s); {
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
