package jid

import "strconv"

// SyntaxError says what is wrong with an address. Offset counts octets from the start of the text that was given to the parser.
// It never holds the text itself, so it may be logged and told to a peer.
type SyntaxError struct {
	Offset   int
	Rule     string // short name of the broken rule: "localpart", "length", "bijection" ...
	Section  string // "RFC 7622 §3.3.1"
	Expected string // what the parser would have taken
}

// Error names the rule, the place and what was expected.
func (e *SyntaxError) Error() string {
	s := "jid: " + e.Rule + " at " + strconv.Itoa(e.Offset) + ": expected " + e.Expected
	if e.Section != "" {
		s += " (" + e.Section + ")"
	}
	return s
}
