package stanza

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// SpaceConditions is the namespace of the application-specific conditions that this gateway sends (RFC 6120 §8.3.4): reasons of package
// adapters that no defined condition says, each as an empty element of that name.
const SpaceConditions = "https://github.com/isthmus-gateway/isthmus/ns/errors"

// Error is a stanza error (RFC 6120 §8.3), received or to be sent.
type Error struct {
	Condition Condition
	// Type is the error type; "" means the one that goes with the condition.
	Type string
	// Text describes the error for people; Lang is its language.
	Text, Lang string
	// NewAddress is the URI that <gone/> or <redirect/> contained (RFC 6120 §8.3.3.5, §8.3.3.14).
	NewAddress string
	// Application is the name of the application-specific condition (RFC 6120 §8.3.4); "" for none. One received is for the log alone;
	// one to be sent is in the namespace SpaceConditions.
	Application string
}

// Error returns the condition's name, for logs.
func (e *Error) Error() string { return "stanza error " + e.Condition.String() }

// maxRemote bounds what is kept of a far side's words, in octets.
const maxRemote = 256

// Status returns what an error received in answer to an operation says (RFC 7247 §7.1).
func (e *Error) Status() adapters.Status {
	s := adapters.Failed(e.Condition.Reason(), "")
	s.Remote = e.Condition.String()
	if e.Application != "" {
		s.Remote = cut(s.Remote + " " + e.Application)
	}
	if e.Text != "" {
		s.Text = cut(e.Text)
	} else {
		s.Text = e2eWords(e.Application)
	}
	s.NewAddress = e.NewAddress
	return s
}

// ErrorOf returns the error to send for the failure s (RFC 7247 §7.2).
func ErrorOf(s adapters.Status) *Error {
	e := &Error{Condition: ConditionOf(s.Reason), Text: s.TextOrReason(), Lang: "en"}
	if e.Condition == Gone || e.Condition == Redirect {
		e.NewAddress = newAddress(s.NewAddress)
	}
	switch s.Reason {
	case adapters.ReasonTooLarge, adapters.ReasonUnsupportedContent, adapters.ReasonLoop, adapters.ReasonExpired, adapters.ReasonOutcomeUnknown:
		e.Application = s.Reason.String() // the condition alone says less
	}
	if e.Condition == Redirect && e.NewAddress == "" {
		// RFC 6120 §8.3.3.14: the element MUST hold the alternate address. Without one this is no redirect.
		e.Condition = RecipientUnavailable
	}
	return e
}

// fault is an error for a stanza that breaks a rule.
func fault(c Condition, text string) *Error { return &Error{Condition: c, Text: text, Lang: "en"} }

// cut shortens s to maxRemote octets at a character's boundary.
func cut(s string) string {
	if len(s) <= maxRemote {
		return s
	}
	return strings.ToValidUTF8(s[:maxRemote], "")
}

// Refusal says that an operation cannot be written as a stanza. It is an error, and the operation's answer.
type Refusal struct {
	Reason adapters.Reason
	Detail string // may be shown to the peer; nothing local in it
}

// Error returns the detail.
func (r *Refusal) Error() string { return "stanza: " + r.Reason.String() + ": " + r.Detail }

// Status returns the answer to the operation.
func (r *Refusal) Status() adapters.Status { return adapters.Failed(r.Reason, r.Detail) }
