// Package passport verifies the Identity header field of a SIP request (RFC 8224): a PASSporT (RFC 8225), full or compact, signed with
// ES256 by somebody who may speak for the originator. It is a pure function of the request, the credentials and the clock.
//
// Nothing is fetched: the "info" URI is looked up among the credentials that the operator has put there, by simple string comparison
// (RFC 3986 §6.2.1). So a stranger's request makes the gateway speak to nobody.
//
// # Where the specifications leave room or disagree
//
//   - The grammar of RFC 8224 §4 has the letters of base64, its examples and RFC 8225 §6 those of base64url. base64url is read.
//   - The full form that RFC 8224 §4.1.1 and RFC 8225 §7.1 print has "iat" as a string, against RFC 8225 §5.1.1, and in the first an info
//     that is not its x5u. It is refused as it stands.
//   - RFC 8224 §6.2 step 4 lets a fresh iat stand in for a Date that was changed on the way; RFC 8224 §12.1 says "MUST NOT deem valid a
//     request with an outdated Date header field". Both must be fresh, where both are there.
//   - A number is one if its URI says so: tel, or user=phone (RFC 8224 §8.1). A "+" alone does not make one. It is taken as global as it
//     stands, so that a number with phone-context is a URI.
//   - Authority over a domain is that of RFC 5922 §7.2 (RFC 8224 §8.4); authority over numbers is what the operator's entry says, because
//     the TNAuthList of RFC 8226 is not read.
//   - Extensions ("ppt") are not supported, so that such a header is passed over (RFC 8224 §6.2 step 1).
package passport
