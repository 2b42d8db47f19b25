package passport

import (
	"strconv"
	"strings"
)

// The bounds of one Identity value and of the number of them in a request; what is beyond is not looked at.
const (
	maxValue  = 8 << 10
	maxValues = 8
)

// SyntaxError is what is wrong with the form of an Identity header field or of the token in it.
type SyntaxError struct {
	// Offset is the octet of the header field's value, or of the JSON text of the token's part that Rule names.
	Offset int
	// Rule is a short stable name.
	Rule string
	// Section is where the rule stands.
	Section string
	// Expected says in words what would have been right.
	Expected string
}

// Error is all of it on one line; nothing of the input is in it.
func (e *SyntaxError) Error() string {
	return e.Rule + " (" + e.Section + ") at octet " + strconv.Itoa(e.Offset) + ": expected " + e.Expected
}

// Header is one Identity header field (RFC 8224 §4). It is made by ParseHeader alone.
type Header struct {
	token [3]string // header, payload, signature, in base64url; the first two empty in the compact form
	info  string
	alg   string // "ES256" where it is absent
	ppt   string // "" where it is absent
}

// Compact reports whether the token is in its compact form (RFC 8225 §7).
func (h Header) Compact() bool { return h.token[0] == "" }

// Info is the URI of the credential.
func (h Header) Info() string { return h.info }

// Alg and PPT are the parameters: ES256 and "" where they are absent.
func (h Header) Alg() string { return h.alg }

// PPT is the type of extension, or "".
func (h Header) PPT() string { return h.ppt }

// String is the header field's value again, with every parameter that means something.
func (h Header) String() string {
	s := h.token[0] + "." + h.token[1] + "." + h.token[2] + ";info=<" + h.info + ">;alg=" + h.alg
	if h.ppt != "" {
		s += ";ppt=" + h.ppt
	}
	return s
}

// headerReader reads a value from its beginning.
type headerReader struct {
	text string
	at   int
}

func (r *headerReader) fault(rule, expected string) *SyntaxError {
	return &SyntaxError{Offset: r.at, Rule: rule, Section: "RFC 8224 §4", Expected: expected}
}

// space passes over SWS; folding was undone by the reader of the message.
func (r *headerReader) space() {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\t') {
		r.at++
	}
}

// eat takes c with the space around it.
func (r *headerReader) eat(c byte) bool {
	r.space()
	if r.at == len(r.text) || r.text[r.at] != c {
		return false
	}
	r.at++
	r.space()
	return true
}

func (r *headerReader) run(fits func(byte) bool) string {
	start := r.at
	for r.at < len(r.text) && fits(r.text[r.at]) {
		r.at++
	}
	return r.text[start:r.at]
}

// ParseHeader reads the value of one Identity header field, without folds. It fails with a *SyntaxError.
func ParseHeader(value string) (Header, error) {
	r := &headerReader{text: value}
	if len(value) > maxValue {
		r.at = maxValue
		return Header{}, r.fault("length", "at most 8192 octets")
	}
	h := Header{alg: "ES256"}
	r.space()
	start := r.at
	digest := r.run(func(c byte) bool { return isBase64URL(c) || c == '.' })
	parts := strings.Split(digest, ".")
	if len(parts) != 3 || parts[2] == "" || (parts[0] == "") != (parts[1] == "") {
		r.at = start
		return Header{}, r.fault("digest", "a PASSporT: header.payload.signature, or ..signature")
	}
	copy(h.token[:], parts)
	// RFC 8224 §4: SEMI ident-info comes first.
	if !r.eat(';') {
		return Header{}, r.fault("info", "\";info=<URI>\"")
	}
	if name := r.run(isToken); !strings.EqualFold(name, "info") || !r.eat('=') || !r.eat('<') {
		return Header{}, r.fault("info", "\"info=<URI>\"")
	}
	h.info = r.run(isURI)
	scheme, rest, ok := strings.Cut(h.info, ":")
	if !ok || rest == "" || !isScheme(scheme) || !r.eat('>') {
		return Header{}, r.fault("info-uri", "an absolute URI between < and >")
	}
	seen := map[string]bool{"info": true}
	for r.at < len(r.text) {
		if !r.eat(';') {
			return Header{}, r.fault("parameter", "\";\" or the end")
		}
		name := strings.ToLower(r.run(isToken))
		if name == "" || seen[name] {
			return Header{}, r.fault("parameter", "the name of a parameter that was not there before")
		}
		seen[name] = true
		value, given, err := r.value()
		if err != nil {
			return Header{}, err
		}
		if name == "alg" || name == "ppt" {
			if !given || value == "" || strings.ContainsFunc(value, func(c rune) bool { return c >= 0x80 || !isToken(byte(c)) }) {
				return Header{}, r.fault(name, "a token")
			}
			if name == "alg" {
				h.alg = value
			} else {
				h.ppt = value
			}
		}
	}
	return h, nil
}

// value reads "=" and a token, host or quoted string, if "=" is there. RFC 8224 §4 has tokens for alg and ppt; what is sent in practice
// has quotes around them too, which generic-param allows.
func (r *headerReader) value() (value string, given bool, err error) {
	if !r.eat('=') {
		return "", false, nil
	}
	if r.at < len(r.text) && r.text[r.at] == '"' {
		r.at++
		var b strings.Builder
		for ; r.at < len(r.text) && r.text[r.at] != '"'; r.at++ {
			c := r.text[r.at]
			if c == '\\' && r.at+1 < len(r.text) {
				r.at++
				c = r.text[r.at]
			}
			if c < ' ' && c != '\t' || c == 0x7f {
				return "", true, r.fault("parameter", "no control in a quoted string")
			}
			b.WriteByte(c)
		}
		if r.at == len(r.text) {
			return "", true, r.fault("parameter", "the quote that ends the string")
		}
		r.at++
		r.space()
		return b.String(), true, nil
	}
	value = r.run(func(c byte) bool { return isToken(c) || c == '[' || c == ']' || c == ':' })
	if value == "" {
		return "", true, r.fault("parameter", "a value")
	}
	r.space()
	return value, true, nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isBase64URL(c byte) bool { return isAlphanumeric(c) || c == '-' || c == '_' }

func isToken(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("-.!%*_+`'~", c) >= 0 }

// isURI are the characters of a URI (RFC 3986 §2): none that JSON would have to escape is among them.
func isURI(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("-._~:/?#[]@!$&'()*+,;=%", c) >= 0
}

func isScheme(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && (i == 0 || c != '+' && c != '-' && c != '.') || i == 0 && '0' <= c && c <= '9' {
			return false
		}
	}
	return s != ""
}
