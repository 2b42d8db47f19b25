package sip

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// subscribers holds the dialogs in which SIP presentities are watched: the subscriber's role of RFC 6665 §4.1. Its lock guards the
// tables and is never held while one of their entries' is asked for.
type subscribers struct {
	a      *Adapter
	alarms *alarms
	// slots bounds the refreshes under way.
	slots chan struct{}
	// ticks counts the timers that fired; tests look at it.
	ticks atomic.Uint64

	mu      sync.Mutex
	byTag   map[string]*subscribing // by Dialog.LocalTag
	byWatch map[adapters.WatchID]*subscribing
	stopped bool
}

func newSubscribers(a *Adapter) *subscribers {
	return &subscribers{
		a: a, alarms: newAlarms(), slots: make(chan struct{}, a.limits().Refreshes),
		byTag: make(map[string]*subscribing), byWatch: make(map[adapters.WatchID]*subscribing),
	}
}

func (t *subscribers) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byTag)
}

func (t *subscribers) find(tag string) *subscribing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byTag[tag]
}

// of returns the dialog of a watch, and makes one if there is none and that is wanted; nil if there is no room.
func (t *subscribers) of(w adapters.WatchID, create func() *subscribing) *subscribing {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.byWatch[w]; s != nil || create == nil {
		return s
	}
	if t.stopped || len(t.byTag) >= t.a.limits().Watches {
		return nil
	}
	s := create()
	t.byTag[s.d.LocalTag] = s
	if !s.fetch {
		t.byWatch[w] = s
	}
	return s
}

// leave takes s out of the watches, so that a new dialog can be made for its watch; it can still be notified.
func (t *subscribers) leave(s *subscribing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id := s.watch; t.byWatch[id] == s {
		delete(t.byWatch, id)
	}
}

// remove forgets the dialog with this tag.
func (t *subscribers) remove(s *subscribing, tag string) {
	t.leave(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byTag[tag] == s {
		delete(t.byTag, tag)
	}
}

// rename makes s findable by its new tag.
func (t *subscribers) rename(s *subscribing, from, to string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byTag[from] == s {
		delete(t.byTag, from)
		t.byTag[to] = s
	}
}

func (t *subscribers) all() []*subscribing {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*subscribing, 0, len(t.byTag))
	for _, s := range t.byTag {
		list = append(list, s)
	}
	return list
}

// stop ends the alarms; dialogs stay as they are, and in the store.
func (t *subscribers) stop() {
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	t.alarms.stop()
}

// subscribing is one dialog in which a SIP presentity is watched.
type subscribing struct {
	table *subscribers
	watch adapters.WatchID // never changes
	fetch bool             // a poll: one NOTIFY, and over
	// busy is held while a SUBSCRIBE is under way: one at a time in a dialog.
	busy chan struct{}

	mu   sync.Mutex // guards all below
	d    Dialog
	peer *Peer
	hops []resolver.Target
	// want is the duration that is asked for.
	want time.Duration
	// closing tells that the watch is to end; left that Expires 0 was sent; ended that nothing follows.
	closing, left, ended bool
	// owed tells that the refresh under way has brought no NOTIFY yet.
	owed bool
	// partial is what partial documents have made so far; gaps counts those that did not fit to it.
	partial pidf.PartialCopy
	gaps    int
	// The times that the alarm waits for; zero is none. noticeBy is the end of Timer N. Nothing is done before resumeAt: a dialog of an
	// earlier process waits for its turn.
	refreshAt, noticeBy, resumeAt time.Time
	alarm                         alarm
	// claimBy is when a dialog of an earlier process ends that the core has not asked for; zero for one that it has.
	claimBy time.Time
	// record is the name that the dialog has in the store, whatever its tag has become; kept tells that it is there, with sequence numbers
	// up to bound.
	record string
	kept   bool
	bound  uint32
	// reserved never changes.
	reserved reservation
	moved    bool // it was another gateway's, and came here
}

// Watch implements adapters.Adapter: the subscriber's side of a watch. A SIP watch is also the asking for an authorization (RFC 8048
// §5.1), so WatchAsk is WatchOpen, and WatchCancel is WatchClose. Once open, a watch is refreshed by the adapter until it is closed
// or ends; how it ends is told by Handler.Notify.
func (a *Adapter) Watch(ctx context.Context, hops []resolver.Target, op *adapters.WatchOp) adapters.WatchStatus {
	ctx, cancel := withDeadline(ctx, op.Deadline)
	defer cancel()
	if s := a.publishers.servers[op.Watch.Presentity]; s != nil {
		return a.publishers.watched(s, op)
	}
	if a.compositor.serves(op.Watch.Presentity.Domain()) {
		return a.compositor.watch(op)
	}
	t := a.subscribers
	switch op.Verb {
	case adapters.WatchAsk, adapters.WatchOpen:
		want := op.Duration
		if want <= 0 {
			want = a.limits().Expires
		}
		want = min(max(want, a.limits().MinExpires), a.limits().MaxExpires)
		return a.open(ctx, hops, op, want, false)
	case adapters.WatchFetch:
		return a.open(ctx, hops, op, 0, true)
	case adapters.WatchClose, adapters.WatchCancel:
		s := t.of(op.Watch, nil)
		if s == nil {
			return adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchTerminated}
		}
		t.leave(s)
		return s.close(ctx, hops)
	}
	return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonBadRequest, "")}
}

