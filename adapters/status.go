package adapters

import "time"

// Outcome is one of the three answers of RFC 3860 §3.4.1. The zero value is no outcome: an operation that was answered
// with it is a defect.
type Outcome uint8

// The outcomes.
const (
	// Success: the recipient's side has it ("success", RFC 3860 §3.4.1).
	Success Outcome = iota + 1
	// Failure: it was not delivered and will not be; Reason says why.
	Failure
	// Indeterminate: taken by the next hop, but what became of it is not known ("indeterminant"); SIP 202. A Report may
	// settle it later.
	Indeterminate
)

// String returns the outcome's name for logs and metrics.
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Failure:
		return "failure"
	case Indeterminate:
		return "indeterminate"
	default:
		return "none"
	}
}

// Status answers one operation, exactly once.
type Status struct {
	Outcome Outcome
	// Reason is why, for Failure; ReasonNone otherwise.
	Reason Reason
	// Text may be shown to the peer: a short sentence with nothing local in it. Empty: the Reason's own text is used.
	Text string
	// Remote is what the far side said, for the log only: "404 Not Found", "item-not-found". At most 256 octets.
	Remote string
	// NewAddress is the URI or address that a Gone or Redirect pointed to; empty otherwise (RFC 7247 §7.1 note 3).
	NewAddress string
	// RetryAfter is how long the far side asked to wait; zero when it did not say.
	RetryAfter time.Duration
	// Code is the far side's own number where its protocol has one (a SIP status code); 0 otherwise. For logs.
	Code int
}

// Succeeded is the Status of a plain success.
func Succeeded() Status { return Status{Outcome: Success} }

// Accepted is the Status of a message taken by a hop that will not say more now.
func Accepted() Status { return Status{Outcome: Indeterminate} }

// Failed is the Status of a failure for reason r, told to the peer in the words of text ("" for the reason's own).
func Failed(r Reason, text string) Status { return Status{Outcome: Failure, Reason: r, Text: text} }

// TextOrReason returns what the peer is told: Text, or the reason's own sentence.
func (s Status) TextOrReason() string {
	if s.Text != "" {
		return s.Text
	}
	return s.Reason.Text()
}

// Reason is the canonical reason of a failure: a closed set. Each adapter owns two total functions, its native codes to
// Reason and back, and RFC 7247's two error tables (§7.1, §7.2) are golden data through both.
type Reason uint8

// The reasons. Most have the meaning of the XMPP stanza error of that name (RFC 6120 §8.3.3), because RFC 7247's tables
// map both ways over that set.
const (
	ReasonNone                  Reason = iota
	ReasonBadRequest                   // the request cannot be understood or processed
	ReasonConflict                     // clashes with something that exists
	ReasonNotImplemented               // feature not implemented by the recipient or its server
	ReasonForbidden                    // the sender lacks permission
	ReasonGone                         // the recipient is no longer here; Status.NewAddress may say where
	ReasonInternal                     // a fault of a server on the way
	ReasonNotFound                     // no such recipient
	ReasonAddressMalformed             // an address that the other protocol cannot carry, or not an address
	ReasonNotAcceptable                // the recipient does not accept this
	ReasonNotAllowed                   // nobody may do this
	ReasonNotAuthenticated             // the sender did not prove who it is
	ReasonPolicyViolation              // a local policy forbids it
	ReasonRecipientUnavailable         // temporarily not reachable
	ReasonRedirect                     // temporarily elsewhere; Status.NewAddress says where
	ReasonRegistrationRequired         // the sender must register first
	ReasonDomainNotFound               // the recipient's domain does not exist or does not have the service
	ReasonDomainTimeout                // the recipient's domain did not answer in time
	ReasonOverloaded                   // a server on the way lacks the resources now
	ReasonServiceUnavailable           // the service is not given, or this is not told (XMPP); never SIP 503
	ReasonAuthorizationRequired        // needs a presence authorization first
	ReasonUndefined                    // a condition outside the other reasons
	ReasonUnexpectedRequest            // out of order or at the wrong time
	ReasonTooLarge                     // larger than a hop or protocol carries
	ReasonUnsupportedContent           // a content type that cannot be carried
	ReasonLoop                         // went in a circle, or ran out of hops
	ReasonExpired                      // its life ended before it could be delivered
	ReasonOutcomeUnknown               // it may have been taken, but the hop died before saying so; not retried
	reasonEnd
)

