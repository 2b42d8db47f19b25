package stream

import "github.com/isthmus-gateway/isthmus/internal/strictxml"

// The namespaces of streams (RFC 6120 §4.8.1, §4.9.2; XEP-0114).
const (
	SpaceStreams   = "http://etherx.jabber.org/streams"
	SpaceErrors    = "urn:ietf:params:xml:ns:xmpp-streams"
	SpaceComponent = "jabber:component:accept"
	SpaceServer    = "jabber:server"
	SpaceClient    = "jabber:client"
)

// Condition is the condition of a stream error (RFC 6120 §4.9.3). The zero value is none.
type Condition uint8

// The conditions, all 25, in the order of RFC 6120.
const (
	BadFormat Condition = iota + 1
	BadNamespacePrefix
	Conflict
	ConnectionTimeout
	HostGone
	HostUnknown
	ImproperAddressing
	InternalServerError
	InvalidFrom
	InvalidNamespace
	InvalidXML
	NotAuthorized
	NotWellFormed
	PolicyViolation
	RemoteConnectionFailed
	Reset
	ResourceConstraint
	RestrictedXML
	SeeOtherHost
	SystemShutdown
	UndefinedCondition
	UnsupportedEncoding
	UnsupportedFeature
	UnsupportedStanzaType
	UnsupportedVersion
	conditionEnd
)

var names = [conditionEnd]string{
	"", "bad-format", "bad-namespace-prefix", "conflict", "connection-timeout", "host-gone", "host-unknown", "improper-addressing",
	"internal-server-error", "invalid-from", "invalid-namespace", "invalid-xml", "not-authorized", "not-well-formed",
	"policy-violation", "remote-connection-failed", "reset", "resource-constraint", "restricted-xml", "see-other-host",
	"system-shutdown", "undefined-condition", "unsupported-encoding", "unsupported-feature", "unsupported-stanza-type",
	"unsupported-version",
}

// String returns the element's name, "none" for the zero value.
func (c Condition) String() string {
	if c == 0 || c >= conditionEnd {
		return "none"
	}
	return names[c]
}

func parseCondition(name string) Condition {
	for c := BadFormat; c < conditionEnd; c++ {
		if names[c] == name {
			return c
		}
	}
	return UndefinedCondition
}

// Error is a stream error that the peer sent: it has closed the stream (RFC 6120 §4.9.1.1).
type Error struct {
	Condition Condition
	// Text is the peer's words, at most 256 octets; for the log only.
	Text string
}

// Error returns the condition; not the text, which is the peer's.
func (e *Error) Error() string { return "stream error " + e.Condition.String() + " from the peer" }

// maxText bounds what is kept of a peer's words, in octets.
const maxText = 256

// ReadError reads an element that may be a stream error. It returns nil, false for any other element.
func ReadError(raw []byte, scope *strictxml.Scope, lim strictxml.Limits) (*Error, bool) {
	e, err := strictxml.ParseElement(raw, scope, lim)
	if err != nil {
		return nil, false
	}
	return errorIn(e)
}

// errorIn is ReadError for an element that is parsed.
func errorIn(e *strictxml.Element) (*Error, bool) {
	if e.Name != (strictxml.Name{Space: SpaceStreams, Local: "error"}) {
		return nil, false
	}
	se := &Error{Condition: UndefinedCondition}
	for c := range e.Children() {
		switch {
		case c.Name == (strictxml.Name{Space: SpaceErrors, Local: "text"}):
			se.Text = c.Text()
			if len(se.Text) > maxText {
				se.Text = se.Text[:maxText]
			}
		case c.Name.Space == SpaceErrors:
			se.Condition = parseCondition(c.Name.Local)
		}
	}
	return se, true
}

// AppendError appends a stream error with its condition and closes the stream (RFC 6120 §4.9.2).
func AppendError(dst []byte, c Condition) []byte { return AppendFault(dst, &Fault{Condition: c}) }
