package resolver_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/resolver"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

func TestRFC3861(t *testing.T) {
	for _, c := range []rule{
		{
			name: "service label im",
			says: `RFC 3861 §3: "The symbolic name used in the Service field of the SRV record is "_im" for instant messaging and "_pres" for presence"`,
			zone: "_im._sip SRV 0 0 5060 a\n_pres._sip SRV 0 0 5060 b\na A 192.0.2.1\nb A 192.0.2.2\n", query: "im:romeo@example.net",
			want:  []string{"sip/udp 192.0.2.1:5060", "sip/tcp 192.0.2.1:5060"},
			asks:  []string{"_im._sip.example.net SRV", "_im._xmpp.example.net SRV"},
			never: []string{"_pres._sip.example.net SRV"},
		},
		{
			name: "service label pres",
			says: `RFC 3861 §3: "The same procedure is used for PRES URIs, with the "_pres" Service label."`,
			zone: "_im._sip SRV 0 0 5060 a\n_pres._sip SRV 0 0 5060 b\na A 192.0.2.1\nb A 192.0.2.2\n", query: "pres:romeo@example.net",
			want: []string{"sip/udp 192.0.2.2:5060", "sip/tcp 192.0.2.2:5060"}, never: []string{"_im._sip.example.net SRV"},
		},
		{
			name: "label _sip",
			says: `RFC 5509 §3: "in order to resolve the IM URI, the UA performs a SRV lookup for: _im._sip.example.com"`,
			zone: "_im._sip SRV 0 0 5061 simple\nsimple A 192.0.2.3\n", query: "im:fred@example.net",
			want: []string{"sip/tls 192.0.2.3:5061"},
		},
		{
			name: "label _xmpp",
			says: `RFC 3921 §15.2: "the IANA registers the "_xmpp" protocol label in the appropriate registry"`,
			zone: "_pres._xmpp SRV 0 0 5270 x\nx A 192.0.2.4\n", query: "pres:fred@example.net", want: []string{"xmpp/tcp 192.0.2.4:5270"},
		},
		{
			name: "several protocols",
			says: `RFC 3861 §3: "they may make several such SRV queries, in an application-specific order, until they find one supported in common with the target domain."`,
			zone: "_im._sip SRV 0 0 5061 s\n_im._xmpp SRV 0 0 5269 x\ns A 192.0.2.1\nx A 192.0.2.2\n", query: "im:a@example.net",
			want: []string{"sip/tls 192.0.2.1:5061", "xmpp/tcp 192.0.2.2:5269"},
		},
		{
			name: "order is policy",
			says: `RFC 3861 §5: "The transfer-time choice of the IM transfer protocol to be used ... is a local configuration option for each sending system."`,
			zone: "_im._sip SRV 0 0 5061 s\n_im._xmpp SRV 0 0 5269 x\ns A 192.0.2.1\nx A 192.0.2.2\n", query: "im:a@example.net",
			want: []string{"xmpp/tcp 192.0.2.2:5269", "sip/tls 192.0.2.1:5061"},
			cfg: func(c *resolver.Config, _ *resolvertest.Options) {
				c.Policy.Order = []resolver.Step{resolver.StepXMPP, resolver.StepIMPPXMPP, resolver.StepIMPPSIP}
			},
			never: []string{"example.net NAPTR"},
		},
		{
			name: "FQDN only",
			says: `RFC 3861 §4: "The names MUST be fully-qualified domain names (FQDNs)"`,
			zone: "", query: "im:a@localnet", err: resolver.ErrName, never: []string{"_im._sip.localnet SRV"},
		},
		{
			name: "single label by policy",
			says: `RFC 3861 §4: "mechanisms for inferring FQDNs from partial names or local aliases are a local matter."`,
			zone: "_im._xmpp.localnet. SRV 0 0 5269 x\nx A 192.0.2.4\n", query: "im:a@localnet", want: []string{"xmpp/tcp 192.0.2.4:5269"},
			cfg: func(c *resolver.Config, _ *resolvertest.Options) { c.Policy.SingleLabels = true },
		},
		{
			name:  "CNAME at the SRV name",
			says:  `RFC 3861 §4: "If a canonical name (CNAME) RR is found instead, the resulting domain is processed as if it were the initial domain."`,
			zone:  "_im._sip CNAME _im._sip.host.example.org.\n_im._sip.host.example.org. SRV 0 0 5061 s.host.example.org.\ns.host.example.org. A 192.0.2.5\n",
			query: "im:a@example.net", want: []string{"sip/tls 192.0.2.5:5061"},
		},
		{
			name:  "CNAME at the domain",
			says:  `RFC 3861 §4: "If a canonical name (CNAME) RR is found instead, the resulting domain is processed as if it were the initial domain."`,
			zone:  "im CNAME host.example.org.\nhost.example.org. A 192.0.2.6\n_im._xmpp.host.example.org. SRV 0 0 5269 x.example.org.\nx.example.org. A 192.0.2.7\n",
			query: "im:a@im.example.net", want: []string{"xmpp/tcp 192.0.2.7:5269"},
		},
		{
			name: "CNAME at the domain, address behind it",
			says: `RFC 3861 §4: "processed as if it were the initial domain. ... If no SRV RRs are found, but an A RR is found ..."`,
			zone: "im CNAME host.example.org.\nhost.example.org. A 192.0.2.6\n", query: "im:a@im.example.net",
			want: []string{"xmpp/tcp 192.0.2.6:5269", "sip/udp 192.0.2.6:5060", "sip/tcp 192.0.2.6:5060"},
		},
		{
			name: "CNAME loop",
			says: `RFC 3861 §4, bounded: a CNAME that leads to itself ends the lookup`,
			zone: "_im._sip CNAME l1\nl1 CNAME l2\nl2 CNAME l1\n", query: "im:a@example.net", err: resolver.ErrTemporary, by: "_im._sip.example.net SRV",
		},
		{
			name: "T-TL-13 SRV forbids A",
			says: `RFC 3861 §4: "If one or more SRV RRs are found for a given domain, a sender MUST NOT utilize any A RRs associated with that domain unless they are located using the SRV RRs."`,
			zone: "@ A 192.0.2.9\n_im._sip SRV 0 0 5060 gone\n", query: "im:a@example.net", err: resolver.ErrNotFound,
			never: []string{"example.net A", "example.net AAAA"}, by: "gone.example.net A",
		},
		{
			name: "T-TL-13 SRV of another protocol forbids A too",
			says: `RFC 3861 §4: "If one or more SRV RRs are found for a given domain, a sender MUST NOT utilize any A RRs associated with that domain"`,
			zone: "@ A 192.0.2.9\n_im._sip SRV 0 0 5061 s\ns A 192.0.2.1\n", query: "im:a@example.net", want: []string{"sip/tls 192.0.2.1:5061"},
		},
		{
			name: "A through the SRV is fine",
			says: `RFC 3861 §4: "... unless they are located using the SRV RRs."`,
			zone: "@ A 192.0.2.9\n_im._xmpp SRV 0 0 5269 @\n", query: "im:a@example.net", want: []string{"xmpp/tcp 192.0.2.9:5269"},
		},
		{
			name: "implicit SRV",
			says: `RFC 3861 §4: "If no SRV RRs are found, but an A RR is found, then the A RR is treated as if it was associated with an implicit SRV RR, with a preference of 0, pointing to that domain."`,
			zone: "@ A 192.0.2.9\n", query: "im:a@example.net",
			want: []string{"xmpp/tcp 192.0.2.9:5269", "sip/udp 192.0.2.9:5060", "sip/tcp 192.0.2.9:5060"},
		},
		{
			name:  "not here",
			says:  `RFC 2782, Target: "A Target of "." means that the service is decidedly not available at this domain."`,
			zone:  "@ A 192.0.2.9\n_im._sip SRV 0 0 0 .\n_im._xmpp SRV 0 0 0 .\n_sip._tcp SRV 0 0 5060 @\n_xmpp-server._tcp SRV 0 0 5269 @\n",
			query: "im:a@example.net", err: resolver.ErrDenied, never: []string{"example.net A"}, by: "_im._sip.example.net SRV",
		},
		{
			name: "not by this protocol",
			says: `RFC 2782, Target: "A Target of "." means that the service is decidedly not available at this domain."`,
			zone: "_im._sip SRV 0 0 0 .\n_sip._tcp SRV 0 0 5060 a\n_xmpp-server._tcp SRV 0 0 5269 a\na A 192.0.2.9\n", query: "im:a@example.net",
			want: []string{"xmpp/tcp 192.0.2.9:5269"},
		},
		{
			name:  "list of alternatives",
			says:  `RFC 3861 §6: "the client MUST be able to try each of the relevant addresses in this list in order, until a delivery attempt succeeds."`,
			zone:  "_im._xmpp SRV 20 0 5269 c\n_im._xmpp SRV 10 0 5269 b\n_im._xmpp SRV 5 0 5269 a\na A 192.0.2.1\nb A 192.0.2.2\nb AAAA 2001:db8::2\nc A 192.0.2.3\n",
			query: "im:a@example.net",
			want:  []string{"xmpp/tcp 192.0.2.1:5269", "xmpp/tcp [2001:db8::2]:5269", "xmpp/tcp 192.0.2.2:5269", "xmpp/tcp 192.0.2.3:5269"},
		},
		{
			name: "priority as RFC 2782",
			says: `RFC 3861 §6: "Resolvers must follow the standard procedures in RFC 2782 for handling the priority and weight fields of SRV records."`,
			zone: "_im._xmpp SRV 2 65535 5269 b\n_im._xmpp SRV 1 0 5269 a\na A 192.0.2.1\nb A 192.0.2.2\n", query: "im:a@example.net",
			want: []string{"xmpp/tcp 192.0.2.1:5269", "xmpp/tcp 192.0.2.2:5269"},
		},
		{
			name: "RFC 3861 decides before the protocol's own records",
			says: `RFC 3861 §4: "The lookup first attempts to locate SRV RRs associated with the domain."`,
			zone: "_im._xmpp SRV 0 0 5269 a\n_xmpp-server._tcp SRV 0 0 5269 b\na A 192.0.2.1\nb A 192.0.2.2\n", query: "im:a@example.net",
			want: []string{"xmpp/tcp 192.0.2.1:5269"},
		},
		{
			name: "the protocols' own records",
			says: `RFC 6120 §3.2 and RFC 3263 §4: without RFC 3861's labels each protocol's own records count`,
			zone: "_xmpp-server._tcp SRV 0 0 5269 x\n_sips._tcp SRV 0 0 5061 s\nx A 192.0.2.1\ns A 192.0.2.2\n", query: "im:a@example.net",
			want: []string{"xmpp/tcp 192.0.2.1:5269", "sip/tls 192.0.2.2:5061"},
		},
		{
			name: "a lookup that failed is no proof of absence",
			says: `RFC 7673 §3.1: "If the SRV lookup fails because the RRset is "bogus" (or the lookup fails for reasons other than no records), the client MUST abort its attempt to connect to the desired service."`,
			zone: "@ A 192.0.2.9\n_im._sip CNAME _im._sip\n", query: "im:a@example.net", err: resolver.ErrTemporary,
			never: []string{"example.net A"},
		},
		{
			name: "no such domain", says: `RFC 3861 §3: "domain names that can be resolved to SRV or A Resource Record (RR)"`,
			zone: "", query: "im:a@nobody.example.net", err: resolver.ErrNotFound,
		},
		{
			name: "U-label", says: `RFC 5891 §5.6: "The A-label resulting from the conversion in Section 5.5 ... is ... then looked up in the DNS"`,
			zone: "_im._xmpp.xn--bcher-kva SRV 0 0 5269 x\nx A 192.0.2.1\n", query: "im:a@bücher.example.net", want: []string{"xmpp/tcp 192.0.2.1:5269"},
		},
		{
			name: "special-use name", says: `RFC 6761: invalid never exists, and the DNS need not be asked`,
			zone: "_im._xmpp.a.invalid. SRV 0 0 5269 x\nx A 192.0.2.1\n", query: "im:a@a.invalid", err: resolver.ErrNotFound,
			never: []string{"_im._xmpp.a.invalid SRV"},
		},
		{
			name: "special-use name by policy", says: `RFC 6761, by configuration: a laboratory may ask for any name`,
			zone: "_im._xmpp.a.invalid. SRV 0 0 5269 x\nx A 192.0.2.1\n", query: "im:a@a.invalid", want: []string{"xmpp/tcp 192.0.2.1:5269"},
			cfg: func(c *resolver.Config, _ *resolvertest.Options) { c.Policy.NeverAsk = []string{} },
		},
		{
			name: "test is a domain like others", says: `RFC 6761: test is asked for unless the configuration says otherwise`,
			zone: "_im._xmpp.a.test. SRV 0 0 5269 x\nx A 192.0.2.1\n", query: "im:a@a.test", want: []string{"xmpp/tcp 192.0.2.1:5269"},
		},
		{
			name: "localhost as an SRV target", says: `RFC 6761: localhost is the loopback address, and that is refused`,
			zone: "_im._xmpp SRV 0 0 5269 localhost.\n", query: "im:a@example.net", err: resolver.ErrForbidden, never: []string{"localhost A"},
		},
	} {
		t.Run(c.name, c.run)
	}
}

