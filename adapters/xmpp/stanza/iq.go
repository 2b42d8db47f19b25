package stanza

import "github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"

// AppendPing appends a ping (XEP-0199 §4).
func AppendPing(dst []byte, from, to jid.JID, id string) []byte {
	dst = appendHead(dst, "iq", from, to, id)
	return append(dst, " type='get'><ping xmlns='"+SpacePing+"'/></iq>"...)
}

// AppendAnswer appends the answer to a request that came to one of our domains or users: an empty result to a ping, who we are to
// disco#info, an empty list to disco#items (XEP-0030 §3, §4), and service-unavailable to anything else (RFC 6120 §8.4). The
// stanza is an iq of type get or set; it returns dst for any other, since those are never answered.
func AppendAnswer(dst []byte, s *Stanza) []byte {
	if s.Kind != IQ || s.Type != "get" && s.Type != "set" {
		return dst
	}
	if s.Fault != nil {
		return AppendError(dst, ErrorReply{Kind: IQ, From: s.To, To: s.From, ID: s.ID, Error: s.Fault})
	}
	get := s.Type == "get" && s.Node == ""
	switch {
	case s.Type == "get" && s.Payload.Space == SpacePing && s.Payload.Local == "ping":
		dst = appendHead(dst, "iq", s.To, s.From, s.ID)
		return append(dst, " type='result'/>"...)
	case get && s.Payload.Space == SpaceInfo && s.Payload.Local == "query":
		return appendInfo(dst, s)
	case get && s.Payload.Space == SpaceItems && s.Payload.Local == "query":
		dst = appendHead(dst, "iq", s.To, s.From, s.ID)
		return append(dst, " type='result'><query xmlns='"+SpaceItems+"'/></iq>"...)
	}
	e := fault(ServiceUnavailable, "")
	if s.Node != "" && (s.Payload.Space == SpaceInfo || s.Payload.Space == SpaceItems) {
		e = fault(ItemNotFound, "") // XEP-0030 §7
	}
	return AppendError(dst, ErrorReply{Kind: IQ, From: s.To, To: s.From, ID: s.ID, Error: e})
}

// appendInfo tells what is true of our addresses: they are reached through a gateway to SIP SIMPLE. Which features a user's own
// device has is not known here.
func appendInfo(dst []byte, s *Stanza) []byte {
	dst = appendHead(dst, "iq", s.To, s.From, s.ID)
	dst = append(dst, " type='result'><query xmlns='"+SpaceInfo+"'><identity category='gateway' type='simple' name='Isthmus'/>"...)
	for _, f := range [...]string{SpaceInfo, SpaceItems, SpacePing, `jid\20escaping`, SpaceReceipts} {
		if f == SpaceReceipts && s.To.Local() == "" {
			continue // receipts come from users
		}
		dst = append(dst, "<feature var='"...)
		dst = append(dst, f...)
		dst = append(dst, "'/>"...)
	}
	return append(dst, "</query></iq>"...)
}
