package stanza

import (
	"unicode/utf8"
	"unsafe"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// carries tells whether XML 1.0 can carry s unchanged: valid UTF-8 and only the characters of its production Char.
func carries(s string) bool {
	if strictxml.Plain(s) {
		return true
	}
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == 0xFFFE || r == 0xFFFF {
			return false
		}
		i += n
	}
	return true
}

func carriesBytes(b []byte) bool { return carries(unsafe.String(unsafe.SliceData(b), len(b))) }

// appendHead appends a stanza's start tag with its addresses and, unless "", its id; the tag is left open.
func appendHead(dst []byte, name string, from, to jid.JID, id string) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	dst = appendAttr(dst, "from", from.String())
	dst = appendAttr(dst, "to", to.String())
	if id != "" {
		dst = appendAttr(dst, "id", id)
	}
	return dst
}

func appendAttr(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, '=', '\'')
	dst = strictxml.AppendAttrValue(dst, value)
	return append(dst, '\'')
}

// appendLang appends xml:lang unless lang is no tag or what is inherited.
func appendLang(dst []byte, lang, inherited string) []byte {
	if !isTag(lang) || lang == inherited {
		return dst
	}
	return appendAttr(dst, "xml:lang", lang)
}

// appendText appends an element of text in its language.
func appendText(dst []byte, name string, t adapters.LangText, inherited string) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	dst = appendLang(dst, t.Lang, inherited)
	if t.Text == "" {
		return append(dst, '/', '>')
	}
	dst = append(dst, '>')
	dst = strictxml.AppendText(dst, t.Text)
	dst = append(dst, '<', '/')
	dst = append(dst, name...)
	return append(dst, '>')
}

// ErrorReply is an error stanza to be written (RFC 6120 §8.3.1).
type ErrorReply struct {
	Kind     Kind
	From, To jid.JID
	ID       string
	Error    *Error
}

// AppendError appends an error stanza. The original's content is left out, as RFC 6120 §8.3.1 allows.
func AppendError(dst []byte, r ErrorReply) []byte {
	dst = append(dst, '<')
	dst = append(dst, r.Kind.String()...)
	if !r.From.IsZero() {
		dst = appendAttr(dst, "from", r.From.String())
	}
	if !r.To.IsZero() {
		dst = appendAttr(dst, "to", r.To.String())
	}
	if r.ID != "" {
		dst = appendAttr(dst, "id", r.ID)
	}
	dst = append(dst, " type='error'>"...)
	dst = appendErrorElement(dst, r.Error)
	dst = append(dst, '<', '/')
	dst = append(dst, r.Kind.String()...)
	return append(dst, '>')
}

func appendErrorElement(dst []byte, e *Error) []byte {
	c := e.Condition
	if c == 0 || c >= conditionEnd {
		c = UndefinedCondition
	}
	kind := e.Type
	if kind == "" {
		kind = c.Type()
	}
	dst = append(dst, "<error"...)
	dst = appendAttr(dst, "type", kind)
	dst = append(dst, '>', '<')
	dst = append(dst, c.String()...)
	dst = append(dst, " xmlns='"+SpaceErrors+"'"...)
	if e.NewAddress != "" {
		dst = append(dst, '>')
		dst = strictxml.AppendText(dst, e.NewAddress)
		dst = append(dst, '<', '/')
		dst = append(dst, c.String()...)
		dst = append(dst, '>')
	} else {
		dst = append(dst, '/', '>')
	}
	if e.Text != "" {
		dst = append(dst, "<text xmlns='"+SpaceErrors+"'"...)
		dst = appendLang(dst, e.Lang, "")
		dst = append(dst, '>')
		dst = strictxml.AppendText(dst, e.Text)
		dst = append(dst, "</text>"...)
	}
	if e.Application != "" {
		dst = append(append(dst, '<'), e.Application...)
		dst = append(dst, " xmlns='"+SpaceConditions+"'/>"...)
	}
	return append(dst, "</error>"...)
}
