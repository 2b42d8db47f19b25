package cpim

import (
	"bytes"
	"iter"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// Entity is a MIME entity: content headers and a body (RFC 2045 §2.4). Its
// slices are parts of the octets it was read from and must not be changed.
type Entity struct {
	raw     []byte
	headers []contentSpan
	body    int
	hasBody bool

	headerBuf [4]contentSpan
}

// contentSpan says where a content header lies.
type contentSpan struct{ start, colon, value, end int32 }

// ContentHeader is one MIME header as it came.
type ContentHeader struct {
	// Name is the name as written; names are compared without regard to case.
	Name []byte
	// Value is what follows the colon and the white space after it, up to the
	// end of the header. A folded value still has its line breaks.
	Value []byte
}

// Text returns the value with its folds removed (RFC 5322 §2.2.3): no line
// break is left.
func (h ContentHeader) Text() string {
	if bytes.IndexByte(h.Value, '\r') < 0 {
		return string(h.Value)
	}
	return string(bytes.ReplaceAll(h.Value, []byte("\r\n"), nil))
}

// ParseEntity reads a MIME entity: headers, a blank line, and the body to the
// end of b. It takes any headers, also none at all if b begins with a blank
// line. Use it for a Message/CPIM file that still has the MIME headers of the
// object: the body is then what ParseMessage reads. The error is a
// *SyntaxError.
func ParseEntity(b []byte, lim Limits) (*Entity, error) {
	lim = lim.orDefault()
	if len(b) > lim.Octets {
		return nil, &syntax.Error{Offset: lim.Octets, Rule: "message-octets", Section: "RFC 2045 §2.4", Expected: "no more octets than the limit"}
	}
	e := new(Entity)
	if err := e.parse(b, 0, lim, false); err != nil {
		return nil, err
	}
	return e, nil
}

// parse reads the entity b[pos:]. Header lines end with CR LF and may be folded
// (RFC 5322 §2.2.3); names and values have no control characters but TAB.
func (e *Entity) parse(b []byte, pos int, lim Limits, needType bool) *syntax.Error {
	const section = "RFC 2045 §3"
	e.raw = b[pos:]
	e.headers = e.headerBuf[:0]
	base := pos
	types, encodings := 0, 0
	for {
		if pos == len(b) {
			// "entity-headers [CRLF body]": the blank line may be missing if
			// there is no body.
			e.body = pos - base
			break
		}
		if b[pos] == '\r' && pos+1 < len(b) && b[pos+1] == '\n' {
			e.body = pos + 2 - base
			e.hasBody = true
			break
		}
		if len(e.headers) >= lim.ContentHeaders {
			return syntax.At(b, pos, "content-header-count", section, "no more content headers than the limit")
		}
		h, next, err := contentHeader(b, pos)
		if err != nil {
			return err
		}
		name := b[h.start:h.colon]
		if len(name) == len("Content-Type") && bytes.EqualFold(name, []byte("Content-Type")) {
			if types++; types > 1 {
				return syntax.At(b, pos, "content-type-once", section, "one Content-Type")
			}
			if err := checkContentType(b[h.value:h.end]); err != nil {
				return err.Shift(int(h.value))
			}
		}
		// Of two, one reader takes the first and another the last, and what they read differs.
		if len(name) == len("Content-Transfer-Encoding") && bytes.EqualFold(name, []byte("Content-Transfer-Encoding")) {
			if encodings++; encodings > 1 {
				return syntax.At(b, pos, "transfer-encoding-once", section, "one Content-Transfer-Encoding")
			}
		}
		h.start -= int32(base)
		h.colon -= int32(base)
		h.value -= int32(base)
		h.end -= int32(base)
		e.headers = append(e.headers, h)
		pos = next
	}
	if needType && types == 0 {
		// "The MIME content headers MUST include at least a Content-Type
		// header."
		return syntax.At(b, base, "content-type", "RFC 3862 §2.4", "a Content-Type header")
	}
	return nil
}

// contentHeader reads one MIME header and returns where the next line begins.
func contentHeader(b []byte, pos int) (h contentSpan, next int, err *syntax.Error) {
	const section = "RFC 5322 §2.2"
	i := pos
	for i < len(b) && b[i] > ' ' && b[i] < 0x7f && b[i] != ':' {
		i++
	}
	if i == pos || i == len(b) || b[i] != ':' {
		return h, 0, syntax.At(b, i, "content-header-name", section, "a content header name and ':'")
	}
	h = contentSpan{start: int32(pos), colon: int32(i)}
	i++
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	h.value = int32(i)
	high := false
	for {
		for i < len(b) && (class[b[i]]&classValue != 0 || b[i] == '\t') {
			high = high || b[i] >= 0x80
			i++
		}
		if i == len(b) {
			return h, 0, syntax.At(b, i, "content-header-end", section, "CR LF at the end of the header")
		}
		if b[i] != '\r' || i+1 == len(b) || b[i+1] != '\n' {
			if b[i] == '\r' || b[i] == '\n' {
				return h, 0, syntax.At(b, i, "line-end", section, "CR LF at the end of each line")
			}
			return h, 0, syntax.At(b, i, "control-character", section, "no control character")
		}
		if i+2 < len(b) && (b[i+2] == ' ' || b[i+2] == '\t') {
			i += 2
			continue
		}
		break
	}
	h.end = int32(i)
	if high && !utf8.Valid(b[h.value:h.end]) {
		return h, 0, syntax.At(b, int(h.value)+invalidUTF8(b[h.value:h.end]), "utf-8", "RFC 3629 §4", "UTF-8")
	}
	return h, i + 2, nil
}

// Bytes returns the whole entity as it came, headers and body.
func (e *Entity) Bytes() []byte { return e.raw }

// Body returns the octets after the blank line, to the end.
func (e *Entity) Body() []byte { return e.raw[e.body:] }

// HasBody reports whether there was a blank line, so that the body may be
// empty but is there.
func (e *Entity) HasBody() bool { return e.hasBody }

// Headers ranges over the content headers in order.
func (e *Entity) Headers() iter.Seq[ContentHeader] {
	return func(yield func(ContentHeader) bool) {
		for _, h := range e.headers {
			if !yield(ContentHeader{Name: e.raw[h.start:h.colon], Value: e.raw[h.value:h.end]}) {
				return
			}
		}
	}
}

// Header returns the first header of a name, compared without regard to case,
// and whether there is one.
func (e *Entity) Header(name string) (ContentHeader, bool) {
	for _, h := range e.headers {
		if n := e.raw[h.start:h.colon]; len(n) == len(name) && bytes.EqualFold(n, []byte(name)) {
			return ContentHeader{Name: n, Value: e.raw[h.value:h.end]}, true
		}
	}
	return ContentHeader{}, false
}

// ContentType returns the media type; without a Content-Type header the default
// of RFC 2045 §5.2, text/plain in US-ASCII.
func (e *Entity) ContentType() ContentType {
	if h, ok := e.Header("Content-Type"); ok {
		if t, err := ParseContentType(string(h.Value)); err == nil {
			return t
		}
	}
	return ContentType{media: "text/plain", params: "; charset=us-ascii"}
}
