// Package websocket is the server's side of RFC 6455 as SIP uses it (RFC 7118): the handshake and the frames, without a socket and
// without a goroutine. There are no extensions, so no compression (THREATS S19).
//
// It is written here and not taken from a library because little is needed: no client, no extensions, no concurrency of its own, and
// frames that go into the same bounded write queue as every other transport's octets.
package websocket
