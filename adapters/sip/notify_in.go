package sip

import (
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// take serves a NOTIFY (RFC 6665 §4.1.3): it must belong to a dialog that we asked for, come from the presentity, and be in order.
func (t *subscribers) take(in *inbound) *Refusal {
	req := in.req
	tag, _ := tagOf(req)
	s := t.find(tag)
	if s == nil {
		// "if not, it MUST return a 481 (Subscription does not exist)" (RFC 6665 §4.1.3): unasked presence goes nowhere
		// (T-PR-21).
		return refuse(WhyNoDialog, 481, phraseOf(481))
	}
	value, _ := req.Header("Event")
	e, ok := parseEvent(value)
	if !ok || e.kind != eventPresence {
		return refuse(WhyEvent, 489, phraseOf(489), wire.Header{Name: "Allow-Events", Value: eventPresence})
	}
	from, ref := partyOf(req.From(), in.opts.sender(cpim.Pres))
	if ref != nil {
		return ref
	}
	if from.Address != s.watch.Presentity {
		return refuse(WhyIdentity, 403, phraseOf(403))
	}
	op, ref := ReadNotify(req, s.watch, in.opts)
	// The sequence number is taken also when the body is refused: "in order" is about the dialog (RFC 3261 §12.2.2).
	change, tell, ref2 := s.notified(in, e, op)
	switch {
	case ref2 != nil:
		return ref2
	case ref != nil:
		return ref
	}
	t.a.respond(in, answer{code: 200, phrase: phraseOf(200)}, "")
	if tell {
		op.Peer, op.Change = in.peerOf(), change
		t.a.handler.Notify(t.a.base, op)
	}
	return nil
}

// notified brings a NOTIFY to the dialog; op is nil for one whose content was refused. tell says that the core is to be told.
func (s *subscribing) notified(in *inbound, e event, op *adapters.NotifyOp) (change adapters.AuthorizationChange, tell bool, ref *Refusal) {
	req := in.req
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := refuse(WhyNoDialog, 481, phraseOf(481))
	if s.ended || s.d.CallID != req.CallID() || s.d.LocalTag != req.To().Tag() || s.d.Event != e.String() || req.From().Tag() == "" {
		return 0, false, gone
	}
	cseq, _ := req.CSeq()
	if s.d.Confirmed {
		// One dialog for one SUBSCRIBE (RFC 3856 §6.9): what comes from another fork is in none.
		if s.d.RemoteTag != req.From().Tag() {
			return 0, false, gone
		}
		if !s.d.received(cseq) {
			return 0, false, refuse(WhySequence, 500, "Server Internal Error: CSeq out of order")
		}
		s.d.retarget(req)
	} else {
		routes, ok := recordRoutes(req)
		target, has := contactOf(req)
		if !ok || !has {
			return 0, false, refuse(WhySyntax, 400, "Bad Request: no usable Contact or Record-Route")
		}
		s.d.RemoteTag = strings.Clone(req.From().Tag())
		s.d.RouteSet = routes
		s.d.RemoteTarget = strings.Clone(target)
		s.d.RemoteCSeq, s.d.HasRemoteCSeq = cseq, true
		s.d.Confirmed = true
		s.d.Peer = in.peer.Name
	}
	s.peer = in.peer
	if op == nil {
		return 0, false, nil
	}
	if !s.left {
		// A NOTIFY that is not the last may have crossed our Expires 0, and confirms nothing of it.
		s.noticeBy, s.owed = time.Time{}, false
	}
	if s.fetch && op.State != adapters.WatchTerminated {
		// One NOTIFY is all that a poll asks for, whatever state the far side gives it.
		s.finish()
		op.State = adapters.WatchNeutral
		return 0, true, nil
	}
	switch op.State {
	case adapters.WatchTerminated:
		s.d.State = op.State
		s.finish()
		if op.End == adapters.EndRejected {
			return adapters.AuthorizationRefused, !s.closing, nil
		}
		if s.fetch {
			op.State, op.End = adapters.WatchNeutral, adapters.EndNone // a poll says nothing of the watch
			return 0, true, nil
		}
		return 0, !s.closing, nil
	case adapters.WatchActive, adapters.WatchPending:
		s.d.State = op.State
		if op.State == adapters.WatchActive && !s.d.Granted {
			s.d.Granted = true
			change = adapters.AuthorizationGranted
		}
		// "the subscriber SHOULD take it as the authoritative subscription duration and adjust accordingly" (RFC 6665
		// §4.1.3). A notifier must not lengthen a watch, so only a shorter one changes the refresh.
		if end := in.opts.Now.Add(op.Duration); op.Duration > 0 && (s.d.Expires.IsZero() || end.Before(s.d.Expires)) {
			s.d.Expires = end
			if at := in.opts.Now.Add(refreshAfter(op.Duration)); s.refreshAt.IsZero() || at.Before(s.refreshAt) {
				s.refreshAt = at
			}
		}
	}
	s.schedule()
	return change, !s.closing, nil
}

// ReadNotify translates a NOTIFY of the presence package: RFC 8048 §6.3, with the state of the watch. The presence document must be
// well-formed, valid and about the watch's presentity (G8, T-ID-07). While the watch is pending, or its state is none that is known, its
// content is dropped: a gateway "MUST respond to them on the SIP side but refrain from sending any presence stanzas" (RFC 8048 §5.2.1).
func ReadNotify(req *wire.Message, watch adapters.WatchID, opts ReadOptions) (*adapters.NotifyOp, *Refusal) {
	value, given := req.Header("Subscription-State")
	if !given {
		return nil, refuse(WhySyntax, 400, "Bad Request: no Subscription-State")
	}
	state, ok := parseWatchState(value)
	if !ok {
		return nil, refuse(WhySyntax, 400, "Bad Request: malformed Subscription-State")
	}
	op := &adapters.NotifyOp{
		Watch: watch, Whole: true, State: state.state, End: state.end, Duration: state.expires, RetryAfter: state.retryAfter,
	}
	body := req.Body()
	if len(body) == 0 {
		return op, nil
	}
	if ref := checkPresenceContent(req); ref != nil {
		return nil, ref
	}
	doc, err := pidf.Parse(body)
	if err != nil {
		return nil, refuse(WhySyntax, 400, "Bad Request: malformed presence document")
	}
	if ref := checkEntity(doc, watch.Presentity, opts); ref != nil {
		return nil, ref
	}
	switch {
	case state.state == adapters.WatchActive, state.state == adapters.WatchTerminated && state.end != adapters.EndRejected:
	default:
		// Pending, refused, or in a state that this code has no word for: the authorization that presence needs was not given.
		return op, nil
	}
	if lang := languageOf(req); lang != "" {
		tagNotes(doc, lang) // Content-Language is xml:lang (RFC 8048 §6.3, Table 2), of what has none of its own
	}
	op.Presence = doc
	return op, nil
}

// checkPresenceContent refuses what is no PIDF.
func checkPresenceContent(req *wire.Message) *Refusal {
	for v := range req.Headers("Content-Encoding") {
		if !strings.EqualFold(v, "identity") {
			return refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept-Encoding", Value: "identity"})
		}
	}
	t, err := cpim.ParseContentType(req.ContentType())
	if err != nil || !t.Is(pidf.MediaType) {
		return refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept", Value: acceptedPresence})
	}
	return nil
}

// checkEntity refuses a document that is not about the presentity.
func checkEntity(doc *pidf.Presence, presentity cpim.Address, opts ReadOptions) *Refusal {
	u, err := wire.ParseURI(doc.Entity.String())
	if err == nil {
		about, ref := AddressOf(u, cpim.SIPMapping{Scheme: cpim.Pres, FoldCase: opts.FoldCase, IgnorePort: opts.IgnorePort})
		if ref == nil && about.Address == presentity {
			return nil
		}
	}
	return refuse(WhyEntity, 403, "Forbidden: the document is about somebody else")
}

// tagNotes gives notes without a language this one.
func tagNotes(doc *pidf.Presence, lang string) {
	tag := func(notes []pidf.Note) {
		for i := range notes {
			if notes[i].Lang == "" {
				notes[i].Lang = lang
			}
		}
	}
	tag(doc.Notes)
	for i := range doc.Tuples {
		tag(doc.Tuples[i].Notes)
	}
	for i := range doc.Persons {
		tag(doc.Persons[i].Notes)
	}
}
