// Package stream opens and closes XMPP streams: at present the component protocol (XEP-0114), on the strict XML reader. It knows
// stream headers, the handshake and stream errors, and nothing of stanzas.
package stream