// open makes or refreshes the dialog of a watch, or polls in one of its own (RFC 8048 §7.1: "in a new dialog").
func (a *Adapter) open(ctx context.Context, hops []resolver.Target, op *adapters.WatchOp, want time.Duration, fetch bool) adapters.WatchStatus {
	failed := func(r adapters.Reason) adapters.WatchStatus {
		return adapters.WatchStatus{Status: adapters.Failed(r, "")}
	}
	if len(hops) == 0 {
		// A dialog that is there knows its own way.
		if s := a.subscribers.of(op.Watch, nil); s != nil && !fetch && s.confirmed() {
			return s.subscribe(ctx, want, op.Hops)
		}
		return failed(adapters.ReasonDomainNotFound)
	}
	d, ok := a.newDialog(hops[0], op)
	if !ok {
		return failed(adapters.ReasonAddressMalformed)
	}
	peer := a.peers().toward(hops[0], op.Watch.Presentity.Domain())
	d.Partial = peer != nil && peer.PartialPresence && !fetch
	if peer != nil && peer.SMIME != SMIMERefuse {
		d.Sealing = Sealing{Signed: true, CMS: true}
	}
	create := func() *subscribing {
		return &subscribing{table: a.subscribers, watch: op.Watch, fetch: fetch, busy: make(chan struct{}, 1), d: d, peer: peer, record: storedSubscriber + d.LocalTag}
	}
	for {
		var s *subscribing
		if fetch {
			s = a.subscribers.poll(create)
		} else {
			s = a.subscribers.of(op.Watch, create)
		}
		if s == nil {
			return failed(adapters.ReasonOverloaded)
		}
		s.mu.Lock()
		if s.ended { // in this moment
			s.mu.Unlock()
			a.subscribers.leave(s)
			continue
		}
		s.hops, s.want, s.resumeAt, s.claimBy = hops, want, time.Time{}, time.Time{}
		s.mu.Unlock()
		return s.subscribe(ctx, want, op.Hops)
	}
}

// confirmed tells whether there is a dialog, and that it is wanted from now on.
func (s *subscribing) confirmed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !s.d.Confirmed {
		return false
	}
	s.resumeAt, s.claimBy = time.Time{}, time.Time{}
	return true
}

// poll makes a dialog that is nobody's watch.
func (t *subscribers) poll(create func() *subscribing) *subscribing {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || len(t.byTag) >= t.a.limits().Watches {
		return nil
	}
	s := create()
	t.byTag[s.d.LocalTag] = s
	return s
}

// NewWatch is the dialog of a watch before its first SUBSCRIBE (RFC 3261 §8.1.1), with a Call-ID and a tag of its own. contact is the URI
// where requests within the dialog reach us. It fails for addresses that SIP cannot carry.
func NewWatch(watch adapters.WatchID, contact string) (Dialog, error) {
	local, err := URIOf(adapters.Party{Address: watch.Watcher})
	if err != nil {
		return Dialog{}, err
	}
	remote, err := URIOf(adapters.Party{Address: watch.Presentity})
	if err != nil {
		return Dialog{}, err
	}
	return Dialog{
		Role: Subscriber, CallID: wire.NewCallID(""), LocalTag: wire.NewTag(), LocalURI: local, RemoteURI: remote,
		RemoteTarget: remote, Contact: contact, Event: eventPresence,
		Watcher: watch.Watcher, Presentity: watch.Presentity, Session: watch.Session,
	}, nil
}

func (a *Adapter) newDialog(hop resolver.Target, op *adapters.WatchOp) (Dialog, bool) {
	contact, ok := a.contact(op.Watch.Watcher.Local(), hop.Transport())
	if !ok {
		return Dialog{}, false
	}
	d, err := NewWatch(op.Watch, contact)
	return d, err == nil
}

