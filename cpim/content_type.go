package cpim

import (
	"strings"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// ContentType is the value of a Content-Type header (RFC 2045 §5.1). Values are
// comparable: == means the same media type and the same parameters in the same
// order, whatever their quoting and white space were. The zero ContentType is
// none.
type ContentType struct {
	media  string // lower case
	params string // as String prints them
}

// MaxContentTypeOctets bounds what ParseContentType looks at.
const MaxContentTypeOctets = 8192

// maxCommentDepth bounds nested comments in a content type value.
const maxCommentDepth = 8

// ParseContentType reads the value of a Content-Type header: type, subtype and
// parameters, with the white space, folds and comments that RFC 2045 and RFC
// 5322 §3.2.2 allow between them. A parameter named twice is refused, since
// readers differ in which they believe. A quoted value may hold UTF-8, as in SIP
// (RFC 3261 §25.1), but no control character besides TAB. The error is a
// *SyntaxError.
func ParseContentType(value string) (ContentType, error) {
	s := typeScanner[string]{in: value}
	start, slash, end, err := s.media()
	if err != nil {
		return ContentType{}, err
	}
	c := ContentType{media: strings.ToLower(value[start:slash] + "/" + value[s.subtype:end])}
	var params []byte
	var seen []string
	for {
		p, more, err := s.param()
		if err != nil {
			return ContentType{}, err
		}
		if !more {
			break
		}
		name := strings.ToLower(value[p.name:p.nameEnd])
		for _, n := range seen {
			if n == name {
				return ContentType{}, syntax.At(value, p.name, "content-type-parameter", "RFC 2045 §5.1", "each parameter once")
			}
		}
		seen = append(seen, name)
		v := value[p.value:p.valueEnd]
		if p.quoted {
			v = unquotePairs(v)
		}
		params = appendTypeParam(params, name, v)
	}
	c.params = string(params)
	return c, nil
}

// MustParseContentType is ParseContentType for values known to be right; it
// panics on an error. It is for tests and constants only.
func MustParseContentType(value string) ContentType {
	c, err := ParseContentType(value)
	if err != nil {
		panic(err)
	}
	return c
}

// checkContentType is ParseContentType without the value, and without
// allocating; it leaves the search for repeated parameters to a small list.
func checkContentType(v []byte) *syntax.Error {
	s := typeScanner[[]byte]{in: v}
	if _, _, _, err := s.media(); err != nil {
		return err
	}
	var seen [16]typeParam
	n := 0
	for {
		p, more, err := s.param()
		if err != nil || !more {
			return err
		}
		for _, q := range seen[:min(n, len(seen))] {
			if equalFold(v[q.name:q.nameEnd], v[p.name:p.nameEnd]) {
				return syntax.At(v, p.name, "content-type-parameter", "RFC 2045 §5.1", "each parameter once")
			}
		}
		if n == len(seen) {
			return syntax.At(v, p.name, "content-type-parameter", "RFC 2045 §5.1", "at most 16 parameters")
		}
		seen[n] = p
		n++
	}
}

func equalFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x != y && (!isAlpha(x) || x|0x20 != y|0x20) {
			return false
		}
	}
	return true
}

// typeScanner reads a content type value from left to right.
type typeScanner[T ~string | ~[]byte] struct {
	in      T
	i       int
	subtype int
}

type typeParam struct {
	name, nameEnd, value, valueEnd int
	quoted                         bool
}

const contentTypeSection = "RFC 2045 §5.1"

// typeToken reports whether c is a token character of RFC 2045 §5.1.
func typeToken(c byte) bool {
	switch c {
	case '(', ')', '<', '>', '@', ',', ';', ':', '\\', '"', '/', '[', ']', '?', '=':
		return false
	}
	return c > ' ' && c < 0x7f
}

func (s *typeScanner[T]) token(rule, expected string) (int, int, *syntax.Error) {
	start := s.i
	for s.i < len(s.in) && typeToken(s.in[s.i]) {
		s.i++
	}
	if s.i == start {
		return 0, 0, syntax.At(s.in, s.i, rule, contentTypeSection, expected)
	}
	return start, s.i, nil
}

// space skips white space, folds and comments.
func (s *typeScanner[T]) space() *syntax.Error {
	for s.i < len(s.in) {
		switch c := s.in[s.i]; {
		case c == ' ' || c == '\t':
			s.i++
		case c == '\r' && s.i+2 < len(s.in) && s.in[s.i+1] == '\n' && (s.in[s.i+2] == ' ' || s.in[s.i+2] == '\t'):
			s.i += 3
		case c == '(':
			start, depth := s.i, 0
			for {
				if s.i == len(s.in) {
					return syntax.At(s.in, start, "content-type-comment", "RFC 5322 §3.2.2", "')' at the end of the comment")
				}
				switch s.in[s.i] {
				case '\\':
					s.i++
					if s.i == len(s.in) {
						continue
					}
				case '(':
					if depth++; depth > maxCommentDepth {
						return syntax.At(s.in, s.i, "content-type-comment", "RFC 5322 §3.2.2", "comments nested no deeper than 8")
					}
				case ')':
					depth--
				}
				s.i++
				if depth == 0 {
					break
				}
			}
		default:
			return nil
		}
	}
	return nil
}

// media reads type "/" subtype.
func (s *typeScanner[T]) media() (start, slash, end int, err *syntax.Error) {
	if len(s.in) > MaxContentTypeOctets {
		return 0, 0, 0, syntax.At(s.in, MaxContentTypeOctets, "content-type-length", contentTypeSection, "at most 8192 octets")
	}
	if err = s.space(); err != nil {
		return
	}
	if start, slash, err = s.token("content-type-type", "a media type"); err != nil {
		return
	}
	if err = s.space(); err != nil {
		return
	}
	if s.i == len(s.in) || s.in[s.i] != '/' {
		return 0, 0, 0, syntax.At(s.in, s.i, "content-type-slash", contentTypeSection, "'/' and a subtype")
	}
	s.i++
	if err = s.space(); err != nil {
		return
	}
	s.subtype, end, err = s.token("content-type-subtype", "a subtype")
	return
}

