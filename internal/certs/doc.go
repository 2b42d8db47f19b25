// Package certs holds the gateway's own certificates and trust anchors, makes TLS configurations of them, and reads from a peer's
// certificate what both protocols need: whether its path is good (RFC 5280) and which names it has (SAN, never the subject). Which
// name proves which domain is a rule of each protocol: adapters/xmpp/certid and adapters/sip/certid.
//
// # Where the specifications leave room
//
//   - The subject is never looked at: RFC 6125 §6.4.4 and RFC 5922 §7.1 allow the CN as a last resort, and both as a MAY.
//   - A dNSName constraint of a CA (RFC 5280 §4.2.1.10) binds every kind of name that proves a domain. By the letter it says
//     nothing about URIs and otherNames, so that a CA bound to example.net could prove sip:example.com.
//   - A subjectAltName with an octet that no name may have (NUL, blank, a control, not ASCII where ASCII is due) spoils the whole
//     certificate, not that one name.
//   - An empty subject is taken, although RFC 6120 §13.7.1.1 forbids it: public CAs issue such certificates since 2025.
//   - A certificate that is itself among the trust anchors needs no path: the operator has put it there.
//   - Extended key usages bind all certificates of a path, the anchor included, as in every browser.
//   - TLS is 1.2 with forward secrecy and AEAD, or 1.3 (RFC 7590 §3 with RFC 7525 §4.2). The suite that RFC 3261 §26.2.1 and RFC
//     6120 §13.8 once made mandatory, TLS_RSA_WITH_AES_128_CBC_SHA, has neither and is not offered.
//   - No TLS session is ever resumed, so that each connection is judged by the anchors and the clock of its own time.
//   - Revocation (RFC 6120 §13.7.2, item 5) is not checked: neither CRLs nor OCSP are fetched.
package certs
