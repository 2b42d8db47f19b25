package stanza

// The namespaces of the streams and extensions that this package reads or writes.
const (
	SpaceComponent = "jabber:component:accept"               // XEP-0114
	SpaceServer    = "jabber:server"                         // RFC 6120 §4.8.3
	SpaceClient    = "jabber:client"                         // RFC 6120 §4.8.3
	SpaceErrors    = "urn:ietf:params:xml:ns:xmpp-stanzas"   // RFC 6120 §8.3
	SpacePing      = "urn:xmpp:ping"                         // XEP-0199
	SpaceInfo      = "http://jabber.org/protocol/disco#info" // XEP-0030
	SpaceItems     = "http://jabber.org/protocol/disco#items"
	SpaceReceipts  = "urn:xmpp:receipts" // XEP-0184
	SpaceDelay     = "urn:xmpp:delay"    // XEP-0203
	spaceXML       = "http://www.w3.org/XML/1998/namespace"
)

// Kind is which of the three stanzas it is (RFC 6120 §8.1).
type Kind uint8

// The kinds. The zero value is an element that is no stanza.
const (
	Message Kind = iota + 1
	Presence
	IQ
)

// String returns the element's name, "none" for the zero value.
func (k Kind) String() string {
	switch k {
	case Message:
		return "message"
	case Presence:
		return "presence"
	case IQ:
		return "iq"
	default:
		return "none"
	}
}
