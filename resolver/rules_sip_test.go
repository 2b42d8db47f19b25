package resolver_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/resolver"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

func TestRFC3263(t *testing.T) {
	transports := func(ts ...resolver.Transport) func(*resolver.Config, *resolvertest.Options) {
		return func(c *resolver.Config, _ *resolvertest.Options) { c.Policy.SIPTransports = ts }
	}
	const three = "@ NAPTR 50 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp\n@ NAPTR 90 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp\n@ NAPTR 100 50 \"s\" \"SIP+D2U\" \"\" _sip._udp\n" +
		"_sips._tcp SRV 0 0 5061 a\n_sip._tcp SRV 0 0 5060 b\n_sip._udp SRV 0 0 5060 c\na A 192.0.2.1\nb A 192.0.2.2\nc A 192.0.2.3\n@ A 192.0.2.9\n"
	for _, c := range []rule{
		{
			name: "transport parameter",
			says: `RFC 3263 §4.1: "If the URI specifies a transport protocol in the transport parameter, that transport protocol SHOULD be used."`,
			zone: three, query: "sip:example.net;transport=udp", want: []string{"sip/udp 192.0.2.3:5060"}, never: []string{"example.net NAPTR", "_sip._tcp.example.net SRV"},
		},
		{
			name:  "numeric address",
			says:  `RFC 3263 §4.1: "if no transport protocol is specified, but the TARGET is a numeric IP address, the client SHOULD use UDP for a SIP URI"`,
			query: "sip:192.0.2.7", want: []string{"sip/udp 192.0.2.7:5060", "sip/tcp 192.0.2.7:5060"},
		},
		{
			name: "numeric address, sips",
			says: `RFC 3263 §4.1: "... and TCP for a SIPS URI" (TLS over TCP)`, query: "sips:192.0.2.7", want: []string{"sip/tls 192.0.2.7:5061"},
		},
		{
			name:  "numeric address with port",
			says:  `RFC 3263 §4.2: "If TARGET is a numeric IP address, the client uses that address. If the URI also contains a port, it uses that port."`,
			query: "sip:[2001:db8::7]:5099;transport=tcp", want: []string{"sip/tcp [2001:db8::7]:5099"},
		},
		{
			name: "default port of the transport",
			says: `RFC 3263 §4.2: "If no port is specified, it uses the default port for the particular transport protocol."`,
			cfg:  transports(resolver.TLS, resolver.WSS), query: "sips:192.0.2.7;transport=wss", want: []string{"sip/wss 192.0.2.7:443"},
		},
		{
			name: "explicit port",
			says: `RFC 3263 §4.1: "if no transport protocol is specified, and the TARGET is not numeric, but an explicit port is provided, the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI"`,
			zone: three, query: "sip:example.net:5060", want: []string{"sip/udp 192.0.2.9:5060", "sip/tcp 192.0.2.9:5060"},
			never: []string{"example.net NAPTR", "_sip._udp.example.net SRV"},
		},
		{
			name: "explicit port, sips",
			says: `RFC 3263 §4.2: "but a port is present in the URI, the client performs an A or AAAA record lookup of the domain name"`,
			zone: three, query: "sips:example.net:5071", want: []string{"sip/tls 192.0.2.9:5071"}, never: []string{"example.net NAPTR", "_sips._tcp.example.net SRV"},
		},
		{
			name: "NAPTR order",
			says: `RFC 3263 §4.1: "Since the client supports TCP and UDP, TCP will be used, targeted to a host determined by an SRV lookup of _sip._tcp.example.com"`,
			cfg:  transports(resolver.TCP, resolver.UDP), zone: three, query: "sip:example.net", want: []string{"sip/tcp 192.0.2.2:5060"},
			asks: []string{"example.net NAPTR", "_sip._tcp.example.net SRV"}, never: []string{"_sip._udp.example.net SRV", "_sips._tcp.example.net SRV"},
		},
		{
			name: "SIPS retained for sip:",
			says: `RFC 3263 §4.1: "A client resolving a SIP URI SHOULD retain records with "SIPS" as the protocol, if the client supports TLS."`,
			zone: three, query: "sip:example.net", want: []string{"sip/tls 192.0.2.1:5061"}, never: []string{"_sip._udp.example.net SRV"},
		},
		{
			name:  "sips discards others",
			says:  `RFC 3263 §4.1: "a client resolving a SIPS URI MUST discard any services that do not contain "SIPS" as the protocol in the service field."`,
			zone:  "@ NAPTR 10 1 \"s\" \"SIP+D2T\" \"\" _sip._tcp\n@ NAPTR 20 1 \"s\" \"SIPS+D2T\" \"\" _t.example.org.\n_t.example.org. SRV 0 0 5061 a\n_sip._tcp SRV 0 0 5060 b\na A 192.0.2.1\nb A 192.0.2.2\n",
			query: "sips:example.net", want: []string{"sip/tls 192.0.2.1:5061"},
		},
		{
			name:  "unknown services",
			says:  `RFC 3263 §4.1: "a client MUST discard any service fields that identify a resolution service whose value is not "D2X", for values of X that indicate transport protocols supported by the client."`,
			zone:  "@ NAPTR 1 1 \"s\" \"SIP+D2S\" \"\" _x\n@ NAPTR 2 1 \"s\" \"SIP+E2U\" \"\" _x\n@ NAPTR 3 1 \"u\" \"E2U+sip\" \"!^.*$!sip:x@y!\" .\n@ NAPTR 4 1 \"s\" \"SIP+D2TX\" \"\" _x\n@ NAPTR 9 1 \"S\" \"sip+d2t\" \"\" _y\n_x SRV 0 0 5060 a\n_y SRV 0 0 5060 b\na A 192.0.2.1\nb A 192.0.2.2\n",
			query: "sip:example.net", want: []string{"sip/tcp 192.0.2.2:5060"}, never: []string{"_x.example.net SRV"},
		},
		{
			name:  "regular expressions and other flags",
			says:  `RFC 3263 §4.1: "The resource record will contain an empty regular expression and a replacement value, which is the SRV record for that particular transport protocol."`,
			zone:  "@ NAPTR 1 1 \"s\" \"SIP+D2T\" \"!a!b!\" _x\n@ NAPTR 2 1 \"a\" \"SIP+D2T\" \"\" a\n@ NAPTR 3 1 \"s\" \"SIP+D2T\" \"\" .\n_x SRV 0 0 5060 a\na A 192.0.2.1\n_sip._udp SRV 0 0 5060 b\nb A 192.0.2.2\n",
			query: "sip:example.net", want: []string{"sip/udp 192.0.2.2:5060"}, never: []string{"_x.example.net SRV", "a.example.net A"},
		},
		{
			name:  "NAPTR preference",
			says:  `RFC 3403 §4.1: "they MAY process records with the same Order but different Preferences"`,
			zone:  "@ NAPTR 5 20 \"s\" \"SIP+D2U\" \"\" _u\n@ NAPTR 5 10 \"s\" \"SIP+D2T\" \"\" _t\n_u SRV 0 0 5060 a\n_t SRV 0 0 5060 b\na A 192.0.2.1\nb A 192.0.2.2\n",
			query: "sip:example.net", want: []string{"sip/tcp 192.0.2.2:5060", "sip/udp 192.0.2.1:5060"},
		},
		{
			name:  "NAPTR of another order is not a fallback",
			says:  `RFC 3403 §4.1: "once a match is found the client MUST NOT consider records with a different Order"`,
			zone:  "@ NAPTR 5 1 \"s\" \"SIPS+D2T\" \"\" _s\n@ NAPTR 6 1 \"s\" \"SIP+D2T\" \"\" _t\n_s SRV 0 0 5061 gone\n_t SRV 0 0 5060 b\nb A 192.0.2.2\n",
			query: "sip:example.net", err: resolver.ErrNotFound, never: []string{"_t.example.net SRV"},
		},
		{
			name:  "another domain in the replacement",
			says:  `RFC 3263 §4.1: "It is not necessary for the domain suffixes in the NAPTR replacement field to match the domain of the original query"`,
			zone:  "@ NAPTR 5 1 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.school.example.\n_sips._tcp.school.example. SRV 0 0 5061 s.school.example.\ns.school.example. A 192.0.2.8\n",
			query: "sip:example.net", want: []string{"sip/tls 192.0.2.8:5061"},
		},
		{
			name: "no NAPTR",
			says: `RFC 3263 §4.1: "If no NAPTR records are found, the client constructs SRV queries for those transport protocols it supports, and does a query for each."`,
			zone: "_sip._tcp SRV 0 0 5060 b\n_sip._udp SRV 0 0 5060 c\nb A 192.0.2.2\nc A 192.0.2.3\n", query: "sip:example.net",
			want: []string{"sip/tcp 192.0.2.2:5060", "sip/udp 192.0.2.3:5060"},
			asks: []string{"_sips._tcp.example.net SRV", "_sip._tcp.example.net SRV", "_sip._udp.example.net SRV"},
		},
		{
			name: "_sips for SIPS",
			says: `RFC 3263 §4.1: "Queries are done using the service identifier "_sip" for SIP URIs and "_sips" for SIPS URIs."`,
			zone: "_sips._tcp SRV 0 0 5061 b\n_sip._tcp SRV 0 0 5060 c\nb A 192.0.2.2\nc A 192.0.2.3\n", query: "sips:example.net",
			want: []string{"sip/tls 192.0.2.2:5061"}, never: []string{"_sip._tcp.example.net SRV"},
		},
		{
			name: "_sips where TLS is wished for",
			says: `RFC 3263 §4.2: "For a SIP URI, if the client wishes to use TLS, it also uses the service identifier "_sips" for that specific transport"`,
			zone: "_sips._tcp SRV 0 0 5061 b\nb A 192.0.2.2\n", query: "sip:example.net;transport=tls", want: []string{"sip/tls 192.0.2.2:5061"},
		},
		{
			name: "priorities of transports are not merged",
			says: `RFC 3263 §4.1: "This is a change from RFC 2543. It specified that a client would lookup SRV records for all transports it supported, and merge the priority values across those records."`,
			zone: "_sip._tcp SRV 90 0 5060 b\n_sip._udp SRV 1 0 5060 c\nb A 192.0.2.2\nc A 192.0.2.3\n", query: "sip:example.net",
			want: []string{"sip/tcp 192.0.2.2:5060", "sip/udp 192.0.2.3:5060"},
		},
		{
			name: "no SRV",
			says: `RFC 3263 §4.1: "If no SRV records are found, the client SHOULD use TCP for a SIPS URI, and UDP for a SIP URI. However, another transport protocol, such as TCP, MAY be used"`,
			zone: "@ A 192.0.2.9\n", query: "sip:example.net", want: []string{"sip/udp 192.0.2.9:5060", "sip/tcp 192.0.2.9:5060"},
		},
		{
			name: "no SRV, sips",
			says: `RFC 3263 §4.2: "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name ... at the default port for that transport."`,
			zone: "@ A 192.0.2.9\n", query: "sips:example.net", want: []string{"sip/tls 192.0.2.9:5061"},
		},
		{
			name: "no SRV at the replacement",
			says: `RFC 3263 §4.2: "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name ... using the transport protocol determined previously"`,
			zone: "@ A 192.0.2.9\n@ NAPTR 5 1 \"s\" \"SIP+D2T\" \"\" _none\n", query: "sip:example.net", want: []string{"sip/tcp 192.0.2.9:5060"},
		},
		{
			name: "no SRV for the given transport",
			says: `RFC 3263 §4.2: "because a transport was specified explicitly, the client performs an SRV query for that specific transport"`,
			zone: "@ A 192.0.2.9\n", query: "sip:example.net;transport=tcp", want: []string{"sip/tcp 192.0.2.9:5060"}, asks: []string{"_sip._tcp.example.net SRV"},
		},
		{
			name: "list of addresses",
			says: `RFC 3263 §4.2: "The client SHOULD try the first record. If an attempt should fail ... the next SHOULD be tried, and if that should fail, the next SHOULD be tried, and so on."`,
			zone: "@ A 192.0.2.1\n@ A 192.0.2.2\n@ A 192.0.2.3\n", query: "sip:example.net:5070;transport=tcp",
			want: []string{"sip/tcp 192.0.2.1:5070", "sip/tcp 192.0.2.2:5070", "sip/tcp 192.0.2.3:5070"},
		},
		{
			name: "SRV procedures of RFC 2782",
			says: `RFC 3263 §4.2: "the procedures of RFC 2782, as described in the section titled "Usage rules" are followed"`,
			zone: "@ A 192.0.2.9\n_sip._tcp SRV 0 0 0 .\n", query: "sip:example.net;transport=tcp", err: resolver.ErrDenied, by: "_sip._tcp.example.net SRV",
			never: []string{"example.net A"},
		},
		{
			name: "WebSocket",
			says: `RFC 7118 §5.5: "This specification defines the NAPTR service value "SIP+D2W" ... and "SIPS+D2W" for SIP WebSocket Servers that support secure WebSocket connections."`,
			cfg:  transports(resolver.WSS), zone: "@ NAPTR 5 1 \"s\" \"SIPS+D2W\" \"\" _w\n_w SRV 0 0 443 b\nb A 192.0.2.2\n", query: "sip:example.net", want: []string{"sip/wss 192.0.2.2:443"},
		},
		{
			name: "only UDP spoken, only TLS offered", says: `RFC 3263 §4.1: "A particular transport is supported if the query is successful."`,
			cfg: transports(resolver.UDP), zone: "@ NAPTR 5 1 \"s\" \"SIPS+D2T\" \"\" _sips._tcp\n_sips._tcp SRV 0 0 5061 a\na A 192.0.2.1\n", query: "sip:example.net",
			err: resolver.ErrNotFound,
		},
		{
			name: "a low port in DNS", says: `THREATS.md G15: a record may not send us to ports under 1024`,
			zone: "_sip._tcp SRV 0 0 25 a\na A 192.0.2.1\n", query: "sip:example.net", err: resolver.ErrForbidden,
		},
		{
			name: "a low port in a URI", says: `THREATS.md G15: nor may a stranger's Contact`, zone: "a A 192.0.2.1\n", query: "sip:a.example.net:25", err: resolver.ErrForbidden,
		},
	} {
		t.Run(c.name, c.run)
	}
}

