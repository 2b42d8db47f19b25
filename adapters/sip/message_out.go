package sip

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/iscomposing"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// WriteOptions says how a MESSAGE to one peer is written.
type WriteOptions struct {
	// OmitInstance leaves "gr" out of From; see Peer.
	OmitInstance bool
	// CPIM wraps the content into message/cpim, with a request for the notices that the sender wants (RFC 5438).
	CPIM bool
	// Unwrap sends the content of a relayed message/cpim instead of the object itself, to a peer known not to take it.
	Unwrap bool
	// CallID is used when the message has no thread that can be one. FromTag and CSeq are those of this request: a thread's
	// messages all have its Call-ID, so each must have a tag of its own.
	CallID, FromTag string
	CSeq            uint32
	// Now is when the message is written.
	Now time.Time
	// NoticeID is the imdn.Message-ID of a disposition notification; "" means a random one, which only a tool would not want.
	NoticeID string
	// OmitName leaves out what the sender calls itself.
	OmitName bool
	// OmitTrace leaves out which gateways the message has passed.
	OmitTrace bool

	name string // what the sender calls itself
}

// The errors of WriteMessage that say more than that a value cannot be written.
var (
	// ErrContent says that a message's content has no form that the peer takes.
	ErrContent = errors.New("sip: the content cannot be carried")
	// ErrHops says that a message may go no further.
	ErrHops = errors.New("sip: no hops left")
)

// WriteMessage translates a message into a MESSAGE request: RFC 7572 §4, Table 1. From is the sender with the device as "gr"; the
// Request-URI is the recipient's address or device; Subject is the first subject, in one line; there is no Contact (RFC 3428 §4).
// The sender's own name is the display name of From. What SIP's pager mode has no place for is left out: the kind, the parent thread,
// further subjects, and bodies in further languages, which are "alternate versions of the same body" (RFC 6121 §5.2.3).
// Links are in the words of the content, and need no header field.
func WriteMessage(op *adapters.MessageOp, o WriteOptions) (*wire.Request, error) {
	req := new(wire.Request)
	if err := writeMessage(req, op, &o); err != nil {
		return nil, err
	}
	return req, nil
}

// writeMessage is WriteMessage into a request that has nothing in it.
func writeMessage(req *wire.Request, op *adapters.MessageOp, o *WriteOptions) error {
	if op.Hops <= 0 {
		return ErrHops
	}
	o.name = op.SenderName
	err := newMessage(req, op.From, op.To, op.Thread, o)
	if err != nil {
		return err
	}
	req.MaxForwards = min(op.Hops, 255)
	req.BranchHint = op.TransID
	if len(op.Trace) > 0 && !o.OmitTrace {
		trace := op.Trace[0] // what most have is our own entry
		if len(op.Trace) > 1 {
			trace = string(adapters.AppendTrace(nil, op.Trace))
		}
		req.Headers = append(req.Headers, wire.Header{Name: traceField, Value: trace})
	}
	if s := op.Signature.String(); s != "" {
		req.Headers = append(req.Headers, wire.Header{Name: signatureField, Value: s})
	}
	if op.Activity != adapters.ActivityNone {
		req.ContentType = iscomposing.MediaType
		req.Body, err = composingDocument(op)
		return err
	}
	if len(op.Subjects) > 0 {
		req.Headers = append(req.Headers, wire.Header{Name: "Subject", Value: oneLine(op.Subjects[0].Text)})
	}
	req.Headers = appendTimes(req.Headers, op, o.Now)
	if op.Object != nil && !o.Unwrap {
		req.ContentType, req.Body = "message/cpim", op.Object
		return nil
	}
	if lang := op.Content.Language; lang != "" && isLanguage(lang) {
		req.Headers = append(req.Headers, wire.Header{Name: "Content-Language", Value: lang})
	}
	if req.ContentType, req.Body, err = contentOf(op.Content); err != nil {
		return err
	}
	if _, secured := smimeOf(op); secured {
		// "all signed MESSAGE requests and responses MUST contain a Date header field" (RFC 3428 §11.4); and the object is its own envelope.
		if op.Sent.IsZero() && op.Expires.IsZero() && !o.Now.IsZero() {
			req.Headers = append(req.Headers, wire.Header{Name: "Date", Value: o.Now.UTC().Format(sipDate)})
		}
		return nil
	}
	if o.CPIM {
		return wrapCPIM(req, op, o.Now)
	}
	return nil
}

