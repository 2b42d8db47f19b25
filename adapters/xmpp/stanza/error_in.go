package stanza

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// error reads an <error/> (RFC 6120 §8.3.2).
func (r *Reader) error() error {
	c := &r.cur
	e := &Error{}
	if v, ok := c.AttrBytes("", "type"); ok {
		e.Type = errorType(v)
	}
	for {
		k, err := c.Next()
		if err != nil {
			return err
		}
		switch k {
		case strictxml.EndElement:
			if e.Condition == 0 {
				e.Condition = UndefinedCondition
			}
			if r.st.Error == nil {
				r.st.Error = e
			}
			return nil
		case strictxml.StartElement:
			switch {
			case c.Is(SpaceErrors, "text"):
				lang := r.childLang()
				t, err := r.text()
				if err != nil {
					return err
				}
				// One is allowed. Of several the first in English, which is the language of our own texts, else the first.
				if e.Text == "" || !isEnglish(e.Lang) && isEnglish(lang) {
					e.Text, e.Lang = cut(string(t)), lang
				}
			case c.InSpace(SpaceErrors) && e.Condition == 0:
				e.Condition = parseCondition(c.Local())
				t, err := r.text()
				if err != nil {
					return err
				}
				if e.Condition == Gone || e.Condition == Redirect {
					e.NewAddress = newAddress(string(t))
				}
			default:
				if e.Application == "" && !c.InSpace(SpaceErrors) && !c.InSpace(r.space) {
					e.Application = cut(string(c.Local()))
				}
				if _, err := c.Skip(); err != nil {
					return err
				}
			}
		}
	}
}

// errorType knows the types of RFC 6120 §8.3.2; "The "error-type" MUST be one of the following", so another is none. The 'code' of
// RFC 3920 is not looked at: its "semantics have been replaced by the defined condition elements".
func errorType(v []byte) string {
	switch string(v) {
	case "auth":
		return "auth"
	case "cancel":
		return "cancel"
	case "continue":
		return "continue"
	case "modify":
		return "modify"
	case "wait":
		return "wait"
	}
	return ""
}

func isEnglish(lang string) bool {
	primary, _, _ := strings.Cut(lang, "-")
	return strings.EqualFold(primary, "en")
}

// newAddress returns what <gone/> or <redirect/> holds, which "MUST be a URI or IRI" (RFC 6120 §8.3.3.14), without the white space around
// it; "" for anything else and for one that is too long to be passed on, since a part of an address is another address.
func newAddress(s string) string {
	s = strings.TrimSpace(s)
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" || len(s) > maxRemote || strings.ContainsAny(s, " \t\r\n<>\"") || !isScheme(scheme) {
		return ""
	}
	return s
}

// isScheme tells whether s is a URI scheme (RFC 3986 §3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || (s[i] < '0' || s[i] > '9') && s[i] != '+' && s[i] != '-' && s[i] != '.') {
			return false
		}
	}
	return s != ""
}
