// Package mimebody reads MIME bodies with parts (RFC 2046 §5.1) as they come in SIP requests and Message/CPIM objects, and says what a
// content of any type is to a person: Render.
//
// The reader is strict and bounded: two programs that read the same octets must not see different parts. What it takes is given as it
// came; nothing is repaired. It stands beside mime/multipart, which is neither strict nor bounded in what a part's headers may be.
package mimebody

import (
	"errors"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// SyntaxError is the error of every fault of form in this package; its offset counts in the body that was given.
type SyntaxError = syntax.Error

// The errors that are no faults of form. They are wrapped, with the media type or charset.
var (
	// ErrUnsupported says that a part which must be handled has no form that a person could be shown.
	ErrUnsupported = errors.New("mimebody: a content that cannot be shown")
	// ErrSecured says that a content is signed or encrypted (RFC 8551 §3): it crosses whole or not at all.
	ErrSecured = errors.New("mimebody: a signed or encrypted content")
	// ErrCharset says that a charset is not known.
	ErrCharset = errors.New("mimebody: an unknown charset")
	// ErrUndecodable says that octets are no text of the charset that they claim.
	ErrUndecodable = errors.New("mimebody: not text of the charset it claims")
)

// Limits bounds what is read. A zero or negative field stands for its default; there is no way to say "unlimited". What goes beyond a
// limit is refused whole.
type Limits struct {
	// Octets is the greatest length of a content, and of all that is decoded from it together (default 1 MiB).
	Octets int
	// Parts is how many parts a content may have on all levels together (default 64).
	Parts int
	// Depth is how deep multiparts may stand in one another; a multipart without multiparts in it is 1 (default 8).
	Depth int
	// HeaderOctets is the greatest length of one part's headers (default 8192), Headers how many there may be (default 32).
	HeaderOctets, Headers int
}

// DefaultLimits returns the limits used where a field is zero.
func DefaultLimits() Limits {
	return Limits{Octets: 1 << 20, Parts: 64, Depth: 8, HeaderOctets: 8192, Headers: 32}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ to, from *int }{
		{&d.Octets, &l.Octets}, {&d.Parts, &l.Parts}, {&d.Depth, &l.Depth}, {&d.HeaderOctets, &l.HeaderOctets}, {&d.Headers, &l.Headers},
	} {
		if *f.from > 0 {
			*f.to = *f.from
		}
	}
	return d
}
