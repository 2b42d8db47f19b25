package cpim

import (
	"bytes"
	"math"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// Limits bounds what ParseMessage looks at. A zero field means its default; a
// negative one means none at all.
type Limits struct {
	// Octets of the whole object. Default 1 MiB, at most 1 GiB.
	Octets int
	// Headers is the number of message headers. Default 128.
	Headers int
	// ContentHeaders is the number of MIME headers of the content. Default 64.
	ContentHeaders int
}

// DefaultLimits returns the limits that zero fields stand for.
func DefaultLimits() Limits { return Limits{Octets: 1 << 20, Headers: 128, ContentHeaders: 64} }

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	pick := func(v, def int) int {
		switch {
		case v == 0:
			return def
		case v < 0:
			return 0
		}
		return v
	}
	l.Octets = min(pick(l.Octets, d.Octets), 1<<30)
	l.Headers = min(pick(l.Headers, d.Headers), math.MaxInt16)
	l.ContentHeaders = min(pick(l.ContentHeaders, d.ContentHeaders), math.MaxInt16)
	return l
}

// ParseMessage reads a Message/CPIM object: message headers, a blank line, and
// a MIME entity (RFC 3862 §2). The MIME headers of the object itself are not
// part of it; for a file that has them, see ParseEntity.
//
// The Message refers to b and copies nothing: b must not be changed while the
// Message is in use. The error is a *SyntaxError.
//
// Beside the grammar these are refused: a second From or DateTime header, since
// which of them is true is then for each reader to guess; parameters on headers
// whose own syntax has none; a prefix that no NS header has declared; content
// without a Content-Type, or with two. A header whose value is empty is
// accepted, though its line then ends with a space, because the grammar of
// RFC 3862 §3.6 gives no other form for it.
func ParseMessage(b []byte, lim Limits) (*Message, error) {
	m := &Message{raw: b}
	if err := m.parse(b, lim.orDefault(), nil); err != nil {
		return nil, err
	}
	return m, nil
}

// ParseMessageLenient is ParseMessage for objects from deployed software with
// known faults. What ParseMessage accepts it reads in the same way; else it
// forgives the faults in allowed (AllLeniencies for all) and returns which of
// them the object had. The octets are kept as they came; a relay that prints
// them prints the fault too.
func ParseMessageLenient(b []byte, lim Limits, allowed Leniency) (*Message, Leniency, error) {
	if m, err := ParseMessage(b, lim); err == nil {
		return m, 0, nil
	}
	m := &Message{raw: b}
	l := &leniencies{allowed: allowed}
	if err := m.parse(b, lim.orDefault(), l); err != nil {
		return nil, 0, err
	}
	return m, l.used, nil
}

// headerKind says which header of the core namespace a header is.
type headerKind uint8

const (
	kindOther headerKind = iota
	kindFrom
	kindTo
	kindCC
	kindDateTime
	kindSubject
	kindNS
	kindRequire
)

// headerSpan says where the parts of a message header lie in the object.
type headerSpan struct {
	start, colon, value, end int32 // the parameters lie between colon+1 and value-1
	dot                      int32 // the "." of a prefixed name, or -1
	ns                       int16 // index of the NS header that names the namespace, or one below
	kind                     headerKind
}

const (
	nsCore = -1 // urn:ietf:params:cpim-headers:
	nsIMDN = -2 // urn:ietf:params:imdn, undeclared (lenient only)
)

// CoreNamespace is the namespace of the headers that RFC 3862 §4 defines, and
// the default one. (Its §6 once prints it as "urn:ietf:params-cpim-headers:",
// a misprint.)
const CoreNamespace = "urn:ietf:params:cpim-headers:"

// imdnNamespace is that of RFC 5438 §6.1.
const imdnNamespace = "urn:ietf:params:imdn"

// parse fills m from b. The plan: line by line up to the blank line; each
// line's name, parameters and value by the grammar of §3.6; then its namespace
// by the NS headers before it; then, for the headers of §4, the grammar of the
// value. After the blank line the MIME entity.
func (m *Message) parse(b []byte, lim Limits, lenient *leniencies) *syntax.Error {
	if len(b) > lim.Octets {
		return &syntax.Error{Offset: lim.Octets, Rule: "message-octets", Section: "RFC 3862 §2", Expected: "no more octets than the limit"}
	}
	m.headers = m.headerBuf[:0]
	pos := 0
	if lenient != nil {
		pos = outerHeaders(b, lenient)
	}
	for {
		line, next, err := messageLine(b, pos)
		if err != nil {
			return err
		}
		if line == 0 {
			pos = next
			break
		}
		end := pos + line
		if len(m.headers) > 0 && lenient != nil && isContentHeader(b[pos:end]) && lenient.allow(JoinedContentHeaders) {
			break
		}
		if len(m.headers) >= lim.Headers {
			return syntax.At(b, pos, "header-count", "RFC 3862 §2.2", "no more headers than the limit")
		}
		h, err := headerLine(b, pos, end, lenient)
		if err != nil {
			return err
		}
		if err := m.resolve(&h, lenient); err != nil {
			return err
		}
		if err := m.checkValue(&h, lenient); err != nil {
			return err
		}
		m.headers = append(m.headers, h)
		pos = next
	}
	return m.content.parse(b, pos, lim, true)
}