// WriteSubscribe makes the next SUBSCRIBE of a watch (RFC 8048 §5.2, §7.1): expires 0 ends the watch, or fetches in a dialog of its own.
func WriteSubscribe(d *Dialog, expires time.Duration, maxForwards int) (*wire.Request, error) {
	req, err := d.request("SUBSCRIBE")
	if err != nil {
		return nil, err
	}
	req.MaxForwards = min(max(maxForwards, 0), 255)
	accept := acceptedPresence
	if d.Partial {
		accept = pidf.MediaTypeDiff + ", " + acceptedPresence + ";q=0.9"
	}
	if d.Sealing.Signed || d.Sealing.CMS {
		accept += ", " + acceptedSealed
	}
	req.Headers = append(req.Headers, wire.Header{Name: "Accept", Value: accept},
		wire.Header{Name: "Expires", Value: itoa(seconds(expires))})
	return req, nil
}

// subscribe sends a SUBSCRIBE for want (0 ends or polls) and answers with what it says. It sends a second one where the first answer asks for
// it: after 423 with the interval it names, after 481 in a dialog of its own (RFC 6665 §4.1.2.2).
func (s *subscribing) subscribe(ctx context.Context, want time.Duration, maxForwards int) adapters.WatchStatus {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")}
	}
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing && want > 0 { // it waited behind the end
		return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonNotFound, "The watch is over"), State: adapters.WatchTerminated}
	}
	var r transaction.Result
	var st adapters.Status
	for attempt := 0; ; attempt++ {
		if r, st = s.ask(ctx, want, maxForwards); st.Outcome != adapters.Failure {
			return s.granted(r, st, want)
		}
		if attempt > 0 || r.Response == nil {
			break
		}
		if st.Code == 423 && want > 0 {
			v, _ := r.Response.Header("Min-Expires")
			if least, ok := parseSeconds(v); ok && least > want && least <= s.table.a.limits().MaxExpires {
				want = least
				s.mu.Lock()
				s.want = want
				s.mu.Unlock()
				continue
			}
		}
		if st.Code == 481 && want > 0 && s.restart() {
			continue
		}
		break
	}
	return s.failed(r, st)
}

// ask sends one SUBSCRIBE in the dialog as it is.
func (s *subscribing) ask(ctx context.Context, want time.Duration, maxForwards int) (transaction.Result, adapters.Status) {
	a := s.table.a
	if !s.reserved.await(ctx) {
		return transaction.Result{}, adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return transaction.Result{}, adapters.Failed(adapters.ReasonNotFound, "The watch is over")
	}
	if !a.mine(s.watch) {
		s.mu.Unlock()
		return transaction.Result{}, adapters.Failed(adapters.ReasonDomainTimeout, "")
	}
	req, err := WriteSubscribe(&s.d, want, maxForwards)
	s.spend()
	hops := s.hops
	if s.d.RemoteTag != "" {
		hops = a.dialogHops(&s.d, a.renewed(s.peer), s.hops)
	}
	s.left = want == 0
	if s.d.Confirmed && !s.left {
		// Silence after a refresh ends nothing: the watch is "still considered valid for the duration of the most recently known
		// "Expires" value" (RFC 6665 §4.1.2.2). Timer N runs from the 2xx then; see granted.
		s.owed = true
	} else {
		s.noticeBy = time.Now().Add(a.timerN)
	}
	s.schedule()
	s.mu.Unlock()
	if err != nil {
		return transaction.Result{}, adapters.Failed(adapters.ReasonInternal, "")
	}
	r, st := a.try(ctx, hops, req)
	s.mu.Lock()
	s.d.used(req.CSeq)
	s.spend()
	s.mu.Unlock()
	return r, st
}

