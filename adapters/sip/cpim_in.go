package sip

import (
	"errors"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/imdn"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
)

// readCPIM reads a message/cpim object (RFC 3862) into op, or into a Report if it is a disposition notice (RFC 5438). The object is
// kept as it came (RFC 3862 §6); its content is set beside it for protocols that cannot carry the object.
//
// Who it says it is from and to must be who the request is from and to: else one user could speak as another inside the envelope
// (S2, G7, T-ID-02).
func readCPIM(op *adapters.MessageOp, body []byte, req *wire.Message, opts ReadOptions) (Incoming, *Refusal) {
	m, err := cpim.ParseMessage(body, cpim.Limits{})
	if err != nil {
		return Incoming{}, refuse(WhySyntax, 400, "Bad Request: malformed message/cpim")
	}
	if ref := checkInner(m, op, req, opts); ref != nil {
		return Incoming{}, ref
	}
	asks, err := imdn.RequestOf(m)
	if err != nil {
		return Incoming{}, refuse(WhySyntax, 400, "Bad Request: malformed IMDN headers")
	}
	for f := range m.Requires() {
		if f.Namespace != imdn.HeaderNamespace {
			// A recipient that does not know what is required must not act as if it did (RFC 3862 §4.7), and the
			// translation could not tell it (T-CP-10).
			return Incoming{}, refuse(WhyContent, 415, "Unsupported Media Type: message/cpim with Require")
		}
	}
	if sent, ok := m.DateTime(); ok {
		op.Sent = sent.Time()
	}
	if imdn.IsNotification(m) {
		return readNotices(m, op, opts)
	}
	op.Object = body
	if op.Wants = dispositions(asks.Want); automatic(req) {
		op.Wants = 0
	}
	op.OriginID = transIDOf(asks.MessageID)
	if op.Wants != 0 {
		if asks.MessageID == "" {
			return Incoming{}, refuse(WhySyntax, 400, "Bad Request: a disposition is asked for without Message-ID")
		}
		if messageIDOf(op.OriginID) != asks.MessageID {
			return Incoming{}, refuse(WhySyntax, 400, "Bad Request: a Message-ID that no notice could name")
		}
		op.TransID = op.OriginID
	}
	if from, ok := m.From(); ok && from.Name() != "" {
		op.SenderName = displayName(from.Name())
	}
	subjects := op.Subjects[:0:0]
	for s := range m.Subjects() {
		subjects = append(subjects, adapters.LangText{Lang: s.Lang, Text: s.Text})
	}
	if len(subjects) > 0 {
		op.Subjects = subjects
	}
	if ref := readInnerContent(m.Content(), op); ref != nil {
		return Incoming{}, ref
	}
	return Incoming{Message: op}, nil
}

// checkInner compares the identities inside with those outside.
func checkInner(m *cpim.Message, op *adapters.MessageOp, req *wire.Message, opts ReadOptions) *Refusal {
	same := func(mb cpim.Mailbox, how cpim.SIPMapping, outer ...cpim.Address) bool {
		u, err := wire.ParseURI(mb.URI())
		if err != nil {
			return false
		}
		p, ref := AddressOf(u, how)
		if ref != nil {
			return false
		}
		for _, a := range outer {
			if p.Address == a {
				return true
			}
		}
		return false
	}
	if from, ok := m.From(); m.TwoFaced() || ok && !same(from, opts.sender(cpim.IM), op.From.Address) {
		return refuse(WhyIdentity, 403, "Forbidden: the From inside is not the From outside")
	}
	to := op.To.Address
	if p, ref := AddressOf(req.To().URI(), opts.recipient(cpim.IM)); ref == nil {
		to = p.Address // what a retargeted request was first for
	}
	named, found := false, false
	for mb := range m.To() {
		named = true
		found = found || same(mb, opts.recipient(cpim.IM), op.To.Address, to)
	}
	if named && !found {
		return refuse(WhyIdentity, 403, "Forbidden: the To inside is not the To outside")
	}
	return nil
}

func dispositions(w imdn.Want) (d adapters.Dispositions) {
	if w&imdn.PositiveDelivery != 0 {
		d |= adapters.WantDelivered
	}
	if w&imdn.NegativeDelivery != 0 {
		d |= adapters.WantFailed
	}
	if w&imdn.WantDisplay != 0 {
		d |= adapters.WantDisplayed
	}
	return d
}