// newMessage makes the parts of a MESSAGE that do not depend on its content.
func newMessage(req *wire.Request, from, to adapters.Party, thread string, o *WriteOptions) error {
	if from.Address.IsZero() || to.Address.IsZero() {
		return errors.New("sip: a message without sender or recipient")
	}
	if o.OmitInstance {
		from.Instance = ""
	}
	uri, err := uriSpecOf(to)
	if err != nil {
		return err
	}
	fromURI, err := uriSpecOf(from)
	if err != nil {
		return err
	}
	req.Method, req.CSeq, req.CallID = "MESSAGE", o.CSeq, callIDOf(thread)
	if req.CallID == "" {
		req.CallID = o.CallID
	}
	display := ""
	if !o.OmitName {
		display = displayName(o.name)
	}
	toURI := uri
	toURI.Params = nil // the device is in the Request-URI alone
	if err := req.SetAddresses(uri, fromURI, toURI, display, o.FromTag); err != nil {
		return err
	}
	return nil
}

// oneLine is text as a header field's value: what would end the line, or is no character to show, becomes a space; white space at
// both ends goes, as TEXT-UTF8-TRIM has it (RFC 3261 §25.1). Invalid UTF-8 becomes U+FFFD.
func oneLine(text string) string {
	clean := true
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7F {
			clean = false
			break
		}
	}
	if !clean {
		text = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(text, "\uFFFD"))
	}
	return strings.TrimSpace(text)
}

// appendTimes adds Date and Expires: "If the UAC adds an Expires header field with a non-zero value, it SHOULD also add a Date header
// field containing the time the message is sent" (RFC 3428 §4).
func appendTimes(h []wire.Header, op *adapters.MessageOp, now time.Time) []wire.Header {
	sent := op.Sent
	if sent.IsZero() {
		if op.Expires.IsZero() {
			return h
		}
		sent = now
	}
	// A SIP-date has whole seconds; what is cut off here is part of the life that Expires counts.
	sent = sent.UTC().Truncate(time.Second)
	if y := sent.Year(); y < 1 || y > 9999 {
		return h
	}
	h = append(h, wire.Header{Name: "Date", Value: sent.Format(sipDate)})
	if !op.Expires.IsZero() {
		h = append(h, wire.Header{Name: "Expires", Value: itoa(min(maxSeconds, seconds(op.Expires.Sub(sent))))})
	}
	return h
}

// contentOf is the Content-Type and the octets of what is sent. Text goes out in UTF-8 and says so, whatever charset it came in.
func contentOf(c adapters.Content) (kind string, octets []byte, err error) {
	if isPlainUTF8(c.Type) {
		if !utf8.Valid(c.Octets) {
			return "", nil, ErrContent
		}
		return plainText, c.Octets, nil
	}
	t, err := cpim.ParseContentType(c.Type)
	if err != nil || t.Is("message/cpim") {
		// An object whose identities nobody has compared with those outside (T-ID-02) travels in MessageOp.Object only.
		return "", nil, ErrContent
	}
	if t.Type() != "text" {
		return t.String(), c.Octets, nil
	}
	if octets, err = mimebody.Text(t, c.Octets); err != nil {
		return "", nil, ErrContent
	}
	if _, named := t.Param("charset"); !named || !t.IsUTF8() {
		if t, err = t.WithParam("charset", "UTF-8"); err != nil {
			return "", nil, ErrContent
		}
	}
	return t.String(), octets, nil
}

// maxPager is the largest MESSAGE in octets outside of a media session (RFC 3428 §8); RFC 7572 §6 answers a larger one with
// policy-violation.
const maxPager = 1300

