package stanza

// The namespaces of the streams and extensions that this package reads or writes.
const (
	SpaceComponent  = "jabber:component:accept"               // XEP-0114
	SpaceServer     = "jabber:server"                         // RFC 6120 §4.8.3
	SpaceClient     = "jabber:client"                         // RFC 6120 §4.8.3
	SpaceErrors     = "urn:ietf:params:xml:ns:xmpp-stanzas"   // RFC 6120 §8.3
	SpacePing       = "urn:xmpp:ping"                         // XEP-0199
	SpaceInfo       = "http://jabber.org/protocol/disco#info" // XEP-0030
	SpaceItems      = "http://jabber.org/protocol/disco#items"
	SpaceReceipts   = "urn:xmpp:receipts"                     // XEP-0184
	SpaceDelay      = "urn:xmpp:delay"                        // XEP-0203
	SpaceMarkers    = "urn:xmpp:chat-markers:0"               // XEP-0333
	SpaceStates     = "http://jabber.org/protocol/chatstates" // XEP-0085
	SpaceCorrection = "urn:xmpp:message-correct:0"            // XEP-0308
	SpaceReactions  = "urn:xmpp:reactions:0"                  // XEP-0444
	SpaceFallback   = "urn:xmpp:fallback:0"                   // XEP-0428
	SpaceLink       = "jabber:x:oob"                          // XEP-0066
	SpaceHints      = "urn:xmpp:hints"                        // XEP-0334
	SpaceIDs        = "urn:xmpp:sid:0"                        // XEP-0359
	SpaceNick       = "http://jabber.org/protocol/nick"       // XEP-0172
	SpaceCaps       = "http://jabber.org/protocol/caps"       // XEP-0115
	SpaceXHTMLIM    = "http://jabber.org/protocol/xhtml-im"   // XEP-0071
	SpaceXHTML      = "http://www.w3.org/1999/xhtml"
	SpaceVersion    = "jabber:iq:version"                       // XEP-0092
	SpaceLast       = "jabber:iq:last"                          // XEP-0012
	SpaceVCard      = "vcard-temp"                              // XEP-0054
	SpaceForm       = "jabber:x:data"                           // XEP-0004
	SpaceEvents     = "http://jabber.org/protocol/pubsub#event" // XEP-0060
	SpaceMood       = "http://jabber.org/protocol/mood"         // XEP-0107
	SpaceActivity   = "http://jabber.org/protocol/activity"     // XEP-0108
	// SpaceWay is our own: <way hops='69' by='...'/> in a message has its hop count and the gateways that it has passed.
	SpaceWay = "https://github.com/isthmus-gateway/ns/way"
	// SpaceSignature is our own: <signature state='valid'/> in a message is what this gateway found. It is never read.
	SpaceSignature = "https://github.com/isthmus-gateway/ns/signature"
	spaceXML       = "http://www.w3.org/XML/1998/namespace"
)

// The namespaces that tell that a message is signed or encrypted.
const (
	spaceE2E     = "urn:ietf:params:xml:ns:xmpp-e2e" // RFC 3923
	spacePGP     = "jabber:x:encrypted"              // XEP-0027
	spaceOpenPGP = "urn:xmpp:openpgp:0"              // XEP-0373
	spaceAxolotl = "eu.siacs.conversations.axolotl"  // XEP-0384 until version 0.3
	spaceOMEMO1  = "urn:xmpp:omemo:1"                // XEP-0384
	spaceOMEMO2  = "urn:xmpp:omemo:2"
	spaceEME     = "urn:xmpp:eme:0" // XEP-0380: says by which of them
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
