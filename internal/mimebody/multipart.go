package mimebody

import (
	"bytes"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// Part is one part of a multipart. Its slices are parts of the octets it was read from and must not be changed.
type Part struct {
	// Offset is where the part begins in the body that was given.
	Offset int
	entity *cpim.Entity
	mail   bool // it is one unless it says something else
}

// Bytes is the whole part as it came, headers and body: what a signature covers (RFC 8551 §3.5).
func (p *Part) Bytes() []byte { return p.entity.Bytes() }

// Raw is the part's body as it came, transfer encoded; see Decoded.
func (p *Part) Raw() []byte { return p.entity.Body() }

// Header is the value of a header without its folds, "" if there is none.
func (p *Part) Header(name string) string {
	h, _ := p.entity.Header(name)
	return h.Text()
}

// Type is the part's media type. "If no Content-Type field is present it is assumed to be ... "text/plain"" (RFC 2046 §5.1.1), in the
// charset that SIP gives to text without one, UTF-8 (RFC 3261 §7.4.1), of which US-ASCII is a part. "In a digest, the default Content-Type
// value for a body part is changed from "text/plain" to "message/rfc822"" (RFC 2046 §5.1.5).
func (p *Part) Type() cpim.ContentType {
	if h, ok := p.entity.Header("Content-Type"); ok {
		t, _ := cpim.ParseContentType(string(h.Value)) // it was checked when the part was read
		return t
	}
	if p.mail {
		return mail
	}
	return textPlain
}

// The types that are not written. Never written to.
var (
	textPlain = cpim.MustParseContentType("text/plain")
	mail      = cpim.MustParseContentType("message/rfc822")
)

// Disposition is the part's disposition type in lower case, and whether the part may be left out: "The default value for the 'handling'
// parameter is 'required'" (RFC 5621 §8).
func (p *Part) Disposition() (kind string, optional bool) {
	return ParseDisposition(p.Header("Content-Disposition"))
}

// ParseDisposition reads a Content-Disposition header's value: the type in lower case, and whether handling is optional.
func ParseDisposition(value string) (kind string, optional bool) {
	if value == "" {
		return "", false
	}
	// It has the parameters of a Content-Type (RFC 2183 §2), so that reader knows its quoting.
	kind, _, _ = strings.Cut(value, ";")
	kind = strings.ToLower(strings.Trim(kind, " \t"))
	if t, err := cpim.ParseContentType("disposition/" + value); err == nil {
		handling, _ := t.Param("handling")
		optional = strings.EqualFold(handling, "optional")
	}
	return kind, optional
}

// Split reads the body of a multipart of type t into its parts, without going into parts that are multiparts themselves. The error is a
// *SyntaxError. By RFC 2046 §5.1.1:
//
//   - a delimiter stands at the beginning of a line, and lines end with CR LF; what stands before the first and after the last is
//     ignored;
//   - there is at least one part, and the last is followed by the closing delimiter: a body without it was cut off;
//   - "Lines in a body-part must not start with the specified dash-boundary": one that does, and is no delimiter line, is refused,
//     because readers differ in what they take it for.
func Split(t cpim.ContentType, body []byte, lim Limits) ([]Part, error) {
	lim = lim.orDefault()
	boundary, err := boundaryOf(t)
	if err != nil {
		return nil, err
	}
	if len(body) > lim.Octets {
		return nil, &syntax.Error{Offset: lim.Octets, Rule: "multipart-octets", Section: "RFC 2046 §5.1.1", Expected: "no more octets than the limit"}
	}
	parts, fault := split([]byte("--"+boundary), body, lim)
	if fault != nil {
		return nil, fault
	}
	for i := range parts {
		parts[i].mail = t.Is("multipart/digest")
	}
	return parts, nil
}

const multipartSection = "RFC 2046 §5.1.1"

func boundaryOf(t cpim.ContentType) (string, error) {
	b, ok := t.Param("boundary")
	good := ok && len(b) >= 1 && len(b) <= 70 && !strings.HasSuffix(b, " ")
	for i := 0; good && i < len(b); i++ {
		c := b[i]
		good = c-'0' < 10 || (c|0x20)-'a' < 26 || strings.IndexByte("'()+_,-./:=? ", c) >= 0
	}
	if !good {
		return "", &syntax.Error{Rule: "multipart-boundary", Section: multipartSection, Expected: "a boundary parameter of 1 to 70 boundary characters"}
	}
	return b, nil
}

func split(dash, body []byte, lim Limits) ([]Part, *syntax.Error) {
	var parts []Part
	begin := -1 // of the part that is being read
	for at := 0; ; {
		i := bytes.Index(body[at:], dash)
		if i < 0 {
			rule, expected := "multipart-close", "the closing delimiter"
			if begin < 0 {
				rule, expected = "multipart-delimiter", "a delimiter line"
			}
			return nil, &syntax.Error{Offset: len(body), Rule: rule, Section: multipartSection, Expected: expected, Found: "the end"}
		}
		line := at + i
		at = line + len(dash)
		if line > 0 && (line < 2 || body[line-1] != '\n' || body[line-2] != '\r') {
			if body[line-1] == '\n' || body[line-1] == '\r' {
				return nil, syntax.At(body, line-1, "line-end", multipartSection, "CR LF before a delimiter")
			}
			continue // within a line
		}
		next, closing, ok := delimiterEnd(body, at)
		if !ok {
			return nil, syntax.At(body, at, "multipart-delimiter", multipartSection, "white space and CR LF after a delimiter, or two hyphens")
		}
		if begin >= 0 {
			// The CR LF before a delimiter is part of it, and that of the delimiter line before is not this one.
			if line < begin+2 {
				return nil, syntax.At(body, line, "multipart-part", multipartSection, "a part, or an empty line, between delimiters")
			}
			p, err := readPart(body, begin, line-2, lim)
			if err != nil {
				return nil, err
			}
			if parts = append(parts, p); len(parts) > lim.Parts {
				return nil, syntax.At(body, begin, "multipart-parts", multipartSection, "no more parts than the limit")
			}
			if closing {
				return parts, nil
			}
		} else if closing {
			return nil, syntax.At(body, line, "multipart-empty", multipartSection, "a part before the closing delimiter")
		}
		begin, at = next, next
	}
}

// delimiterEnd reads what follows a dash-boundary up to the end of its line.
func delimiterEnd(body []byte, i int) (next int, closing, ok bool) {
	if bytes.HasPrefix(body[i:], []byte("--")) {
		closing = true
		i += 2
	}
	for i < len(body) && (body[i] == ' ' || body[i] == '\t') {
		i++
	}
	if closing && i == len(body) {
		return i, true, true
	}
	if bytes.HasPrefix(body[i:], []byte("\r\n")) {
		return i + 2, closing, true
	}
	return 0, false, false
}

// onceOnly are the headers that decide what a part is; two of one would let readers choose.
var onceOnly = [...]string{"Content-Transfer-Encoding", "Content-Disposition", "Content-Language", "Content-ID"} // never written to

func readPart(body []byte, begin, end int, lim Limits) (Part, *syntax.Error) {
	raw := body[begin:end:end]
	if len(raw) == 0 {
		raw = []byte("\r\n") // no headers, no body
	}
	e, err := cpim.ParseEntity(raw, cpim.Limits{Octets: lim.Octets, ContentHeaders: lim.Headers})
	if err != nil {
		fault := asSyntax(err)
		if fault.Rule == "transfer-encoding-once" { // one of onceOnly, seen early
			return Part{}, syntax.At(body, begin, "part-header-once", "RFC 2045 §3", "one Content-Transfer-Encoding")
		}
		return Part{}, fault.Shift(begin)
	}
	if len(raw)-len(e.Body()) > lim.HeaderOctets {
		return Part{}, syntax.At(body, begin+lim.HeaderOctets, "part-header-octets", multipartSection, "headers no longer than the limit")
	}
	for _, name := range onceOnly {
		n := 0
		for h := range e.Headers() {
			if strings.EqualFold(string(h.Name), name) {
				n++
			}
		}
		if n > 1 {
			return Part{}, syntax.At(body, begin, "part-header-once", "RFC 2045 §3", "one "+name)
		}
	}
	return Part{Offset: begin, entity: e}, nil
}

// asSyntax is the *SyntaxError that the readers of cpim return.
func asSyntax(err error) *syntax.Error {
	if e, ok := err.(*syntax.Error); ok {
		return e
	}
	return &syntax.Error{Rule: "part", Section: multipartSection, Expected: "a MIME entity", Cause: err}
}
