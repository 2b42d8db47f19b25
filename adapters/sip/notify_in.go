package sip

import (
	"errors"
	"slices"
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
	if !slices.Contains(in.peer.Domains, from.Address.Domain()) {
		// The dialog is told by From alone, so that it is From that must be the peer's, whatever the peer asserts.
		return refuse(WhyFromDomain, 403, "Forbidden: From is not in a domain of this peer")
	}
	op, part, ref := readNotify(req, s.watch, in.opts, s.takesPartial())
	// The sequence number is taken also when the body is refused: "in order" is about the dialog (RFC 3261 §12.2.2). So is the state: who sends it has
	// told it whether or not its document can be used, and goes by it. What was told before of the presentity must not be believed for ever then.
	// What was acknowledged is not told again, so that it must not be lost: that there is a dialog, or that it has ended, and a decision.
	taken := afterAll(func() {
		if ref != nil {
			t.a.refuse(in, ref)
			return
		}
		t.a.respond(in, answer{code: 200, phrase: phraseOf(200)}, "")
	})
	change, tell, gone := s.notified(in, e, op, part, taken)
	switch {
	case gone != nil:
		return gone
	case op == nil:
		return ref
	case part != nil && part.ref != nil:
		ref = part.ref
	}
	most := keptWait
	if tell && change != adapters.AuthorizationUnchanged && t.a.keeper != nil {
		if op.Kept = taken.one(); t.a.homes != nil {
			most = decidedWait
		}
	}
	taken.begun(most)
	if tell {
		op.Peer, op.Change = in.peerOf(), change
		t.a.handler.Notify(t.a.base, op)
	}
	return nil
}

// notified brings a NOTIFY to the dialog; op is nil for one that says no state, part is a partial document in it. tell says that
// the core is to be told. What must be on the disk before the answer goes to taken.
func (s *subscribing) notified(in *inbound, e event, op *adapters.NotifyOp, part *partialNotify, taken *joined) (change adapters.AuthorizationChange, tell bool, ref *Refusal) {
	req := in.req
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := refuse(WhyNoDialog, 481, phraseOf(481))
	if s.ended || s.d.CallID != req.CallID() || s.d.LocalTag != req.To().Tag() || s.d.Event != e.String() || req.From().Tag() == "" {
		return 0, false, gone
	}
	cseq, _ := req.CSeq()
	first := !s.d.Confirmed
	if s.d.Confirmed {
		// One dialog for one SUBSCRIBE (RFC 3856 §6.9): what comes from another fork is in none.
		if s.d.RemoteTag != req.From().Tag() {
			return 0, false, gone
		}
		if !s.d.received(cseq) {
			return 0, false, refuse(WhySequence, 500, "Server Internal Error: CSeq out of order")
		}
		if s.d.retarget(req) && op != nil && part == nil && len(req.Body()) == 0 {
			// The dialog has gone to another notifier of the same domain, which says no more than that (see notifying.moved).
			op.Whole = false
		}
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
	}
	s.peer, s.d.Peer = in.peer, in.peer.Name // also where the answer to our SUBSCRIBE came first, and made the dialog
	if op == nil {
		return 0, false, nil
	}
	s.patched(in, op, part)
	if !s.left {
		// A NOTIFY that is not the last may have crossed our Expires 0, and confirms nothing of it.
		s.noticeBy, s.owed = time.Time{}, false
	}
	before, until := s.d.State, s.d.Expires
	if s.fetch && op.State != adapters.WatchTerminated {
		// One NOTIFY is all that a poll asks for, whatever state the far side gives it.
		s.finish()
		op.State = adapters.WatchNeutral
		return 0, true, nil
	}
	switch op.State {
	case adapters.WatchTerminated:
		s.d.State = op.State
		end := taken.one()
		s.finishThen(func(error) { end() })
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
			if at := in.opts.Now.Add(s.table.a.refreshWait(op.Duration)); s.refreshAt.IsZero() || at.Before(s.refreshAt) {
				s.refreshAt = at
			}
		}
	}
	s.schedule()
	switch {
	case first || change != adapters.AuthorizationUnchanged:
		kept := taken.one()
		s.saveThen(func(error) { kept() })
	case s.d.State != before || !s.d.Expires.Equal(until) || !s.kept:
		s.save()
	}
	return change, !s.closing, nil
}

// ReadNotify translates a NOTIFY of the presence package: RFC 8048 §6.3, with the state of the watch. The presence document must be
// well-formed, valid and about the watch's presentity (G8, T-ID-07). While the watch is pending, or its state is none that is known, its
// content is dropped: a gateway "MUST respond to them on the SIP side but refrain from sending any presence stanzas" (RFC 8048 §5.2.1).
//
// A partial document (RFC 5263) is not understood here, because it needs the one before it.
func ReadNotify(req *wire.Message, watch adapters.WatchID, opts ReadOptions) (*adapters.NotifyOp, *Refusal) {
	op, _, ref := readNotify(req, watch, opts, false)
	if ref != nil {
		return nil, ref
	}
	return op, nil
}

// partialNotify is a partial document of a NOTIFY, which is applied where it is in order.
type partialNotify struct {
	doc *pidf.Partial
	// shown tells that the watch is in a state in which presence may be told; lang is Content-Language.
	shown bool
	lang  string
	// ref is why it was refused when it had been applied: only then it is known whom it is about.
	ref *Refusal
}