func TestRFC6120(t *testing.T) {
	for _, c := range []rule{
		{
			name: "SRV name",
			says: `RFC 6120 §3.2.1: "a Service of ... "xmpp-server" (for server-to-server connections) ... a Proto of "tcp" ... a Name corresponding to the "origin domain""`,
			zone: "_xmpp-server._tcp SRV 0 0 5269 x\nx A 192.0.2.1\n", query: "xmpp:example.net", want: []string{"xmpp/tcp 192.0.2.1:5269"},
			asks: []string{"_xmpp-server._tcp.example.net SRV"},
		},
		{
			name: "not here",
			says: `RFC 6120 §3.2.1: "if the result of the SRV lookup is a single resource record with a Target of ".", i.e., the root domain, then the initiating entity MUST abort SRV processing at this point"`,
			zone: "@ A 192.0.2.9\n_xmpp-server._tcp SRV 0 0 0 .\n", query: "xmpp:example.net", err: resolver.ErrDenied,
			by: "_xmpp-server._tcp.example.net SRV", never: []string{"example.net A"},
		},
		{
			name: "A or AAAA of the chosen FQDN",
			says: `RFC 6120 §3.2.1: "which it does by performing DNS "A" or "AAAA" lookups on the FDQN; this will result in an IPv4 or IPv6 address."`,
			zone: "_xmpp-server._tcp SRV 0 0 5270 x\nx A 192.0.2.1\nx AAAA 2001:db8::1\n", query: "xmpp:example.net",
			want: []string{"xmpp/tcp [2001:db8::1]:5270", "xmpp/tcp 192.0.2.1:5270"},
		},
		{
			name: "next address of the same FQDN, then the next FQDN",
			says: `RFC 6120 §3.2.1: "If the initiating entity fails to connect using all resolved IP addresses for a given FDQN, then it repeats the process of resolution and connection for the next FQDN returned by the SRV lookup based on the priority and weight"`,
			zone: "_xmpp-server._tcp SRV 1 0 5269 x\n_xmpp-server._tcp SRV 2 0 5269 y\nx A 192.0.2.1\nx A 192.0.2.2\ny A 192.0.2.3\n", query: "xmpp:example.net",
			want: []string{"xmpp/tcp 192.0.2.1:5269", "xmpp/tcp 192.0.2.2:5269", "xmpp/tcp 192.0.2.3:5269"},
		},
		{
			name: "no fallback beside SRV",
			says: `RFC 6120 §3.2.1: "If the initiating entity receives a response to its SRV query but it is not able to establish an XMPP connection using the data received in the response, it SHOULD NOT attempt the fallback process"`,
			zone: "@ A 192.0.2.9\n_xmpp-server._tcp SRV 0 0 5269 gone\n", query: "xmpp:example.net", err: resolver.ErrNotFound, never: []string{"example.net A"},
		},
		{
			name: "fallback",
			says: `RFC 6120 §3.2.2: "The fallback process SHOULD be a normal "A" or "AAAA" address record resolution to determine the IPv4 or IPv6 address of the origin domain, where the port used is ... the "xmpp-server" port of 5269"`,
			zone: "@ A 192.0.2.9\n", query: "xmpp:example.net", want: []string{"xmpp/tcp 192.0.2.9:5269"},
		},
		{
			name: "fallback through an alias", says: `RFC 6120 §3.2.2, with RFC 1034's CNAME`,
			zone: "x CNAME y\ny A 192.0.2.9\n", query: "xmpp:x.example.net", want: []string{"xmpp/tcp 192.0.2.9:5269"},
		},
		{
			name: "no response, by policy",
			says: `RFC 6120 §3.2.1: "If the initiating entity does not receive a response to its SRV query, it SHOULD attempt the fallback process"`,
			zone: "@ A 192.0.2.9\n_xmpp-server._tcp CNAME _xmpp-server._tcp\n", query: "xmpp:example.net", want: []string{"xmpp/tcp 192.0.2.9:5269"},
			cfg: func(c *resolver.Config, _ *resolvertest.Options) { c.Policy.FallbackAfterFailure = true },
		},
		{
			name: "no response, by default",
			says: `RFC 7673 §3.1 before RFC 6120 §3.2.1: "the client MUST abort its attempt to connect to the desired service"`,
			zone: "@ A 192.0.2.9\n_xmpp-server._tcp CNAME _xmpp-server._tcp\n", query: "xmpp:example.net", err: resolver.ErrTemporary,
			by: "_xmpp-server._tcp.example.net SRV",
		},
		{
			name: "add-on service",
			says: `RFC 6120 §3.2.4: "would attempt to resolve the add-on service's DNS domain name via an SRV lookup on resource records such as "_xmpp-server._tcp.conference.example.net.""`,
			zone: "_xmpp-server._tcp.conference SRV 0 0 5269 x\nx A 192.0.2.1\n", query: "xmpp:conference.example.net", want: []string{"xmpp/tcp 192.0.2.1:5269"},
		},
		{
			name:  "XEP-0368 mixed",
			says:  `XEP-0368 §3: "Both 'xmpp-' and 'xmpps-' records SHOULD be treated as the same record with regard to connection order as specified by RFC 2782, in that all priorities and weights are mixed."`,
			zone:  "_xmpp-server._tcp SRV 10 0 5269 x\n_xmpp-server._tcp SRV 30 0 5269 z\n_xmpps-server._tcp SRV 20 0 5270 y\nx A 192.0.2.1\ny A 192.0.2.2\nz A 192.0.2.3\n",
			query: "xmpp:example.net", want: []string{"xmpp/tcp 192.0.2.1:5269", "xmpp/tls 192.0.2.2:5270", "xmpp/tcp 192.0.2.3:5269"},
		},
		{
			name: "XEP-0368 direct TLS",
			says: `XEP-0368 §3: "Where 'service' starts with 'xmpps-' the client or server MUST connect with direct TLS enabled."`,
			zone: "_xmpps-server._tcp SRV 0 0 443 x\nx A 192.0.2.1\n", query: "xmpp:example.net", want: []string{"xmpp/tls 192.0.2.1:443"},
		},
		{
			name: "XEP-0368 STARTTLS",
			says: `XEP-0368 §3: "Where 'service' starts with 'xmpp-' the client or server MUST NOT connect with direct TLS enabled"`,
			zone: "_xmpp-server._tcp SRV 0 0 5270 x\nx A 192.0.2.1\n", query: "xmpp:example.net", want: []string{"xmpp/tcp 192.0.2.1:5270"},
		},
		{
			name: "XEP-0368 no direct TLS here",
			says: `XEP-0368 §5: "In this case, the initiating party SHOULD look up _xmpp-client (or _xmpp-server) records."`,
			zone: "_xmpps-server._tcp SRV 0 0 0 .\n_xmpp-server._tcp SRV 0 0 5269 x\nx A 192.0.2.1\n", query: "xmpp:example.net", want: []string{"xmpp/tcp 192.0.2.1:5269"},
		},
		{
			name: "XEP-0368 no direct TLS and nothing else",
			says: `XEP-0368 §5: "The initiating party MUST NOT perform A/AAAA fallback as per RFC 6120 (since the service provider has already indicated that the SRV protocol is supported)."`,
			zone: "@ A 192.0.2.9\n_xmpps-server._tcp SRV 0 0 0 .\n", query: "xmpp:example.net", err: resolver.ErrDenied, never: []string{"example.net A"},
		},
		{
			name: "only direct TLS spoken", says: `XEP-0368 §3: "clients MAY choose to prefer one type of connection over the other"`,
			zone:  "_xmpp-server._tcp SRV 10 0 5269 x\n_xmpps-server._tcp SRV 20 0 5270 y\nx A 192.0.2.1\ny A 192.0.2.2\n",
			query: "xmpp:example.net", want: []string{"xmpp/tls 192.0.2.2:5270"},
			cfg: func(c *resolver.Config, _ *resolvertest.Options) {
				c.Policy.XMPPTransports = []resolver.Transport{resolver.TLS}
			},
		},
	} {
		t.Run(c.name, c.run)
	}
}
