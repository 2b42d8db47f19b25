package cpim

import (
	"strings"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// Mailbox is the value of a From, To or cc header (RFC 3862 §4.1 to §4.3), and
// of the routing headers of RFC 5438: a URI and, perhaps, the formal name of
// who it belongs to. Values are comparable; the zero Mailbox is none.
type Mailbox struct {
	name string
	uri  string
}

// NewMailbox makes a Mailbox. The name is plain text and may be empty; spaces
// around it are removed and what is not UTF-8 becomes U+FFFD. The uri must be
// an absolute URI. The error is a *SyntaxError about uri.
func NewMailbox(name, uri string) (Mailbox, error) {
	if err := checkAbsoluteURI(uri); err != nil {
		return Mailbox{}, err
	}
	return Mailbox{name: strings.ToValidUTF8(strings.Trim(name, " "), "\uFFFD"), uri: uri}, nil
}

// MailboxOf returns a Mailbox for an address; the zero Address gives the zero
// Mailbox.
func MailboxOf(name string, a Address) Mailbox {
	m, err := NewMailbox(name, a.String())
	if err != nil {
		return Mailbox{}
	}
	return m
}

// ParseMailbox reads the value of a From, To or cc header:
//
//	[ Formal-name ] "<" URI ">"
//
// where Formal-name is one or more tokens, each followed by a space, or a
// quoted string with nothing after it (RFC 3862 §3.6). The error is a
// *SyntaxError.
func ParseMailbox(value string) (Mailbox, error) {
	p, err := scanMailbox([]byte(value), nil)
	if err != nil {
		return Mailbox{}, err
	}
	return p.mailbox([]byte(value)), nil
}

// Name returns the formal name, unescaped, for use on one line: it holds no
// control character (see UnescapeLine). Empty if there is none.
func (m Mailbox) Name() string { return UnescapeLine(Escape(m.name)) }

// ExactName returns the formal name, unescaped. It may hold control
// characters, which no protocol line and no log may carry.
func (m Mailbox) ExactName() string { return m.name }

// URI returns the URI as it was written.
func (m Mailbox) URI() string { return m.uri }

// Address reads the URI as an im: or pres: address.
func (m Mailbox) Address() (Address, error) { return ParseAddress(m.uri) }

// IsZero reports whether m is no mailbox.
func (m Mailbox) IsZero() bool { return m == Mailbox{} }

// String returns m as a header value, "" for the zero Mailbox.
func (m Mailbox) String() string {
	if m.IsZero() {
		return ""
	}
	return string(m.append(nil))
}

// append appends m as a header value: tokens as they are if the name is
// nothing else, separated by single spaces, otherwise a quoted string.
func (m Mailbox) append(dst []byte) []byte {
	if m.name != "" {
		if isTokens(m.name) {
			dst = append(append(dst, m.name...), ' ')
		} else {
			dst = append(dst, '"')
			dst = appendEscaped(dst, m.name, '"')
			dst = append(dst, '"')
		}
	}
	dst = append(dst, '<')
	dst = append(dst, m.uri...)
	return append(dst, '>')
}

// isTokens reports whether s is 1*( Token SP ) with its last space removed.
func isTokens(s string) bool {
	space := true
	for i := range len(s) {
		if s[i] == ' ' {
			if space {
				return false
			}
			space = true
			continue
		}
		if class[s[i]]&classToken == 0 {
			return false
		}
		space = false
	}
	return !space && utf8.ValidString(s)
}

// mailboxSpan says where the parts of a mailbox lie in its value.
type mailboxSpan struct {
	nameStart, nameEnd int // without quotes and the last space
	uriStart, uriEnd   int
	quoted             bool
	bare               bool // no angle brackets and no scheme: a number (lenient only)
}

func (p mailboxSpan) mailbox(value []byte) Mailbox {
	name := string(value[p.nameStart:p.nameEnd])
	if p.quoted {
		name = Unescape(name)
	}
	uri := string(value[p.uriStart:p.uriEnd])
	if p.bare {
		uri = "tel:" + uri
	}
	return Mailbox{name: name, uri: uri}
}

// scanMailbox reads a mailbox value. With lenient set it also takes what that
// set allows, and records what it needed there.
func scanMailbox(v []byte, lenient *leniencies) (mailboxSpan, *syntax.Error) {
	const section = "RFC 3862 §4.1"
	var p mailboxSpan
	i := 0
	switch {
	case i < len(v) && v[i] == '"':
		i++
		p.quoted = true
		p.nameStart = i
		for i < len(v) && v[i] != '"' {
			if v[i] == '\\' {
				i++
			}
			i++
		}
		if i >= len(v) {
			return p, syntax.At(v, len(v), "formal-name", "RFC 3862 §3.6", "'\"' at the end of the name")
		}
		p.nameEnd = i
		i++
		if i < len(v) && v[i] == ' ' {
			if !lenient.allow(QuotedNameSpace) {
				return p, syntax.At(v, i, "formal-name", "RFC 3862 §3.6", "'<' directly after a quoted name")
			}
			i++
		}
	case i < len(v) && v[i] == '<':
	default:
		bare := true
		for ; i < len(v) && v[i] != '<'; i++ {
			c := v[i]
			if c == ' ' && (i == 0 || v[i-1] == ' ') {
				return p, syntax.At(v, i, "formal-name", "RFC 3862 §3.6", "a token before each space")
			}
			if !isDigit(c) && (c != '+' || i > 0) {
				bare = false
			}
			if c != ' ' && class[c]&classToken == 0 && !lenient.allow(UnquotedName) {
				return p, syntax.At(v, i, "formal-name", "RFC 3862 §3.6", "a token, or a quoted string")
			}
		}
		if i == len(v) {
			if bare && i > 1 && lenient.allow(BareNumber) {
				p.bare = true
				p.uriEnd = i
				return p, nil
			}
			return p, syntax.At(v, i, "mailbox-uri", section, "'<' and a URI")
		}
		p.nameEnd = i - 1
		if v[i-1] != ' ' {
			if !lenient.allow(NameWithoutSpace) {
				return p, syntax.At(v, i, "formal-name", "RFC 3862 §3.6", "a space after each token")
			}
			p.nameEnd = i
		}
	}
	if i >= len(v) || v[i] != '<' {
		return p, syntax.At(v, i, "mailbox-uri", section, "'<' and a URI")
	}
	i++
	p.uriStart = i
	for i < len(v) && v[i] != '>' {
		i++
	}
	if i == len(v) {
		return p, syntax.At(v, i, "mailbox-uri", section, "'>' after the URI")
	}
	p.uriEnd = i
	if err := checkAbsoluteURI(v[p.uriStart:p.uriEnd]); err != nil {
		return p, err.Shift(p.uriStart)
	}
	if i+1 != len(v) {
		return p, syntax.At(v, i+1, "mailbox-end", section, "nothing after '>'")
	}
	return p, nil
}
