// Package sip is the SIP SIMPLE side of the gateway: MESSAGE (RFC 3428), and the presence event package (RFC 3856) by SUBSCRIBE and
// NOTIFY (RFC 6665), translated to and from the operations of package adapters by the rules of RFC 7247, RFC 7572 and RFC 8048.
//
// # Layers
//
// Package wire knows SIP messages as octets, package transaction sockets and non-INVITE transactions; both stay below this package,
// and none of their types crosses the boundary that is package adapters. Here are the user agent's rules (RFC 3261 §8, §12), the
// translations, and the dialogs.
//
// # Translation without sockets
//
// ReadMessage, WriteMessage, ReadSubscribe, WriteSubscribe, ReadNotify, WriteNotify, WriteReport and the two functions over codes,
// ReasonOf and CodeOf, are pure; Adapter is what puts them on a network.
//
// # Who may send
//
// Default closed: a request is served only if it comes from a network of a configured Peer and its From names a domain of that
// Peer. P-Asserted-Identity and its kin are neither believed nor passed on.
package sip
