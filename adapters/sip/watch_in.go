package sip

import (
	"strings"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// acceptedPresence is what a NOTIFY carries, both ways: "All subscribers and notifiers MUST support the "application/pidf+xml"" (RFC
// 3856 §6.5).
const acceptedPresence = pidf.MediaType

// notifiers holds the dialogs in which SIP watchers are notified: the notifier's role of RFC 6665 §4.2. Its lock guards the tables and
// is never held while one of their entries' is asked for.
type notifiers struct {
	a      *Adapter
	alarms *alarms

	mu         sync.Mutex
	byTag      map[string]*notifying // by Dialog.LocalTag, which is the watch's Session too
	perWatcher map[cpim.Address]int
	stopped    bool
}

func newNotifiers(a *Adapter) *notifiers {
	return &notifiers{a: a, alarms: newAlarms(), byTag: make(map[string]*notifying), perWatcher: make(map[cpim.Address]int)}
}

func (t *notifiers) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byTag)
}

func (t *notifiers) find(tag string) *notifying {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byTag[tag]
}

// add takes a new dialog in, or says why not.
func (t *notifiers) add(n *notifying) *Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped || len(t.byTag) >= t.a.limits().Watches:
		return refuse(WhyOverload, 503, phraseOf(503))
	case t.perWatcher[n.d.Watcher] >= t.a.limits().WatchesPerWatcher:
		// Not 403: by that a gateway "MUST consider the XMPP presence authorization to be permanently cancelled" (RFC 8048 §5.2.2), and
		// there is room again when another watch of this watcher has ended. Nor 503, which is about everybody behind the same proxy.
		return refuse(WhyOverload, 480, "Temporarily Unavailable: too many watches")
	}
	t.byTag[n.d.LocalTag] = n
	t.perWatcher[n.d.Watcher]++
	return nil
}

// remove forgets a dialog, also in the store; once is enough.
func (t *notifiers) remove(n *notifying) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byTag[n.d.LocalTag] != n {
		return
	}
	delete(t.byTag, n.d.LocalTag)
	if t.perWatcher[n.d.Watcher]--; t.perWatcher[n.d.Watcher] <= 0 {
		delete(t.perWatcher, n.d.Watcher)
	}
}

// stop ends the alarms; dialogs stay as they are, and in the store.
func (t *notifiers) stop() {
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	t.alarms.stop()
}

// all returns the dialogs there are.
func (t *notifiers) all() []*notifying {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*notifying, 0, len(t.byTag))
	for _, n := range t.byTag {
		list = append(list, n)
	}
	return list
}

func stopTimers(timers ...*time.Timer) {
	for _, t := range timers {
		if t != nil {
			t.Stop()
		}
	}
}

// notifying is one dialog in which a SIP watcher is notified.
type notifying struct {
	table *notifiers
	peer  *Peer

	mu   sync.Mutex // guards all below
	d    Dialog     // LocalTag, Watcher, Presentity and Session never change
	hops []resolver.Target
	// last tells that the next NOTIFY ends the watch (a fetch, or Expires 0); ended that it was queued, and nothing follows; gone that
	// the dialog is over, and nothing that waits for its turn is sent.
	last, ended, gone bool
	// silence is when the first of the NOTIFY requests was sent that the watcher has left unanswered one after the other; zero if it
	// answered the last.
	silence time.Time
	// alarm rings when the watch ends in its time, and at graceAt, when a NOTIFY is sent if the core does not; a zero graceAt is never.
	// Neither before resumeAt: a dialog of an earlier process waits for its turn.
	alarm             alarm
	graceAt, resumeAt time.Time
	sending           bool
	next              *turn
	// kept tells that the dialog is in the store, with sequence numbers up to bound.
	kept     bool
	bound    uint32
	reserved reservation // never changes
	// moved tells that the dialog was another gateway's, and came here.
	moved bool
	// said names the document that the watcher acknowledged last; "" if that is not known, or it has asked since.
	said string
	// maker makes partial documents where d.Partial; told is when the last document was sent.
	maker pidf.PartialMaker
	told  time.Time
	// bump wakes the turn that waits out the interval between two documents.
	bump chan struct{}
}

// The waits for the core's own NOTIFY after a SUBSCRIBE was answered. "Upon successfully accepting or refreshing a subscription,
// notifiers MUST send a NOTIFY request immediately" (RFC 6665 §4.2.1.2): if the core has nothing to say within the wait, an empty
// one goes out. A fetch may have to ask another network first.
const (
	graceOpen  = 500 * time.Millisecond
	graceFetch = 4 * time.Second
)

