package sip

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// turn is a NOTIFY that waits until the one before it in its dialog is answered.
type turn struct {
	state watchState
	body  *body // nil: none
	// urgent tells that it waits for no interval.
	urgent bool
	// mine is closed when the turn has come; over when a newer one took its place.
	mine, over chan struct{}
}

// Notify implements adapters.Adapter: one NOTIFY in the dialog that op.Watch.Session names. One at a time is under way in a dialog; of
// those that wait the newest goes, with what only an older one carried, and the older ones are answered as indeterminate.
//
// What must not leave does not: no presence goes out while the watch is pending (RFC 8048 §5.2.1 in our direction; RFC 3856 §6.6.2).
func (a *Adapter) Notify(ctx context.Context, hops []resolver.Target, op *adapters.NotifyOp) adapters.Status {
	if p := a.publishers.find(op.Watch.Session); p != nil && p.watch == op.Watch {
		ctx, cancel := withDeadline(ctx, op.Deadline)
		defer cancel()
		return p.notify(ctx, op)
	}
	n := a.notifiers.find(op.Watch.Session)
	if n == nil || n.d.watchID() != op.Watch {
		return adapters.Failed(adapters.ReasonNotFound, "There is no such watch")
	}
	var b *body
	if op.Presence != nil {
		var err error
		if b, err = a.bodyFor(n.peer, op.Presence); err != nil {
			a.log.Warn().Str("id", op.ID).Str("fault", clip(err.Error())).Msg("a presence document could not be written")
			return adapters.Failed(adapters.ReasonInternal, "")
		}
		if a.homes != nil {
			b.digest = digestOf(b.doc)
		}
		if op.Sealed != nil && n.opens(op.Sealed.Type) {
			b = sealedBody(op, b)
		}
	}
	ctx, cancel := withDeadline(ctx, op.Deadline)
	defer cancel()
	return n.notify(ctx, hops, watchState{
		state: op.State, end: op.End, expires: op.Duration, hasExpires: op.Duration > 0, retryAfter: op.RetryAfter,
	}, b)
}

// WriteNotify makes the next NOTIFY of a dialog: RFC 8048 §6.2, with the state of the watch, or of the dialog where op tells of presence
// only. There is no presence while the watch is pending. The time left is op's, or what the dialog has left at now.
func WriteNotify(d *Dialog, op *adapters.NotifyOp, now time.Time) (*wire.Request, error) {
	s := watchState{state: op.State, end: op.End, expires: op.Duration, retryAfter: op.RetryAfter}
	if s.state == adapters.WatchNeutral {
		s.state = d.State
	}
	if s.expires == 0 {
		s.expires = d.Expires.Sub(now)
	}
	var b *body
	if op.Presence != nil && s.state != adapters.WatchPending {
		var err error
		if b, err = bodyOf(op.Presence); err != nil {
			return nil, err
		}
		if op.Sealed != nil && d.Sealing.takes(op.Sealed.Type) {
			b = sealedBody(op, b)
		}
	}
	return writeNotify(d, s, b)
}

// body is a presence document as it goes out, with the languages that it is in.
type body struct {
	octets    []byte
	media     string
	languages string
	doc       *pidf.Presence
	digest    string // what it says; "" where nobody asks
	// fall is what is told to who does not take an S/MIME object, if octets is one.
	fall *body
}

// opens tells whether the watcher takes an S/MIME object of this type, and its network does.
func (n *notifying) opens(contentType string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.d.Sealing.takes(contentType) && (n.peer == nil || n.peer.SMIME != SMIMERefuse)
}

// maxLanguages bounds Content-Language, in tags.
const maxLanguages = 8

