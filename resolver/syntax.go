package resolver

import "strconv"

// SyntaxError says what is wrong with a name, a static next hop or a line of resolv.conf. Offset counts octets from the start of
// the text that was given to the parser. It never holds the text itself.
type SyntaxError struct {
	Offset   int
	Rule     string // short name of the broken rule: "label", "port", "transport" ...
	Section  string // "RFC 1035 §2.3.4", or empty if no specification decides
	Expected string // what the parser would have taken
}

// Error names the rule, the place and what was expected.
func (e *SyntaxError) Error() string {
	s := "resolver: " + e.Rule + " at " + strconv.Itoa(e.Offset) + ": expected " + e.Expected
	if e.Section != "" {
		s += " (" + e.Section + ")"
	}
	return s
}
