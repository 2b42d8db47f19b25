package resolver

import (
	"net/netip"
	"slices"
	"strings"
)

// Step is one way in which an im: or pres: domain may be found.
type Step uint8

// The steps of an IM or Presence query.
const (
	StepIMPPSIP  Step = iota + 1 // _im._sip or _pres._sip (RFC 3861, label of RFC 5509)
	StepIMPPXMPP                 // _im._xmpp or _pres._xmpp (RFC 3861, label of RFC 3921)
	StepXMPP                     // XMPP's own records (RFC 6120 §3.2, XEP-0368)
	StepSIP                      // SIP's own records (RFC 3263)
)

var stepNames = [...]string{"none", "impp-sip", "impp-xmpp", "xmpp", "sip"}

// String is the step's name in the configuration.
func (s Step) String() string {
	if int(s) < len(stepNames) {
		return stepNames[s]
	}
	return "none"
}

// ParseStep is the inverse of String.
func ParseStep(s string) (Step, error) {
	if i := slices.Index(stepNames[:], s); i > 0 {
		return Step(i), nil
	}
	return 0, &SyntaxError{Rule: "step", Expected: "impp-sip, impp-xmpp, xmpp or sip"}
}

func (s Step) protocol() Protocol {
	if s == StepIMPPSIP || s == StepSIP {
		return SIP
	}
	return XMPP
}

// Families says which IP versions are asked for and used.
type Families uint8

// The choices of Families.
const (
	Both     Families = iota // default: AAAA and A, ordered by RFC 6157 §5 and RFC 8305 §4
	OnlyIPv4                 // A alone
	OnlyIPv6                 // AAAA alone
)

// Policy is what the specifications leave to the sending system (RFC 3861 §5: "The transfer-time choice of the IM transfer
// protocol to be used ... is a local configuration option"). The zero value is the default.
type Policy struct {
	// Order lists the steps of an IM or Presence query, the preferred one first. What is not listed is not done. Default:
	// StepIMPPSIP, StepIMPPXMPP, StepXMPP, StepSIP: the records made for this very service decide; without them XMPP goes before
	// SIP, because a domain's XMPP records are about messages, and its SIP records more often about telephones.
	Order []Step
	// SIPTransports lists the transports that our SIP side speaks, the preferred one first. Default: TLS, TCP, UDP.
	SIPTransports []Transport
	// XMPPTransports lists TLS (direct, XEP-0368) and TCP (STARTTLS). Their order means nothing: SRV priorities decide. Default: both.
	XMPPTransports []Transport
	// FallbackAfterFailure lets the address records of a domain stand in when the SRV lookup failed (RFC 6120 §3.2.1, item 9).
	// The default is not to, which is RFC 7673 §3.1: "the client MUST abort its attempt": whoever can make a lookup fail could
	// otherwise choose the server.
	FallbackAfterFailure bool
	// Families chooses the IP versions.
	Families Families
	// SingleLabels allows domains without a dot. RFC 3861 §4: "The names MUST be fully-qualified domain names".
	SingleLabels bool
	// NeverAsk lists the special-use domains about which the DNS is not asked, names below them included. localhost then answers
	// with the loopback addresses (which the Guard refuses unless allowed), the others do not exist. nil means the default:
	// localhost, invalid, local, onion and alt (RFC 6761, RFC 6762, RFC 7686, RFC 9476). test and example are asked about like any
	// domain, because laboratories use them and no public server answers; list them here to refuse them. An empty, non-nil list
	// asks about everything.
	NeverAsk []string
	// NoDANE leaves TLSA records unread.
	NoDANE bool
}

func (p Policy) withDefaults() Policy {
	if p.Order == nil {
		p.Order = []Step{StepIMPPSIP, StepIMPPXMPP, StepXMPP, StepSIP}
	}
	if p.SIPTransports == nil {
		p.SIPTransports = []Transport{TLS, TCP, UDP}
	}
	if p.XMPPTransports == nil {
		p.XMPPTransports = []Transport{TLS, TCP}
	}
	if p.NeverAsk == nil {
		p.NeverAsk = []string{"localhost", "invalid", "local", "onion", "alt"}
	}
	return p
}

func (p *Policy) check() error {
	for _, s := range p.Order {
		if s == 0 || s > StepSIP {
			return &SyntaxError{Rule: "step", Expected: "known steps"}
		}
	}
	for _, t := range p.SIPTransports {
		if !t.validFor(SIP) {
			return &SyntaxError{Rule: "transport", Expected: "transports of SIP"}
		}
	}
	for _, t := range p.XMPPTransports {
		if t != TCP && t != TLS {
			return &SyntaxError{Rule: "transport", Expected: "TLS and TCP for XMPP"}
		}
	}
	return nil
}

// withoutDNS answers for names that policy keeps out of the DNS; nil: ask.
func (p *Policy) withoutDNS(q question) *answer {
	for _, special := range p.NeverAsk {
		if q.name != special && !strings.HasSuffix(q.name, "."+special) {
			continue
		}
		a := &answer{outcome: Refused, final: q.name, reason: special + " is a special-use name"}
		if special == "localhost" {
			switch q.qtype {
			case typeA:
				a.outcome, a.addrs = Found, []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
			case typeAAAA:
				a.outcome, a.addrs = Found, []netip.Addr{netip.IPv6Loopback()}
			}
		}
		return a
	}
	return nil
}