// readNotify is ReadNotify; with partial it takes partial documents too. Where the content alone is refused there is an operation with the state, and
// without presence.
func readNotify(req *wire.Message, watch adapters.WatchID, opts ReadOptions, partial bool) (*adapters.NotifyOp, *partialNotify, *Refusal) {
	value, given := req.Header("Subscription-State")
	if !given {
		return nil, nil, refuse(WhySyntax, 400, "Bad Request: no Subscription-State")
	}
	state, ok := parseWatchState(value)
	if !ok {
		return nil, nil, refuse(WhySyntax, 400, "Bad Request: malformed Subscription-State")
	}
	op := &adapters.NotifyOp{
		Watch: watch, Whole: true, State: state.state, End: state.end, Duration: state.expires, RetryAfter: state.retryAfter,
	}
	body := req.Body()
	if len(body) == 0 {
		return op, nil, nil
	}
	// Pending, refused, or in a state that this code has no word for: the authorization that presence needs was not given.
	shown := state.state == adapters.WatchActive || state.state == adapters.WatchTerminated && state.end != adapters.EndRejected
	if t, err := cpim.ParseContentType(req.ContentType()); partial && err == nil && t.Is(pidf.MediaTypeDiff) && !encoded(req) {
		parse := pidf.ParsePartial
		if opts.LenientPresence {
			parse = func(b []byte) (*pidf.Partial, error) { p, _, err := pidf.ParsePartialLenient(b); return p, err }
		}
		doc, err := parse(body)
		if err != nil {
			return op, nil, refuse(WhySyntax, 400, "Bad Request: malformed partial presence document")
		}
		return op, &partialNotify{doc: doc, shown: shown, lang: languageOf(req)}, nil
	}
	if t, ok := sealedOf(req, opts); ok {
		sealed, doc, ref := readSealed(req, t, watch.Presentity, opts)
		if ref != nil {
			return op, nil, ref
		}
		if shown {
			op.Presence, op.Sealed = doc, sealed
		}
		return op, nil, nil
	}
	if ref := checkPresenceContent(req); ref != nil {
		if optionalBody(req) {
			op.Whole = false
			return op, nil, nil
		}
		return op, nil, ref
	}
	doc, err := parsePresence(body, opts)
	if err != nil {
		return op, nil, refuse(WhySyntax, 400, "Bad Request: malformed presence document")
	}
	if ref := checkEntity(doc, watch.Presentity, opts); ref != nil {
		return op, nil, ref
	}
	if !shown {
		return op, nil, nil
	}
	if lang := languageOf(req); lang != "" {
		tagNotes(doc, lang) // Content-Language is xml:lang (RFC 8048 §6.3, Table 2), of what has none of its own
	}
	op.Presence = doc
	return op, nil, nil
}

// takesPartial tells whether partial documents were asked for.
func (s *subscribing) takesPartial() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.d.Partial
}

// maxGaps is how often a full document is asked for in place of partial ones that did not fit, before they are asked for no more.
const maxGaps = 3

// patched brings a partial document to the copy, and what results into op, by RFC 5263 §4.5. s.mu is held.
func (s *subscribing) patched(in *inbound, op *adapters.NotifyOp, part *partialNotify) {
	if part == nil {
		if op.Presence != nil {
			s.partial.Discard() // "the watcher MUST discard all the previously received presence information (except local version counter)"
		}
		return
	}
	doc, err := s.partial.Apply(part.doc)
	switch {
	case errors.Is(err, pidf.ErrPartialStale):
		op.Whole = false
		return // "the watcher SHOULD discard the document without further processing"
	case err != nil:
		// One was lost, or it cannot be applied: "The watcher SHOULD either refresh the subscription in order to receive a full presence
		// document or terminate", and "MAY also fall back to normal presence operations".
		op.Whole = false // nothing was understood, which is not that nothing is known
		s.partial.Discard()
		if s.gaps++; s.gaps >= maxGaps || !errors.Is(err, pidf.ErrPartialGap) && !errors.Is(err, pidf.ErrPartialNoFull) {
			s.d.Partial = false
		}
		if !s.closing && !s.left {
			s.refreshAt = in.opts.Now
		}
		return
	}
	if part.ref = checkEntity(doc, s.watch.Presentity, in.opts); part.ref != nil {
		s.partial.Discard()
		return
	}
	if part.shown {
		if in.opts.LenientPresence {
			doc = mended(doc)
		}
		if part.lang != "" {
			tagNotes(doc, part.lang)
		}
		op.Presence = doc
	}
}

// checkPresenceContent refuses what is no PIDF.
func checkPresenceContent(req *wire.Message) *Refusal {
	if encoded(req) {
		return refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept-Encoding", Value: "identity"})
	}
	t, err := cpim.ParseContentType(req.ContentType())
	if err != nil || !t.Is(pidf.MediaType) {
		return refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept", Value: acceptedPresence})
	}
	return nil
}

// encoded tells whether the body has a Content-Encoding, of which none is undone.
func encoded(req *wire.Message) bool {
	for v := range req.Headers("Content-Encoding") {
		if !strings.EqualFold(v, "identity") {
			return true
		}
	}
	return false
}

// parsePresence reads a presence document. Where faults are forgiven, what the document lacks an entity for is refused by checkEntity.
func parsePresence(body []byte, opts ReadOptions) (*pidf.Presence, error) {
	if !opts.LenientPresence {
		return pidf.Parse(body)
	}
	doc, _, err := pidf.ParseLenient(body)
	if err != nil {
		return nil, err
	}
	return mended(doc), nil
}

// mended makes of a document that was read leniently one that whoever is told of it can be sent. A tuple that says nothing of its status is taken
// as closed, so that nobody takes it for somebody who is there.
func mended(doc *pidf.Presence) *pidf.Presence {
	for i := range doc.Tuples {
		if s := &doc.Tuples[i].Status; s.Basic == pidf.BasicAbsent && s.Show == pidf.ShowNone && len(s.Extensions) == 0 {
			s.Basic = pidf.BasicClosed
		}
	}
	return doc.Mended()
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
