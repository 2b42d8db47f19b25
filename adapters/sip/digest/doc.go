// Package digest is the Digest scheme as SIP uses it (RFC 3261 §22, RFC 7616, RFC 8760), for both roles: strict reading and writing of
// challenges and credentials, nonces that the server need not remember, and the choice of an algorithm. The hashing itself is
// github.com/icholy/digest's.
//
// It knows no users and no peers: whose password it is, and whether a challenge may be answered at all, is the caller's to say.
package digest
