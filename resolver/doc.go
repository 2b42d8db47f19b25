// Package resolver turns the domain of an im:, pres:, sip:, sips: or xmpp: address into an ordered list of next hops.
//
// It implements RFC 3861 (with the labels of RFC 5509 and RFC 3921), RFC 2782, RFC 3263, RFC 6120 §3.2 and XEP-0368, on a DNS
// stub of its own: a cache (RFC 2308, RFC 8767), UDP with EDNS0, TCP and DNS over TLS. It also holds the Guard that keeps every
// dialler of the gateway away from addresses that a stranger's DNS must not choose.
//
// It is the only package that imports miekg/dns (with resolvertest below it); none of that library's types crosses its boundary.
package resolver
