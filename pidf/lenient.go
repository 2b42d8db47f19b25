package pidf

import "strconv"

// LeniencyKind names one thing that ParseLenient takes and Parse refuses. Each says who sends it, as far as is known.
type LeniencyKind uint8

const (
	// LenientEncoding: the document declares ISO-8859-1, and is read as that. COMPAT(Asterisk, chan_sip to 12).
	LenientEncoding LeniencyKind = iota + 1
	// LenientDeclaration: no XML declaration. COMPAT(siplib, all); the examples of RFC 3922 §6.3.2 and RFC 4481 §4.
	LenientDeclaration
	// LenientNamespace: the elements of PIDF are in no namespace, or in that of the drafts,
	// "urn:ietf:params:xml:ns:cpim-pidf". COMPAT(PJSIP, before its ticket 207 of 2007); COMPAT(Sofia-SIP, its pidf example).
	LenientNamespace
	// LenientEntityMissing: no 'entity'; Presence.Entity is zero. COMPAT(Kamailio, presence_xml before PR 460 of 2016).
	LenientEntityMissing
	// LenientURI: an entity or contact in angle brackets, perhaps after a display name. COMPAT(PJSUA, before its ticket 135
	// of 2007), which left the brackets unescaped besides; such a document is not well-formed and still refused.
	LenientURI
	// LenientContact: a contact that is no URI; it is left out. No product known.
	LenientContact
	// LenientOrder: children of the document, tuple, person or device in another order, or one more often than allowed; the
	// first counts. COMPAT(Asterisk, chan_sip and res_pjsip: note and person before tuples, contact before status);
	// COMPAT(reSIProcate recon, before PR 61 of 2016); COMPAT(baresip, 1.0.0: person before tuple).
	LenientOrder
	// LenientID: an id that is no xs:ID, such as a number; it is read as TupleID would write it. COMPAT(PJSIP, before its
	// ticket 938 of 2009); COMPAT(Asterisk, tuple ids are extensions); COMPAT(Zoiper, 5); COMPAT(Linphone, person ids are URIs).
	LenientID
	// LenientIDMissing: a tuple, person or device without an id; it gets one by its place. COMPAT(Kamailio and OpenSIPS,
	// pua_xmpp).
	LenientIDMissing
	// LenientIDDuplicate: an id that was there before; the later gets a suffix. COMPAT(Lumicall, before PR 44 of 2016: person
	// and tuple).
	LenientIDDuplicate
	// LenientBasic: <basic> in other letters or with white space: "OPEN", as RFC 2778 §2.3 writes the value; no product known. Or
	// "unknown", which is BasicAbsent. COMPAT(baresip, 1.0.0, until its user has said anything).
	LenientBasic
	// LenientStatus: a tuple without a status, or a status without a value; the tuple's Status is then empty. No product
	// known; PJSIP's ticket 1367 of 2011 reports a status without <basic>, which alone is valid.
	LenientStatus
	// LenientShow: <show> in the namespace of PIDF instead of jabber:client, or with a value that RFC 6121 §4.7.2.1 does not
	// have, which is left out. No product known; it is what a writer makes who forgets the xmlns of RFC 8048 §6.2.
	LenientShow
	// LenientPriority: a contact priority that is no number from 0 to 1; it "SHOULD" be ignored (RFC 3863 §4.1.5).
	LenientPriority
	// LenientTimestamp: a timestamp without an offset, taken as UTC, or with a small 't' or 'z', or none of these, and then
	// left out. COMPAT(Linphone, as seen in 2017: "2017-10-25T13:18:26").
	LenientTimestamp
	// LenientMustUnderstand: mustUnderstand outside of a status, or with no boolean value. The example of RFC 3863 §4.3.3.
	LenientMustUnderstand
	// LenientAttribute: an attribute that the schema does not have; it is left out. No product known.
	LenientAttribute
	// LenientPlace: an element of RPID, CIPID, timed status or capabilities where its text does not put it, or too often. It
	// is read; Append then refuses the document. COMPAT(kamailio-go, its tests have activities in the tuple).
	LenientPlace
	// LenientRich: an element of RPID, CIPID, timed status, capabilities or of the data model that breaks its schema; it is
	// left out. No product known. (Blink puts names of its own into activities; those are ignored also by Parse.)
	LenientRich
	// LenientSphereText: a sphere in words. The example of RFC 4480 §4.
	LenientSphereText
	// LenientCapsOrder: capabilities in another order than the schema's. The example of RFC 5263 §5.
	LenientCapsOrder
	// LenientDeviceURN: a deviceID that is a URI but no URN. The example of RFC 5263 §5 ("mac:xxx").
	LenientDeviceURN
	// LenientChoice: <unknown/> beside other values of an RPID enumeration. No product known.
	LenientChoice
	// LenientText: character data between elements; it is left out. No product known.
	LenientText
)

// String gives a short name, stable between releases.
func (k LeniencyKind) String() string {
	switch k {
	case LenientEncoding:
		return "encoding"
	case LenientDeclaration:
		return "xml-declaration"
	case LenientNamespace:
		return "namespace"
	case LenientEntityMissing:
		return "entity-missing"
	case LenientURI:
		return "uri"
	case LenientContact:
		return "contact"
	case LenientOrder:
		return "order"
	case LenientID:
		return "id"
	case LenientIDMissing:
		return "id-missing"
	case LenientIDDuplicate:
		return "id-duplicate"
	case LenientBasic:
		return "basic"
	case LenientStatus:
		return "status"
	case LenientShow:
		return "show"
	case LenientPriority:
		return "priority"
	case LenientTimestamp:
		return "timestamp"
	case LenientMustUnderstand:
		return "must-understand"
	case LenientAttribute:
		return "attribute"
	case LenientPlace:
		return "place"
	case LenientRich:
		return "rich"
	case LenientSphereText:
		return "sphere-text"
	case LenientCapsOrder:
		return "caps-order"
	case LenientDeviceURN:
		return "device-urn"
	case LenientChoice:
		return "choice"
	case LenientText:
		return "text"
	}
	return "leniency-" + strconv.Itoa(int(k))
}

// Leniency is one need that a document had of ParseLenient.
type Leniency struct {
	Kind LeniencyKind
	// Offset is where the element at fault begins.
	Offset int64
}

// MaxLeniencies is the most that ParseLenient reports of one document; the rest are used and not reported.
const MaxLeniencies = 64

// ParseLenient is Parse for what deployed clients are known to send: "Implementations SHOULD be prepared to receive documents
// that are not valid, and extract whatever information from them that they can parse" (RFC 4479 §5). It tells which leniencies
// the document needed: none, and it is what Parse takes. The XML must still be well-formed and without comments, processing
// instructions and document types. Such a document may lack what Append needs (Entity, a status value).
func ParseLenient(doc []byte) (*Presence, []Leniency, error) {
	r := reader{lenient: true}
	p, err := r.read(doc, rootPresence)
	if err != nil {
		return nil, r.found, err
	}
	return p, r.found, nil
}
