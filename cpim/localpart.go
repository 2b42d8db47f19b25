package cpim

import (
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// canonicalLocal checks an unescaped local part, and case-maps it if fold.
// Offsets count in s.
func canonicalLocal(s string, fold bool) (string, *syntax.Error) {
	const section = "RFC 7622 §3.3"
	if s == "" {
		return "", syntax.At(s, 0, "local-empty", section, "a local part")
	}
	if len(s) > MaxLocalOctets {
		return "", syntax.At(s, MaxLocalOctets, "local-length", section, "at most 1023 octets")
	}
	// UTF-8 is checked before anything that normalizes: golang.org/x/text has
	// looped for ever on invalid UTF-8 (CVE-2026-56852).
	if err := checkText(s, nil); err != nil {
		return "", err
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		off := 0
		if s[0] != ' ' {
			off = len(s) - 1
		}
		return "", syntax.At(s, off, "local-space", "XEP-0106 §3", "no space at the beginning or end")
	}
	escaped, simple := escapedLength(s)
	if escaped > MaxLocalOctets {
		return "", syntax.At(s, len(s), "local-length", section, "at most 1023 octets once escaped by XEP-0106")
	}
	if simple {
		return s, nil
	}
	e := escapeLocal(s, escaped)
	m, err := precis.UsernameCaseMapped.String(e)
	if err != nil {
		return "", &syntax.Error{
			Offset: firstRefused(s), Rule: "local-precis", Section: "RFC 8265 §3.3",
			Expected: "characters of the PRECIS IdentifierClass", Cause: err,
		}
	}
	if m == e {
		return s, nil
	}
	if !fold {
		off := 0
		for off < len(s) && off < len(m) && s[off] == m[off] {
			off++
		}
		for off > 0 && off < len(s) && !utf8.RuneStart(s[off]) {
			off--
		}
		return "", syntax.At(s, off, "local-case", "RFC 8265 §3.3",
			"a local part that is its own case-mapped, normalized form")
	}
	folded := unescapeLocal(m)
	// The mapping must be stable and must not have made or broken an escape.
	if again, err := precis.UsernameCaseMapped.String(m); err != nil || again != m || len(m) > MaxLocalOctets {
		return "", &syntax.Error{Rule: "local-precis", Section: "RFC 8265 §3.3", Expected: "a local part whose mapping is stable"}
	}
	if n, _ := escapedLength(folded); folded == "" || folded[0] == ' ' || folded[len(folded)-1] == ' ' || escapeLocal(folded, n) != m {
		return "", &syntax.Error{Rule: "local-precis", Section: "RFC 8265 §3.3", Expected: "a local part whose mapping is stable"}
	}
	return folded, nil
}

// firstRefused returns where in s the first character begins that PRECIS
// refuses by itself, or 0 if only the whole is refused (as by the Bidi rule).
func firstRefused(s string) int {
	for i, r := range s {
		if r < utf8.RuneSelf {
			continue
		}
		if _, err := precis.UsernameCaseMapped.String("a" + string(r)); err != nil {
			if _, err = precis.UsernameCaseMapped.String(string(r)); err != nil {
				return i
			}
		}
	}
	return 0
}

// escapable reports whether XEP-0106 §3 escapes c in a localpart.
func escapable(c byte) bool {
	switch c {
	case ' ', '"', '&', '\'', '/', ':', '<', '>', '@':
		return true
	}
	return false
}

// escapeAt reports whether s[i:] looks like an escape of XEP-0106, so that its
// backslash must itself be escaped ("\5c").
func escapeAt(s string, i int) bool {
	if i+2 >= len(s) {
		return false
	}
	hi, lo := hexValue(s[i+1]), hexValue(s[i+2])
	if hi < 0 || lo < 0 {
		return false
	}
	c := byte(hi<<4 | lo)
	return escapable(c) || c == '\\'
}

// escapedLength returns the length of s escaped by XEP-0106, and whether s is
// of characters that need neither escaping nor PRECIS to be canonical: the
// printable ASCII characters without capitals.
func escapedLength(s string) (n int, simple bool) {
	n, simple = len(s), true
	for i := range len(s) {
		c := s[i]
		switch {
		case escapable(c) || c == '\\' && escapeAt(s, i):
			n += 2
		case c >= utf8.RuneSelf || c-'A' < 26:
			simple = false
		}
	}
	return n, simple
}

// escapeLocal escapes s by XEP-0106 §3; n is the length of the result.
func escapeLocal(s string, n int) string {
	if n == len(s) {
		return s
	}
	const hex = "0123456789abcdef"
	b := make([]byte, 0, n)
	for i := range len(s) {
		c := s[i]
		if escapable(c) || c == '\\' && escapeAt(s, i) {
			b = append(b, '\\', hex[c>>4], hex[c&15])
			continue
		}
		b = append(b, c)
	}
	return string(b)
}

// unescapeLocal undoes escapeLocal.
func unescapeLocal(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && escapeAt(s, i) {
			c = byte(hexValue(s[i+1])<<4 | hexValue(s[i+2]))
			i += 2
		}
		b = append(b, c)
	}
	return string(b)
}
