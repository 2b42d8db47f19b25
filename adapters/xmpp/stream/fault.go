package stream

import (
	"errors"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Fault is what the peer did wrong, and the stream error that it is told. A stream error that the peer sent is an *Error.
type Fault struct {
	// Condition is what the peer is told. 0 is for what is answered without a stream error.
	Condition Condition
	// Rule says for the log what was broken; it holds nothing of the peer's. Section is the text that holds the rule.
	Rule, Section string
	// App is an application-specific condition (RFC 6120 §4.9.4): a whole element with its own namespace declaration, or "".
	App string
}

// Error returns the rule that was broken.
func (f *Fault) Error() string {
	if f.Rule == "" {
		return "xmpp/stream: " + f.Condition.String()
	}
	return "xmpp/stream: " + f.Rule + " (" + f.Section + ")"
}

// What Open and Accept refuse, for errors.Is. None of these may be changed.
var (
	ErrNoTLS        error = &Fault{PolicyViolation, "the peer does not offer STARTTLS, and policy wants it", "RFC 7590 §3.1", ""}
	ErrTLSRefused   error = &Fault{0, "the peer offered STARTTLS and then refused it", "RFC 6120 §5.4.2.2", ""}
	errStartTLS     error = &Fault{0, "a STARTTLS that was not offered or is malformed", "RFC 6120 §5.4.2.2", ""}
	errProtocol     error = &Fault{0, "another protocol than xmpp-server was negotiated", "RFC 6120 §5.3.6", ""}
	ErrInjected     error = &Fault{PolicyViolation, "octets were sent in the clear where the TLS negotiation begins", "RFC 6120 §5.4.3.1", ""}
	ErrEager        error = &Fault{NotAuthorized, "octets were sent before the answer of the authentication", "RFC 6120 §6.3.5", ""}
	ErrOctets       error = &Fault{PolicyViolation, "more octets than an unauthenticated peer may send", "RFC 6120 §13.12", ""}
	ErrSlow         error = &Fault{ConnectionTimeout, "no authentication in the time for it", "RFC 6120 §13.12", ""}
	ErrUnproven     error = &Fault{PolicyViolation, "the certificate does not prove the domain, and dialback is not allowed", "RFC 6120 §6.4.5", ""}
	ErrTries        error = &Fault{PolicyViolation, "too many attempts to authenticate", "RFC 6120 §6.4.5", ""}
	ErrStanza       error = &Fault{NotAuthorized, "a stanza before authentication", "RFC 6120 §4.9.3.12", ""}
	ErrHostUnknown  error = &Fault{HostUnknown, "the host is not served here", "RFC 6120 §4.9.3.6", ""}
	ErrToChanged    error = &Fault{HostUnknown, "another 'to' than before the restart of the stream", "RFC 6120 §4.7.2", ""}
	ErrFromChanged  error = &Fault{InvalidFrom, "another 'from' than before the restart of the stream", "RFC 6120 §4.7.1", ""}
	ErrVersion      error = &Fault{UnsupportedVersion, "not version 1.0", "RFC 6120 §4.7.5", ""}
	ErrNoSuchNeed   error = &Fault{UnsupportedFeature, "a feature that must be negotiated is not supported here", "RFC 6120 §4.9.3.23", ""}
	ErrFeatures     error = &Fault{BadFormat, "no features after the header", "RFC 6120 §4.3.2", ""}
	ErrSASLSequence error = &Fault{BadFormat, "no answer to an authentication", "RFC 6120 §6.4.3", ""}
)

// ConditionOf returns the stream error that an error of the reader is answered with (RFC 6120 §4.9.3), 0 for an error of the
// connection, which nothing answers.
func ConditionOf(err error) Condition {
	if se, ok := errors.AsType[*strictxml.SyntaxError](err); ok {
		return parseCondition(se.Condition.String())
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return f.Condition
	}
	return 0
}

// AppendFault appends a stream error and closes the stream (RFC 6120 §4.9.2).
func AppendFault(dst []byte, f *Fault) []byte {
	dst = append(dst, "<stream:error><"...)
	dst = append(dst, f.Condition.String()...)
	dst = append(dst, " xmlns='"+SpaceErrors+"'/>"...)
	dst = append(dst, f.App...)
	return append(dst, "</stream:error>"+closingTag...)
}