// Message implements adapters.Adapter.
func (a *Adapter) Message(ctx context.Context, hops []resolver.Target, op *adapters.MessageOp) adapters.Status {
	if op.Activity == adapters.ActivityNone {
		defer a.composers.ended(conversation{op.From.Address, op.To.Address})
	}
	if !op.Expires.IsZero() && !op.Expires.After(time.Now()) {
		return adapters.Failed(adapters.ReasonExpired, "")
	}
	pending, ok := a.pending.enter(ctx, op.Deadline, op.To.Address)
	if !ok {
		return adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	defer a.pending.leave(pending)
	if !op.Deadline.IsZero() {
		ctx = transaction.WithUntil(ctx, op.Deadline)
	}
	if op.Activity != adapters.ActivityNone {
		return a.sendActivity(ctx, hops, op)
	}
	s := adapters.Failed(adapters.ReasonDomainNotFound, "")
	for _, hop := range hops {
		if hop.Protocol() != resolver.SIP {
			continue
		}
		var another bool
		if s, another = a.messageTo(ctx, hop, op); !another || transaction.Err(ctx) != nil {
			break
		}
	}
	return s
}

// messageTo sends op to one next hop, in the richest form that the peer takes. A form that was refused for its content type was not
// delivered (RFC 3428 §7: "A 4xx or 5xx response indicates that the message was not delivered successfully"), nor was one too large
// to be sent, so another form is no second copy.
//
//go:noinline
func (a *Adapter) messageTo(ctx context.Context, hop resolver.Target, op *adapters.MessageOp) (adapters.Status, bool) {
	peer := a.peers().toward(hop, op.To.Address.Domain())
	_, secured := smimeOf(op)
	if secured && peer != nil && peer.SMIME == SMIMERefuse {
		return adapters.Failed(adapters.ReasonUnsupportedContent, "Signed and encrypted messages are not carried to this network. Send it without"), false
	}
	agent := userAgentAt(peer, hop, op.To.Address, featureCPIM)
	// A relayed object goes out as it is to whoever has not refused one; one is made only for who is known to take it.
	knows := true
	if op.Object != nil || op.Wants != 0 {
		knows = a.learned.takes(agent, op.Object != nil || peer != nil && peer.Dispositions)
	}
	plainInside := op.Content.Type != "" && isPlainUTF8(op.Content.Type)
	o := WriteOptions{
		CPIM:   op.Object == nil && op.Wants != 0 && knows && !secured,
		Unwrap: op.Object != nil && !knows && plainInside,
	}
	large := false
	if peer != nil {
		o.OmitInstance, large = peer.OmitInstance, peer.LargeMessages
	}
	s, another := a.sendMessage(ctx, hop, op, o, large)
	wrapped := o.CPIM || op.Object != nil && !o.Unwrap
	if !wrapped || s.Reason != adapters.ReasonUnsupportedContent && s.Reason != adapters.ReasonTooLarge {
		return s, another
	}
	if s.Code == 415 && plainInside {
		// It is the envelope that was refused, since everybody takes what is in it. A refusal of another content says nothing of
		// envelopes: what one sender puts into his must not keep all others' from the recipient.
		a.learned.note(agent, false)
	}
	switch {
	case o.CPIM:
		o.CPIM = false
	case plainInside:
		o.Unwrap = true
	default:
		return s, another
	}
	return a.sendMessage(ctx, hop, op, o, large)
}

func (a *Adapter) sendMessage(ctx context.Context, hop resolver.Target, op *adapters.MessageOp, o WriteOptions, large bool) (s adapters.Status, another bool) {
	req := a.write(op, &o, large, &s)
	if req == nil {
		return s, false
	}
	if op.Wants&adapters.WantDelivered != 0 {
		ctx = transaction.WithLate(ctx, a.lateOf(op))
	}
	r := a.do(ctx, hop, req)
	giveBack(req)
	s, another = outcome(&r)
	if s.Outcome == adapters.Success {
		r.Release() // of a success nothing is kept but its code
	}
	return s, another
}

// writtenMessages are requests that nobody has. A sync.Pool is a cache, not state.
var writtenMessages = sync.Pool{New: func() any { return new(wire.Request) }}

// giveBack is for a request of write that was sent, or cannot be: what sends it has copied what it needs.
func giveBack(req *wire.Request) {
	req.Reset()
	writtenMessages.Put(req)
}

// write makes the request of op, without what it is worth more than where it would be too large; giveBack it. nil: it cannot be sent, and s says why.
//
//go:noinline
func (a *Adapter) write(op *adapters.MessageOp, o *WriteOptions, large bool, s *adapters.Status) *wire.Request {
	req := writtenMessages.Get().(*wire.Request)
	for {
		o.CSeq = a.nextCSeq()
		if o.CPIM || !op.Expires.IsZero() || !isPlainUTF8(op.Content.Type) { // else nothing of it says when it was written
			o.Now = time.Now()
		}
		if op.Thread == "" || callIDOf(op.Thread) == "" {
			o.FromTag, o.CallID = wire.NewTagAndCallID()
		} else {
			o.FromTag = wire.NewTag()
		}
		err := writeMessage(req, op, o)
		switch {
		case err != nil:
			giveBack(req)
			*s = unwritable(err)
			if s.Reason == adapters.ReasonAddressMalformed {
				a.log.Warn().Str("id", op.ID).Str("fault", clip(err.Error())).Msg("a message could not be written")
			}
			return nil
		case large || !a.overPager(req):
			return req
		case op.SenderName != "" && !o.OmitName:
			o.OmitName = true // the message is worth more than the name
		case len(op.Trace) > 0 && !o.OmitTrace:
			o.OmitTrace = true // and than the trace: Max-Forwards ends a circle too
		default:
			giveBack(req)
			*s = adapters.Failed(adapters.ReasonTooLarge, "Over 1300 octets as a SIP request")
			return nil
		}
		req.Reset()
	}
}

// lateOf hears of an answer that came after the core stopped waiting for it and called the outcome unknown: a 200 says that the message
// was delivered after all (T-FI-11). Any other answer says no more than the sender was told.
func (a *Adapter) lateOf(op *adapters.MessageOp) func(*wire.Message) {
	r := adapters.Report{
		Kind: adapters.ReportDelivered, Sender: op.From, Recipient: op.To, TransID: strings.Clone(op.TransID), Thread: strings.Clone(op.Thread),
	}
	r.Sender.Instance, r.Recipient.Instance = strings.Clone(op.From.Instance), strings.Clone(op.To.Instance)
	return func(m *wire.Message) {
		if statusOf(m).Outcome == adapters.Success {
			a.spawn(func(ctx context.Context) {
				r.Time = time.Now()
				a.handler.Report(ctx, &r)
			})
		}
	}
}

// unwritable is the Status of a message that WriteMessage refused.
func unwritable(err error) adapters.Status {
	switch {
	case errors.Is(err, ErrContent):
		return adapters.Failed(adapters.ReasonUnsupportedContent, "")
	case errors.Is(err, ErrHops):
		return adapters.Failed(adapters.ReasonLoop, "")
	}
	return adapters.Failed(adapters.ReasonAddressMalformed, "")
}

// overPager tells whether req will have over maxPager octets. Only a request that comes near is written out to be measured.
func (a *Adapter) overPager(req *wire.Request) bool {
	if len(req.Body) > maxPager {
		return true
	}
	n := len(req.Body) + len(req.URI) + len(req.From) + len(req.To) + len(req.CallID) + len(req.BranchHint) + len(req.ContentType)
	for _, h := range req.Headers {
		n += len(h.Name) + len(h.Value) + 4
	}
	if n < maxPager-400 {
		return false
	}
	b, err := wire.AppendRequest(make([]byte, 0, 2*maxPager), req, wire.ViaSpec{
		Transport: "TCP", SentBy: a.viaHost(), Branch: wire.NewBranch(req.BranchHint), RPort: true,
	})
	return err == nil && len(b) > maxPager // what cannot be written is refused by the transaction layer
}

// withDeadline bounds ctx by a deadline that may be none.
func withDeadline(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline)
}
