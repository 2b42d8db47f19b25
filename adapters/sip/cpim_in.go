package sip

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/imdn"
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
		return readNotice(m, op, opts)
	}
	op.Object = body
	op.Wants = dispositions(asks.Want)
	if op.Wants != 0 {
		if asks.MessageID == "" {
			return Incoming{}, refuse(WhySyntax, 400, "Bad Request: a disposition is asked for without Message-ID")
		}
		op.TransID = transIDOf(asks.MessageID)
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
	if from, ok := m.From(); ok && !same(from, opts.sender(cpim.IM), op.From.Address) {
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

// readInnerContent sets op.Content to the content of the object. Text is checked and converted as outside; anything else is given
// as it is, if it is encoded in no way that would hide what it is.
func readInnerContent(e *cpim.Entity, op *adapters.MessageOp) *Refusal {
	if h, ok := e.Header("Content-Transfer-Encoding"); ok {
		switch strings.ToLower(h.Text()) {
		case "7bit", "8bit", "binary":
		default:
			return refuse(WhyContent, 415, "Unsupported Media Type: Content-Transfer-Encoding inside message/cpim")
		}
	}
	if h, ok := e.Header("Content-Language"); ok && isLanguage(h.Text()) {
		op.Content.Language = h.Text()
	}
	t := e.ContentType()
	op.Content.Type, op.Content.Octets = t.String(), e.Body()
	if !t.Is("text/plain") {
		return nil
	}
	octets, kind, ref := readPlainText(t, t.String(), e.Body())
	if ref != nil {
		return ref
	}
	op.Content.Type, op.Content.Octets = kind, octets
	return nil
}

// readNotice reads a disposition notice. One that says nothing that the core has a word for gives an empty Incoming.
func readNotice(m *cpim.Message, op *adapters.MessageOp, opts ReadOptions) (Incoming, *Refusal) {
	if !m.Content().ContentType().Is(imdn.MediaType) {
		return Incoming{}, refuseContent() // several notices in one, RFC 5438 §8.3
	}
	n, err := imdn.Parse(m.Content().Body())
	if err != nil {
		return Incoming{}, refuse(WhySyntax, 400, "Bad Request: malformed disposition notification")
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
		return Incoming{}, nil
	}
	if r.Kind == adapters.ReportFailed {
		r.Status.Remote = "imdn " + f.Status.String()
	}
	return Incoming{Report: r}, nil
}