// bodyOf writes a document. The languages of its notes stand outside, too: xml:lang is Content-Language (RFC 8048 §6.2, Table 1);
// its value is a list (RFC 3261 §20.13).
func bodyOf(doc *pidf.Presence) (*body, error) {
	octets, err := doc.Append(nil)
	if err != nil {
		return nil, err
	}
	var tags []string
	add := func(notes []pidf.Note) {
		for _, n := range notes {
			if isLanguage(n.Lang) && len(tags) < maxLanguages && !slices.Contains(tags, n.Lang) {
				tags = append(tags, n.Lang)
			}
		}
	}
	add(doc.Notes)
	for i := range doc.Tuples {
		add(doc.Tuples[i].Notes)
	}
	for i := range doc.Persons {
		add(doc.Persons[i].Notes)
	}
	return &body{octets: octets, media: acceptedPresence, languages: strings.Join(tags, ", "), doc: doc}, nil
}

// bodyFor is bodyOf in the form that peer wants by now, which may be nil. A document with one tuple of several is often the same as the one before,
// because what changed is not in it: that is told by its digest.
func (a *Adapter) bodyFor(peer *Peer, doc *pidf.Presence) (*body, error) {
	if peer = a.renewed(peer); peer == nil || !peer.SingleTuple {
		return bodyOf(doc)
	}
	doc = doc.Single()
	b, err := bodyOf(doc)
	if err == nil {
		b.digest = digestOf(doc)
	}
	return b, err
}

func writeNotify(d *Dialog, s watchState, b *body) (*wire.Request, error) {
	req, err := d.request("NOTIFY")
	if err != nil {
		return nil, err
	}
	req.Headers = append(req.Headers, wire.Header{Name: "Subscription-State", Value: s.String()})
	if b != nil {
		if b.languages != "" {
			req.Headers = append(req.Headers, wire.Header{Name: "Content-Language", Value: b.languages})
		}
		req.ContentType, req.Body = b.media, b.octets
	}
	return req, nil
}

// notify queues one NOTIFY, waits for its turn, and sends it.
func (n *notifying) notify(ctx context.Context, hops []resolver.Target, s watchState, b *body) adapters.Status {
	t := n.queue(hops, s, b)
	if t == nil {
		return adapters.Failed(adapters.ReasonNotFound, "The watch is over")
	}
	select {
	case <-t.mine:
	case <-t.over:
		return adapters.Accepted()
	case <-ctx.Done():
		n.detach(t)
		return adapters.Accepted()
	}
	if !n.pace(ctx, t) {
		return adapters.Accepted()
	}
	if ctx.Err() != nil {
		n.detach(t)
		return adapters.Accepted()
	}
	st := n.send(ctx, t)
	n.pass()
	return st
}

// detach sends t in its time for a caller that waits no longer, which is no fault of the watcher's: t is the newest there is, perhaps with
// what older ones carried that were answered on its account, and nobody else would say it, or end the dialog. What becomes of it the core
// learns from the next one.
func (n *notifying) detach(t *turn) {
	n.table.a.spawn(func(ctx context.Context) {
		select {
		case <-t.mine:
		case <-t.over:
			return
		case <-ctx.Done():
			return
		}
		if n.pace(ctx, t) {
			n.send(ctx, t)
			n.pass()
		}
	})
}

// pace keeps two documents Limits.NotifyInterval apart: "A PA SHOULD NOT generate notifications for a single presentity at a rate of more
// than once every five seconds" (RFC 3856 §6.10). What changes the state of the watch, and the answer to a SUBSCRIBE, wait for nothing.
// While a document waits a newer one may take its place; goes is false then, and the turn has passed.
func (n *notifying) pace(ctx context.Context, t *turn) (goes bool) {
	n.mu.Lock()
	wait := time.Until(n.told.Add(n.table.a.limits().NotifyInterval))
	due := n.told.IsZero() || t.body == nil || t.urgent || wait <= 0
	n.mu.Unlock()
	if due {
		return true
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			return true
		case <-ctx.Done():
			return true // its caller waits no longer, and looks at ctx
		case <-n.bump:
		}
		n.mu.Lock()
		newer := n.next
		if newer != nil {
			if newer.body == nil && newer.state.state == adapters.WatchActive {
				newer.body = t.body
			}
			close(newer.mine)
			n.next = nil
		}
		n.mu.Unlock()
		if newer != nil {
			return false
		}
	}
}

