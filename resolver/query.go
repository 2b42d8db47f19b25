package resolver

import (
	"net/netip"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// Service is what is looked for at a domain. The zero value is nothing.
type Service uint8

// The services. IM and Presence are RFC 3861's and may end in either protocol; the others are one protocol's own.
const (
	IM          Service = iota + 1 // im: (RFC 3860): _im._sip, _im._xmpp, then each protocol's own records
	Presence                       // pres: (RFC 3859): _pres._sip, _pres._xmpp, then each protocol's own records
	SIPService                     // a sip: URI, a Route or a Via (RFC 3263)
	SIPSService                    // a sips: URI (RFC 3263)
	XMPPServer                     // an XMPP server's domain (RFC 6120 §3.2, XEP-0368)

	hostService // a configured host and port, spoken to by Query.Only over Query.Transport
)

var serviceNames = [...]string{"none", "im", "pres", "sip", "sips", "xmpp"}

// String is the URI scheme that stands for the service.
func (s Service) String() string {
	if int(s) < len(serviceNames) {
		return serviceNames[s]
	}
	return "none"
}

// Query is one question to a Resolver. It compares with ==. Domain is taken in any form that ParseDomain takes; for SIPService and
// SIPSService it may also be an IP address (IPv6 with or without brackets).
type Query struct {
	Service   Service
	Domain    string
	Port      uint16    // the explicit port of a SIP URI; zero: none. Not for other services.
	Transport Transport // the transport parameter of a SIP URI; zero: none. Not for other services.
	Only      Protocol  // for IM and Presence: consider this protocol alone; zero: both

	configured bool // host and port come from the configuration, not from a stranger
}

// QueryFor is the question that finds the next hop for an im: or pres: address.
func QueryFor(a cpim.Address) Query {
	switch a.Scheme() {
	case cpim.IM:
		return Query{Service: IM, Domain: a.Domain()}
	case cpim.Pres:
		return Query{Service: Presence, Domain: a.Domain()}
	}
	return Query{}
}

// ParseQuery reads what `isthmus resolve` is given: "im:romeo@example.net", "pres:example.net", "sip:example.net:5060",
// "sips:example.net;transport=tcp", "xmpp:example.net/resource". The user part is read over. It fails with a *SyntaxError.
func ParseQuery(s string) (Query, error) {
	if len(s) > 4096 {
		return Query{}, &SyntaxError{Offset: 4096, Rule: "length", Expected: "at most 4096 octets"}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	at := len(scheme) + 1
	var q Query
	for i := range serviceNames {
		if i > 0 && ok && strings.EqualFold(serviceNames[i], scheme) {
			q.Service = Service(i)
		}
	}
	if q.Service == 0 {
		return Query{}, &SyntaxError{Rule: "scheme", Expected: "im:, pres:, sip:, sips: or xmpp:"}
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		at += i + 1
		rest = rest[i+1:]
	}
	switch q.Service {
	case SIPService, SIPSService:
		st, err := ParseStatic(q.Service.String() + ":" + rest)
		if err != nil {
			return Query{}, shift(err, at-len(q.Service.String())-1)
		}
		if st.name != "" {
			return Query{}, &SyntaxError{Offset: at, Rule: "parameter", Expected: "no parameter but transport="}
		}
		q.Domain, q.Port, q.Transport = st.host, st.port, st.transport
		if st.sips && !strings.Contains(rest, ";") {
			q.Transport = 0
		}
		return q, nil
	case XMPPServer:
		rest, _, _ = strings.Cut(rest, "/")
	}
	d, err := ParseDomain(rest)
	if err != nil {
		return Query{}, shift(err, at)
	}
	q.Domain = d
	return q, nil
}

// String is the question as a URI without a user.
func (q Query) String() string {
	s := q.Service.String() + ":" + joinHostPort(clip(q.Domain), q.Port)
	if q.Transport != 0 {
		s += ";transport=" + q.Transport.String()
	}
	if q.Only != 0 {
		s += " (" + q.Only.String() + " only)"
	}
	return s
}

// canonical is q with its domain in the one form that the cache knows, and the address if it is one. The error is an *Error.
func (q Query) canonical() (Query, netip.Addr, error) {
	bad := func(detail string) (Query, netip.Addr, error) {
		return Query{}, netip.Addr{}, &Error{Reason: ErrName, Domain: q.Domain, Detail: detail}
	}
	sip := q.Service == SIPService || q.Service == SIPSService || q.Service == hostService && q.configured
	switch {
	case q.Service == 0 || q.Service > XMPPServer && !sip:
		return bad("no service")
	case !sip && (q.Port != 0 || q.Transport != 0):
		return bad("port and transport are for SIP URIs")
	case q.Transport != 0 && !q.Transport.validFor(SIP) && q.Service != hostService:
		return bad("not a transport of SIP")
	case q.Service == SIPSService && q.Transport == UDP:
		return bad("sips does not go over UDP")
	}
	if q.Service == SIPSService {
		switch q.Transport {
		case TCP:
			q.Transport = TLS // RFC 3261 §26.2.2: over TCP, for a sips URI, means TLS over TCP
		case WS:
			q.Transport = WSS // RFC 7118 §5.5
		}
	}
	if sip {
		host, err := parseHost(q.Domain)
		if err != nil {
			return bad(err.Error())
		}
		q.Domain = host
		if a, err := netip.ParseAddr(host); err == nil {
			return q, a, nil
		}
		return q, netip.Addr{}, nil
	}
	d, err := ParseDomain(q.Domain)
	if err != nil {
		return bad(err.Error())
	}
	q.Domain = d
	return q, netip.Addr{}, nil
}