// readInnerContent sets op.Content to the content of the object, its transfer encoding undone. Text is checked and converted as
// outside; a type that nobody knows is given as it is, because the object that it is in crosses whole.
func readInnerContent(e *cpim.Entity, op *adapters.MessageOp) *Refusal {
	encoding, _ := e.Header("Content-Transfer-Encoding")
	octets, err := mimebody.Decode(encoding.Text(), e.Body())
	switch {
	case errors.Is(err, mimebody.ErrUnsupported):
		return refuse(WhyContent, 415, "Unsupported Media Type: Content-Transfer-Encoding inside message/cpim",
			wire.Header{Name: "Accept", Value: acceptedContent})
	case err != nil:
		return refuse(WhySyntax, 400, "Bad Request: malformed transfer encoding inside message/cpim")
	}
	if h, ok := e.Header("Content-Disposition"); ok {
		switch kind, optional := mimebody.ParseDisposition(h.Text()); kind {
		case "", "render", "inline", "attachment":
		default:
			if !optional {
				return refuseContent()
			}
		}
	}
	if h, ok := e.Header("Content-Language"); ok && isLanguage(h.Text()) {
		op.Content.Language = h.Text()
	}
	t := e.ContentType()
	_, ref := setContent(op, t, t.String(), octets)
	if op.Activity != adapters.ActivityNone {
		op.Object = nil
	}
	return ref
}

// readNotices reads disposition notices: one, or several in a multipart/mixed (RFC 5438 §8.3: "The aggregated IMDN is constructed using
// the multipart/mixed MIME type and including as individual payloads all the IMDNS that were received as message/imdn+xml"). Those that
// say nothing that the core has a word for are left out.
func readNotices(m *cpim.Message, op *adapters.MessageOp, opts ReadOptions) (in Incoming, _ *Refusal) {
	add := func(document []byte) *Refusal {
		r, ref := readNotice(document, op, opts)
		if r != nil {
			in.Reports = append(in.Reports, r)
		}
		return ref
	}
	t := m.Content().ContentType()
	switch {
	case t.Is(imdn.MediaType):
		return in, add(m.Content().Body())
	case !t.Is("multipart/mixed"):
		return in, refuseContent()
	}
	malformed := refuse(WhySyntax, 400, "Bad Request: malformed disposition notifications")
	parts, err := mimebody.Split(t, m.Content().Body(), mimebody.Limits{})
	if err != nil {
		return in, malformed
	}
	for i := range parts {
		document, err := parts[i].Decoded()
		if err != nil {
			return Incoming{}, malformed
		}
		if !parts[i].Type().Is(imdn.MediaType) {
			return Incoming{}, refuseContent()
		}
		if ref := add(document); ref != nil {
			return Incoming{}, ref
		}
	}
	return in, nil
}

// readNotice reads one disposition notice; nil if the core has no word for what it says.
func readNotice(document []byte, op *adapters.MessageOp, opts ReadOptions) (*adapters.Report, *Refusal) {
	n, err := imdn.Parse(document)
	if err != nil {
		return nil, refuse(WhySyntax, 400, "Bad Request: malformed disposition notification")
	}
	f := n.Fields()
	r := &adapters.Report{
		// The notice goes the other way: its sender is the recipient of the message that it is about.
		Sender: op.To, Recipient: op.From, TransID: transIDOf(f.MessageID), Thread: op.Thread, Time: op.Sent,
	}
	if r.Time.IsZero() {
		r.Time = opts.Now
	}
	switch {
	case f.Kind == imdn.Delivery && f.Status == imdn.Delivered:
		r.Kind = adapters.ReportDelivered
	case f.Kind == imdn.Display && f.Status == imdn.Displayed:
		r.Kind = adapters.ReportDisplayed
	case f.Kind == imdn.Delivery && f.Status == imdn.Forbidden:
		r.Kind, r.Status = adapters.ReportFailed, adapters.Failed(adapters.ReasonForbidden, "")
	case f.Kind == imdn.Delivery && (f.Status == imdn.Failed || f.Status == imdn.Error):
		r.Kind, r.Status = adapters.ReportFailed, adapters.Failed(adapters.ReasonUndefined, "")
	case f.Kind == imdn.Processing && f.Status == imdn.Stored:
		r.Kind = adapters.ReportDelayed
	default:
		return nil, nil
	}
	if r.Kind == adapters.ReportFailed {
		r.Status.Remote = "imdn " + f.Status.String()
	}
	return r, nil
}
