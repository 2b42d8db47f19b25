package sip

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// AddressOf reads the mailbox, and the device if one is named, of a sip:, im: or pres: URI. Parameters other than "gr" and "user" do
// not take part: which of them a URI has is a matter of routing.
//
// The Refusal is 480 for a sips: URI, 416 for any other scheme, and 404 for a URI that has no user part, names an address literal,
// or cannot be carried to another protocol and back (see cpim.SIPMapping).
func AddressOf(u wire.URI, how cpim.SIPMapping) (adapters.Party, *Refusal) {
	switch u.Scheme() {
	case "sip":
	case "sips":
		return adapters.Party{}, refuseSIPS()
	case "im", "pres":
		parse := cpim.ParseAddress
		if how.FoldCase {
			parse = cpim.ParseAddressFold
		}
		a, err := parse(u.String())
		if err != nil {
			return adapters.Party{}, refuse(WhyAddress, 404, "Not Found: the address cannot be carried")
		}
		return adapters.Party{Address: a.WithScheme(how.Scheme).Clone()}, nil
	default:
		return adapters.Party{}, refuse(WhyScheme, 416, "Unsupported URI Scheme")
	}
	parsed, err := cpim.ParseSIPURI(u.String())
	if err != nil {
		return adapters.Party{}, refuse(WhyAddress, 404, "Not Found: the URI cannot be carried")
	}
	id, err := how.Address(parsed)
	if err != nil {
		return adapters.Party{}, refuse(WhyAddress, 404, "Not Found: the address cannot be carried")
	}
	// Addresses are kept, by whoever remembers a message or a watch, for much longer than the request that they are parts of.
	return adapters.Party{Address: id.Address.Clone(), Instance: id.Instance.String()}, nil
}

// refuseSIPS answers a SIPS URI: "if the To header or Request-URI of a SIP message is a SIPS URI then the SIP-to-XMPP gateway MUST
// NOT translate the SIP message" (RFC 7247 §8); "the UAS MUST respond with a 480 (Temporarily Unavailable) response. The UAS SHOULD
// include a Warning header with warn-code 380" (RFC 5630 §5.1.2).
func refuseSIPS() *Refusal {
	return refuse(WhySIPS, 480, "SIPS Not Allowed", wire.Header{Name: "Warning", Value: `380 isthmus "SIPS Not Allowed"`})
}

// partyOf reads a From or Contact: as AddressOf, with the "gr" parameter also where RFC 8048's examples print it, outside of the
// angle brackets (PEERS trap 8).
func partyOf(a wire.Addr, how cpim.SIPMapping) (adapters.Party, *Refusal) {
	p, ref := AddressOf(a.URI(), how)
	if ref != nil || p.Instance != "" {
		return p, ref
	}
	if _, inside := a.URI().Param("gr"); !inside {
		if gr, ok := a.GR(); ok {
			if i, err := cpim.NewInstance(unescaped(gr)); err == nil {
				p.Instance = i.String()
			}
		}
	}
	return p, nil
}

// URIOf is the sip: URI of a party: every character of the local part that a SIP user part may not have percent-encoded (RFC 7247
// §6.5 step 5), the device as "gr" (step 8) where there is one.
func URIOf(p adapters.Party) (string, error) {
	b, err := appendURIOf(make([]byte, 0, 96), p)
	return string(b), err
}

func appendURIOf(dst []byte, p adapters.Party) ([]byte, error) {
	spec, err := uriSpecOf(p)
	if err != nil {
		return dst, err
	}
	return wire.AppendURI(dst, spec)
}

// uriSpecOf is what URIOf writes.
func uriSpecOf(p adapters.Party) (wire.URISpec, error) {
	spec := wire.URISpec{User: p.Address.Local(), Host: p.Address.Domain()}
	if p.Instance != "" {
		if _, err := cpim.NewInstance(p.Instance); err != nil {
			return spec, err
		}
		spec.Params = []wire.Param{{Name: "gr", Value: p.Instance}}
	}
	return spec, nil
}

// contactURI turns what a Gone or Redirect pointed to into a URI for a Contact header field: an im: or pres: address, or a bare
// mailbox, as the sip: URI of it; another URI as it is. "" if it is none that can stand there.
func contactURI(address string) string {
	a, err := cpim.ParseAddress(address)
	if err != nil && strings.IndexByte(address, ':') < 0 {
		if local, domain, ok := strings.Cut(address, "@"); ok {
			a, err = cpim.NewAddress(cpim.IM, local, domain)
		}
	}
	if err == nil {
		u, err := URIOf(adapters.Party{Address: a})
		if err != nil {
			return ""
		}
		return u
	}
	u, err := wire.ParseURI(address)
	if err != nil {
		return ""
	}
	return u.String()
}
