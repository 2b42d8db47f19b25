package pidf

import (
	"strings"
	"unicode/utf8"
)

// ID is an occurrence identifier: the 'id' of a tuple, person, device or RPID element, an xs:ID and so an NCName of Namespaces
// in XML. All IDs of one document are different (RFC 3863 §4.1.2, RFC 4479 §3.5). The zero value is no ID.
type ID struct{ s string }

// MaxID is the largest ID that ParseID takes, in octets. It is room for any XMPP resource (1023 octets) in the form of TupleID.
const MaxID = 8192

// ParseID takes an NCName.
func ParseID(s string) (ID, error) {
	if !validNCName(s) || len(s) > MaxID {
		return ID{}, &SyntaxError{Offset: 0, Rule: "id-value", Section: "RFC 3863 §4.4", Expected: "an xs:ID: a letter or underscore, then letters, digits, hyphens, underscores and full stops"}
	}
	return ID{s}, nil
}

// MustParseID is ParseID for constants and tests; it panics on a fault.
func MustParseID(s string) ID {
	id, err := ParseID(s)
	if err != nil {
		panic(err)
	}
	return id
}

// String gives the identifier, "" for the zero value.
func (id ID) String() string { return id.s }

// IsZero says that there is no identifier.
func (id ID) IsZero() bool { return id.s == "" }

// validNCName says whether s is an NCName: the Name production of XML 1.0 (fifth edition) without the colon.
func validNCName(s string) bool {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if !isAlpha(c) && c != '_' && (i == 0 || !isDigit(c) && c != '-' && c != '.') {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n <= 1 {
			return false
		}
		if !nameStart(r) && (i == 0 || !nameExtra(r)) {
			return false
		}
		i += n
	}
	return s != ""
}

// nameStart is NameStartChar of XML 1.0 for characters outside ASCII.
func nameStart(r rune) bool {
	return r >= 0xC0 && r <= 0x2FF && r != 0xD7 && r != 0xF7 || r >= 0x370 && r <= 0x1FFF && r != 0x37E ||
		r == 0x200C || r == 0x200D || r >= 0x2070 && r <= 0x218F || r >= 0x2C00 && r <= 0x2FEF ||
		r >= 0x3001 && r <= 0xD7FF || r >= 0xF900 && r <= 0xFDCF || r >= 0xFDF0 && r <= 0xFFFD || r >= 0x10000 && r <= 0xEFFFF
}

// nameExtra is what NameChar adds to NameStartChar outside ASCII.
func nameExtra(r rune) bool {
	return r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040
}

// tupleIDPrefix is the prefix that RFC 8048 §6.2 recommends: "it is RECOMMENDED to prepend the resourcepart with "ID-" or some
// other alphabetic string".
const tupleIDPrefix = "ID-"

// TupleID gives the tuple id of an XMPP resource (RFC 8048 §6.2 note 2), in any document and at any time the same, different for
// different resources, and always an xs:ID, also in the older editions of XML whose name characters are fewer: ASCII letters,
// digits, full stop and hyphen stand for themselves; every other character is its code point in lower-case hexadecimal between
// underscores ("_20_" for a space, "_5f_" for the underscore), and an octet that is not UTF-8 is "_z" with two digits and "_".
// It is total: the empty resource (a bare JID) has "ID-". A resource of more than 1023 octets is more than RFC 7622 §3.4 allows;
// it is still mapped, and ParseID bounds the result.
func TupleID(resource string) ID {
	plain := true
	for i := 0; i < len(resource); i++ {
		if !plainInID(resource[i]) {
			plain = false
			break
		}
	}
	if plain {
		return ID{tupleIDPrefix + resource}
	}
	const hex = "0123456789abcdef"
	b := make([]byte, 0, len(tupleIDPrefix)+3*len(resource))
	b = append(b, tupleIDPrefix...)
	for i := 0; i < len(resource); {
		if c := resource[i]; plainInID(c) {
			b = append(b, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(resource[i:])
		b = append(b, '_')
		if r == utf8.RuneError && n <= 1 {
			b = append(b, 'z', hex[resource[i]>>4], hex[resource[i]&15])
		} else {
			shift := 28
			for shift > 0 && r>>shift == 0 {
				shift -= 4
			}
			for ; shift >= 0; shift -= 4 {
				b = append(b, hex[r>>shift&15])
			}
		}
		b = append(b, '_')
		i += n
	}
	return ID{string(b)}
}

// Resource gives the XMPP resource whose TupleID this is. ok is false for an ID that TupleID never gives, such as one that
// another implementation chose: such an ID "has no significance beyond providing a means to distinguish" (RFC 3863 §4.1.2).
func (id ID) Resource() (resource string, ok bool) {
	s, found := strings.CutPrefix(id.s, tupleIDPrefix)
	if !found {
		return "", false
	}
	if strings.IndexByte(s, '_') < 0 {
		if TupleID(s) != id {
			return "", false
		}
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '_' {
			b = append(b, s[i])
			continue
		}
		end := strings.IndexByte(s[i+1:], '_')
		if end < 1 || end > 6 {
			return "", false
		}
		token := s[i+1 : i+1+end]
		if token[0] == 'z' {
			v, valid := hexValue(token[1:])
			if !valid || v > 0xFF {
				return "", false
			}
			b = append(b, byte(v))
		} else {
			v, valid := hexValue(token)
			if !valid || !utf8.ValidRune(v) {
				return "", false
			}
			b = utf8.AppendRune(b, v)
		}
		i += end + 1
	}
	// Only the one spelling that TupleID uses is its ID: two spellings would be two tuples for one resource.
	if TupleID(string(b)) != id {
		return "", false
	}
	return string(b), true
}

func plainInID(c byte) bool { return isAlpha(c) || isDigit(c) || c == '-' || c == '.' }

func hexValue(s string) (rune, bool) {
	var v rune
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isDigit(c):
			v = v<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | rune(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, s != ""
}