// granted takes a 2xx: how long the watch lasts, and who answered, unless a NOTIFY has said so before (RFC 6665 §4.4.1).
func (s *subscribing) granted(r transaction.Result, st adapters.Status, want time.Duration) adapters.WatchStatus {
	out := adapters.WatchStatus{Status: adapters.Status{Outcome: adapters.Success, Code: st.Code, Remote: st.Remote}}
	granted := want
	if v, ok := r.Response.Header("Expires"); ok {
		if d, ok := parseSeconds(v); ok {
			granted = min(d, want) // "cannot be larger" (RFC 6665 §4.1.2.1)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		out.State = adapters.WatchTerminated
		return out
	}
	if !s.d.Confirmed && s.d.RemoteTag == "" {
		s.d.RemoteTag = r.Response.To().Tag()
		if routes, ok := recordRoutes(r.Response); ok {
			s.d.RouteSet = routes
		}
		s.d.retarget(r.Response)
	} else if r.Response.To().Tag() == s.d.RemoteTag {
		s.d.retarget(r.Response)
	}
	now := time.Now()
	s.d.Expires = now.Add(granted)
	if s.owed {
		s.noticeBy = now.Add(s.table.a.timerN)
	}
	if granted > 0 && !s.closing {
		s.refreshAt = now.Add(s.table.a.refreshWait(granted))
	} else {
		s.refreshAt = time.Time{}
	}
	s.schedule()
	s.save()
	out.Duration = granted
	out.State = s.d.State // of the last NOTIFY; a 202 says no more than a 200 (RFC 6665 §8.3.1)
	return out
}

// failed takes the final failure of a SUBSCRIBE: "Non-200-class final responses indicate that no subscription or new dialog usage has
// been created" (RFC 6665 §4.1.2.1); a refresh that fails leaves the watch "valid for the duration of the most recently known
// "Expires" value" but for the codes of endsUsage (RFC 6665 §4.1.2.2).
//
// "an XMPP-to-SIP gateway MUST consider the XMPP presence authorization to be permanently cancelled ... if it receives a SIP response
// of 403, 489, or 603. By contrast, ... 423 or 481 ... a transient error" (RFC 8048 §5.2.2).
func (s *subscribing) failed(r transaction.Result, st adapters.Status) adapters.WatchStatus {
	out := adapters.WatchStatus{Status: st}
	s.mu.Lock()
	alive := s.d.Confirmed && !s.closing && !s.fetch && !endsUsage(st.Code) && !cancels(st.Code) && time.Now().Before(s.d.Expires)
	if alive {
		s.noticeBy, s.owed = time.Time{}, false
		s.retryRefresh(time.Now(), st.RetryAfter)
		out.State = s.d.State
		out.Duration = time.Until(s.d.Expires)
		s.mu.Unlock()
		return out
	}
	s.finish()
	s.mu.Unlock()
	out.State = adapters.WatchTerminated
	if cancels(st.Code) {
		out.End = adapters.EndRejected
	}
	return out
}

// cancels tells whether a response to SUBSCRIBE ends the authorization (RFC 8048 §5.2.2).
func cancels(code int) bool { return code == 403 || code == 489 || code == 603 }

// retryRefresh sets the time of the next attempt to refresh: half of what is left, but not under 5 s, and what the far side asked for.
// s.mu is held.
func (s *subscribing) retryRefresh(now time.Time, asked time.Duration) {
	left := s.d.Expires.Sub(now)
	s.refreshAt = now.Add(max(left/2, 5*time.Second, asked))
	s.schedule()
}

// restart gives s a new dialog in place of one that the far side does not know: "composing an unrelated initial SUBSCRIBE request with
// a freshly generated Call-ID and a new, unique "From" tag" (RFC 6665 §4.1.2.2).
func (s *subscribing) restart() bool {
	s.mu.Lock()
	if s.d.RemoteTag == "" || s.ended || s.closing {
		s.mu.Unlock()
		return false
	}
	from := s.d.LocalTag
	s.d.renew(wire.NewCallID(""), wire.NewTag())
	s.owed, s.partial = false, pidf.PartialCopy{}
	s.table.rename(s, from, s.d.LocalTag) // under the lock: who ends s meanwhile must find it by its tag
	s.mu.Unlock()
	return true
}

// renew makes d a dialog before its first request again.
func (d *Dialog) renew(callID, tag string) {
	d.CallID, d.LocalTag, d.RemoteTag = callID, tag, ""
	d.LocalCSeq, d.RemoteCSeq, d.HasRemoteCSeq = 0, 0, false
	d.RouteSet, d.RemoteTarget = nil, d.RemoteURI
	d.Expires, d.Confirmed, d.State = time.Time{}, false, adapters.WatchNeutral
}

// close ends the watch: SUBSCRIBE with Expires 0 in its dialog. The NOTIFY that follows is answered and told to nobody; we send none
// ourselves, whatever RFC 8048 Example 10 shows: "Notifiers use the NOTIFY method" (RFC 6665 §4.2.2).
func (s *subscribing) close(ctx context.Context, hops []resolver.Target) adapters.WatchStatus {
	s.mu.Lock()
	s.closing = true
	s.refreshAt, s.resumeAt = time.Time{}, time.Time{}
	s.save()
	if len(hops) > 0 {
		s.hops = hops
	}
	s.mu.Unlock()
	st := s.subscribe(ctx, 0, 0)
	s.mu.Lock()
	heard := s.ended || s.left
	s.mu.Unlock()
	if !heard {
		// The caller could not wait until a refresh was answered. The far side must hear of the end all the same.
		s.table.a.spawn(func(ctx context.Context) { s.subscribe(ctx, 0, 0) })
	}
	if st.Outcome == adapters.Failure && (st.Code == 481 || st.Reason == adapters.ReasonNotFound) {
		st.Status = adapters.Succeeded() // there is no watch, which is what was wanted
	}
	st.State, st.End, st.Duration = adapters.WatchTerminated, adapters.EndNone, 0
	return st
}

// finish ends s: no timer, not found any more. s.mu is held.
func (s *subscribing) finish() { s.finishThen(nil) }

// finishThen is finish, which calls done as saveThen does.
func (s *subscribing) finishThen(done func(error)) {
	s.ended = true
	s.schedule()
	s.saveThen(done)
	s.table.remove(s, s.d.LocalTag)
}
