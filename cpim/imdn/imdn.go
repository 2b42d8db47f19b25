// Package imdn reads and writes Instant Message Disposition Notifications
// (RFC 5438): the message/imdn+xml document that says what became of a message,
// and the headers of a Message/CPIM object that ask for one.
package imdn

import (
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// SyntaxError is the error of every parser in this package.
type SyntaxError = syntax.Error

const (
	// MediaType is the MIME type of the document (RFC 5438 §11.1.8).
	MediaType = "message/imdn+xml"
	// Namespace is that of its elements (RFC 5438 §11.1).
	Namespace = "urn:ietf:params:xml:ns:imdn"
	// Disposition is the value of the Content-Disposition header that an IMDN
	// in a Message/CPIM object must have (RFC 5438 §7.2.1).
	Disposition = "notification"
)

// Kind is the type of a notification (RFC 5438 §5).
type Kind uint8

const (
	// Other is a notification of a type that RFC 5438 does not define: its
	// element is among the extensions.
	Other Kind = iota
	// Delivery says whether the message reached the recipient (RFC 5438 §5.1).
	Delivery
	// Processing says what an intermediary did with it (RFC 5438 §5.2).
	Processing
	// Display says whether it was shown (RFC 5438 §5.3).
	Display
)

// String returns "delivery", "processing", "display" or "other".
func (k Kind) String() string {
	switch k {
	case Delivery:
		return "delivery"
	case Processing:
		return "processing"
	case Display:
		return "display"
	}
	return "other"
}

// element returns the name of the kind's element.
func (k Kind) element() string { return k.String() + "-notification" }

// Status is the result that a notification reports (RFC 5438 §11.1.7).
type Status uint8

const (
	// Extended is a status that RFC 5438 does not define: its element is among
	// the status extensions.
	Extended Status = iota
	// Delivered belongs to Delivery.
	Delivered
	// Failed belongs to Delivery.
	Failed
	// Processed belongs to Processing.
	Processed
	// Stored belongs to Processing.
	Stored
	// Displayed belongs to Display.
	Displayed
	// Forbidden means that the disposition was denied; it belongs to every kind.
	Forbidden
	// Error means an internal server error; it belongs to every kind.
	Error
)

// String returns the name of the status element, or "extended".
func (s Status) String() string {
	switch s {
	case Delivered:
		return "delivered"
	case Failed:
		return "failed"
	case Processed:
		return "processed"
	case Stored:
		return "stored"
	case Displayed:
		return "displayed"
	case Forbidden:
		return "forbidden"
	case Error:
		return "error"
	}
	return "extended"
}

// Valid reports whether a notification of kind k can carry status s.
func (k Kind) Valid(s Status) bool {
	switch s {
	case Delivered, Failed:
		return k == Delivery
	case Processed, Stored:
		return k == Processing
	case Displayed:
		return k == Display
	case Forbidden, Error:
		return k != Other
	}
	return s == Extended
}

// Fields are the parts of a notification.
type Fields struct {
	// MessageID is that of the message reported on.
	MessageID string
	// DateTime is when that message was sent (not this notification). Zero
	// only in a document that ParseLenient read.
	DateTime datetime.Value
	// RecipientURI is the final recipient, or "".
	RecipientURI string
	// OriginalRecipientURI is whom the message was first sent to, or "".
	OriginalRecipientURI string
	// Subject is a subject of the message, or "".
	Subject string
	// SubjectLang is the language of Subject, or "".
	SubjectLang string
	// Kind is what is reported on.
	Kind Kind
	// Status is what is reported; Extended if Kind is Other.
	Status Status
	// Extensions are the elements of other namespaces in the document, in
	// order, each such that it can stand under any parent.
	Extensions []string
	// StatusExtensions are those in the status element.
	StatusExtensions []string
}

// Notification is one document. It is made by Parse or New and never changes.
type Notification struct {
	f   Fields
	raw []byte
}

// Fields returns a copy of the parts.
func (n *Notification) Fields() Fields {
	f := n.f
	f.Extensions = append([]string(nil), f.Extensions...)
	f.StatusExtensions = append([]string(nil), f.StatusExtensions...)
	return f
}

// Bytes returns the document as it came, or as Append prints it if it was made
// by New. The octets must not be changed.
func (n *Notification) Bytes() []byte {
	if n.raw != nil {
		return n.raw
	}
	return n.Append(nil)
}
