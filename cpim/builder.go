package cpim

import (
	"slices"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// Builder writes a new Message/CPIM object from values. The headers appear in
// the order of the calls. Text is escaped by RFC 3862 §2.3.1, so no value can
// begin a new line; anything that cannot be written is an error of Build, the
// first one, and nothing is written in its place.
//
// The zero Builder is ready to use. A Builder is for one goroutine.
type Builder struct {
	buf      []byte
	prefixes []declaration
	from     bool
	date     bool
	err      *syntax.Error
}

type declaration struct{ prefix, uri string }

// Reset makes b ready for another message, keeping its memory. A Message built
// before is not affected.
func (b *Builder) Reset() {
	*b = Builder{buf: b.buf[:0], prefixes: b.prefixes[:0]}
}

func (b *Builder) fail(rule, section, expected string) *Builder {
	if b.err == nil {
		b.err = &syntax.Error{Offset: len(b.buf), Rule: rule, Section: section, Expected: expected}
	}
	return b
}

func (b *Builder) mailbox(name string, m Mailbox) *Builder {
	if m.IsZero() {
		return b.fail("mailbox-uri", "RFC 3862 §4.1", "a mailbox")
	}
	b.core(name)
	b.buf = append(b.buf, ": "...)
	b.buf = append(m.append(b.buf), "\r\n"...)
	return b
}

// core begins a header of the core namespace, whatever the default namespace
// is by now.
func (b *Builder) core(name string) {
	for i := len(b.prefixes) - 1; i >= 0; i-- {
		if b.prefixes[i].prefix == "" {
			if b.prefixes[i].uri != CoreNamespace {
				b.fail("ns", "RFC 3862 §3.4", "the core headers before another default namespace is declared")
			}
			break
		}
	}
	b.buf = append(b.buf, name...)
}

// From writes the From header. There can be one.
func (b *Builder) From(m Mailbox) *Builder {
	if b.from {
		return b.fail("header-once", "RFC 3862 §4.1", "one From header")
	}
	b.from = true
	return b.mailbox("From", m)
}

// To writes a To header.
func (b *Builder) To(m Mailbox) *Builder { return b.mailbox("To", m) }

// CC writes a cc header.
func (b *Builder) CC(m Mailbox) *Builder { return b.mailbox("cc", m) }

// DateTime writes the DateTime header. There can be one.
func (b *Builder) DateTime(v datetime.Value) *Builder {
	if b.date {
		return b.fail("header-once", "RFC 3862 §4.4", "one DateTime header")
	}
	b.date = true
	if _, err := datetime.Parse(v.String(), datetime.CPIM); err != nil {
		return b.fail("datetime", "RFC 3862 §4.4", "a timestamp with capital 'T' and 'Z'")
	}
	b.core("DateTime")
	b.buf = append(append(append(b.buf, ": "...), v.String()...), "\r\n"...)
	return b
}

// Subject writes a Subject header. The language may be empty. Spaces around
// the text are removed: a line may not end with one (RFC 3862 §2.2).
func (b *Builder) Subject(s Subject) *Builder {
	b.core("Subject:")
	if s.Lang != "" {
		if checkLanguageTag(s.Lang) >= 0 {
			return b.fail("language-tag", "RFC 3862 §3.3", "a language tag")
		}
		b.buf = append(append(b.buf, ";lang="...), s.Lang...)
	}
	return b.value(s.Text)
}

// value ends a header with a space, escaped text and CR LF.
func (b *Builder) value(text string) *Builder {
	b.buf = append(b.buf, ' ')
	b.buf = appendEscaped(b.buf, strings.Trim(text, " "), 0)
	b.buf = append(b.buf, "\r\n"...)
	return b
}

// Namespace writes an NS header that declares a prefix, or with an empty
// prefix the default namespace, for the headers that follow.
func (b *Builder) Namespace(prefix, uri string) *Builder {
	for i := range len(prefix) {
		if class[prefix[i]]&className == 0 {
			return b.fail("ns", "RFC 3862 §4.6", "a prefix of name characters")
		}
	}
	if checkAbsoluteURI(uri) != nil {
		return b.fail("ns", "RFC 3862 §3.4", "an absolute URI")
	}
	b.core("NS: ")
	if prefix != "" {
		b.buf = append(append(b.buf, prefix...), ' ')
	}
	b.buf = append(append(append(b.buf, '<'), uri...), ">\r\n"...)
	b.prefixes = append(b.prefixes, declaration{prefix, uri})
	return b
}

// Require writes a Require header with the names of headers or features, each
// with its prefix if it has one.
func (b *Builder) Require(names ...string) *Builder {
	if len(names) == 0 {
		return b
	}
	for _, n := range names {
		if !b.checkName(n) {
			return b
		}
	}
	b.core("Require: ")
	b.buf = append(append(b.buf, strings.Join(names, ",")...), "\r\n"...)
	return b
}

// checkName checks a header name and that its prefix is declared.
func (b *Builder) checkName(name string) bool {
	prefix, local, prefixed := strings.Cut(name, ".")
	if !prefixed {
		prefix, local = "", name
	}
	if local == "" || prefixed && prefix == "" {
		b.fail("header-name", "RFC 3862 §3.6", "a header name")
		return false
	}
	for _, part := range [...]string{prefix, local} {
		for i := range len(part) {
			if class[part[i]]&className == 0 {
				b.fail("header-name", "RFC 3862 §3.6", "a header name")
				return false
			}
		}
	}
	if !prefixed {
		return true
	}
	for _, d := range b.prefixes {
		if d.prefix == prefix {
			return true
		}
	}
	b.fail("name-prefix", "RFC 3862 §3.4", "Namespace before the use of its prefix")
	return false
}

// Header writes a header of an extension. The name has its prefix, which
// Namespace must have declared; the text is escaped, and spaces around it are
// removed. The headers of RFC 3862 have methods of their own and are refused
// here.
func (b *Builder) Header(name, text string) *Builder {
	if !b.checkName(name) {
		return b
	}
	switch name {
	case "From", "To", "cc", "DateTime", "Subject", "NS", "Require":
		return b.fail("header-name", "RFC 3862 §4", "the method for this header")
	}
	b.buf = append(append(b.buf, name...), ':')
	return b.value(text)
}

// MailboxHeader writes a header of an extension whose value is a mailbox, such
// as those of RFC 5438 §10.
func (b *Builder) MailboxHeader(name string, m Mailbox) *Builder {
	if m.IsZero() {
		return b.fail("mailbox-uri", "RFC 3862 §4.1", "a mailbox")
	}
	if !b.checkName(name) {
		return b
	}
	b.buf = append(append(b.buf, name...), ": "...)
	b.buf = append(m.append(b.buf), "\r\n"...)
	return b
}

// MIMEHeader is a content header to be written.
type MIMEHeader struct{ Name, Value string }

// Build ends the message with its content: a Content-Type header, any others,
// and the body octets as they are. The Message it returns has been read back by
// ParseMessage, so what Build returns is what every strict reader sees. The
// error is a *SyntaxError.
func (b *Builder) Build(t ContentType, headers []MIMEHeader, body []byte) (*Message, error) {
	out, err := b.Append(nil, t, headers, body)
	if err != nil {
		return nil, err
	}
	lim := Limits{Octets: 1 << 30, Headers: 1 << 15, ContentHeaders: 1 << 15}
	return ParseMessage(out, lim)
}

// Append is Build for who needs only the octets: it appends them to dst and does
// not read them back. On an error, which is a *SyntaxError, it returns dst as it
// was.
func (b *Builder) Append(dst []byte, t ContentType, headers []MIMEHeader, body []byte) ([]byte, error) {
	if b.err == nil && t.IsZero() {
		b.fail("content-type", "RFC 3862 §2.4", "a content type")
	}
	size := len(b.buf) + len("\r\nContent-Type: \r\n\r\n") + len(t.media) + len(t.params) + len(body)
	for _, h := range headers {
		if strings.EqualFold(h.Name, "Content-Type") {
			b.fail("content-type-once", "RFC 2045 §3", "one Content-Type")
		}
		if !validMIMEHeader(h) {
			b.fail("content-header-name", "RFC 5322 §2.2", "a header name and a value without control characters")
		}
		size += len(h.Name) + len(h.Value) + len(": \r\n")
	}
	if b.err != nil {
		return dst, b.err
	}
	dst = slices.Grow(dst, size)
	dst = append(append(dst, b.buf...), "\r\nContent-Type: "...)
	dst = append(append(append(dst, t.media...), t.params...), "\r\n"...)
	for _, h := range headers {
		dst = append(append(append(append(dst, h.Name...), ": "...), h.Value...), "\r\n"...)
	}
	return append(append(dst, "\r\n"...), body...), nil
}

func validMIMEHeader(h MIMEHeader) bool {
	if h.Name == "" || strings.HasPrefix(h.Value, " ") {
		return false
	}
	for i := range len(h.Name) {
		if c := h.Name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return checkText(h.Value, nil) == nil
}