func TestRFC2782(t *testing.T) {
	for _, c := range []rule{
		{
			name: "precisely one and root",
			says: `RFC 2782: "If there is precisely one SRV RR, and its Target is "." (the root domain), abort."`,
			zone: "_sip._udp SRV 0 0 5060 .\n@ A 192.0.2.9\n", query: "sip:example.net;transport=udp", err: resolver.ErrDenied,
		},
		{
			name: "root among others", says: `RFC 2782: "precisely one": one "." among others is only a target without address`,
			zone: "_sip._udp SRV 0 0 5060 .\n_sip._udp SRV 1 0 5060 a\na A 192.0.2.1\n", query: "sip:example.net;transport=udp", want: []string{"sip/udp 192.0.2.1:5060"},
		},
		{
			name:  "lowest priority first",
			says:  `RFC 2782, Priority: "A client MUST attempt to contact the target host with the lowest-numbered priority it can reach"`,
			zone:  "_sip._udp SRV 65535 9 5060 c\n_sip._udp SRV 256 0 5060 b\n_sip._udp SRV 0 0 5060 a\na A 192.0.2.1\nb A 192.0.2.2\nc A 192.0.2.3\n",
			query: "sip:example.net;transport=udp", want: []string{"sip/udp 192.0.2.1:5060", "sip/udp 192.0.2.2:5060", "sip/udp 192.0.2.3:5060"},
		},
		{
			name: "addresses must be looked up",
			says: `RFC 2782: "If the Additional Data section doesn't contain address records for all the SRV RR's and the client may want to connect to the target host(s) involved, the client MUST look up the address record(s)."`,
			zone: "_sip._udp SRV 0 0 5060 a\na A 192.0.2.1\n", query: "sip:example.net;transport=udp", want: []string{"sip/udp 192.0.2.1:5060"},
			asks: []string{"a.example.net A", "a.example.net AAAA"},
		},
		{
			name: "else the address of the domain",
			says: `RFC 2782: "else Do a lookup for QNAME=target, QCLASS=IN, QTYPE=A; for each address record found, try to connect"`,
			zone: "@ A 192.0.2.9\n", query: "sip:example.net;transport=udp", want: []string{"sip/udp 192.0.2.9:5060"},
		},
		{
			name: "target without address is passed over", says: `RFC 2782: "for each address record found"`,
			zone: "_sip._udp SRV 0 0 5060 gone\n_sip._udp SRV 1 0 5060 b\nb A 192.0.2.2\n", query: "sip:example.net;transport=udp", want: []string{"sip/udp 192.0.2.2:5060"},
		},
		{
			name: "case of names", says: `RFC 2782, Service: "The Service is case insensitive."`,
			zone: "_SIP._Udp SRV 0 0 5060 A\na A 192.0.2.1\n", query: "sip:EXAMPLE.net;transport=udp", want: []string{"sip/udp 192.0.2.1:5060"},
		},
		{
			name: "a target that is no host name", says: `CVE-2021-33195: names in answers are checked`,
			zone: "_sip._udp SRV 0 0 5060 a\\032b\n_sip._udp SRV 1 0 5060 b\nb A 192.0.2.2\n", query: "sip:example.net;transport=udp", want: []string{"sip/udp 192.0.2.2:5060"},
		},
		{
			name: "same server twice", says: `one next hop stands once in the list`,
			zone: "_sip._udp SRV 0 0 5060 a\n_sip._udp SRV 1 0 5060 b\na A 192.0.2.1\nb A 192.0.2.1\n", query: "sip:example.net;transport=udp", want: []string{"sip/udp 192.0.2.1:5060"},
		},
	} {
		t.Run(c.name, c.run)
	}
}
