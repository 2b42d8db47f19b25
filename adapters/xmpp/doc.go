// Package xmpp is the adapter for XMPP: component streams (XEP-0114) to any number of servers, and streams between servers (RFC 6120) with
// any domain, on the gateway's own stream layer.
//
// # Paths
//
// A path is what one of our domains and the other side exchange stanzas through: a component link, or a pair of domains between servers.
// It owns what waits to be written and what was written and is not settled, and outlives its streams. A pair gets a stream when something
// waits: one that the other server opened and that carries both ways (XEP-0288), one that carries other pairs to the same server
// (XEP-0220 §2.6), or a new one to the targets that the core found. A stanza that comes between servers is from a domain that its stream
// has proven, by EXTERNAL or, where policy allows, by dialback, and never from one of ours.
//
// # Acknowledgement
//
// The component protocol has none, and XEP-0198 is not offered on it: what is on its way when either end dies is lost in silence
// (THREATS.md 0.5). So each batch of stanzas is followed by a ping (XEP-0199) to the server. A server handles the stanzas of one
// stream in order, so any answer to the ping, an error too, shows that it took what came before. A message whose ping was
// answered is Indeterminate: taken, not known to be delivered. One that left before the stream died, and was not acknowledged, is
// ReasonOutcomeUnknown. One that never left stays in the queue, up to its deadline, for the next stream.
//
// Between servers XEP-0198 is used where both know it: h settles what it covers, and a stream that breaks is resumed. What we acknowledge
// is what the core has answered, without a gap. Elsewhere pings are used as on a component link; the answer comes on whatever stream
// the other server writes to us on.
//
// # Goroutines
//
// Each link has one goroutine that connects and writes, and while it is up one that reads and one that guards against a server that
// has stopped answering. The reader calls the Handler, which never waits, and never waits itself. A stream between servers has one that
// reads, and one that writes while there is something to write; one goroutine watches all of them.
//
// # One user's stanza
//
// The stream carries everybody's stanzas, so it ends for a fault of the server's only: what is not well-formed. A stanza that exceeds a
// limit is passed over, and its sender told (RFC 6120 §13.12). Between servers the addresses are the server's business as well: a wrong
// 'from' ends the stream (RFC 6120 §4.9.3.9).
package xmpp
