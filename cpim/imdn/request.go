package imdn

import (
	"strings"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/internal/contentxml"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// HeaderNamespace is that of the Message/CPIM headers of RFC 5438 §6.1.
const HeaderNamespace = "urn:ietf:params:imdn"

// Want is a set of requested notifications.
type Want uint8

const (
	// NegativeDelivery asks to hear that delivery failed.
	NegativeDelivery Want = 1 << iota
	// PositiveDelivery asks to hear that delivery succeeded.
	PositiveDelivery
	// WantProcessing asks to hear what intermediaries do.
	WantProcessing
	// WantDisplay asks to hear that the message was shown.
	WantDisplay
)

// wantNames holds the words of RFC 5438 §10 in bit order. It is never written
// to.
var wantNames = [...]string{"negative-delivery", "positive-delivery", "processing", "display"}

// Names returns the words of RFC 5438 §10 for the set.
func (w Want) Names() []string {
	var names []string
	for i, n := range wantNames {
		if w&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// Request is what the IMDN headers of a Message/CPIM object say.
type Request struct {
	// MessageID is the message's own, or "".
	MessageID string
	// Want is what the sender asks for. It is empty in an IMDN, whose sender
	// may not ask for one in turn: such a request is ignored, as RFC 5438
	// §7.2.1 demands.
	Want Want
	// OtherWants are requests of types that RFC 5438 does not define, as
	// written with their parameters; a recipient ignores them.
	OtherWants []string
	// OriginalTo is the recipient before an intermediary changed it, or zero.
	OriginalTo cpim.Mailbox
	// RecordRoute is the intermediaries that want to see the IMDN, in order.
	RecordRoute []cpim.Mailbox
	// Route is, in an IMDN, where it goes next, in order.
	Route []cpim.Mailbox
}

// IsNotification reports whether a Message/CPIM object is itself an IMDN: its
// Content-Disposition is "notification" (RFC 5438 §7.1.2) or its content is a
// message/imdn+xml document.
func IsNotification(m *cpim.Message) bool {
	if m.Content().ContentType().Is(MediaType) {
		return true
	}
	h, ok := m.Content().Header("Content-Disposition")
	if !ok {
		return false
	}
	d, _, _ := strings.Cut(h.Text(), ";")
	return strings.EqualFold(contentxml.Trim(d), Disposition)
}

// RequestOf reads the IMDN headers of a Message/CPIM object, whatever prefix
// they have (RFC 5438 §10). Without any it returns the zero Request. The error
// is a *SyntaxError whose offset counts in the header's value; its Rule names
// the header.
func RequestOf(m *cpim.Message) (Request, error) {
	r, err := requestOf(m)
	if err != nil {
		return Request{}, err
	}
	return r, nil
}

func requestOf(m *cpim.Message) (r Request, _ *syntax.Error) {
	notification := IsNotification(m)
	seenID, seenTo, seenWant := false, false, false
	for h := range m.Headers() {
		if string(h.Namespace) != HeaderNamespace {
			continue
		}
		value := string(h.Value)
		switch string(h.Local) {
		case "Message-ID":
			if seenID {
				return r, &syntax.Error{Rule: "imdn-message-id", Section: "RFC 5438 §6.3", Expected: "one Message-ID header"}
			}
			if !validToken(value) {
				return r, syntax.At(value, 0, "imdn-message-id", "RFC 5438 §10", "a token")
			}
			r.MessageID, seenID = value, true
		case "Disposition-Notification":
			if seenWant {
				return r, &syntax.Error{Rule: "imdn-disposition", Section: "RFC 5438 §10", Expected: "one Disposition-Notification header"}
			}
			seenWant = true
			if notification {
				continue
			}
			if err := r.parseWants(value); err != nil {
				return r, err
			}
		case "Original-To", "IMDN-Record-Route", "IMDN-Route":
			mb, err := cpim.ParseMailbox(value)
			if err != nil {
				e := *err.(*syntax.Error)
				e.Rule, e.Section = "imdn-route", "RFC 5438 §10"
				return r, &e
			}
			switch {
			case string(h.Local) == "IMDN-Route":
				r.Route = append(r.Route, mb)
			case string(h.Local) == "IMDN-Record-Route":
				// "IMDN-Record-Route header fields do not make sense in an IMDN
				// […] IMDN Recipients MUST ignore it if present."
				if !notification {
					r.RecordRoute = append(r.RecordRoute, mb)
				}
			case seenTo:
				return r, &syntax.Error{Rule: "imdn-original-to", Section: "RFC 5438 §6.4", Expected: "one Original-To header"}
			default:
				r.OriginalTo, seenTo = mb, true
			}
		}
	}
	return r, nil
}

// parseWants reads [(notify-req *(COMMA notify-req))].
func (r *Request) parseWants(value string) *syntax.Error {
	if value == "" {
		return nil
	}
	off := 0
	for req := range splitOutsideQuotes(value, ',') {
		word, params, _ := strings.Cut(req, ";")
		word = strings.Trim(word, " ")
		if !validToken(word) {
			return syntax.At(value, off, "imdn-disposition", "RFC 5438 §10", "a token between commas")
		}
		known := false
		for i, n := range wantNames {
			if word == n {
				r.Want |= 1 << i
				// Parameters qualify a known word in ways that RFC 5438 does
				// not define; they are kept, and may be ignored.
				known = params == ""
			}
		}
		if !known {
			r.OtherWants = append(r.OtherWants, strings.Trim(req, " "))
		}
		off += len(req) + 1
	}
	return nil
}

// splitOutsideQuotes ranges over the parts of s between separators that are
// not in a quoted string.
func splitOutsideQuotes(s string, sep byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch c := s[i]; {
			case c == '\\' && quoted:
				i++
			case c == '"':
				quoted = !quoted
			case c == sep && !quoted:
				if !yield(s[start:i]) {
					return
				}
				start = i + 1
			}
		}
		yield(s[start:])
	}
}

// AddRequest writes the NS header and the IMDN headers of r, in this order:
// Message-ID, Disposition-Notification, Original-To, the routes. The sender
// must also write a DateTime header (RFC 5438 §7.1.1.2).
func AddRequest(b *cpim.Builder, r Request) *cpim.Builder {
	b.Namespace("imdn", HeaderNamespace)
	if r.MessageID != "" {
		b.Header("imdn.Message-ID", r.MessageID)
	}
	if wants := append(r.Want.Names(), r.OtherWants...); len(wants) > 0 {
		b.Header("imdn.Disposition-Notification", strings.Join(wants, ", "))
	}
	if !r.OriginalTo.IsZero() {
		b.MailboxHeader("imdn.Original-To", r.OriginalTo)
	}
	for _, m := range r.RecordRoute {
		b.MailboxHeader("imdn.IMDN-Record-Route", m)
	}
	for _, m := range r.Route {
		b.MailboxHeader("imdn.IMDN-Route", m)
	}
	return b
}

// ValidMessageID tells whether s can be a Message-ID: a Token of RFC 3862 §3.6, of any length.
func ValidMessageID(s string) bool { return validToken(s) }

// validToken accepts the Token of RFC 3862 §3.6.
func validToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c == 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != "" && utf8.ValidString(s)
}

// validURI accepts what the schema's anyURI and a header line can both carry: a
// scheme and characters without white space, quotes, angle brackets or
// controls.
func validURI(s string) bool {
	colon := strings.IndexByte(s, ':')
	if colon < 1 || colon == len(s)-1 || !utf8.ValidString(s) {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c == 0x7f || strings.IndexByte("<>\"\\^`{|}", c) >= 0 {
			return false
		}
	}
	return true
}

// validLang accepts the characters of a language tag, or nothing.
func validLang(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
