package sip

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/cpim/imdn"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// wrapCPIM puts req's content into a message/cpim object that asks for the notices op.Wants (RFC 5438 §7.1.1).
func wrapCPIM(req *wire.Request, op *adapters.MessageOp, now time.Time) error {
	t, err := cpim.ParseContentType(req.ContentType)
	if err != nil {
		return ErrContent
	}
	id := messageIDOf(op.TransID)
	if id == "" {
		return ErrContent // a notice could not be told from another's
	}
	sent := op.Sent
	if sent.IsZero() {
		sent = now
	}
	at := datetime.FromTime(sent.UTC())
	if at.IsZero() {
		return ErrContent
	}
	var b cpim.Builder
	b.From(cpim.MailboxOf("", op.From.Address)).To(cpim.MailboxOf("", op.To.Address)).DateTime(at)
	for _, s := range op.Subjects {
		b.Subject(cpim.Subject{Lang: s.Lang, Text: s.Text})
	}
	imdn.AddRequest(&b, imdn.Request{MessageID: id, Want: wantsOf(op.Wants)})
	var headers []cpim.MIMEHeader
	if op.Content.Language != "" && isLanguage(op.Content.Language) {
		headers = append(headers, cpim.MIMEHeader{Name: "Content-Language", Value: op.Content.Language})
	}
	m, err := b.Build(t, headers, req.Body)
	if err != nil {
		return ErrContent
	}
	for i, h := range req.Headers {
		if h.Name == "Content-Language" { // it is about the content, which is inside now
			req.Headers = append(req.Headers[:i], req.Headers[i+1:]...)
			break
		}
	}
	req.ContentType, req.Body = "message/cpim", m.Bytes()
	return nil
}

func wantsOf(d adapters.Dispositions) (w imdn.Want) {
	if d&adapters.WantDelivered != 0 {
		w |= imdn.PositiveDelivery
	}
	if d&adapters.WantFailed != 0 {
		w |= imdn.NegativeDelivery
	}
	if d&adapters.WantDisplayed != 0 {
		w |= imdn.WantDisplay
	}
	return w
}

// ErrNoNotice says that a report has no form that its receiver asked for or can read.
var ErrNoNotice = errors.New("sip: the sender asked for no such notice")

// maxNoticeText bounds what a failure notice in plain text says of the reason, in octets.
const maxNoticeText = 256

// WriteReport translates a late outcome into a MESSAGE to the sender of the message that it is about: a disposition notification
// (RFC 5438 §7.2.1) where that sender asked for it by r.Wants, else, for a failure, a text that says so: a message is delivered, or its
// sender is told. Any other report that was not asked for is ErrNoNotice.
//
// The <datetime> element "carries the date and time the IM was sent (not the IMDN)" (RFC 5438 §11.1.2), r.Sent; the time of the report
// stands there if r does not know it.
func WriteReport(r *adapters.Report, o WriteOptions) (*wire.Request, error) {
	req, err := newMessage(r.Recipient, r.Sender, r.Thread, o)
	if err != nil {
		return nil, err
	}
	id := messageIDOf(r.TransID)
	kind, status, want := noticeOf(r)
	if id == "" || r.Wants&want == 0 {
		if r.Kind != adapters.ReportFailed {
			return nil, ErrNoNotice
		}
		req.ContentType = plainText
		req.Headers = append(req.Headers, wire.Header{Name: "Content-Language", Value: "en"})
		req.Body = []byte("Your message was not delivered: " + cut(strings.ToValidUTF8(r.Status.TextOrReason(), "\uFFFD"), maxNoticeText))
		return req, nil
	}
	when := r.Time
	if when.IsZero() {
		when = o.Now
	}
	sent := r.Sent
	if sent.IsZero() {
		sent = when
	}
	at := datetime.FromTime(when.UTC())
	recipient := r.Recipient.Address.String()
	n, err := imdn.New(imdn.Fields{
		MessageID: id, DateTime: datetime.FromTime(sent.UTC()), RecipientURI: recipient, OriginalRecipientURI: recipient, Kind: kind, Status: status,
	})
	if err != nil {
		return nil, err
	}
	var b cpim.Builder
	b.From(cpim.MailboxOf("", r.Recipient.Address)).To(cpim.MailboxOf("", r.Sender.Address)).DateTime(at)
	// The notice has an identifier of its own and asks for nothing: "The IM Sender MUST NOT send an IMDN for an IMDN" (RFC 5438
	// §7.2.1).
	imdn.AddRequest(&b, imdn.Request{MessageID: wire.NewTag()})
	m, err := b.Build(cpim.MustParseContentType(imdn.MediaType),
		[]cpim.MIMEHeader{{Name: "Content-Disposition", Value: imdn.Disposition}}, n.Append(nil))
	if err != nil {
		return nil, err
	}
	req.ContentType, req.Body = "message/cpim", m.Bytes()
	return req, nil
}

// noticeOf is a report in the words of RFC 5438, and what a sender asks for to get it; nothing for one that it has no word for.
func noticeOf(r *adapters.Report) (imdn.Kind, imdn.Status, adapters.Dispositions) {
	switch r.Kind {
	case adapters.ReportDelivered:
		return imdn.Delivery, imdn.Delivered, adapters.WantDelivered
	case adapters.ReportDisplayed:
		return imdn.Display, imdn.Displayed, adapters.WantDisplayed
	case adapters.ReportFailed:
		if r.Status.Reason == adapters.ReasonForbidden {
			return imdn.Delivery, imdn.Forbidden, adapters.WantFailed
		}
		return imdn.Delivery, imdn.Failed, adapters.WantFailed
	}
	return imdn.Other, imdn.Extended, 0
}

// Report implements adapters.Adapter. Nothing answers a report: its own failure is only returned.
func (a *Adapter) Report(ctx context.Context, hops []resolver.Target, r *adapters.Report) adapters.Status {
	o := WriteOptions{FromTag: wire.NewTag(), CSeq: a.nextCSeq(), Now: time.Now()}
	if callIDOf(r.Thread) == "" {
		o.CallID = wire.NewCallID("")
	}
	large := false
	if len(hops) > 0 {
		if peer := a.peers.toward(hops[0].Addr().Addr(), r.Sender.Address.Domain()); peer != nil {
			o.OmitInstance, large = peer.OmitInstance, peer.LargeMessages
		}
	}
	req, err := WriteReport(r, o)
	if errors.Is(err, ErrNoNotice) {
		return adapters.Failed(adapters.ReasonNotImplemented, "The sender asked for no such notice")
	}
	if err != nil {
		a.log.Warn().Str("fault", clip(err.Error())).Msg("a report could not be written")
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	if !large && a.overPager(req) {
		return adapters.Failed(adapters.ReasonTooLarge, "")
	}
	if !a.pending.enter(ctx, r.Sender.Address) {
		return adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	defer a.pending.leave(r.Sender.Address)
	_, s := a.try(ctx, hops, req)
	return s
}
