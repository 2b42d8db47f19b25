package stanza

import (
	"strconv"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// AppendPing appends a ping (XEP-0199 §4).
func AppendPing(dst []byte, from, to jid.JID, id string) []byte {
	dst = appendHead(dst, "iq", from, to, id)
	return append(dst, " type='get'><ping xmlns='"+SpacePing+"'/></iq>"...)
}

// AppendProbe appends a question for a user's presence by one of our hosts (RFC 8048 §8.1).
func AppendProbe(dst []byte, from, to jid.JID, id string) []byte {
	dst = appendHead(dst, "presence", from, to, id)
	return append(dst, " type='probe'/>"...)
}

// About is what is told to who asks.
type About struct {
	// Software and Version answer XEP-0092, OS too unless it is "". Without a Software nothing answers it.
	Software, Version, OS string
	// Uptime answers XEP-0012 for a domain.
	Uptime time.Duration
}

// AppendAnswer appends the answer to a request (RFC 6120 §8.2.3 rule 3) that came to one of our domains or users. It returns dst for any
// other stanza: answers are not answered (rule 4).
//
// A domain answers for itself: who it is (XEP-0030), that it is there (XEP-0199), which software it is (XEP-0092) and since when
// (XEP-0012). Of a user this gateway knows nothing but that messages may be sent to the address: which extensions cross is told, a vCard
// there is none (XEP-0054 §3.1), the rest is service-unavailable, as anything else is (RFC 6120 §8.4). All users get the same answers,
// whether they exist or not, so nobody learns which ones do.
func AppendAnswer(dst []byte, s *Stanza, about About) []byte {
	if s.Kind != IQ || s.Type == "result" || s.Type == "error" {
		return dst
	}
	if s.Fault != nil {
		return appendRefused(dst, s, s.Fault)
	}
	domain := s.To.Local() == ""
	switch s.Payload {
	case strictxml.Name{Space: SpaceInfo, Local: "query"}, strictxml.Name{Space: SpaceItems, Local: "query"}:
		switch {
		case s.Type != "get":
		case !domain && s.Payload.Space == SpaceInfo && s.Node == "":
			return appendDeviceInfo(dst, s, 0)
		case !domain && s.Payload.Space == SpaceInfo:
			if c, ok := capsOfNode(s.Node); ok {
				return appendDeviceInfo(dst, s, c)
			}
			return appendRefused(dst, s, fault(ItemNotFound, "")) // XEP-0030 §7
		case s.Node != "":
			return appendRefused(dst, s, fault(ItemNotFound, "")) // XEP-0030 §7
		case s.Payload.Space == SpaceInfo:
			return appendInfo(dst, s, about)
		default:
			dst = appendResult(dst, s)
			return append(dst, "><query xmlns='"+SpaceItems+"'/></iq>"...)
		}
	case strictxml.Name{Space: SpacePing, Local: "ping"}:
		if s.Type == "get" && domain {
			return append(appendResult(dst, s), '/', '>')
		}
	case strictxml.Name{Space: SpaceVersion, Local: "query"}:
		if s.Type == "get" && domain && about.Software != "" {
			return appendVersion(dst, s, about)
		}
	case strictxml.Name{Space: SpaceLast, Local: "query"}:
		if s.Type == "get" && domain {
			dst = appendResult(dst, s)
			dst = append(dst, "><query xmlns='"+SpaceLast+"' seconds='"...)
			dst = strconv.AppendInt(dst, max(0, int64(about.Uptime/time.Second)), 10)
			return append(dst, "'/></iq>"...)
		}
	case strictxml.Name{Space: SpaceVCard, Local: "vCard"}:
		if s.Type == "get" {
			return appendRefused(dst, s, fault(ItemNotFound, "")) // XEP-0054 §3.1
		}
		return appendRefused(dst, s, fault(Forbidden, "")) // XEP-0054 §3.2: it is not the sender's
	}
	return appendRefused(dst, s, fault(ServiceUnavailable, ""))
}

func appendRefused(dst []byte, s *Stanza, e *Error) []byte {
	return AppendError(dst, ErrorReply{Kind: IQ, From: s.To, To: s.From, ID: s.ID, Error: e})
}

// appendResult appends the start tag of an answer, without its end.
func appendResult(dst []byte, s *Stanza) []byte {
	dst = appendHead(dst, "iq", s.To, s.From, s.ID)
	return append(dst, " type='result'"...)
}

// appendInfo tells what is true of our domains: they are a gateway to SIP SIMPLE.
func appendInfo(dst []byte, s *Stanza, about About) []byte {
	dst = appendResult(dst, s)
	dst = append(dst, "><query xmlns='"+SpaceInfo+"'><identity category='gateway' type='simple'"...)
	if about.Software != "" {
		dst = appendAttr(dst, "name", about.Software)
	}
	dst = append(dst, '/', '>')
	for _, f := range [...]string{SpaceInfo, SpaceItems, SpacePing, SpaceLast, SpaceVersion, `jid\20escaping`} {
		if f == SpaceVersion && about.Software == "" {
			continue
		}
		dst = append(dst, "<feature"...)
		dst = append(appendAttr(dst, "var", f), '/', '>')
	}
	return append(dst, "</query></iq>"...)
}

func appendVersion(dst []byte, s *Stanza, about About) []byte {
	dst = appendResult(dst, s)
	dst = append(dst, "><query xmlns='"+SpaceVersion+"'>"...)
	for _, e := range [...]struct{ name, value string }{{"name", about.Software}, {"version", about.Version}, {"os", about.OS}} {
		if e.value == "" && e.name == "os" {
			continue
		}
		dst = append(append(append(dst, '<'), e.name...), '>')
		dst = strictxml.AppendText(dst, e.value)
		dst = append(append(append(dst, '<', '/'), e.name...), '>')
	}
	return append(dst, "</query></iq>"...)
}