// messageLine returns the length of the line at pos, without its CRLF, and
// where the next begins. It checks what §2.2 says of a line.
func messageLine(b []byte, pos int) (length, next int, err *syntax.Error) {
	rest := b[pos:]
	i, high := 0, false
	for i < len(rest) {
		c := rest[i]
		if class[c]&classValue == 0 {
			break
		}
		if c >= 0x80 {
			high = true
		}
		i++
	}
	if i == len(rest) {
		return 0, 0, syntax.At(b, pos+i, "headers-end", "RFC 3862 §2", "a blank line after the headers")
	}
	switch {
	case rest[i] == '\r' && i+1 < len(rest) && rest[i+1] == '\n':
	case rest[i] == '\r' || rest[i] == '\n':
		return 0, 0, syntax.At(b, pos+i, "line-end", "RFC 3862 §2.2", "CR LF at the end of each line")
	default:
		return 0, 0, syntax.At(b, pos+i, "control-character", "RFC 3862 §2.2", "no control character, except as an escape")
	}
	if high && !utf8.Valid(rest[:i]) {
		return 0, 0, syntax.At(b, pos+invalidUTF8(rest[:i]), "utf-8", "RFC 3862 §2.2", "UTF-8")
	}
	return i, pos + i + 2, nil
}

// invalidUTF8 returns where b stops being UTF-8.
func invalidUTF8(b []byte) int {
	i := 0
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	return i
}

// headerLine reads b[pos:end], one header without its CRLF.
func headerLine(b []byte, pos, end int, lenient *leniencies) (headerSpan, *syntax.Error) {
	const grammar = "RFC 3862 §3.6"
	h := headerSpan{start: int32(pos), end: int32(end), dot: -1, ns: nsCore}
	line := b[:end]
	if line[pos] == ' ' {
		return h, syntax.At(b, pos, "line-space", "RFC 3862 §2.2", "no white space at the beginning of a line")
	}
	i := pos
	for ; i < end; i++ {
		if class[line[i]]&className != 0 {
			continue
		}
		if line[i] != '.' {
			break
		}
		if h.dot >= 0 || i == pos {
			return h, syntax.At(b, i, "header-name", grammar, "at most one '.', after a prefix")
		}
		h.dot = int32(i)
	}
	if i == end || line[i] != ':' {
		return h, syntax.At(line, i, "header-name", grammar, "a header name and ':'")
	}
	if i == pos || int(h.dot) == i-1 {
		return h, syntax.At(b, i, "header-name", grammar, "a header name before ':'")
	}
	h.colon = int32(i)
	i++
	for i < end && line[i] == ';' {
		n, err := headerParameter(line, i+1)
		if err != nil {
			return h, err
		}
		i = n
	}
	if i == end || line[i] != ' ' {
		return h, syntax.At(line, i, "header-space", "RFC 3862 §2.2", "one space after the colon and the parameters")
	}
	i++
	h.value = int32(i)
	if i < end {
		if line[i] == ' ' {
			if !lenient.allow(ExtraSpace) {
				return h, syntax.At(b, i, "header-space", "RFC 3862 §2.2", "no second space after the colon")
			}
			for i < end && line[i] == ' ' {
				i++
			}
			h.value = int32(i)
		}
		if line[end-1] == ' ' && i < end {
			return h, syntax.At(b, end-1, "line-space", "RFC 3862 §2.2", "no white space at the end of a line")
		}
	}
	return h, nil
}

