package strictxml

import "strconv"

// Condition is the class of a fault, named for the stream error that closes a
// stream on which it is found (RFC 6120 §4.9.3). Its zero value is
// NotWellFormed, the general case.
type Condition uint8

const (
	// NotWellFormed: the octets violate XML 1.0 or Namespaces in XML
	// (RFC 6120 §4.9.3.13).
	NotWellFormed Condition = iota
	// RestrictedXML: a comment, processing instruction, document type
	// declaration or entity reference (RFC 6120 §4.9.3.18).
	RestrictedXML
	// UnsupportedEncoding: another encoding than UTF-8 is declared or used,
	// or the rules of UTF-8 are violated (RFC 6120 §4.9.3.22).
	UnsupportedEncoding
	// PolicyViolation: a limit is exceeded (RFC 6120 §4.9.3.14).
	PolicyViolation
	// BadNamespacePrefix: a prefix is bound but not one the protocol allows
	// there (RFC 6120 §4.9.3.2). This package never reports it, because an
	// unbound prefix is not well-formed (RFC 6120 §4.9.3.13); it is here for
	// the XMPP adapter's check of the stream header (RFC 6120 §4.8.5).
	BadNamespacePrefix
)

// String returns the local name of the stream error element, such as
// "not-well-formed".
func (c Condition) String() string {
	switch c {
	case NotWellFormed:
		return "not-well-formed"
	case RestrictedXML:
		return "restricted-xml"
	case UnsupportedEncoding:
		return "unsupported-encoding"
	case PolicyViolation:
		return "policy-violation"
	case BadNamespacePrefix:
		return "bad-namespace-prefix"
	}
	return "undefined-condition"
}

// SyntaxError says where and why input was refused. It never contains octets
// of the input, so it may be logged and sent to the peer.
type SyntaxError struct {
	// Offset is the position of the first octet that cannot be part of valid
	// input, counted from the start of the document, of the element, or of
	// the whole stream in Stream's errors.
	Offset int64
	// Rule is the short name of the rule broken, such as "tag-mismatch".
	Rule string
	// Section is the text that holds the rule, such as "XML 1.0 §3.1".
	Section string
	// Detail says what was expected.
	Detail string
	// Condition is the stream error to send.
	Condition Condition
}

// Error returns one line with the offset, the rule, its section and what was
// expected.
func (e *SyntaxError) Error() string {
	return "strictxml: offset " + strconv.FormatInt(e.Offset, 10) + ": " + e.Rule + " (" + e.Section + "): " + e.Detail
}
