package stanza

import "github.com/isthmus-gateway/isthmus/adapters"

// Condition is a defined condition of a stanza error (RFC 6120 §8.3.3). The zero value is none.
type Condition uint8

// The conditions, all 22, in the order of RFC 6120.
const (
	BadRequest Condition = iota + 1
	Conflict
	FeatureNotImplemented
	Forbidden
	Gone
	InternalServerError
	ItemNotFound
	JIDMalformed
	NotAcceptable
	NotAllowed
	NotAuthorized
	PolicyViolation
	RecipientUnavailable
	Redirect
	RegistrationRequired
	RemoteServerNotFound
	RemoteServerTimeout
	ResourceConstraint
	ServiceUnavailable
	SubscriptionRequired
	UndefinedCondition
	UnexpectedRequest
	conditionEnd
)

// conditions holds each condition's element name, the error type that RFC 6120 §8.3.3 says it SHOULD have (the first where it
// names two), and its canonical reason. Every reason that RFC 7247 §7 maps stands here exactly once.
var conditions = [conditionEnd]struct {
	name, kind string
	reason     adapters.Reason
}{
	{"", "", adapters.ReasonNone},
	{"bad-request", "modify", adapters.ReasonBadRequest},
	{"conflict", "cancel", adapters.ReasonConflict},
	{"feature-not-implemented", "cancel", adapters.ReasonNotImplemented},
	{"forbidden", "auth", adapters.ReasonForbidden},
	{"gone", "cancel", adapters.ReasonGone},
	{"internal-server-error", "cancel", adapters.ReasonInternal},
	{"item-not-found", "cancel", adapters.ReasonNotFound},
	{"jid-malformed", "modify", adapters.ReasonAddressMalformed},
	{"not-acceptable", "modify", adapters.ReasonNotAcceptable},
	{"not-allowed", "cancel", adapters.ReasonNotAllowed},
	{"not-authorized", "auth", adapters.ReasonNotAuthenticated},
	{"policy-violation", "modify", adapters.ReasonPolicyViolation},
	{"recipient-unavailable", "wait", adapters.ReasonRecipientUnavailable},
	{"redirect", "modify", adapters.ReasonRedirect},
	{"registration-required", "auth", adapters.ReasonRegistrationRequired},
	{"remote-server-not-found", "cancel", adapters.ReasonDomainNotFound},
	{"remote-server-timeout", "wait", adapters.ReasonDomainTimeout},
	{"resource-constraint", "wait", adapters.ReasonOverloaded},
	{"service-unavailable", "cancel", adapters.ReasonServiceUnavailable},
	{"subscription-required", "auth", adapters.ReasonAuthorizationRequired},
	{"undefined-condition", "cancel", adapters.ReasonUndefined},
	{"unexpected-request", "wait", adapters.ReasonUnexpectedRequest},
}

// String returns the element's name, "" for the zero value.
func (c Condition) String() string {
	if c >= conditionEnd {
		return ""
	}
	return conditions[c].name
}

// Type returns the error type that goes with the condition (RFC 6120 §8.3.3), "" for the zero value.
func (c Condition) Type() string {
	if c >= conditionEnd {
		return ""
	}
	return conditions[c].kind
}

// parseCondition knows the names of String. Any other one MUST be treated "as equivalent to <undefined-condition/>"
// (RFC 6120 §8.3.2).
func parseCondition(name []byte) Condition {
	for c := BadRequest; c < conditionEnd; c++ {
		if string(name) == conditions[c].name {
			return c
		}
	}
	return UndefinedCondition
}

// Reason returns the canonical reason of the condition. It is total: anything else is ReasonUndefined.
func (c Condition) Reason() adapters.Reason {
	if c == 0 || c >= conditionEnd {
		return adapters.ReasonUndefined
	}
	return conditions[c].reason
}

// ConditionOf returns the condition that tells of a reason. It is total: ReasonNone and values that do not exist are
// undefined-condition. Reasons that no condition has for itself follow RFC 7247 §7.2 by way of the SIP code that means the same.
func ConditionOf(r adapters.Reason) Condition {
	switch r {
	case adapters.ReasonTooLarge: // 413, 513
		return PolicyViolation
	case adapters.ReasonUnsupportedContent: // 415
		return NotAcceptable
	case adapters.ReasonLoop: // 482, 483
		return NotAcceptable
	case adapters.ReasonExpired:
		return RemoteServerTimeout
	case adapters.ReasonOutcomeUnknown: // a client may repeat after "wait", and this must not be repeated unasked
		return UndefinedCondition
	}
	for c := BadRequest; c < conditionEnd; c++ {
		if conditions[c].reason == r {
			return c
		}
	}
	return UndefinedCondition
}
