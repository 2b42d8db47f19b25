package pidf

import "github.com/isthmus-gateway/isthmus/internal/strictxml"

// The namespaces that this package reads and writes.
const (
	// NamespacePIDF is the namespace of RFC 3863 §4.2.2. (§4.1.1 prints it with a colon at the end; the schema does not.)
	NamespacePIDF = "urn:ietf:params:xml:ns:pidf"
	// NamespaceDataModel is the namespace of RFC 4479 §5.1.2: person, device, deviceID.
	NamespaceDataModel = "urn:ietf:params:xml:ns:pidf:data-model"
	// NamespaceRPID is the namespace of RFC 4480 §3.1.
	NamespaceRPID = "urn:ietf:params:xml:ns:pidf:rpid"
	// NamespaceTimedStatus is the namespace of RFC 4481 §6.1.
	NamespaceTimedStatus = "urn:ietf:params:xml:ns:pidf:timed-status"
	// NamespaceCIPID is the namespace of RFC 4482 §1.
	NamespaceCIPID = "urn:ietf:params:xml:ns:pidf:cipid"
	// NamespaceCaps is the namespace of RFC 5196 §3.2.
	NamespaceCaps = "urn:ietf:params:xml:ns:pidf:caps"
	// NamespaceDiff is the namespace of RFC 5262 §3.
	NamespaceDiff = "urn:ietf:params:xml:ns:pidf-diff"
	// NamespacePatchError is the namespace of RFC 5261 §5.1.
	NamespacePatchError = "urn:ietf:params:xml:ns:patch-ops-error"
	// NamespaceClient is the namespace of the show element (RFC 8048 §6.2 note 7).
	NamespaceClient = "jabber:client"
)

// Media types of the documents.
const (
	// MediaType is that of a presence document (RFC 3863 §5.1).
	MediaType = "application/pidf+xml"
	// MediaTypeDiff is that of a partial presence document, full or diff (RFC 5262 §5.2).
	MediaTypeDiff = "application/pidf-diff+xml"
	// MediaTypePatchError is that of PatchError.Document (RFC 5261 §10).
	MediaTypePatchError = "application/patch-ops-error+xml"
)

// Name is an expanded XML name: namespace name ("" for none) and local name.
type Name struct{ Space, Local string }

func nameOf(n strictxml.Name) Name { return Name{n.Space, n.Local} }
