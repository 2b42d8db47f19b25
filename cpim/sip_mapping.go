package cpim

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// SIPIdentity is what a SIP URI says about whom it names.
type SIPIdentity struct {
	// Address is the im: or pres: address.
	Address Address
	// Instance is the device, from a "gr" parameter; zero if there is none.
	Instance Instance
	// Secure says that the URI was sips:. Whoever translates such a message to
	// a network that cannot keep that promise must refuse it (RFC 7247 §8).
	Secure bool
	// Temporary says that the URI is a temporary GRUU, a "gr" without a value
	// (RFC 5627 §3.1.2). Its user part is not that of the address of record,
	// and RFC 7247 §6.3 does not map it: Address is what the URI says, good for
	// this conversation only.
	Temporary bool
}

// SIPMapping says how SIP URIs become Addresses. The zero SIPMapping gives im:
// addresses and is strict.
type SIPMapping struct {
	// Scheme is the scheme of the Address; 0 means IM.
	Scheme Scheme
	// FoldCase maps the user part to its case-mapped form. It is a policy for
	// domains whose users are not case-sensitive.
	FoldCase bool
	// IgnorePort takes a URI with a port for the same identity as without. It
	// is for peers known to put their port into From and To.
	IgnorePort bool
	// LocalNumbers takes a local telephone number without a phone context, which
	// RFC 3966 §5.1.5 demands, as valid in the domain of the URI. Many PBXs send
	// "sip:1000@pbx.example;user=phone".
	LocalNumbers bool
	// DecodeReserved takes a percent-encoded "&", "=", "+", "$", ",", ";", "?"
	// or "/" in the user part for the plain character, as for peers that write
	// "%2B" before telephone numbers. RFC 3261 §19.1.4 holds the two apart, so
	// two SIP users can then meet in one Address.
	DecodeReserved bool
}

// AddressFromSIPURI maps a SIP URI strictly: SIPMapping with that scheme and
// nothing else.
func AddressFromSIPURI(u SIPURI, scheme Scheme) (SIPIdentity, error) {
	return SIPMapping{Scheme: scheme}.Address(u)
}

// Address maps a SIP URI to an Address by RFC 7247 §6.4, steps 1 to 4 and 8
// (the escaping of step 5 is XMPP's own business). It refuses what has no
// one-to-one image: no user part, a password, URI headers, an IP address for a
// host, a port, and an encoded character that RFC 3261 §19.1.4 does not hold
// equal to the plain one. Of the parameters only "gr" and "user" matter; the
// others are about routing.
//
// A user part that "user=phone" marks as a telephone number is taken as a tel:
// URI's (RFC 3261 §19.1.6), so visual separators are removed and the phone
// context is kept.
//
// The error is a *SyntaxError whose offset counts in u.String().
func (p SIPMapping) Address(u SIPURI) (SIPIdentity, error) {
	id, err := p.address(u)
	if err != nil {
		return SIPIdentity{}, err
	}
	return id, nil
}

func (p SIPMapping) address(u SIPURI) (id SIPIdentity, _ *syntax.Error) {
	const section = "RFC 7247 §6.4"
	at := strings.IndexByte(u.raw, '@')
	userStart := strings.IndexByte(u.raw, ':') + 1
	switch {
	case u.IsZero():
		return id, &syntax.Error{Rule: "sip-scheme", Section: section, Expected: "a SIP URI"}
	case u.rawUser == "":
		return id, syntax.At(u.raw, userStart, "sip-user", section, "a user part")
	case u.HasPassword():
		return id, syntax.At(u.raw, userStart+len(u.rawUser), "sip-password", "RFC 3261 §19.1.1", "no password")
	case u.HasHeaders():
		return id, syntax.At(u.raw, len(u.raw)-len(u.headers), "sip-header", section, "no URI headers")
	case u.HostIsIP():
		return id, syntax.At(u.raw, at+1, "domain-literal", section, "a domain name")
	case u.port != 0 && !p.IgnorePort:
		return id, syntax.At(u.raw, at+1+len(u.host), "sip-port", "RFC 3261 §19.1.4", "no port")
	}
	if !p.DecodeReserved {
		for i := 0; i+2 < len(u.rawUser); i++ {
			if u.rawUser[i] != '%' {
				continue
			}
			c := byte(hexValue(u.rawUser[i+1])<<4 | hexValue(u.rawUser[i+2]))
			if sipUserUnreserved(c) {
				return id, syntax.At(u.raw, userStart+i, "sip-reserved", "RFC 3261 §19.1.4", "this character not encoded")
			}
		}
	}
	local := u.user
	if u.IsPhone() {
		t, err := parseSubscriber(u.user, p.LocalNumbers)
		if err != nil {
			return id, err.Shift(userStart)
		}
		local = t.canonical()
	}
	scheme := p.Scheme
	if scheme == 0 {
		scheme = IM
	}
	a, err := newAddress(scheme, local, u.host, p.FoldCase)
	if err != nil {
		e := *err.(*syntax.Error)
		if e.Offset > len(local) {
			e.Offset = at + e.Offset - len(local)
		} else {
			e.Offset = userStart + percentOffset(u.rawUser, e.Offset)
		}
		return id, &e
	}
	id = SIPIdentity{Address: a, Secure: u.Secure()}
	if gr, ok := u.Param("gr"); ok {
		if gr == "" {
			id.Temporary = true
		} else if id.Instance, err = NewInstance(gr); err != nil {
			e := *err.(*syntax.Error)
			e.Offset = at + 1 + len(u.host)
			return SIPIdentity{}, &e
		}
	}
	return id, nil
}

// SIPURI returns the address as a sip: URI: the local part percent-encoded as
// the user part of RFC 3261 §25.1 needs it, which covers the set of RFC 7247
// §6.5, step 5. AddressFromSIPURI gives the address back. The zero Address
// gives the zero SIPURI.
func (a Address) SIPURI() SIPURI { return a.sipURI("sip:", sipFlags(0)) }

// SIPSURI is SIPURI with the scheme sips.
func (a Address) SIPSURI() SIPURI { return a.sipURI("sips:", sipSecure) }

func (a Address) sipURI(scheme string, flags sipFlags) SIPURI {
	if a.IsZero() {
		return SIPURI{}
	}
	b := make([]byte, 0, len(scheme)+3*len(a.local)+1+len(a.domain))
	b = append(b, scheme...)
	for i := range len(a.local) {
		c := a.local[i]
		b = appendPercent(b, c, sipUnreserved(c) || sipUserUnreserved(c))
	}
	end := len(b)
	b = append(append(b, '@'), a.domain...)
	raw := string(b)
	return SIPURI{raw: raw, rawUser: raw[len(scheme):end], user: a.local, host: a.domain, flags: flags}
}

// WithInstance returns u with the instance as its "gr" parameter (RFC 7247
// §6.5, step 8). A zero Instance gives u.
func (u SIPURI) WithInstance(i Instance) SIPURI {
	if i.IsZero() {
		return u
	}
	return u.WithParam("gr", i.String())
}
