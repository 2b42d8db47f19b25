package pidf

import (
	"errors"
	"strconv"
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// SyntaxError says why a document is not valid PIDF: where, which rule, which text says so, and what was expected.
// It never holds octets of the document, so it can be logged.
type SyntaxError struct {
	// Offset is the number of octets before the element or attribute at fault, from the start of the document; for a
	// fault that concerns no place (a missing root attribute) it is the offset of the element that lacks it. It is -1
	// for a fault found while printing.
	Offset int64
	// Rule is the short name of the rule, stable between releases: "tuple-id", "basic-value".
	Rule string
	// Section is the text that decides, such as "RFC 3863 §4.1.2".
	Section string
	// Expected says what would have been right.
	Expected string
	// Err is the fault that the XML reader found, or nil.
	Err error
}

// Error gives one line: rule, offset, expectation, section.
func (e *SyntaxError) Error() string {
	b := make([]byte, 0, 128)
	b = append(b, "pidf: "...)
	b = append(b, e.Rule...)
	if e.Offset >= 0 {
		b = append(b, " at offset "...)
		b = strconv.AppendInt(b, e.Offset, 10)
	}
	if e.Expected != "" {
		b = append(b, ": expected "...)
		b = append(b, e.Expected...)
	}
	if e.Section != "" {
		b = append(b, " ("...)
		b = append(b, e.Section...)
		b = append(b, ')')
	}
	return string(b)
}

// Unwrap gives the XML reader's error, if that is what was wrong.
func (e *SyntaxError) Unwrap() error { return e.Err }

// xmlFault turns an error of the XML reader into a SyntaxError, with base added to its offset.
func xmlFault(err error, base int64) error {
	var x *strictxml.SyntaxError
	if errors.As(err, &x) {
		return &SyntaxError{Offset: x.Offset + base, Rule: x.Rule, Section: x.Section, Expected: strings.TrimPrefix(x.Detail, "expected "), Err: err}
	}
	return &SyntaxError{Offset: base, Rule: "xml", Section: "RFC 3863 §4.1", Expected: "a well-formed XML document", Err: err}
}

// unprintable is the fault of a value that the caller built and that no valid document can hold.
func unprintable(rule, section, expected string) error {
	return &SyntaxError{Offset: -1, Rule: rule, Section: section, Expected: expected}
}
