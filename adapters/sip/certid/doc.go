// Package certid decides which SIP domains a certificate proves: RFC 5922, for servers that we dial (RFC 5922 §7.3) and clients that
// dial us (RFC 5922 §7.4).
//
// The domain that a server must prove is the one that the address has (the AUS of RFC 3263), never what DNS made of it.
//
// # Where the specifications leave room
//
//   - The CN is never looked at: RFC 5922 §7.1 allows it, as a MAY, for a certificate without subjectAltName.
//   - A URI with the scheme sip and no user that names no domain (a wildcard, an address) proves nothing, and still keeps the dNSNames
//     from counting: the certificate speaks in URIs.
//   - Extended key usages (RFC 5922 §7.1 asks for them to be honoured): id-kp-sipDomain (RFC 5924) is right on both sides, serverAuth on a
//     server's, clientAuth on a client's, anyExtendedKeyUsage and none at all on both.
package certid
