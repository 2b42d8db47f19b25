// Package transaction is the transport and transaction layers of SIP for requests that are not INVITE: listeners, connections, and
// client and server transactions (RFC 3261 §17.1.2, §17.2.2, §18; RFC 3581; RFC 4320).
//
// Octets come from a reader goroutine of each socket, which parses, matches, and calls the Handler; nothing on that path waits for a
// network. A transaction has no goroutine and no runtime timer: one wheel wakes them all. Every table and queue has a bound.
//
// INVITE is served without state (RFC 3261 §8.2.7): each copy goes to the Handler, whose refusal is sent once, never again. So a forged
// INVITE makes one answer, not eleven. ACK is dropped. CANCEL is answered here (RFC 3261 §9.2).
package transaction
