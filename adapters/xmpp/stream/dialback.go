package stream

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// DialbackKind is which of the two elements of dialback it is.
type DialbackKind uint8

// The elements.
const (
	// DialbackResult asks for authorization, or answers it (XEP-0220 §2.1.1).
	DialbackResult DialbackKind = iota + 1
	// DialbackVerify asks whether a key is valid, or answers it (XEP-0220 §2.1.2).
	DialbackVerify
)

// DialbackType is the 'type' of an answer.
type DialbackType uint8

// The types. The zero value is a request.
const (
	DialbackRequest DialbackType = iota
	DialbackValid
	DialbackInvalid
	// DialbackError is a problem that says nothing of the key, and does not end the stream (XEP-0220 §2.4).
	DialbackError
)

// Dialback is an element of dialback (XEP-0220).
type Dialback struct {
	Kind DialbackKind
	Type DialbackType
	// From and To are domains in canonical form.
	From, To string
	// ID is the id of the stream that a verify is about; "" in a result.
	ID string
	// Key is the key of a request, "" in an answer.
	Key string
	// Condition is the stanza error condition of a DialbackError, such as "item-not-found" (XEP-0220 §2.4). One that is not known is
	// "undefined-condition".
	Condition string
}

// maxKey bounds a dialback key in octets. Those of XEP-0185 have 64.
const maxKey = 1024

// isStanzaCondition tells whether name is one of the conditions of RFC 6120 §8.3.3.
func isStanzaCondition(name string) bool {
	switch name {
	case "bad-request", "conflict", "feature-not-implemented", "forbidden", "gone", "internal-server-error", "item-not-found",
		"jid-malformed", "not-acceptable", "not-allowed", "not-authorized", "policy-violation", "recipient-unavailable", "redirect",
		"registration-required", "remote-server-not-found", "remote-server-timeout", "resource-constraint", "service-unavailable",
		"subscription-required", "undefined-condition", "unexpected-request":
		return true
	}
	return false
}

// stanzaCondition returns the condition among the children of e that RFC 6120 defines.
func stanzaCondition(e *strictxml.Element) (condition string, ok bool) {
	for c := range e.Children() {
		if c.Name.Space != SpaceStanzas || c.Name.Local == "text" {
			continue
		}
		if isStanzaCondition(c.Name.Local) {
			return c.Name.Local, true
		}
		condition, ok = "undefined-condition", true
	}
	return condition, ok
}

// ReadDialback reads an element that may be one of dialback; ok is false for any other. The error is a *Fault: a stream on which an
// element of dialback is not as XEP-0220 §2 has it is closed.
func ReadDialback(raw []byte, scope *strictxml.Scope, lim strictxml.Limits) (d Dialback, ok bool, err error) {
	e, err := strictxml.ParseElement(raw, scope, lim)
	if err != nil {
		return d, false, err
	}
	switch e.Name {
	case strictxml.Name{Space: SpaceDialback, Local: "result"}:
		d.Kind = DialbackResult
	case strictxml.Name{Space: SpaceDialback, Local: "verify"}:
		d.Kind = DialbackVerify
	default:
		return d, false, nil
	}
	from, _ := e.Attr("", "from")
	to, _ := e.Attr("", "to")
	var good, good2 bool
	d.From, good = domain(from)
	d.To, good2 = domain(to)
	if !good || !good2 {
		return d, true, &Fault{ImproperAddressing, "dialback with an address that is no domain", "RFC 6120 §4.9.3.7", ""}
	}
	malformed := &Fault{BadFormat, "a malformed element of dialback", "RFC 6120 §4.9.3.1", ""}
	if d.Kind == DialbackVerify {
		if d.ID, _ = e.Attr("", "id"); d.ID == "" || len(d.ID) > maxID {
			return d, true, malformed
		}
	}
	switch t, ok := e.Attr("", "type"); {
	case !ok:
		// The examples of XEP-0220 put white space around the key.
		d.Key = strings.Trim(e.Text(), " \t\r\n")
		if !textOnly(e) || d.Key == "" || len(d.Key) > maxKey {
			return d, true, malformed
		}
	case t == "valid":
		d.Type = DialbackValid
	case t == "invalid":
		d.Type = DialbackInvalid
	case t == "error":
		d.Type = DialbackError
		// "the element MUST contain an <error/> element (implicitly qualified by the 'jabber:server' namespace), which MUST in turn
		// contain ... a stanza error condition" (XEP-0220 §2.4).
		c := e.Child(SpaceServer, "error")
		if c == nil {
			return d, true, malformed
		}
		if d.Condition, ok = stanzaCondition(c); !ok {
			return d, true, malformed
		}
	default:
		return d, true, malformed
	}
	return d, true, nil
}

// AppendDialback appends the element, with the prefix that the header declares where Outgoing.Dialback or Incoming.Dialback is set.
func AppendDialback(dst []byte, d *Dialback) []byte {
	name := "db:result"
	if d.Kind == DialbackVerify {
		name = "db:verify"
	}
	dst = append(append(dst, '<'), name...)
	dst = appendAttr(dst, "from", d.From)
	dst = appendAttr(dst, "to", d.To)
	if d.Kind == DialbackVerify {
		dst = appendAttr(dst, "id", d.ID)
	}
	switch d.Type {
	case DialbackValid:
		return append(dst, " type='valid'/>"...)
	case DialbackInvalid:
		return append(dst, " type='invalid'/>"...)
	case DialbackError:
		condition := d.Condition
		if !isStanzaCondition(condition) {
			condition = "undefined-condition"
		}
		dst = append(dst, " type='error'><error type='"+errorType(condition)+"'><"...)
		dst = append(dst, condition...)
		dst = append(dst, " xmlns='"+SpaceStanzas+"'/></error>"...)
	default:
		dst = strictxml.AppendText(append(dst, '>'), d.Key)
	}
	return append(append(append(dst, "</"...), name...), '>')
}

// errorType returns the type that goes with a condition of a dialback error (RFC 6120 §8.3.3). Those that pass with time are "wait".
func errorType(condition string) string {
	switch condition {
	case "remote-server-timeout", "resource-constraint":
		return "wait"
	case "forbidden", "not-authorized":
		return "auth"
	case "not-acceptable", "policy-violation":
		return "modify"
	}
	return "cancel"
}

// DialbackKey returns the key for a stream (XEP-0185 §2): receiving and originating are canonical domains, which hold no space, so that
// no other three values make the same text.
func DialbackKey(secret []byte, receiving, originating, streamID string) string {
	hashed := sha256.Sum256(secret)
	var room [2 * sha256.Size]byte
	m := hmac.New(sha256.New, hex.AppendEncode(room[:0], hashed[:]))
	m.Write([]byte(receiving + " " + originating + " " + streamID))
	return hex.EncodeToString(m.Sum(nil))
}

// CheckDialbackKey tells whether key is that of DialbackKey, in constant time (THREATS.md X14).
func CheckDialbackKey(key string, secret []byte, receiving, originating, streamID string) bool {
	return subtle.ConstantTimeCompare([]byte(key), []byte(DialbackKey(secret, receiving, originating, streamID))) == 1
}
