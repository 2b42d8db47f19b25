// Package xmpp is the adapter for XMPP: component streams (XEP-0114) to any number of servers, on the gateway's own stream layer.
//
// # Acknowledgement
//
// The component protocol has none, and XEP-0198 is not offered on it: what is on its way when either end dies is lost in silence
// (THREATS.md 0.5). So each batch of stanzas is followed by a ping (XEP-0199) to the server. A server handles the stanzas of one
// stream in order, so any answer to the ping, an error too, shows that it took what came before. A message whose ping was
// answered is Indeterminate: taken, not known to be delivered. One that left before the stream died, and was not acknowledged, is
// ReasonOutcomeUnknown. One that never left stays in the queue, up to its deadline, for the next stream.
//
// # Goroutines
//
// Each link has one goroutine that connects and writes, and while it is up one that reads and one that guards against a server that
// has stopped answering. The reader calls the Handler, which never waits, and never waits itself.
//
// # One user's stanza
//
// The stream carries everybody's stanzas, so it ends for a fault of the server's only: what is not well-formed. A stanza that exceeds a
// limit is passed over, and its sender told (RFC 6120 §13.12).
package xmpp