// param reads the next parameter, if there is one.
func (s *typeScanner[T]) param() (p typeParam, more bool, err *syntax.Error) {
	if err = s.space(); err != nil || s.i == len(s.in) {
		return p, false, err
	}
	if s.in[s.i] != ';' {
		return p, false, syntax.At(s.in, s.i, "content-type-end", contentTypeSection, "';' and a parameter, or the end")
	}
	s.i++
	if err = s.space(); err != nil {
		return p, false, err
	}
	if p.name, p.nameEnd, err = s.token("content-type-parameter", "a parameter name"); err != nil {
		return p, false, err
	}
	if err = s.space(); err != nil {
		return p, false, err
	}
	if s.i == len(s.in) || s.in[s.i] != '=' {
		return p, false, syntax.At(s.in, s.i, "content-type-parameter", contentTypeSection, "'=' and a value")
	}
	s.i++
	if err = s.space(); err != nil {
		return p, false, err
	}
	if s.i == len(s.in) || s.in[s.i] != '"' {
		p.value, p.valueEnd, err = s.token("content-type-value", "a token or a quoted string")
		return p, err == nil, err
	}
	s.i++
	p.quoted, p.value = true, s.i
	for {
		if s.i >= len(s.in) {
			return p, false, syntax.At(s.in, len(s.in), "content-type-value", contentTypeSection, "'\"' at the end of the value")
		}
		c := s.in[s.i]
		if c == '"' {
			break
		}
		if c == '\\' && s.i+1 < len(s.in) {
			s.i++
			c = s.in[s.i]
		}
		if isCTL(c) && c != '\t' {
			return p, false, syntax.At(s.in, s.i, "control-character", contentTypeSection, "no control character")
		}
		s.i++
	}
	p.valueEnd = s.i
	s.i++
	if !utf8.ValidString(string(s.in[p.value:p.valueEnd])) {
		return p, false, syntax.At(s.in, p.value, "utf-8", "RFC 3629 §4", "UTF-8")
	}
	return p, true, nil
}

func unquotePairs(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// appendTypeParam appends "; name=value", quoted if it must be.
func appendTypeParam(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, "; "...), name...), '=')
	plain := value != ""
	for i := range len(value) {
		plain = plain && typeToken(value[i])
	}
	if plain {
		return append(dst, value...)
	}
	dst = append(dst, '"')
	for i := range len(value) {
		if c := value[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, value[i])
	}
	return append(dst, '"')
}

// Media returns "type/subtype" in lower case, "" for the zero ContentType.
func (c ContentType) Media() string { return c.media }

// Is reports whether the media type is the given one, compared without regard
// to case; parameters play no part.
func (c ContentType) Is(media string) bool { return strings.EqualFold(c.media, media) }

// Type returns the part before the slash.
func (c ContentType) Type() string {
	t, _, _ := strings.Cut(c.media, "/")
	return t
}

// Subtype returns the part after the slash.
func (c ContentType) Subtype() string {
	_, t, _ := strings.Cut(c.media, "/")
	return t
}

// Params returns the parameters in order, names in lower case, values without
// their quoting.
func (c ContentType) Params() []Param {
	var list []Param
	s := typeScanner[string]{in: c.params}
	for {
		p, more, err := s.param()
		if err != nil || !more {
			return list
		}
		v := c.params[p.value:p.valueEnd]
		if p.quoted {
			v = unquotePairs(v)
		}
		list = append(list, Param{Name: c.params[p.name:p.nameEnd], Value: v})
	}
}

// Param returns the value of a parameter, its name compared without regard to
// case, and whether it is there.
func (c ContentType) Param(name string) (string, bool) {
	for _, p := range c.Params() {
		if strings.EqualFold(p.Name, name) {
			return p.Value, true
		}
	}
	return "", false
}

// WithParam returns c with a parameter set or replaced. A name that is no token
// or a value with a control character or octets that are not UTF-8 gives an
// error and no ContentType.
func (c ContentType) WithParam(name, value string) (ContentType, error) {
	for i := range len(name) {
		if !typeToken(name[i]) {
			return ContentType{}, syntax.At(name, i, "content-type-parameter", contentTypeSection, "a parameter name")
		}
	}
	var params []byte
	done := false
	for _, p := range c.Params() {
		if strings.EqualFold(p.Name, name) {
			p.Value, done = value, true
		}
		params = appendTypeParam(params, p.Name, p.Value)
	}
	if !done {
		params = appendTypeParam(params, strings.ToLower(name), value)
	}
	return ParseContentType(c.media + string(params))
}

// Charset returns the charset in lower case; without that parameter "us-ascii"
// for a text type (RFC 2046 §4.1.2) and "" for others.
func (c ContentType) Charset() string {
	if v, ok := c.Param("charset"); ok {
		return strings.ToLower(v)
	}
	if c.Type() == "text" {
		return "us-ascii"
	}
	return ""
}

// IsUTF8 reports whether octets of this type are UTF-8 text as they are: its
// charset is UTF-8 or US-ASCII, or it has none.
func (c ContentType) IsUTF8() bool {
	switch c.Charset() {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	return false
}

// IsZero reports whether c is no content type.
func (c ContentType) IsZero() bool { return c.media == "" }

// String returns c as a header value: lower case, "; " before each parameter,
// a value quoted only if it must be.
func (c ContentType) String() string { return c.media + c.params }
