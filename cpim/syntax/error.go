// Package syntax holds the one error type that the format packages under
// cpim return for octets that break a rule.
//
// It is a package of its own so that cpim, cpim/datetime, cpim/imdn and
// cpim/iscomposing can share it without importing one another.
package syntax

import "strconv"

// MaxQuoted is how many octets of foreign input an Error prints at most.
const MaxQuoted = 64

// Error says where an input broke which rule.
//
// Callers compare Rule, never the text of Error: Rule is a short, stable name
// such as "trailing-space", and is what test vectors and `isthmus inspect`
// name.
type Error struct {
	// Offset is the octet in the input at which the fault was seen, counted
	// from 0. It equals the length of the input if more was expected.
	Offset int
	// Rule is the stable, short name of the broken rule.
	Rule string
	// Section is the text that makes it a rule, in the form
	// "RFC 3862 §2.2".
	Section string
	// Expected says in words what would have been right.
	Expected string
	// Found is a quoted, bounded excerpt of what was there, or empty.
	Found string
	// Cause is the error of a deeper reader, or nil.
	Cause error
}

// Error prints all fields on one line; what came from outside is quoted.
func (e *Error) Error() string {
	s := e.Rule + " at octet " + strconv.Itoa(e.Offset)
	if e.Section != "" {
		s += " (" + e.Section + ")"
	}
	if e.Expected != "" {
		s += ": expected " + e.Expected
	}
	if e.Found != "" {
		s += ", found " + e.Found
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// At makes an Error whose Found shows what input holds at offset.
func At[T ~string | ~[]byte](input T, offset int, rule, section, expected string) *Error {
	return &Error{Offset: offset, Rule: rule, Section: section, Expected: expected, Found: quote(input, offset)}
}

// Shift returns a copy of e with base added to its offset, for a value that
// was parsed inside a larger input. A nil e gives nil.
func (e *Error) Shift(base int) *Error {
	if e == nil {
		return nil
	}
	c := *e
	c.Offset += base
	return &c
}

func quote[T ~string | ~[]byte](input T, offset int) string {
	if offset < 0 || offset > len(input) {
		return ""
	}
	if offset == len(input) {
		return "the end"
	}
	end := min(len(input), offset+16)
	return strconv.QuoteToASCII(string(input[offset:end]))
}