// headerParameter reads a parameter at line[i:] and returns where it ends.
func headerParameter(line []byte, i int) (int, *syntax.Error) {
	const grammar = "RFC 3862 §3.6"
	start := i
	for i < len(line) && class[line[i]]&className != 0 {
		i++
	}
	if i == start || i == len(line) || line[i] != '=' {
		return 0, syntax.At(line, i, "header-parameter", grammar, "a parameter name and '='")
	}
	name := line[start:i]
	i++
	value := i
	if i < len(line) && line[i] == '"' {
		if string(name) == "lang" {
			return 0, syntax.At(line, i, "language-tag", "RFC 3862 §3.3", "a language tag")
		}
		i++
		for {
			switch {
			case i >= len(line):
				return 0, syntax.At(line, len(line), "header-parameter", grammar, "'\"' at the end of the value")
			case line[i] == '"':
				return i + 1, nil
			case line[i] == '\\':
				n := escapeLength(line, i)
				if n == 0 {
					return 0, syntax.At(line, i, "header-parameter", grammar, "an escape of the grammar inside a string")
				}
				i += n
			default:
				i++
			}
		}
	}
	for i < len(line) && class[line[i]]&classToken != 0 {
		i++
	}
	if i == value {
		return 0, syntax.At(line, i, "header-parameter", grammar, "a parameter value")
	}
	if string(name) == "lang" {
		if off := checkLanguageTag(line[value:i]); off >= 0 {
			return 0, syntax.At(line, value+off, "language-tag", "RFC 3862 §3.3", "a language tag")
		}
	}
	return i, nil
}

// escapeLength returns the length of the escape of the grammar of §3.6 at
// s[i:], or 0.
func escapeLength(s []byte, i int) int {
	if i+1 >= len(s) {
		return 0
	}
	switch s[i+1] {
	case 'b', 't', 'n', 'r', '"', '\'', '\\':
		return 2
	case 'u':
		if i+6 > len(s) {
			return 0
		}
		for _, c := range s[i+2 : i+6] {
			if hexValue(c) < 0 {
				return 0
			}
		}
		return 6
	}
	return 0
}

// checkLanguageTag accepts the Language-Tag of section 2.1 of RFC 3066, into
// which the tags of RFC 5646 §2.1 still fit: subtags of 1 to 8 letters or digits joined by "-", the first
// of letters. It returns where the tag is wrong, or -1.
func checkLanguageTag[T ~string | ~[]byte](tag T) int {
	n, first := 0, true
	for i := range len(tag) {
		c := tag[i]
		switch {
		case c == '-':
			if n == 0 {
				return i
			}
			n, first = 0, false
		case isAlpha(c) || !first && isDigit(c):
			if n++; n > 8 {
				return i
			}
		default:
			return i
		}
	}
	if n == 0 {
		return len(tag)
	}
	return -1
}

// resolve finds the namespace of h, and which core header it is.
func (m *Message) resolve(h *headerSpan, lenient *leniencies) *syntax.Error {
	var prefix []byte
	local := m.raw[h.start:h.colon]
	if h.dot >= 0 {
		prefix = m.raw[h.start:h.dot]
		local = m.raw[h.dot+1 : h.colon]
	}
	ns, ok := m.lookupPrefix(prefix, lenient)
	if !ok {
		return syntax.At(m.raw, int(h.start), "name-prefix", "RFC 3862 §3.4", "an NS header for the prefix before its use")
	}
	h.ns = ns
	if ns != nsCore && !bytes.Equal(m.namespace(ns), coreNamespace) {
		return nil
	}
	switch string(local) {
	case "From":
		h.kind = kindFrom
	case "To":
		h.kind = kindTo
	case "cc":
		h.kind = kindCC
	case "DateTime":
		h.kind = kindDateTime
	case "Subject":
		h.kind = kindSubject
	case "NS":
		h.kind = kindNS
	case "Require":
		h.kind = kindRequire
	}
	return nil
}

// lookupPrefix finds the last NS header so far that declares prefix (empty for
// the default namespace).
func (m *Message) lookupPrefix(prefix []byte, lenient *leniencies) (ns int16, ok bool) {
	if m.declared {
		for i := len(m.headers) - 1; i >= 0; i-- {
			h := &m.headers[i]
			if h.kind != kindNS {
				continue
			}
			if p, _ := splitNS(m.raw[h.value:h.end]); bytes.Equal(p, prefix) {
				return int16(i), true
			}
		}
	}
	if len(prefix) == 0 {
		return nsCore, true
	}
	if string(prefix) == "imdn" && lenient.allow(UndeclaredIMDN) {
		return nsIMDN, true
	}
	return 0, false
}

// coreNamespace and imdnNamespaceOctets are constants in octets, never written
// to.
var (
	coreNamespace       = []byte(CoreNamespace)
	imdnNamespaceOctets = []byte(imdnNamespace)
)

