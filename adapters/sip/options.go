package sip

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// methods are those that are served, in the order in which Allow names them. PUBLISH only where there is a compositor.
var methods = [...]string{"MESSAGE", "NOTIFY", "OPTIONS", "PUBLISH", "SUBSCRIBE"} // never written to

// allow is the value of Allow, without some of the methods.
func allow(without ...string) string {
	list := make([]string, 0, len(methods))
next:
	for _, m := range methods {
		for _, w := range without {
			if m == w {
				continue next
			}
		}
		list = append(list, m)
	}
	return strings.Join(list, ", ")
}

// allow is the value of Allow of this adapter as a whole.
func (a *Adapter) allow() string {
	if a.compositor.any() {
		return allow()
	}
	return allow("PUBLISH")
}

// takeOptions answers for the gateway and for the users behind it alike: whether one of them is there is theirs to tell, and what they
// can take is what the gateway can. Over UDP that is as much of it as the octets of the request allow (T-OV-06): all of it is a SHOULD, and
// who wants all asks over a connection.
func (a *Adapter) takeOptions(in *inbound) {
	a.respond(in, answer{code: 200, phrase: phraseOf(200), spare: a.capabilities(true)}, "")
}

// capabilities are the header fields of the answer to OPTIONS: "Allow, Accept, Accept-Encoding, Accept-Language, and Supported header
// fields SHOULD be present in a 200 (OK) response to an OPTIONS request" (RFC 3261 §11.2), and Allow-Events by RFC 6665 §4.4.4. Not in
// full, where the sender has not proven its address and the answer must not be larger than the question (T-OV-06), they are Allow alone.
func (a *Adapter) capabilities(full bool) []wire.Header {
	h := []wire.Header{{Name: "Allow", Value: a.allow()}}
	if !full {
		return h
	}
	return append(h,
		wire.Header{Name: "Accept", Value: acceptedContent + ", " + acceptedPresence},
		wire.Header{Name: "Accept-Encoding", Value: "identity"},
		wire.Header{Name: "Accept-Language", Value: "*"},
		wire.Header{Name: "Allow-Events", Value: eventPresence},
		wire.Header{Name: "Supported", Value: ""},
	)
}
