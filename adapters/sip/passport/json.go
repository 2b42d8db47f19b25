package passport

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// The bounds of the JSON of a token: octets, members or elements of one value, and depth. RFC 8225 needs far less.
const (
	maxJSON    = 6 << 10
	maxMembers = 64
	maxDepth   = 6
)

// kind is the kind of a JSON value.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

// value is one JSON value (RFC 8259), with its members in their order.
type value struct {
	kind    kind
	text    string // of a string, decoded; of a number, as written
	members []member
}

type member struct {
	name  string // "" in an array
	value value
}

// get is the member of an object.
func (v value) get(name string) (value, bool) {
	if v.kind == kindObject {
		for _, m := range v.members {
			if m.name == name {
				return m.value, true
			}
		}
	}
	return value{}, false
}

// jsonReader reads one value from its beginning. Two members of one name are refused (RFC 8225 §9), and so is everything that two
// readers could understand in two ways: invalid UTF-8, lone surrogates.
type jsonReader struct {
	text []byte
	at   int
	part string
}

// parseJSON reads text, which is one object. part says what it is, for the error, a *SyntaxError.
func parseJSON(part string, text []byte) (value, error) {
	r := &jsonReader{text: text, part: part}
	if len(text) > maxJSON {
		r.at = maxJSON
		return value{}, r.fault("at most 6144 octets")
	}
	v, err := r.value(0)
	switch {
	case err != nil:
		return value{}, err
	case r.space() < len(text):
		return value{}, r.fault("the end")
	case v.kind != kindObject:
		r.at = 0
		return value{}, r.fault("an object")
	}
	return v, nil
}

func (r *jsonReader) fault(expected string) error {
	return &SyntaxError{Offset: r.at, Rule: r.part, Section: "RFC 8225 §9", Expected: expected}
}

func (r *jsonReader) space() int {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\t' || r.text[r.at] == '\n' || r.text[r.at] == '\r') {
		r.at++
	}
	return r.at
}

func (r *jsonReader) eat(c byte) bool {
	if r.space() < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *jsonReader) value(depth int) (value, error) {
	if r.space() == len(r.text) {
		return value{}, r.fault("a value")
	}
	switch c := r.text[r.at]; {
	case c == '{' || c == '[':
		if depth == maxDepth {
			return value{}, r.fault("at most 6 values in one another")
		}
		r.at++
		if c == '{' {
			return r.list(kindObject, '}', depth)
		}
		return r.list(kindArray, ']', depth)
	case c == '"':
		s, err := r.quoted()
		return value{kind: kindString, text: s}, err
	case c == '-' || '0' <= c && c <= '9':
		return r.number()
	}
	for word, v := range map[string]value{"null": {}, "true": {kind: kindBool, text: "true"}, "false": {kind: kindBool, text: "false"}} {
		if len(r.text)-r.at >= len(word) && string(r.text[r.at:r.at+len(word)]) == word {
			r.at += len(word)
			return v, nil
		}
	}
	return value{}, r.fault("a value")
}

// list reads the rest of an object or an array.
func (r *jsonReader) list(k kind, end byte, depth int) (value, error) {
	v := value{kind: k}
	if r.eat(end) {
		return v, nil
	}
	for {
		var m member
		var err error
		if k == kindObject {
			if r.space() == len(r.text) || r.text[r.at] != '"' {
				return value{}, r.fault("the name of a member")
			}
			start := r.at
			if m.name, err = r.quoted(); err != nil {
				return value{}, err
			}
			if _, twice := v.get(m.name); twice {
				r.at = start
				return value{}, r.fault("a member that was not there before")
			}
			if !r.eat(':') {
				return value{}, r.fault("\":\"")
			}
		}
		if len(v.members) == maxMembers {
			return value{}, r.fault("at most 64 members")
		}
		if m.value, err = r.value(depth + 1); err != nil {
			return value{}, err
		}
		v.members = append(v.members, m)
		switch {
		case r.eat(','):
		case r.eat(end):
			return v, nil
		default:
			return value{}, r.fault("\",\" or the end of the value")
		}
	}
}

func (r *jsonReader) number() (value, error) {
	start := r.at
	digits := func() bool {
		from := r.at
		for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
			r.at++
		}
		return r.at > from
	}
	if r.text[r.at] == '-' {
		r.at++
	}
	lead := r.at
	if !digits() || r.text[lead] == '0' && r.at > lead+1 {
		return value{}, r.fault("a number")
	}
	if r.at < len(r.text) && r.text[r.at] == '.' {
		r.at++
		if !digits() {
			return value{}, r.fault("digits")
		}
	}
	if r.at < len(r.text) && r.text[r.at]|0x20 == 'e' {
		r.at++
		if r.at < len(r.text) && (r.text[r.at] == '+' || r.text[r.at] == '-') {
			r.at++
		}
		if !digits() {
			return value{}, r.fault("digits")
		}
	}
	return value{kind: kindNumber, text: string(r.text[start:r.at])}, nil
}

// quoted reads a string, at whose quote the reader is.
func (r *jsonReader) quoted() (string, error) {
	r.at++
	var b []byte
	for r.at < len(r.text) {
		c := r.text[r.at]
		switch {
		case c == '"':
			r.at++
			return string(b), nil
		case c < ' ':
			return "", r.fault("no control in a string")
		case c == '\\':
			out, err := r.escape()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, out)
		default:
			rn, n := utf8.DecodeRune(r.text[r.at:])
			if rn == utf8.RuneError && n == 1 {
				return "", r.fault("UTF-8")
			}
			b = append(b, r.text[r.at:r.at+n]...)
			r.at += n
		}
	}
	return "", r.fault("the quote that ends the string")
}

// escape reads what follows a backslash, that included.
func (r *jsonReader) escape() (rune, error) {
	if r.at+1 >= len(r.text) {
		return 0, r.fault("an escape")
	}
	c := r.text[r.at+1]
	if c != 'u' {
		plain := map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}
		out, ok := plain[c]
		if !ok {
			return 0, r.fault("an escape")
		}
		r.at += 2
		return out, nil
	}
	high, ok := r.hex(r.at + 2)
	if !ok {
		return 0, r.fault("four hexadecimal digits")
	}
	if !utf16.IsSurrogate(high) {
		r.at += 6
		return high, nil
	}
	if r.at+7 < len(r.text) && r.text[r.at+6] == '\\' && r.text[r.at+7] == 'u' {
		if low, ok := r.hex(r.at + 8); ok {
			if out := utf16.DecodeRune(high, low); out != utf8.RuneError {
				r.at += 12
				return out, nil
			}
		}
	}
	return 0, r.fault("a pair of surrogates")
}

func (r *jsonReader) hex(at int) (rune, bool) {
	if at+4 > len(r.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(r.text[at:at+4]), 16, 32)
	return rune(n), err == nil && r.text[at] != '+' && r.text[at] != '_'
}