// queue notes what s says of the watch and makes its turn, which has come at once if nothing is under way. It returns nil when the watch
// is over.
func (n *notifying) queue(hops []resolver.Target, s watchState, b *body) *turn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return nil
	}
	n.graceAt = time.Time{}
	if len(hops) > 0 {
		n.hops = hops
	}
	now := time.Now()
	before, until := n.d.State, n.d.Expires
	switch {
	case before == adapters.WatchTerminated: // an end that an earlier process could not tell; nothing can follow it
		s, b = watchState{state: before, end: n.d.End}, nil
	case s.state == adapters.WatchTerminated:
	case n.last:
		// A poll's NOTIFY "will contain a "Subscription-State" value of "terminated" and a "reason" parameter of
		// "timeout"" (RFC 6665 §4.4.3), whatever state the presentity's side gives the watch.
		if s.state == adapters.WatchPending {
			b = nil
		}
		s = watchState{state: adapters.WatchTerminated, end: adapters.EndTimeout}
	case s.state == adapters.WatchNeutral:
		s.state = n.d.State
	default:
		n.d.State = s.state
	}
	if s.state == adapters.WatchTerminated {
		n.ended = true
		n.d.State, n.d.End = s.state, s.end
	} else if s.hasExpires && now.Add(s.expires).Before(n.d.Expires) {
		n.d.Expires = now.Add(s.expires) // "MUST NOT be used to lengthen a subscription" (RFC 6665 §4.2.2)
	}
	n.schedule()
	if n.d.State != before || !n.d.Expires.Equal(until) {
		n.save()
	}
	if s.state == adapters.WatchPending {
		b = nil
	}
	t := &turn{state: s, body: b, urgent: s.state != before || b == nil, mine: make(chan struct{}), over: make(chan struct{})}
	if !n.sending {
		n.sending = true
		close(t.mine)
		return t
	}
	if old := n.next; old != nil {
		if t.body == nil && s.state == adapters.WatchActive {
			t.body = old.body
		}
		t.urgent = t.urgent || old.urgent
		close(old.over)
	}
	n.next = t
	select {
	case n.bump <- struct{}{}:
	default:
	}
	return t
}

// pass gives the turn to the one that waits.
func (n *notifying) pass() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next.mine)
		n.next = nil
		return
	}
	n.sending = false
}

