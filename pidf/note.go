package pidf

import "github.com/isthmus-gateway/isthmus/internal/strictxml"

// Note is a comment for people (RFC 3863 §4.1.6); it "SHOULD NOT be used, and interpreted, as a non-interoperable substitute for
// status". The same form serves CIPID's display names, RPID's notes and free values, and the descriptions of RFC 5196.
type Note struct {
	// Text is the note, white space kept.
	Text string
	// Lang is the language tag in force (xml:lang on the note or around it), "" if none was said. RFC 5646 §2.1.
	Lang string
}

// check says whether the note can be printed.
func (n Note) check() error {
	if !validLang(n.Lang) {
		return unprintable("note-lang", "RFC 3863 §4.1.6", "a language tag: subtags of 1 to 8 letters and digits, joined by hyphens")
	}
	if !validChars(n.Text) {
		return unprintable("text-characters", "RFC 3863 §4.1", "UTF-8 text of characters that XML 1.0 can carry")
	}
	return nil
}

// validLang takes the shape of a language tag (xs:language, which RFC 5646 §2.1 fits), and "".
func validLang(s string) bool {
	n := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '-' {
			if n == 0 && s != "" || n > 8 {
				return false
			}
			n = 0
			continue
		}
		if !isAlpha(s[i]) && !isDigit(s[i]) {
			return false
		}
		n++
	}
	return true
}

// validChars says whether XML 1.0 can carry s unchanged: UTF-8, and the Char production.
func validChars(s string) bool {
	for i, r := range s {
		if r == 0xFFFD && (i+3 > len(s) || s[i:i+3] != "\uFFFD") {
			return false
		}
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return false
		}
	}
	return true
}

func appendNote(w *strictxml.Writer, space, local string, n Note) {
	w.Start(strictxml.Name{Space: space, Local: local})
	if n.Lang != "" {
		w.AttrNS(strictxml.Name{Space: strictxml.XMLNamespace, Local: "lang"}, n.Lang)
	}
	w.Text(n.Text)
	w.End()
}

func appendNotes(w *strictxml.Writer, space string, notes []Note) {
	for _, n := range notes {
		appendNote(w, space, "note", n)
	}
}
