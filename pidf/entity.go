package pidf

import "github.com/isthmus-gateway/isthmus/cpim"

// EntityOf gives the entity for documents about this address: "The value of the 'entity' attribute is the 'pres' URL of the
// PRESENTITY" (RFC 3863 §4.1.1), whatever scheme the address has. The zero Address gives the zero URI.
func EntityOf(a cpim.Address) URI {
	return URI{a.WithScheme(cpim.Pres).String()}
}

// Address gives the pres: address that a URI names: an im: or pres: URI itself, or a sip: or sips: URI by the mapping, which holds
// what is known of the peer that sent it; deployed servers name presentities by SIP URIs, as the examples of RFC 5263 §5 do. It is
// for holding the entity of a document against the identity that the document came from, with ==. The error is that of package
// cpim; for any other scheme it is a *SyntaxError.
func (u URI) Address(m cpim.SIPMapping) (cpim.Address, error) {
	switch u.Scheme() {
	case "im", "pres":
		parse := cpim.ParseAddress
		if m.FoldCase {
			parse = cpim.ParseAddressFold
		}
		a, err := parse(u.s)
		return a.WithScheme(cpim.Pres), err
	case "sip", "sips":
		s, err := cpim.ParseSIPURI(u.s)
		if err != nil {
			return cpim.Address{}, err
		}
		m.Scheme = cpim.Pres
		id, err := m.Address(s)
		return id.Address, err
	}
	return cpim.Address{}, &SyntaxError{Offset: 0, Rule: "entity-scheme", Section: "RFC 4479 §3.1", Expected: "a pres, im, sip or sips URI"}
}
