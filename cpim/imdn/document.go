package imdn

import (
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/cpim/internal/contentxml"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

const section = "RFC 5438 §11.1"

// Leniency names one fault of deployed software that ParseLenient forgives.
type Leniency uint8

const (
	// NoNamespace forgives elements without a namespace, and unknown ones
	// among them.
	// COMPAT(Jami): it writes <imdn><message-id>….
	NoNamespace Leniency = 1 << iota
	// NoDateTime forgives a missing datetime element.
	// COMPAT(Jami).
	NoDateTime
)

// Names returns the stable short name of each fault in l.
func (l Leniency) Names() []string {
	var names []string
	if l&NoNamespace != 0 {
		names = append(names, "no-namespace")
	}
	if l&NoDateTime != 0 {
		names = append(names, "no-datetime")
	}
	return names
}

// Parse reads a document by RFC 5438 §11.1: the elements in the order of its
// schema (§11.1.9), elements of other namespaces anywhere among them, white
// space around values without meaning. Each of recipient-uri,
// original-recipient-uri and subject may be missing, as the prose says and the
// schema does not. A document is at most 64 KiB. The Notification refers to
// doc, which must not be changed while it is in use. The error is a
// *SyntaxError.
func Parse(doc []byte) (*Notification, error) {
	n, _, err := parse(doc, false)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ParseLenient is Parse for documents of deployed software with known faults;
// it returns which of them the document had.
func ParseLenient(doc []byte) (*Notification, Leniency, error) {
	n, used, err := parse(doc, true)
	if err != nil {
		return nil, 0, err
	}
	return n, used, nil
}

// The children of imdn in the order of the schema.
const (
	childMessageID = iota
	childDateTime
	childRecipient
	childOriginal
	childSubject
	childDelivery
	childDisplay
	childProcessing
)

func shape() contentxml.Shape {
	return contentxml.Shape{
		Namespace: Namespace,
		Names: []string{
			"message-id", "datetime", "recipient-uri", "original-recipient-uri", "subject",
			"delivery-notification", "display-notification", "processing-notification",
		},
		Section: section,
	}
}

func parse(doc []byte, lenient bool) (*Notification, Leniency, *syntax.Error) {
	s := shape()
	var used Leniency
	root, bare, err := contentxml.Document(doc, s, "imdn", lenient)
	if err != nil {
		return nil, 0, err
	}
	if s.Bare = bare; bare {
		used |= NoNamespace
	}
	known, extensions, err := s.Children(root)
	if err != nil {
		return nil, 0, err
	}
	fault := func(offset int, rule, sec, expected string) (*Notification, Leniency, *syntax.Error) {
		return nil, 0, &syntax.Error{Offset: offset, Rule: rule, Section: sec, Expected: expected}
	}
	f := Fields{Extensions: contentxml.Raw(extensions)}
	for i, dst := range map[int]*string{
		childMessageID: &f.MessageID, childRecipient: &f.RecipientURI,
		childOriginal: &f.OriginalRecipientURI, childSubject: &f.Subject,
	} {
		if known[i] == nil {
			continue
		}
		if *dst, err = s.Text(known[i]); err != nil {
			return nil, 0, err
		}
	}
	if known[childMessageID] == nil {
		return fault(root.ContentOffset(), "imdn-message-id", "RFC 5438 §11.1.1", "a message-id element")
	}
	if !validToken(f.MessageID) {
		return fault(known[childMessageID].ContentOffset(), "imdn-message-id", "RFC 5438 §10", "a token")
	}
	if el := known[childDateTime]; el != nil {
		t, err := s.Text(el)
		if err != nil {
			return nil, 0, err
		}
		v, perr := datetime.Parse(t, datetime.CPIM)
		if perr != nil {
			e := perr.(*syntax.Error)
			return nil, 0, e.Shift(el.ContentOffset())
		}
		f.DateTime = v
	} else if lenient {
		used |= NoDateTime
	} else {
		return fault(root.ContentOffset(), "imdn-datetime", "RFC 5438 §11.1.2", "a datetime element")
	}
	for i, uri := range map[int]string{childRecipient: f.RecipientURI, childOriginal: f.OriginalRecipientURI} {
		if known[i] != nil && !validURI(uri) {
			return fault(known[i].ContentOffset(), "imdn-uri", "RFC 5438 §11.1.3", "a URI")
		}
	}
	if el := known[childSubject]; el != nil {
		if f.SubjectLang = el.Lang(); !validLang(f.SubjectLang) {
			return fault(el.Offset, "imdn-subject", "RFC 5438 §11.1.5", "a language tag as xml:lang")
		}
		if f.Subject == "" {
			f.SubjectLang = "" // no text, so nothing that is in a language
		}
	}
	var report *strictxml.Element
	for i, kind := range [...]Kind{Delivery, Display, Processing} {
		el := known[childDelivery+i]
		if el == nil {
			continue
		}
		if report != nil {
			return fault(el.Offset, "imdn-notification", "RFC 5438 §11.1.6", "one notification element")
		}
		report, f.Kind = el, kind
	}
	if report == nil {
		if len(f.Extensions) == 0 {
			return fault(root.ContentOffset(), "imdn-notification", "RFC 5438 §11.1.6", "a notification element")
		}
	} else if err := parseReport(report, &f, s.Bare); err != nil {
		return nil, 0, err
	}
	return &Notification{f: f, raw: doc}, used, nil
}

// parseReport reads a notification element: one status element, in it one
// status that belongs to the kind, or extensions.
func parseReport(report *strictxml.Element, f *Fields, bare bool) *syntax.Error {
	s := contentxml.Shape{Namespace: Namespace, Names: []string{"status"}, Section: "RFC 5438 §11.1.7", Bare: bare}
	known, _, err := s.Children(report)
	if err != nil {
		return err
	}
	if known[0] == nil {
		return &syntax.Error{Offset: report.ContentOffset(), Rule: "imdn-status", Section: s.Section, Expected: "a status element"}
	}
	s.Names = nil
	for st := Delivered; st <= Error; st++ {
		s.Names = append(s.Names, st.String())
	}
	values, extensions, err := s.Children(known[0])
	if err != nil {
		return err
	}
	f.StatusExtensions = contentxml.Raw(extensions)
	for i, el := range values {
		if el == nil {
			continue
		}
		st := Delivered + Status(i)
		if f.Status != Extended {
			return &syntax.Error{Offset: el.Offset, Rule: "imdn-status", Section: s.Section, Expected: "one status"}
		}
		if !f.Kind.Valid(st) {
			return &syntax.Error{Offset: el.Offset, Rule: "imdn-status", Section: s.Section, Expected: "a status of this notification"}
		}
		if err := s.Empty(el); err != nil {
			return err
		}
		f.Status = st
	}
	if f.Status == Extended && len(f.StatusExtensions) == 0 {
		return &syntax.Error{Offset: known[0].ContentOffset(), Rule: "imdn-status", Section: s.Section, Expected: "a status"}
	}
	return nil
}

// New makes a document. MessageID must be a Token of RFC 3862 §3.6, DateTime
// there, a URI without white space or control characters, Status one of Kind,
// and each extension one element of another namespace. The error is a
// *SyntaxError.
func New(f Fields) (*Notification, error) {
	bad := func(rule, sec, expected string) (*Notification, error) {
		return nil, &syntax.Error{Rule: rule, Section: sec, Expected: expected}
	}
	switch {
	case !validToken(f.MessageID):
		return bad("imdn-message-id", "RFC 5438 §10", "a token")
	case f.DateTime.IsZero():
		return bad("imdn-datetime", "RFC 5438 §11.1.2", "a timestamp")
	case f.RecipientURI != "" && !validURI(f.RecipientURI),
		f.OriginalRecipientURI != "" && !validURI(f.OriginalRecipientURI):
		return bad("imdn-uri", "RFC 5438 §11.1.3", "a URI")
	case !contentxml.ValidText(f.Subject) || contentxml.Trim(f.Subject) != f.Subject,
		f.Subject == "" && f.SubjectLang != "", !validLang(f.SubjectLang):
		return bad("imdn-subject", "RFC 5438 §11.1.5", "text that XML can carry, without white space around it, and a language tag")
	case f.Kind > Display || f.Status > Error || !f.Kind.Valid(f.Status):
		return bad("imdn-status", "RFC 5438 §11.1.7", "a status of this notification")
	case f.Kind == Other && (len(f.Extensions) == 0 || len(f.StatusExtensions) > 0),
		f.Kind != Other && f.Status == Extended && len(f.StatusExtensions) == 0:
		return bad("imdn-status", "RFC 5438 §11.1.7", "an extension that says what is reported")
	}
	if _, err := datetime.Parse(f.DateTime.String(), datetime.CPIM); err != nil {
		return nil, err
	}
	for _, list := range [...][]string{f.Extensions, f.StatusExtensions} {
		for _, x := range list {
			if err := shape().CheckExtension(x); err != nil {
				return nil, err
			}
		}
	}
	n := &Notification{f: f}
	n.f = n.Fields()
	return n, nil
}

// Append appends the document in canonical form: with an XML declaration, the
// elements in the order of the schema, extensions last, and no white space
// between them.
func (n *Notification) Append(dst []byte) []byte {
	f := &n.f
	dst = append(dst, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<imdn xmlns="`+Namespace+`">`...)
	dst = appendElement(dst, "message-id", f.MessageID)
	if !f.DateTime.IsZero() {
		dst = appendElement(dst, "datetime", f.DateTime.String())
	}
	if f.RecipientURI != "" {
		dst = appendElement(dst, "recipient-uri", f.RecipientURI)
	}
	if f.OriginalRecipientURI != "" {
		dst = appendElement(dst, "original-recipient-uri", f.OriginalRecipientURI)
	}
	if f.Subject != "" {
		dst = append(dst, "<subject"...)
		if f.SubjectLang != "" {
			dst = append(dst, ` xml:lang="`...)
			dst = strictxml.AppendAttrValue(dst, f.SubjectLang)
			dst = append(dst, '"')
		}
		dst = append(dst, '>')
		dst = strictxml.AppendText(dst, f.Subject)
		dst = append(dst, "</subject>"...)
	}
	if f.Kind != Other {
		dst = append(append(append(dst, '<'), f.Kind.element()...), "><status>"...)
		if f.Status != Extended {
			dst = append(append(append(dst, '<'), f.Status.String()...), "/>"...)
		}
		for _, x := range f.StatusExtensions {
			dst = append(dst, x...)
		}
		dst = append(append(append(dst, "</status></"...), f.Kind.element()...), '>')
	}
	for _, x := range f.Extensions {
		dst = append(dst, x...)
	}
	return append(dst, "</imdn>"...)
}

func appendElement(dst []byte, name, text string) []byte {
	dst = append(append(append(dst, '<'), name...), '>')
	dst = strictxml.AppendText(dst, text)
	return append(append(append(dst, "</"...), name...), '>')
}