// subscribe is what a SUBSCRIBE says, once it is understood.
type subscribe struct {
	watcher, presentity adapters.Party
	event               event
	contact             string
	expires             time.Duration
	form                form
	sealing             Sealing
}

// ReadSubscribe translates a SUBSCRIBE of the presence package: RFC 8048 §5.3 and §7.2. Expires 0 is a fetch outside of a dialog, the end
// of the watch within one. The watch's Session is not set: it is the dialog's, which Adapter makes.
func ReadSubscribe(req *wire.Message, opts ReadOptions, lim Limits) (*adapters.WatchOp, *Refusal) {
	if err := lim.setDefaults(); err != nil {
		return nil, refuse(WhyInterval, 500, phraseOf(500))
	}
	s, ref := readSubscribe(req, &lim)
	if ref != nil {
		return nil, ref
	}
	if s.watcher, s.presentity, ref = readParties(req, opts, cpim.Pres); ref != nil {
		return nil, ref
	}
	op := s.operation(req)
	op.Verb = adapters.WatchOpen
	if _, within := tagOf(req); s.expires == 0 && within {
		op.Verb = adapters.WatchClose
	} else if s.expires == 0 {
		op.Verb = adapters.WatchFetch
	}
	return op, nil
}

// operation is the part of the WatchOp that the request says.
func (s *subscribe) operation(req *wire.Message) *adapters.WatchOp {
	return &adapters.WatchOp{
		Watch:    adapters.WatchID{Watcher: s.watcher.Address, Presentity: s.presentity.Address},
		Instance: strings.Clone(s.watcher.Instance), TransID: strings.Clone(req.TopVia().Branch()),
		Duration: s.expires, Hops: hopsOf(req),
	}
}

// readSubscribe checks a SUBSCRIBE by RFC 6665 §4.2.1.1 and RFC 3856 §6.
func readSubscribe(req *wire.Message, lim *Limits) (s subscribe, ref *Refusal) {
	value, _ := req.Header("Event")
	e, ok := parseEvent(value)
	if !ok || e.kind != eventPresence {
		return s, refuse(WhyEvent, 489, phraseOf(489), wire.Header{Name: "Allow-Events", Value: eventPresence})
	}
	s.event, s.sealing = e, acceptedSealing(req)
	if s.form = acceptedForm(req); s.form == formNone {
		return s, refuse(WhyAccept, 406, "Not Acceptable: only "+acceptedPresence+" is produced")
	}
	if len(req.Body()) > 0 && !optionalBody(req) {
		// "a "415" response indicates that the MIME type 'application/simple-filter+xml' is not understood by the notifier" (RFC 4660
		// §3.3.4). A filter that is not applied would give the watcher what it did not want. An empty Accept says that no format is
		// taken (RFC 3261 §20.1).
		return s, refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept", Value: ""})
	}
	s.expires = lim.Expires
	if v, given := req.Header("Expires"); given {
		if s.expires, ok = parseSeconds(v); !ok {
			return s, refuse(WhySyntax, 400, "Bad Request: Expires is no number of seconds")
		}
	}
	if s.expires > 0 && s.expires < lim.MinExpires {
		return s, refuse(WhyInterval, 423, phraseOf(423),
			wire.Header{Name: "Min-Expires", Value: itoa(seconds(lim.MinExpires))})
	}
	s.expires = min(s.expires, lim.MaxExpires)
	if s.contact, ok = contactOf(req); !ok {
		return s, refuse(WhySyntax, 400, "Bad Request: no usable Contact")
	}
	return s, nil
}

// take serves a SUBSCRIBE.
func (t *notifiers) take(in *inbound) *Refusal {
	s, ref := readSubscribe(in.req, t.a.limits())
	if ref != nil {
		return ref
	}
	if tag, within := tagOf(in.req); within {
		return t.refresh(in, s, tag)
	}
	if s.watcher, s.presentity, ref = readParties(in.req, in.opts, cpim.Pres); ref != nil {
		return ref
	}
	n, ref := t.establish(in, s)
	if ref != nil {
		return ref
	}
	if ref = t.add(n); ref != nil {
		return ref
	}
	if s.expires == 0 {
		n.ask(in, adapters.WatchFetch, s, true)
		return nil
	}
	// A dialog that was answered must be there after a crash, or its watcher would take the last it was told for true until it refreshes.
	n.keepFirst(in.opts.Now.Add(s.expires), func() { n.ask(in, adapters.WatchOpen, s, true) })
	return nil
}

