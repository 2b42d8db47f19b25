// Package resolver turns the domain of an im:, pres:, sip:, sips: or xmpp: address into an ordered list of next hops.
//
// It implements RFC 3861 (with the labels of RFC 5509 and RFC 3921), RFC 2782, RFC 3263, RFC 6120 §3.2 and XEP-0368, on a DNS
// stub of its own: a cache (RFC 2308, RFC 8767), UDP with EDNS0, TCP and DNS over TLS. It also holds the Guard that keeps every
// dialler of the gateway away from addresses that a stranger's DNS must not choose.
//
// It is the only package that imports miekg/dns (with resolvertest below it); none of that library's types crosses its boundary.
//
// # Where the specifications leave room or disagree
//
//   - SRV records of any kind that was asked about forbid the addresses of the domain itself (RFC 3861 §4 speaks of the domain, not
//     of one label); so does a target of ".".
//   - A lookup that failed is not taken for a denial: RFC 7673 §3.1 (MUST abort) goes before RFC 6120 §3.2.1, item 9 (SHOULD fall
//     back), unless Policy.FallbackAfterFailure says otherwise. A bogus answer looks like that.
//   - A protocol whose RFC 3861 label has records is not looked for by its own records as well.
//   - _im._sip names a port and no transport: port 5061 is TLS, any other is UDP and then TCP, as RFC 3263 §4.1 has it for a URI
//     with an explicit port.
//   - Of NAPTR records only those of the lowest order that matches are used (RFC 3403 §4.1), so that a domain that puts SIPS first
//     is not reached without it.
//   - DNSSEC is validated by the recursive server: its AD bit is believed if it is on this host or behind TLS. No maintained library
//     validates, and this package does not try.
//   - The reference identity is the domain that was asked for, also behind aliases (RFC 6120 §13.7.2.1, RFC 5922 §7.3). Target.Secure
//     says when RFC 7673 §4.1 lets the host name count too.
//
// # Bounds
//
// One resolution follows at most 8 aliases, uses at most 16 servers with 8 addresses each and returns at most 64 targets. One
// question goes to one silent server at most once a second, and after a failure is not repeated for 1 to 15 seconds; when no
// server answers even the root's SOA, they get one probe per second and every lookup fails at once. Caches are bounded in octets.
package resolver