// namespace returns the URI that ns stands for.
func (m *Message) namespace(ns int16) []byte {
	switch ns {
	case nsCore:
		return coreNamespace
	case nsIMDN:
		return imdnNamespaceOctets
	}
	h := &m.headers[ns]
	_, uri := splitNS(m.raw[h.value:h.end])
	return uri
}

// splitNS splits the value of an NS header that is known to be right.
func splitNS(v []byte) (prefix, uri []byte) {
	i := bytes.IndexByte(v, '<')
	if i < 0 || v[len(v)-1] != '>' {
		return nil, nil
	}
	prefix = v[:i]
	if i > 0 && v[i-1] == ' ' {
		prefix = v[:i-1]
	}
	return prefix, v[i+1 : len(v)-1]
}

// checkValue checks the value, and the parameters, of a core header.
func (m *Message) checkValue(h *headerSpan, lenient *leniencies) *syntax.Error {
	if h.kind == kindOther {
		return nil
	}
	v := m.raw[h.value:h.end]
	params := m.raw[h.colon+1 : h.value]
	if params = bytes.TrimRight(params, " "); len(params) > 0 {
		if h.kind != kindSubject {
			return syntax.At(m.raw, int(h.colon)+1, "header-parameter", "RFC 3862 §4", "no parameter on this header")
		}
		if !bytes.HasPrefix(params, []byte(";lang=")) || bytes.IndexByte(params[1:], ';') >= 0 {
			return syntax.At(m.raw, int(h.colon)+1, "header-parameter", "RFC 3862 §4.5", "no parameter but one lang")
		}
	}
	var err *syntax.Error
	switch h.kind {
	case kindFrom, kindTo, kindCC:
		if h.kind == kindFrom {
			if m.has(kindFrom) {
				return syntax.At(m.raw, int(h.start), "header-once", "RFC 3862 §4.1", "one From header")
			}
		}
		_, err = scanMailbox(v, lenient)
	case kindDateTime:
		if m.has(kindDateTime) {
			return syntax.At(m.raw, int(h.start), "header-once", "RFC 3862 §4.4", "one DateTime header")
		}
		err, _ = datetime.Check(v, datetime.CPIM).(*syntax.Error)
	case kindNS:
		if err = checkNS(v); err == nil {
			m.declared = true
		}
	case kindRequire:
		err = m.checkRequire(v, lenient)
	}
	return err.Shift(int(h.value))
}

func (m *Message) has(k headerKind) bool {
	for i := range m.headers {
		if m.headers[i].kind == k {
			return true
		}
	}
	return false
}

// checkNS accepts [ Name-prefix [SP] ] "<" URI ">". The grammar of §4.6 has no
// space there; every example of RFC 3862 and RFC 5438 has one. Both are in use.
func checkNS(v []byte) *syntax.Error {
	const section = "RFC 3862 §4.6"
	i := 0
	for i < len(v) && class[v[i]]&className != 0 {
		i++
	}
	if i > 0 && i < len(v) && v[i] == ' ' {
		i++
	}
	if i == len(v) || v[i] != '<' {
		return syntax.At(v, i, "ns", section, "a prefix and '<'")
	}
	start := i + 1
	end := bytes.IndexByte(v[start:], '>')
	if end < 0 {
		return syntax.At(v, len(v), "ns", section, "'>' after the URI")
	}
	end += start
	if err := checkAbsoluteURI(v[start:end]); err != nil {
		return err.Shift(start)
	}
	if end+1 != len(v) {
		return syntax.At(v, end+1, "ns", section, "nothing after '>'")
	}
	return nil
}

// checkRequire accepts Header-name *( "," Header-name ), each prefix declared.
func (m *Message) checkRequire(v []byte, lenient *leniencies) *syntax.Error {
	const section = "RFC 3862 §4.7"
	start, dot := 0, -1
	for i := 0; i <= len(v); i++ {
		if i < len(v) && v[i] != ',' {
			if v[i] == '.' {
				if dot >= 0 || i == start {
					return syntax.At(v, i, "require", section, "at most one '.', after a prefix")
				}
				dot = i
			} else if class[v[i]]&className == 0 {
				return syntax.At(v, i, "require", section, "header names separated by ','")
			}
			continue
		}
		if i == start || dot == i-1 {
			return syntax.At(v, i, "require", section, "a header name")
		}
		if dot >= 0 {
			if _, ok := m.lookupPrefix(v[start:dot], lenient); !ok {
				return syntax.At(v, start, "name-prefix", "RFC 3862 §3.4", "an NS header for the prefix before its use")
			}
		}
		start, dot = i+1, -1
	}
	return nil
}
