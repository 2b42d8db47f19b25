// Package stream opens, reads, writes and closes XMPP streams on the strict XML reader: those of components (XEP-0114), and those
// between servers in both roles (RFC 6120), with STARTTLS or direct TLS (XEP-0368), SASL EXTERNAL (XEP-0178), the elements of dialback
// (XEP-0220), bidirectional streams (XEP-0288), stream management (XEP-0198) and limits (XEP-0478). It knows streams, not routing: which
// domains a stream may speak for, and what waits to be written, is the caller's.
package stream
