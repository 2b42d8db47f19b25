// Package cpim holds the canonical forms of the IETF's IMPP working group for
// instant messages, and nothing that talks to a network: im: and pres:
// addresses with their mapping to and from sip:, sips: and tel: URIs
// (RFC 3859, RFC 3860, RFC 3261, RFC 3966, RFC 7247), Message/CPIM objects
// (RFC 3862) and the MIME content type values inside them (RFC 2045).
//
// The packages below it hold timestamps (cpim/datetime) and two content types
// that instant messages carry (cpim/imdn, cpim/iscomposing).
//
// Every parser is strict: it takes what the cited text allows and returns a
// *SyntaxError with the octet, the rule and the section for all else. Where
// deployed clients are known to send something else there is a second
// function, by another name, that also reports which of the known faults it
// met. No parser panics, and none uses more than a fixed multiple of its
// input.
package cpim

import "github.com/isthmus-gateway/isthmus/cpim/syntax"

// SyntaxError is the error of every parser in this package: the octet, the
// name of the rule, the section of the text, and what was expected.
type SyntaxError = syntax.Error
