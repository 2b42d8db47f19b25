// Package wire is SIP messages as octets: a strict parser, a stream framer and typed writers (RFC 3261 §7, §18.3, §25.1).
//
// It is pure: no socket, no clock, no goroutine. A Message indexes the octets it was parsed from and never copies them; the writers
// check every value, so that what comes out is exactly one message whose header fields are those that were asked for.
package wire
