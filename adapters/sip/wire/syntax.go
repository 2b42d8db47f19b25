package wire

import "strconv"

// SyntaxError says what is wrong with a message, URI, address or Via, and how a server answers it.
type SyntaxError struct {
	Offset   int    // octets before the fault, in what was given to the parse function
	Rule     string // short name of the rule that was broken, from a fixed set: it may label a metric
	Section  string // where the rule stands: "RFC 3261 §7.3.1"
	Expected string // what should have been there
	Code     int    // the SIP status to answer a request with: 400, 414, 505 or 513
	Reason   string // the reason phrase to answer with, which names the fault: "Bad Request: two Call-ID headers"
	// Framing tells that the end of the message is not known: a stream must be closed, there is no resynchronisation.
	Framing bool
}

// Error returns the fault with its place and section.
func (e *SyntaxError) Error() string {
	return "sip: " + e.Rule + " at octet " + strconv.Itoa(e.Offset) + ": expected " + e.Expected + " (" + e.Section + ")"
}
