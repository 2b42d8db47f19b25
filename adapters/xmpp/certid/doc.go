// Package certid decides whether the certificate that an XMPP server presents proves a domain: RFC 6120 §13.7.2 with RFC 6125 §6, for
// both sides of a server-to-server stream (XEP-0178), and with DANE for servers that were found by authentic DNS (RFC 7673 §4, RFC
// 7712 §5.1).
//
// The domain that is to be proven is always the one that the stream is for: the 'to' that we wrote when we dial, the 'from' that the
// peer wrote when it does (RFC 6120 §13.7.2.1). The host that DNS named counts beside it only if the answer was authentic.
//
// # Where the specifications leave room
//
//   - The CN is never looked at (RFC 6125 §6.4.4 allows it as a last resort).
//   - A wildcard is the whole left-most label of a dNSName and stands for one label; it does not stand directly above a top-level
//     domain, nor in an SRVName or XmppAddr (RFC 6125 §6.4.3 allows more).
//   - The certificate of a server that dials us may be for TLS servers alone: it is the server's own certificate, as XEP-0178 §3
//     has it, and public CAs have stopped to issue it for clients too.
//   - An XmppAddr proves a domain if it is that domain, without localpart and resource.
//   - Of TLSA records only the strongest digest for each usage and selector counts (RFC 7671 §9). A bare key as an anchor ("2 1 0")
//     counts only if the server sends the certificate with it (RFC 7671 §5.2.3 asks servers to).
package certid
