package sip

import (
	"slices"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// speaker finds the peer that a request from this source can be of, and whom it is from: the domain of the identity must be one of the
// peer's. The identity is From; of a peer that is trusted to assert identities it is the P-Asserted-Identity, if the request has one
// (RFC 3325 §5). What any other peer writes there is not looked at: "if a User Agent Server receives a message from a previous element that it
// does not trust, it MUST NOT use the P-Asserted-Identity header field in any way" (RFC 3325 §8; THREATS S3).
func (p *peers) speaker(src transaction.Source, req *wire.Message) (*Peer, wire.Addr, *Refusal) {
	from := req.From()
	domain := fromDomain(from.URI())
	var asserted wire.Addr
	var malformed *Refusal
	read := false
	var found *Peer
	best, fits := noProof, false
	for _, peer := range p.list {
		strength := peer.sends(src)
		if strength == noProof || strength < best || strength == best && fits {
			continue
		}
		if peer.Trusted && !read {
			asserted, malformed = assertedBy(req)
			read = true
		}
		speaks := domain
		if peer.Trusted && !asserted.IsZero() {
			speaks = fromDomain(asserted.URI())
		}
		right := slices.Contains(peer.Domains, speaks)
		// A peer that From names has the say, even to refuse what is asserted: else one that is proven less well, and asked less, would.
		if right || strength > best && slices.Contains(peer.Domains, domain) {
			found, best, fits = peer, strength, right
		}
	}
	switch {
	case found == nil || !fits:
		return nil, from, refuse(WhyFromDomain, 403, "Forbidden: From is not in a domain of this peer")
	case !found.Trusted:
		return found, from, nil
	case malformed != nil:
		return found, from, malformed
	case asserted.IsZero():
		return found, from, nil
	}
	return found, asserted, private(req, asserted, found)
}

// assertedBy is the identity of P-Asserted-Identity that is an address here, zero if there is none: "There may be one or two P-Asserted-
// Identity values. If there is one value, it MUST be a sip, sips, or tel URI. If there are two values, one value MUST be a sip or sips
// URI and the other MUST be a tel URI" (RFC 3325 §9.1).
func assertedBy(req *wire.Message) (wire.Addr, *Refusal) {
	var found wire.Addr
	tel, n := false, 0
	bad := func() *Refusal { return refuse(WhySyntax, 400, "Bad Request: malformed P-Asserted-Identity") }
	for v := range req.Headers("P-Asserted-Identity") {
		a, err := wire.ParseAddr(v)
		if n++; err != nil || n > 2 {
			return wire.Addr{}, bad()
		}
		switch a.URI().Scheme() {
		case "sip", "sips":
			if !found.IsZero() {
				return wire.Addr{}, bad()
			}
			found = a
		case "tel":
			if tel {
				return wire.Addr{}, bad()
			}
			tel = true
		default:
			return wire.Addr{}, bad()
		}
	}
	return found, nil
}

// private refuses a request whose sender does not want the asserted identity told: "If this token is present, proxies MUST remove all the
// P-Asserted-Identity header fields before forwarding messages to elements that are not trusted" (RFC 3325 §7), and without a sender there
// is no XMPP message. Where From says the same openly there is nothing to hide.
func private(req *wire.Message, asserted wire.Addr, peer *Peer) *Refusal {
	hide := strings.EqualFold(req.From().URI().Host(), "anonymous.invalid")
	for v := range req.Headers("Privacy") {
		for value := range strings.SplitSeq(v, ";") {
			switch strings.ToLower(strings.Trim(value, " \t")) {
			case "id", "user", "header": // RFC 3325 §9.3, RFC 3323 §4.2
				hide = true
			}
		}
	}
	if !hide {
		return nil
	}
	how := cpim.SIPMapping{Scheme: cpim.IM, FoldCase: peer.FoldCase, IgnorePort: peer.IgnorePort}
	shown, ref1 := AddressOf(req.From().URI(), how)
	known, ref2 := AddressOf(asserted.URI(), how)
	if ref1 == nil && ref2 == nil && shown.Address == known.Address {
		return nil
	}
	return refuse(WhyPrivacy, 433, "Anonymity Disallowed")
}

// assert adds the identity of the sender, which this gateway has proven, for a peer of the same trust domain (RFC 3325 §5).
func assert(req *wire.Request) {
	from, err := wire.ParseAddr(req.From)
	if err != nil || from.URI().Scheme() != "sip" {
		return
	}
	v, err := wire.FormatAddr(wire.AddrSpec{URI: from.URI().String()})
	if err == nil {
		req.Headers = append(req.Headers[:len(req.Headers):len(req.Headers)], wire.Header{Name: "P-Asserted-Identity", Value: v})
	}
}

// hostDomain is the domain of a Request-URI in the form of Peer.Domains, "" if it has none.
func hostDomain(uri string) string {
	u, err := wire.ParseURI(uri)
	if err != nil {
		return ""
	}
	return fromDomain(u)
}