// Reasons returns every reason but ReasonNone, for tables that must be total.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonEnd-1)
	for r := ReasonBadRequest; r < reasonEnd; r++ {
		all = append(all, r)
	}
	return all
}

var reasonNames = [reasonEnd]string{
	ReasonNone: "none", ReasonBadRequest: "bad-request", ReasonConflict: "conflict",
	ReasonNotImplemented: "not-implemented", ReasonForbidden: "forbidden", ReasonGone: "gone",
	ReasonInternal: "internal", ReasonNotFound: "not-found", ReasonAddressMalformed: "address-malformed",
	ReasonNotAcceptable: "not-acceptable", ReasonNotAllowed: "not-allowed",
	ReasonNotAuthenticated: "not-authenticated", ReasonPolicyViolation: "policy-violation",
	ReasonRecipientUnavailable: "recipient-unavailable", ReasonRedirect: "redirect",
	ReasonRegistrationRequired: "registration-required", ReasonDomainNotFound: "domain-not-found",
	ReasonDomainTimeout: "domain-timeout", ReasonOverloaded: "overloaded",
	ReasonServiceUnavailable: "service-unavailable", ReasonAuthorizationRequired: "authorization-required",
	ReasonUndefined: "undefined", ReasonUnexpectedRequest: "unexpected-request", ReasonTooLarge: "too-large",
	ReasonUnsupportedContent: "unsupported-content", ReasonLoop: "loop", ReasonExpired: "expired",
	ReasonOutcomeUnknown: "outcome-unknown",
}

var reasonTexts = [reasonEnd]string{
	ReasonNone:                  "",
	ReasonBadRequest:            "The request could not be understood",
	ReasonConflict:              "The request clashes with something that exists",
	ReasonNotImplemented:        "Not implemented by the recipient",
	ReasonForbidden:             "Forbidden",
	ReasonGone:                  "The recipient is no longer at this address",
	ReasonInternal:              "A server on the way failed",
	ReasonNotFound:              "No such recipient",
	ReasonAddressMalformed:      "The address cannot be carried to the other network",
	ReasonNotAcceptable:         "Not acceptable to the recipient",
	ReasonNotAllowed:            "Not allowed",
	ReasonNotAuthenticated:      "The sender was not authenticated",
	ReasonPolicyViolation:       "Refused by policy",
	ReasonRecipientUnavailable:  "The recipient is not available now",
	ReasonRedirect:              "The recipient is temporarily elsewhere",
	ReasonRegistrationRequired:  "Registration is required",
	ReasonDomainNotFound:        "The recipient's domain was not found",
	ReasonDomainTimeout:         "The recipient's domain did not answer in time",
	ReasonOverloaded:            "A server on the way is overloaded",
	ReasonServiceUnavailable:    "The service is not available to this recipient",
	ReasonAuthorizationRequired: "A presence authorization is required",
	ReasonUndefined:             "The request failed",
	ReasonUnexpectedRequest:     "The request came at the wrong time",
	ReasonTooLarge:              "Too large to be carried",
	ReasonUnsupportedContent:    "This type of content cannot be carried",
	ReasonLoop:                  "The message went in a circle",
	ReasonExpired:               "The message expired before it could be delivered",
	ReasonOutcomeUnknown:        "The message may or may not have been delivered",
}

// String returns the reason's name for logs and metrics: one word, from a fixed set.
func (r Reason) String() string {
	if r >= reasonEnd {
		return "invalid"
	}
	return reasonNames[r]
}

// Text returns a sentence that may be shown to a peer.
func (r Reason) Text() string {
	if r >= reasonEnd {
		return ""
	}
	return reasonTexts[r]
}
