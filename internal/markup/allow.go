package markup

import (
	"net/url"
	"strconv"
	"strings"
)

// maxURL is the longest address that is taken, in octets.
const maxURL = 2048

// safeURL returns an address that a reader may be led to, or "": an absolute one in a scheme of the list, in printable ASCII without
// what could be taken for another address. "javascript:", "data:", "vbscript:", "file:" and all that will be invented are not on it.
func safeURL(s string) string {
	s = strings.Trim(s, " \t\n\f\r")
	if s == "" || len(s) > maxURL {
		return ""
	}
	for i := range len(s) {
		// Browsers pass over TAB and LF inside of a scheme, and read '\' as '/'.
		if s[i] <= 0x20 || s[i] >= 0x7f || strings.IndexByte("\"'<>\\^`{|}", s[i]) >= 0 {
			return ""
		}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" {
		return ""
	}
	scheme = strings.ToLower(scheme)
	switch scheme {
	case "http", "https":
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil {
			return "" // a user before the host is there to look like one
		}
	case "mailto", "xmpp", "sip", "sips", "im", "pres", "tel", "geo":
	default:
		return ""
	}
	return scheme + ":" + rest
}

// maxStyles is how many declarations of one style attribute are looked at.
const maxStyles = 16

// safeStyle returns the declarations that XEP-0071 §7.6.1 lists and whose values are plain words, colours and small numbers.
// Functions, addresses, comments, escapes and sizes that would hide text or cover what is around it are not.
func safeStyle(s string) string {
	if s == "" || len(s) > 1024 || strings.ContainsAny(s, `\@/*"'`) {
		return ""
	}
	var b strings.Builder
	for i, declaration := range strings.SplitN(s, ";", maxStyles+1) {
		if i == maxStyles {
			break
		}
		name, value, ok := strings.Cut(declaration, ":")
		if !ok {
			continue
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.ToLower(strings.TrimSpace(value))
		if !safeDeclaration(name, value) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(name + ": " + value)
	}
	return b.String()
}

func safeDeclaration(name, value string) bool {
	if value == "" || len(value) > 64 {
		return false
	}
	switch name {
	case "background-color", "color":
		return isColour(value)
	case "font-family":
		return isWords(value, " ,-")
	case "font-size":
		return isOne(value, "xx-small", "x-small", "small", "medium", "large", "x-large", "xx-large", "smaller", "larger") || isSize(value, 6, 36)
	case "font-style":
		return isOne(value, "normal", "italic", "oblique")
	case "font-weight":
		return isOne(value, "normal", "bold", "bolder", "lighter", "100", "200", "300", "400", "500", "600", "700", "800", "900")
	case "margin-left", "margin-right":
		return isSize(value, 0, 60)
	case "text-align":
		return isOne(value, "left", "right", "center", "justify")
	case "text-decoration":
		return isOne(value, "none", "underline", "overline", "line-through")
	}
	return false
}

func isOne(v string, all ...string) bool {
	for _, a := range all {
		if v == a {
			return true
		}
	}
	return false
}

func isWords(v, others string) bool {
	for i := range len(v) {
		if (v[i] < 'a' || v[i] > 'z') && (v[i] < '0' || v[i] > '9') && strings.IndexByte(others, v[i]) < 0 {
			return false
		}
	}
	return v != ""
}

// isColour takes a name, #rgb and #rrggbb.
func isColour(v string) bool {
	if hex, ok := strings.CutPrefix(v, "#"); ok {
		if _, err := strconv.ParseUint(hex, 16, 32); err != nil {
			return false
		}
		return len(hex) == 3 || len(hex) == 6
	}
	for i := range len(v) {
		if v[i] < 'a' || v[i] > 'z' {
			return false
		}
	}
	return true
}

// isSize takes a whole number of pixels or points from least to most, and em from 1 to 3.
func isSize(v string, least, most int) bool {
	number, unit := v, ""
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			number, unit = v[:i], v[i:]
			break
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return false
	}
	switch unit {
	case "px", "pt":
		return n >= least && n <= most
	case "em":
		return n >= 1 && n <= 3
	case "":
		return n == 0 && least == 0
	}
	return false
}
