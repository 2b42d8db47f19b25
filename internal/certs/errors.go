package certs

import "strconv"

// Error says why a certificate is not taken: which rule, and where it is written. Its text holds nothing that the far side sent,
// except in quotes and cut.
type Error struct {
	// Rule is a short stable name: "expired", "name-octet", "usage". Programs compare it, never the text.
	Rule string
	// Section is where the rule stands, as "RFC 5280 §4.2.1.12".
	Section string
	// Detail is what was expected, and what was there.
	Detail string
	// Offset is the octet of the subjectAltName extension at which reading failed, from 0; -1 if the fault has no place in it.
	Offset int
}

// Error is all of it on one line.
func (e *Error) Error() string {
	s := "certificate: " + e.Rule
	if e.Section != "" {
		s += " (" + e.Section + ")"
	}
	if e.Offset >= 0 {
		s += " at octet " + strconv.Itoa(e.Offset) + " of subjectAltName"
	}
	return s + ": " + e.Detail
}

// Fault makes an Error that has no place in subjectAltName.
func Fault(rule, section, detail string) *Error {
	return &Error{Rule: rule, Section: section, Detail: detail, Offset: -1}
}

// Quote is foreign text for an Error or a log: in quotes, ASCII, and cut so that the whole has at most 260 octets.
func Quote(s string) string {
	const most = 256
	for n := min(len(s), most); ; n -= 8 {
		q := strconv.QuoteToASCII(s[:n])
		switch {
		case len(q) > most:
		case n < len(s):
			return q[:len(q)-1] + `…"`
		default:
			return q
		}
	}
}