// establish makes the dialog of a SUBSCRIBE (RFC 3261 §12.1.1).
func (t *notifiers) establish(in *inbound, s subscribe) (*notifying, *Refusal) {
	req := in.req
	routes, ok := recordRoutes(req)
	if !ok {
		return nil, refuse(WhySyntax, 400, "Bad Request: Record-Route cannot be used")
	}
	if req.From().Tag() == "" {
		return nil, refuse(WhySyntax, 400, "Bad Request: From has no tag")
	}
	contact, ok := t.a.contact(s.presentity.Address.Local(), in.src.Transport)
	if !ok {
		return nil, refuse(WhyOverload, 500, phraseOf(500))
	}
	cseq, _ := req.CSeq()
	tag := wire.NewTag()
	return &notifying{table: t, bump: make(chan struct{}, 1), peer: in.peer, last: s.expires == 0, d: Dialog{
		Partial: s.form == formPartial, Sealing: s.sealing,
		Role: Notifier, CallID: strings.Clone(req.CallID()), LocalTag: tag, RemoteTag: strings.Clone(req.From().Tag()),
		LocalURI: strings.Clone(req.To().URI().String()), RemoteURI: strings.Clone(req.From().URI().String()),
		RemoteCSeq: cseq, HasRemoteCSeq: true, RouteSet: routes, RemoteTarget: strings.Clone(s.contact), Contact: contact,
		Event: s.event.String(), Peer: in.peer.Name, Source: in.src.Remote.String(), Transport: in.src.Transport.String(), Connection: in.src.Connection,
		State: adapters.WatchPending, Watcher: s.watcher.Address, Presentity: s.presentity.Address, Session: tag,
	}}, nil
}

// refresh serves a SUBSCRIBE within a dialog (RFC 6665 §4.2.1.4).
func (t *notifiers) refresh(in *inbound, s subscribe, tag string) *Refusal {
	gone := refuse(WhyNoDialog, 481, phraseOf(481))
	n := t.find(tag)
	if n == nil {
		return gone
	}
	from, ref := partyOf(in.opts.from(in.req), in.opts.sender(cpim.Pres)) // as the watcher was found
	if ref != nil {
		return ref
	}
	cseq, _ := in.req.CSeq()
	n.mu.Lock()
	switch {
	case n.d.CallID != in.req.CallID() || n.d.RemoteTag != in.req.From().Tag() || n.over() || n.d.Event != s.event.String():
		n.mu.Unlock()
		return gone
	case from.Address != n.d.Watcher || in.peer.Name != n.peer.Name:
		// The identity of a dialog never changes (S2); nor does the link that it came over (S15).
		n.mu.Unlock()
		return refuse(WhyIdentity, 403, phraseOf(403))
	case !n.d.received(cseq):
		n.mu.Unlock()
		return refuse(WhySequence, 500, "Server Internal Error: CSeq out of order")
	}
	n.d.RemoteTarget = strings.Clone(s.contact)
	n.d.Source, n.d.Transport, n.d.Connection = in.src.Remote.String(), in.src.Transport.String(), in.src.Connection
	// "one of the types listed in the Accept header field in the most recent SUBSCRIBE request" (RFC 3856 §6.7); and the state in full
	// (RFC 5263 §4.4), at once.
	n.d.Partial, n.d.Sealing = s.form == formPartial, s.sealing
	n.maker.Reset()
	n.told, n.resumeAt, n.said = time.Time{}, time.Time{}, ""
	n.mu.Unlock()
	s.watcher, s.presentity = from, adapters.Party{Address: n.d.Presentity}
	verb := adapters.WatchOpen
	if s.expires == 0 {
		verb = adapters.WatchClose
	}
	n.ask(in, verb, s, false)
	return nil
}

// ask brings a SUBSCRIBE to the core and answers it when the core does.
func (n *notifying) ask(in *inbound, verb adapters.WatchVerb, s subscribe, first bool) {
	a := n.table.a
	op := s.operation(in.req)
	op.Peer, op.Verb, op.Watch = in.peerOf(), verb, n.d.watchID()
	a.handler.Watch(a.base, op, func(w adapters.WatchStatus) { n.answered(in, verb, s, first, w) })
}