// send sends one NOTIFY (RFC 6665 §4.2.2) and draws the conclusions of its answer.
func (n *notifying) send(ctx context.Context, t *turn) adapters.Status {
	a := n.table.a
	if !n.reserved.await(ctx) {
		return ofThisOne(adapters.Failed(adapters.ReasonDomainTimeout, "")) // our disk is slow, and the watcher waits
	}
	n.mu.Lock()
	if n.gone {
		n.mu.Unlock()
		return adapters.Failed(adapters.ReasonNotFound, "The watch is over")
	}
	if !a.mine(n.d.watchID()) { // another gateway tells it
		n.mu.Unlock()
		return ofThisOne(adapters.Failed(adapters.ReasonDomainTimeout, ""))
	}
	if n.knows(t) {
		if !n.moved {
			n.mu.Unlock()
			return adapters.Succeeded()
		}
		t.body = nil // only that the dialog has moved
	}
	said := n.said
	n.said, n.moved = "", false
	t.state.expires = time.Until(n.d.Expires)
	b, err := n.form(t.body)
	var req *wire.Request
	if err == nil {
		req, err = writeNotify(&n.d, t.state, b)
		n.spend()
	}
	hops := a.dialogHops(&n.d, a.renewed(n.peer), n.hops)
	n.mu.Unlock()
	if err != nil {
		n.end()
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	began := time.Now()
	r, st := a.try(ctx, hops, req)
	n.mu.Lock()
	n.d.used(req.CSeq)
	n.spend()
	if st.Outcome == adapters.Success && t.state.state == adapters.WatchActive {
		if n.said = said; t.body != nil {
			n.said = t.body.digest
		}
	}
	n.mu.Unlock()
	// "If the NOTIFY request fails due to expiration of SIP Timer F (transaction timeout), the notifier SHOULD remove the subscription"; for some
	// codes it "MUST remove the corresponding subscription" (RFC 6665 §4.2.2). A 408 is the Timer F of a proxy, and the dialog ends with both: "a 481
	// (Call/Transaction Does Not Exist) or a 408 (Request Timeout)" (RFC 3261 §12.2.1.2). Who refreshes it is told 481, and subscribes anew.
	timeout := n.silent(began, r) || st.Code == 408
	if b != nil && st.Outcome == adapters.Failure {
		// The watcher may not have it: the next document is a whole one.
		n.mu.Lock()
		n.maker.Reset()
		n.mu.Unlock()
	}
	if t.state.state == adapters.WatchTerminated || endsUsage(st.Code) || timeout {
		n.end()
		return st
	}
	return ofThisOne(st)
}

// ofThisOne is the failure of a NOTIFY that leaves the watch as it was, in a word that the core does not take for the end of it: it would tell nothing more
// in a dialog whose watcher goes on to wait. What is refused here may be taken the next time, and a way that is broken, also behind a proxy (504), is mended.
func ofThisOne(st adapters.Status) adapters.Status {
	if st.Outcome != adapters.Failure {
		return st
	}
	switch st.Reason {
	case adapters.ReasonDomainNotFound, adapters.ReasonInternal, adapters.ReasonNotAuthenticated, adapters.ReasonOutcomeUnknown, adapters.ReasonOverloaded,
		adapters.ReasonRegistrationRequired, adapters.ReasonTooLarge, adapters.ReasonUndefined, adapters.ReasonUnexpectedRequest:
	default:
		st.Reason = adapters.ReasonServiceUnavailable
	}
	return st
}

// form writes a document as the watcher wants it. n.mu is held.
func (n *notifying) form(b *body) (*body, error) {
	if b == nil {
		return nil, nil
	}
	n.told = time.Now()
	if !n.d.Partial || b.fall != nil {
		// "If the PA has used other than the 'application/pidf-diff+xml' content type ... the PA MUST deliver the full state" (RFC
		// 5263 §4.4) when it comes back to it.
		n.maker.Reset()
		return b, nil
	}
	octets, err := n.maker.Append(nil, b.doc)
	if err != nil {
		return nil, err
	}
	n.d.PartialVersion = n.maker.Version()
	return &body{octets: octets, media: pidf.MediaTypeDiff, languages: b.languages, doc: b.doc}, nil
}

// silent tells whether the watcher has answered nothing for as long as Timer F, to a request that began then and to those before it:
// the core's patience with each of them is shorter than that.
func (n *notifying) silent(began time.Time, r transaction.Result) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.Response != nil || !r.Sent {
		n.silence = time.Time{}
		return false
	}
	if n.silence.IsZero() {
		n.silence = began
	}
	return errors.Is(r.Err, transaction.ErrTimeout) && time.Since(n.silence) >= n.table.a.timerN
}

// try sends a request to the first of hops that can take it.
func (a *Adapter) try(ctx context.Context, hops []resolver.Target, req *wire.Request) (r transaction.Result, s adapters.Status) {
	s = adapters.Failed(adapters.ReasonDomainNotFound, "")
	for _, hop := range hops {
		r = a.do(ctx, hop, req)
		var another bool
		if s, another = outcome(&r); !another || ctx.Err() != nil {
			break
		}
	}
	return r, s
}

// speak sends the NOTIFY that is due and that the core did not ask for: empty, with the state as it is. If the watcher is gone, the
// core is told.
func (n *notifying) speak() {
	n.table.a.spawn(func(ctx context.Context) {
		n.mu.Lock()
		s := watchState{state: n.d.State, end: n.d.End}
		n.mu.Unlock()
		st := n.notify(ctx, nil, s, nil)
		if st.Outcome != adapters.Failure {
			return
		}
		n.mu.Lock()
		told := n.last
		n.mu.Unlock()
		if !told && n.table.find(n.d.LocalTag) == nil {
			n.tellClosed()
		}
	})
}
