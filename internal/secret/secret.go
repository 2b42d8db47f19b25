// Package secret holds what must never be printed.
package secret

import "fmt"

// Text is a secret text. It prints as "[redacted]" in every way that fmt, zerolog and encoders know; Reveal alone gives it away.
type Text struct{ octets string }

// New makes a Text.
func New(s string) Text { return Text{octets: s} }

// Reveal returns the secret, for the one place that needs it.
func (t Text) Reveal() string { return t.octets }

// IsZero tells whether there is none.
func (t Text) IsZero() bool { return t.octets == "" }

// String returns "[redacted]".
func (Text) String() string { return "[redacted]" }

// GoString returns "[redacted]", for %#v.
func (Text) GoString() string { return "[redacted]" }

// Format writes "[redacted]" whatever the verb.
func (Text) Format(f fmt.State, _ rune) { f.Write([]byte("[redacted]")) } //nolint:errcheck // fmt keeps the error

// MarshalText returns "[redacted]".
func (Text) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