// answered sends the response to a SUBSCRIBE. It is 200 also while the presentity's user is being asked: RFC 6665 §8.3.1 has done
// away with the 202 of RFC 3856 §6.6.2, and the NOTIFY that follows says "pending".
func (n *notifying) answered(in *inbound, verb adapters.WatchVerb, s subscribe, first bool, w adapters.WatchStatus) {
	a := n.table.a
	if w.Outcome == adapters.Failure || w.Outcome == 0 {
		r := answerFor(w.Status, s.presentity, "SUBSCRIBE")
		if first || endsUsage(r.code) {
			n.end()
		}
		a.respond(in, r, n.d.LocalTag)
		return
	}
	granted := s.expires
	if w.Duration > 0 {
		granted = min(granted, w.Duration) // "MAY shorten the interval but MUST NOT lengthen it" (RFC 6665 §4.2.1.1)
	}
	contact, err := wire.FormatAddr(wire.AddrSpec{URI: n.d.Contact})
	if err != nil {
		a.respond(in, answer{code: 500, phrase: phraseOf(500)}, n.d.LocalTag)
		n.end()
		return
	}
	a.respond(in, answer{code: 200, phrase: phraseOf(200), headers: []wire.Header{
		{Name: "Contact", Value: contact}, {Name: "Expires", Value: itoa(seconds(granted))},
	}}, n.d.LocalTag)

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return
	}
	if first && w.State != adapters.WatchNeutral && w.State != adapters.WatchTerminated && n.d.State == adapters.WatchPending {
		n.d.State = w.State
	}
	n.d.Expires = in.opts.Now.Add(granted)
	n.graceAt, n.resumeAt = time.Time{}, time.Time{}
	wait := graceOpen
	switch {
	case verb == adapters.WatchFetch:
		wait = graceFetch
	case granted == 0:
		n.last = true
	}
	if n.next == nil && !n.sending || !first {
		n.graceAt = time.Now().Add(wait)
	}
	n.schedule()
	n.save()
}

// over tells that the watch has ended or ends with the NOTIFY that comes next. n.mu is held.
func (n *notifying) over() bool {
	return n.ended || n.last || n.d.State == adapters.WatchTerminated
}

// schedule sets the alarm for the first of the times that n waits for. n.mu is held.
func (n *notifying) schedule() {
	at := n.graceAt
	if end := n.d.Expires; !n.over() && !end.IsZero() && (at.IsZero() || end.Before(at)) {
		at = end
	}
	if n.gone {
		at = time.Time{}
	} else if !at.IsZero() && at.Before(n.resumeAt) {
		at = n.resumeAt
	}
	n.table.alarms.set(&n.alarm, n, at)
}

// ring implements ringer: it sends the NOTIFY that the core did not, or ends a watch that was not refreshed: the core is told, and the
// watcher by a NOTIFY that is "terminated" with "reason=timeout" (RFC 6665 §4.2.1.4), the core's own if it has one.
func (n *notifying) ring() {
	n.mu.Lock()
	now := time.Now()
	switch {
	case n.gone || n.table.a.closing.Load():
	case !n.table.a.mine(n.d.watchID()): // it goes to another gateway, with all that is due
		n.table.alarms.set(&n.alarm, n, now.Add(notMine))
	case !n.graceAt.IsZero() && !n.graceAt.After(now):
		n.graceAt = time.Time{}
		n.schedule()
		defer n.speak()
	case !n.over() && !n.d.Expires.After(now):
		n.last = true
		n.graceAt = now.Add(graceOpen)
		n.schedule()
		n.save()
		defer n.tellClosed()
	default:
		n.schedule()
	}
	n.mu.Unlock()
}

// tellClosed tells the core that the watch is over.
func (n *notifying) tellClosed() {
	a := n.table.a
	a.handler.Watch(a.base, &adapters.WatchOp{
		Peer: adapters.Peer{Adapter: Name, Name: n.peer.Name}, Verb: adapters.WatchClose, Watch: n.d.watchID(),
		Hops: adapters.DefaultHops,
	}, func(adapters.WatchStatus) {})
}

// end forgets the dialog without a word.
func (n *notifying) end() {
	n.mu.Lock()
	n.ended, n.gone = true, true
	n.schedule()
	n.save()
	n.mu.Unlock()
	n.table.remove(n)
}
