// Package iscomposing reads and writes application/im-iscomposing+xml
// (RFC 3994): the notice that somebody is writing a message.
package iscomposing

import (
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/cpim/internal/contentxml"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// SyntaxError is the error of every parser in this package.
type SyntaxError = syntax.Error

const (
	// MediaType is the MIME type of the document (RFC 3994 §8.1).
	MediaType = "application/im-iscomposing+xml"
	// Namespace is that of its elements (RFC 3994 §6).
	Namespace = "urn:ietf:params:xml:ns:im-iscomposing"
	// DefaultRefresh is how long "active" holds if the document has no refresh
	// (RFC 3994 §3.3).
	DefaultRefresh = 120 * time.Second
	// MaxRefreshSeconds is what a greater refresh is read as: the schema's
	// positiveInteger has no bound, and a day is longer than any message takes
	// to write.
	MaxRefreshSeconds = 86400
)

const section = "RFC 3994 §6.1"

// Fields are the parts of a document.
type Fields struct {
	// State is the word of the state element: "active", "idle", or that of an
	// extension, which counts as "idle" (RFC 3994 §3.5).
	State string
	// LastActive is when the user last changed the message; zero for unknown.
	LastActive datetime.Value
	// ContentType is a media type such as "text" or "text/html", or "".
	ContentType string
	// Refresh is the interval in seconds, 0 for none, at most
	// MaxRefreshSeconds.
	Refresh int
	// Extensions are the elements of other namespaces, in order, each such that
	// it can stand under any parent.
	Extensions []string
}

// Status is one document. It is made by Parse or New and never changes.
type Status struct {
	f   Fields
	raw []byte
}

// Parse reads a document by the schema of RFC 3994 §6.1, except that elements
// of other namespaces may stand anywhere and white space around a value does
// not matter. A document is at most 64 KiB. The Status refers to doc, which must
// not be changed while it is in use. The error is a *SyntaxError.
func Parse(doc []byte) (*Status, error) {
	s, _, err := parse(doc, false)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Leniency names a fault of deployed software that ParseLenient forgives.
type Leniency uint8

// NoNamespace forgives elements without a namespace, and unknown ones among
// them.
// COMPAT(Jami): it writes <isComposing><state>…</state><conversation>….
const NoNamespace Leniency = 1

// Names returns the stable short name of each fault in l.
func (l Leniency) Names() []string {
	if l&NoNamespace != 0 {
		return []string{"no-namespace"}
	}
	return nil
}

// ParseLenient is Parse for documents of deployed software with known faults;
// it returns which of them the document had.
func ParseLenient(doc []byte) (*Status, Leniency, error) {
	s, bare, err := parse(doc, true)
	if err != nil {
		return nil, 0, err
	}
	if bare {
		return s, NoNamespace, nil
	}
	return s, 0, nil
}

func shape() contentxml.Shape {
	return contentxml.Shape{
		Namespace: Namespace,
		Names:     []string{"state", "lastactive", "contenttype", "refresh"},
		Section:   section,
	}
}

func parse(doc []byte, lenient bool) (*Status, bool, *syntax.Error) {
	s := shape()
	root, bare, err := contentxml.Document(doc, s, "isComposing", lenient)
	if err != nil {
		return nil, false, err
	}
	s.Bare = bare
	known, extensions, err := s.Children(root)
	if err != nil {
		return nil, false, err
	}
	var text [4]string
	for i, el := range known {
		if el == nil {
			continue
		}
		if text[i], err = s.Text(el); err != nil {
			return nil, false, err
		}
	}
	at := func(i int) int { return known[i].ContentOffset() }
	if known[0] == nil {
		return nil, false, &syntax.Error{Offset: root.ContentOffset(), Rule: "iscomposing-state", Section: "RFC 3994 §3.4", Expected: "a state element"}
	}
	f := Fields{State: text[0], ContentType: text[2], Extensions: contentxml.Raw(extensions)}
	if f.State == "" {
		return nil, false, &syntax.Error{Offset: at(0), Rule: "iscomposing-state", Section: "RFC 3994 §3.4", Expected: "a state"}
	}
	if known[1] != nil {
		v, err := datetime.Parse(text[1], datetime.XML)
		if err != nil {
			e := err.(*syntax.Error)
			return nil, false, e.Shift(at(1) + leading(known[1]))
		}
		f.LastActive = v
	}
	if known[2] != nil && !validMedia(f.ContentType) {
		return nil, false, &syntax.Error{Offset: at(2), Rule: "iscomposing-contenttype", Section: "RFC 3994 §3.5", Expected: "a media type, or a media type and subtype"}
	}
	if known[3] != nil {
		n, ok := positiveInteger(text[3])
		if !ok {
			return nil, false, &syntax.Error{Offset: at(3), Rule: "iscomposing-refresh", Section: section, Expected: "a positive integer"}
		}
		f.Refresh = n
	}
	return &Status{f: f, raw: doc}, bare, nil
}

// leading is the number of octets of white space before the text of el.
func leading(el *strictxml.Element) int {
	t := el.Text()
	return len(t) - len(strings.TrimLeft(t, " \t\r\n"))
}

// positiveInteger reads the lexical form of xs:positiveInteger.
func positiveInteger(s string) (int, bool) {
	s = strings.TrimPrefix(s, "+")
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	digits := strings.TrimLeft(s, "0")
	if digits == "" {
		return 0, false
	}
	if len(digits) > 9 {
		return MaxRefreshSeconds, true
	}
	n, err := strconv.Atoi(digits)
	return min(n, MaxRefreshSeconds), err == nil
}

// validMedia accepts a token, or two with a slash between (RFC 2045 §5.1).
func validMedia(s string) bool {
	media, sub, slash := strings.Cut(s, "/")
	return validToken(media) && (!slash || validToken(sub))
}

func validToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// New makes a document. The state must not be empty or have white space around
// it, Refresh not be negative, LastActive have an xs:dateTime form, and each
// extension be one element of another namespace. The error is a *SyntaxError.
func New(f Fields) (*Status, error) {
	bad := func(rule, sec, expected string) (*Status, error) {
		return nil, &syntax.Error{Rule: rule, Section: sec, Expected: expected}
	}
	if f.State == "" || contentxml.Trim(f.State) != f.State || !contentxml.ValidText(f.State) {
		return bad("iscomposing-state", "RFC 3994 §3.4", "a state")
	}
	if !f.LastActive.IsZero() {
		if _, err := datetime.Parse(f.LastActive.String(), datetime.XML); err != nil {
			return nil, err
		}
	}
	if f.ContentType != "" && !validMedia(f.ContentType) {
		return bad("iscomposing-contenttype", "RFC 3994 §3.5", "a media type, or a media type and subtype")
	}
	if f.Refresh < 0 || f.Refresh > MaxRefreshSeconds {
		return bad("iscomposing-refresh", section, "0 to 86400")
	}
	for _, x := range f.Extensions {
		if err := shape().CheckExtension(x); err != nil {
			return nil, err
		}
	}
	f.Extensions = append([]string(nil), f.Extensions...)
	return &Status{f: f}, nil
}

// Fields returns a copy of the parts.
func (s *Status) Fields() Fields {
	f := s.f
	f.Extensions = append([]string(nil), f.Extensions...)
	return f
}

// Active reports whether the user is composing: only the state "active" says
// so, all others count as idle (RFC 3994 §3.5).
func (s *Status) Active() bool { return s.f.State == "active" }

// Expires returns after what time an active state has lapsed (RFC 3994 §3.3).
func (s *Status) Expires() time.Duration {
	if s.f.Refresh == 0 {
		return DefaultRefresh
	}
	return time.Duration(s.f.Refresh) * time.Second
}

// Bytes returns the document as it came, or as Append prints it if it was made
// by New. The octets must not be changed.
func (s *Status) Bytes() []byte {
	if s.raw != nil {
		return s.raw
	}
	return s.Append(nil)
}

// Append appends the document in canonical form: with an XML declaration, the
// elements in the order of the schema, extensions last, and no white space
// between them.
func (s *Status) Append(dst []byte) []byte {
	dst = append(dst, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<isComposing xmlns="`+Namespace+`"><state>`...)
	dst = strictxml.AppendText(dst, s.f.State)
	dst = append(dst, "</state>"...)
	if !s.f.LastActive.IsZero() {
		dst = append(append(append(dst, "<lastactive>"...), s.f.LastActive.String()...), "</lastactive>"...)
	}
	if s.f.ContentType != "" {
		dst = append(dst, "<contenttype>"...)
		dst = strictxml.AppendText(dst, s.f.ContentType)
		dst = append(dst, "</contenttype>"...)
	}
	if s.f.Refresh > 0 {
		dst = append(dst, "<refresh>"...)
		dst = strconv.AppendInt(dst, int64(s.f.Refresh), 10)
		dst = append(dst, "</refresh>"...)
	}
	for _, x := range s.f.Extensions {
		dst = append(dst, x...)
	}
	return append(dst, "</isComposing>"...)
}
