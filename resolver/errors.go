package resolver

import (
	"errors"
	"strings"
)

// The reasons why there is no target. Each *Error is one of them by errors.Is; so is a Guard's refusal (ErrForbidden).
var (
	// ErrName: the text is no domain that may be resolved: no syntax, an address where a domain is due, a single label, or a
	// special-use name. Permanent.
	ErrName = errors.New("resolver: not a resolvable domain name")
	// ErrNotFound: the DNS says that the domain does not exist or has no address for the service. Permanent until the DNS changes.
	ErrNotFound = errors.New("resolver: no such service")
	// ErrDenied: the domain says "." (RFC 2782): "the service is decidedly not available at this domain". Permanent like ErrNotFound.
	ErrDenied = errors.New("resolver: the domain does not offer the service")
	// ErrTemporary: a lookup failed, so that nothing is known. Try again later.
	ErrTemporary = errors.New("resolver: lookup failed")
)

// Error is why a resolution has no target, and which lookup decided it.
type Error struct {
	Reason   error  // one of ErrName, ErrNotFound, ErrDenied, ErrTemporary, ErrForbidden
	Domain   string // quoted and cut where it is printed
	Question string // the lookup that decided: "_im._sip.example.net SRV"; empty if none was made
	Detail   string // in words, for logs; never for the far side
}

// Error says all of it in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("resolve ")
	b.WriteString(quote(e.Domain))
	b.WriteString(": ")
	b.WriteString(strings.TrimPrefix(e.Reason.Error(), "resolver: "))
	if e.Question != "" {
		b.WriteString(": ")
		b.WriteString(e.Question)
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	return b.String()
}

// Unwrap is the Reason.
func (e *Error) Unwrap() error { return e.Reason }

// Temporary reports whether a later try may end differently without anybody changing the DNS.
func (e *Error) Temporary() bool { return e.Reason == ErrTemporary }
