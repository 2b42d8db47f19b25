// Package stanza translates between XMPP stanzas and the operations of package adapters, without a socket: what adapters/xmpp does
// on the wire is these functions, and so is what a demonstration, a translator or a benchmark shows.
//
// A Reader takes the octets of one stanza apart in one pass over the strict tokenizer; ToMessage, ToWatch, ToNotify and ToReport
// make operations of the result. The Append functions write operations out: always one stanza each from parsed values
// (THREATS.md X1), or a *Refusal and nothing.
package stanza
