package sip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// PublishTo is a presence server that wants the presence of users of the other network published (RFC 3903), for SIP watchers that it
// serves itself.
//
// The adapter is a watcher of those users by the name of Watcher, as any SIP user can be: each of them is asked, sees who asks, and may
// refuse or take it back. What it is told goes out as PUBLISH instead of NOTIFY, so presence still goes only to the watcher that its
// owner has authorized (RFC 8048 §8.2), which here is a server that passes it on.
type PublishTo struct {
	// Peer is the name of the peer that the server is.
	Peer string
	// Hop is where PUBLISH requests go, straight; the zero value where Lookup is set.
	Hop resolver.Target
	// Lookup finds where they go, each time, if the server is named by its domain. It may wait for DNS. nil: Hop is meant.
	Lookup func(context.Context) ([]resolver.Target, error)
	// Watcher is the mailbox of the watcher, in a domain of the peer's: "presence@example.net".
	Watcher string
	// Users are the mailboxes of those who are asked at the start. Anybody else joins by watching Watcher, and leaves by cancelling.
	Users []string
}

// publishers are the users whose presence goes out by PUBLISH: the event publication agent of RFC 3903 §4.
type publishers struct {
	a       *Adapter
	servers map[cpim.Address]*presenceServer // by watcher. Never written to

	mu      sync.Mutex
	byTag   map[string]*publishing // by WatchID.Session
	byPair  map[[2]cpim.Address]*publishing
	stopped bool
}

// presenceServer is a PublishTo, checked.
type presenceServer struct {
	peer    *Peer
	hops    func(context.Context) ([]resolver.Target, error)
	watcher cpim.Address
	users   []cpim.Address
}

func newPublishers(a *Adapter, list []PublishTo, known *peers) (*publishers, error) {
	t := &publishers{
		a: a, servers: make(map[cpim.Address]*presenceServer), byTag: make(map[string]*publishing),
		byPair: make(map[[2]cpim.Address]*publishing),
	}
	var errs []error
	for _, p := range list {
		s := &presenceServer{peer: known.named(p.Peer), hops: p.Lookup}
		if s.hops == nil {
			straight := []resolver.Target{p.Hop}
			s.hops = func(context.Context) ([]resolver.Target, error) { return straight, nil }
		}
		var err error
		if s.watcher, err = cpim.ParseAddress("pres:" + p.Watcher); err != nil {
			errs = append(errs, fmt.Errorf("sip: publish as %q: %w", p.Watcher, err))
			continue
		}
		if s.peer == nil || p.Lookup == nil && p.Hop.Protocol() != resolver.SIP {
			errs = append(errs, fmt.Errorf("sip: publish as %q: no such peer, or no next hop", p.Watcher))
		}
		if t.servers[s.watcher] != nil {
			errs = append(errs, fmt.Errorf("sip: publish as %q: the watcher is there twice", p.Watcher))
		}
		for _, u := range p.Users {
			address, err := cpim.ParseAddress("pres:" + u)
			if err != nil {
				errs = append(errs, fmt.Errorf("sip: publish the presence of %q: %w", u, err))
			}
			s.users = append(s.users, address)
		}
		t.servers[s.watcher] = s
	}
	return t, errors.Join(errs...)
}

// publishing is one user's presence on its way to one presence server.
type publishing struct {
	table  *publishers
	server *presenceServer
	watch  adapters.WatchID // never changes
	// busy is held while a PUBLISH is under way: an agent "MUST NOT send a new PUBLISH request ... until it has received a final
	// response" to the last one (RFC 3903 §4).
	busy chan struct{}
	// callID and tag are those of all its requests; cseq is guarded by busy.
	callID, tag string
	cseq        uint32

	mu    sync.Mutex // guards all below
	body  *body      // what is to be published; nil: nothing
	fresh bool       // body has not been published yet
	etag  string     // "" for no publication
	until time.Time  // when the server forgets the publication by itself
	want  time.Duration
	fails int
	// resumed tells that it is an earlier process's, and has its turn.
	resumed bool
	// leaving tells that nothing is to be published any more, and that it is over once the server has nothing; over that it is.
	leaving, over bool
	// again refreshes the publication, or tries again; open keeps the watch open at the core.
	again, open *time.Timer
}

const (
	// publishRetryFirst and publishRetryMost bound the wait after a PUBLISH that failed; it doubles.
	publishRetryFirst = 30 * time.Second
	publishRetryMost  = 30 * time.Minute
	// publishReopen is the wait before a watch that ended for a passing reason is opened again.
	publishReopen = 5 * time.Minute
)

// start asks the users that are configured.
func (t *publishers) start() {
	for _, s := range t.servers {
		for _, u := range s.users {
			if p := t.join(s, u); p != nil && !p.resumed {
				p.reopen()
			}
		}
	}
}

// stop ends the timers and removes what was published, within ctx and a moment: the presence of users whom nobody can ask any more, and
// who will be published anew after a restart, beside what was left behind. What cannot be removed expires.
func (t *publishers) stop(ctx context.Context) {
	t.mu.Lock()
	t.stopped = true
	list := make([]*publishing, 0, len(t.byTag))
	for _, p := range t.byTag {
		list = append(list, p)
	}
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, t.a.timerN/16)
	defer cancel()
	slots := make(chan struct{}, t.a.limits().Refreshes)
	var removals sync.WaitGroup
	for _, p := range list {
		p.mu.Lock()
		stopTimers(p.again, p.open)
		p.body, p.fresh, p.leaving = nil, true, true
		there := p.etag != "" || len(p.busy) > 0
		p.mu.Unlock()
		if !there {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		removals.Go(func() {
			p.bring(ctx, false)
			<-slots
		})
	}
	removals.Wait()
}

func (t *publishers) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byTag)
}

func (t *publishers) find(session string) *publishing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byTag[session]
}

// join returns the publishing of a user; nil if there is no room.
func (t *publishers) join(s *presenceServer, user cpim.Address) *publishing {
	t.mu.Lock()
	defer t.mu.Unlock()
	pair := [2]cpim.Address{s.watcher, user}
	if p := t.byPair[pair]; p != nil {
		return p
	}
	if t.stopped || len(t.byTag) >= t.a.limits().Publications {
		return nil
	}
	p := &publishing{
		table: t, server: s, busy: make(chan struct{}, 1), callID: wire.NewCallID(""), tag: wire.NewTag(), want: t.a.limits().Expires,
		watch: adapters.WatchID{Watcher: s.watcher, Presentity: user, Session: wire.NewTag()},
	}
	t.byTag[p.watch.Session], t.byPair[pair] = p, p
	p.save()
	return p
}

// resume brings back a user of an earlier process.
func (t *publishers) resume(u upload) (resuming, error) {
	s := t.servers[u.watch.Watcher]
	if s == nil {
		return nil, errNoPeer
	}
	p := &publishing{
		table: t, server: s, busy: make(chan struct{}, 1), callID: wire.NewCallID(""), tag: wire.NewTag(), want: t.a.limits().Expires,
		watch: u.watch, etag: u.etag, until: u.until, resumed: true, leaving: u.leaving, fresh: u.leaving,
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	pair := [2]cpim.Address{u.watch.Watcher, u.watch.Presentity}
	switch {
	case t.byTag[u.watch.Session] != nil, t.byPair[pair] != nil && !u.leaving:
		return nil, errTwice
	case t.stopped || len(t.byTag) >= t.a.limits().Publications:
		return nil, errFull
	}
	t.byTag[u.watch.Session] = p
	if !u.leaving {
		t.byPair[pair] = p
	}
	return p, nil
}

func (p *publishing) ends() time.Time { return p.until }

// resume implements resuming: who was leaving goes on to leave; for anybody else the watch is opened, and what the user is by then is
// published in place of what an earlier process published. Until the core has said what that is, nothing is refreshed: it may not be true
// any more, and expires.
func (p *publishing) resume(at time.Time) {
	p.mu.Lock()
	leaving := p.leaving
	if leaving {
		p.after(time.Until(at))
	}
	p.mu.Unlock()
	if !leaving {
		p.reopenAfter(time.Until(at))
	}
}

// save brings what is kept of p up to date: that it is there, and what the server has of it. What a stop takes back is published anew after
// a restart. p.mu is held, or p is not known to anybody else.
func (p *publishing) save() {
	a := p.table.a
	if a.keeper == nil || p.over {
		return
	}
	b, err := appendUpload(&upload{watch: p.watch, etag: p.etag, until: p.until, leaving: p.leaving && !a.closing.Load()})
	if err != nil {
		a.unwritten(err)
		return
	}
	a.keeper.Save(p.watch, storedPublishing+p.watch.Session, b, nil)
}

// part keeps p from being joined again: who joins from now on begins anew. It can still be found by its watch's session.
func (t *publishers) part(p *publishing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if pair := [2]cpim.Address{p.watch.Watcher, p.watch.Presentity}; t.byPair[pair] == p {
		delete(t.byPair, pair)
	}
}

// leave forgets a publishing.
func (t *publishers) leave(p *publishing) {
	t.part(p)
	t.mu.Lock()
	delete(t.byTag, p.watch.Session)
	t.mu.Unlock()
	p.mu.Lock()
	p.over = true
	stopTimers(p.again, p.open)
	p.mu.Unlock()
	if !t.a.closing.Load() {
		t.a.forget(p.watch, storedPublishing+p.watch.Session)
	}
}

// reopen opens the watch at the core, or keeps it open.
func (p *publishing) reopen() {
	a := p.table.a
	p.mu.Lock()
	over := p.over || p.leaving
	p.mu.Unlock()
	if over || a.closing.Load() {
		return
	}
	a.handler.Watch(a.base, p.operation(adapters.WatchOpen), func(s adapters.WatchStatus) {
		wait := publishReopen
		if s.Outcome != adapters.Failure {
			if wait = s.Duration; wait <= 0 {
				wait = a.limits().Expires
			}
			wait = refreshAfter(wait)
		}
		p.reopenAfter(wait)
	})
}

func (p *publishing) operation(verb adapters.WatchVerb) *adapters.WatchOp {
	op := &adapters.WatchOp{
		Peer: adapters.Peer{Adapter: Name, Name: p.server.peer.Name}, Verb: verb, Watch: p.watch, Hops: adapters.DefaultHops,
	}
	if verb == adapters.WatchOpen {
		op.Duration = p.table.a.limits().Expires
	}
	return op
}

func (p *publishing) reopenAfter(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over && !p.leaving && !p.table.a.closing.Load() {
		stopTimers(p.open)
		p.open = time.AfterFunc(wait, p.reopen)
	}
}

// watched serves a user of the other network who watches the watcher: who does so joins, who cancels leaves. It has no presence of its
// own to tell, and is not there to talk to.
func (t *publishers) watched(s *presenceServer, op *adapters.WatchOp) adapters.WatchStatus {
	closed := adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchTerminated}
	switch op.Verb {
	case adapters.WatchAsk, adapters.WatchOpen:
		p := t.join(s, op.Watch.Watcher)
		if p == nil {
			return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "")}
		}
		t.a.handler.Notify(t.a.base, &adapters.NotifyOp{
			Peer: adapters.Peer{Adapter: Name, Name: s.peer.Name}, Watch: op.Watch, Whole: true, State: adapters.WatchActive,
			Change: adapters.AuthorizationGranted,
		})
		p.reopen()
		return adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchActive, Duration: op.Duration}
	case adapters.WatchFetch:
		return adapters.WatchStatus{Status: adapters.Succeeded()}
	case adapters.WatchCancel:
		t.mu.Lock()
		p := t.byPair[[2]cpim.Address{s.watcher, op.Watch.Watcher}]
		t.mu.Unlock()
		if p != nil {
			p.depart()
			t.a.handler.Watch(t.a.base, p.operation(adapters.WatchCancel), func(adapters.WatchStatus) {})
			t.a.spawn(func(ctx context.Context) { p.bring(ctx, false) })
		}
	}
	return closed
}

// depart makes nothing of the user go out any more, whoever still brings it. The next bring removes what was published; a server that does
// not take the removal is asked again until the publication has expired there, and then the user is forgotten.
func (p *publishing) depart() {
	p.table.part(p)
	p.mu.Lock()
	p.body, p.fresh, p.leaving = nil, true, true
	stopTimers(p.open)
	p.save()
	p.mu.Unlock()
}

// set notes what is to be published from now on; false if that is nothing for good. What says the same as what is or will be published does not
// take its place.
func (p *publishing) set(b *body) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving {
		return false
	}
	if b != nil && b.digest != "" && p.body != nil && p.body.digest == b.digest {
		return true
	}
	p.body, p.fresh = b, true
	return true
}

// notify is Adapter.Notify for a publishing. What fails is tried again by itself, so no outcome ends the watch.
func (p *publishing) notify(ctx context.Context, op *adapters.NotifyOp) adapters.Status {
	if op.State == adapters.WatchTerminated {
		if op.End == adapters.EndRejected {
			p.depart() // the user's own decision
			p.publish(ctx, false)
			return adapters.Succeeded()
		}
		p.reopenAfter(max(op.RetryAfter, publishReopen))
		p.set(nil)
		return p.publish(ctx, false)
	}
	if op.Presence == nil || op.State == adapters.WatchPending {
		return adapters.Succeeded()
	}
	b, err := p.table.a.bodyFor(p.server.peer, op.Presence)
	if err != nil {
		p.table.a.log.Warn().Str("id", op.ID).Str("fault", clip(err.Error())).Msg("a presence document could not be written")
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	if op.Sealed != nil && p.server.peer.SMIME != SMIMERefuse {
		b = sealedBody(op, b) // the server has no say in what it takes before it refuses (RFC 3903 §6 step 5)
	}
	if !p.set(b) {
		return adapters.Failed(adapters.ReasonNotFound, "There is no such watch")
	}
	return p.publish(ctx, false)
}

// publish is bring for a caller who may have less patience than a PUBLISH takes, and then leaves before it is done: neither what is to be
// published nor the entity-tag of a PUBLISH under way may be lost by that.
func (p *publishing) publish(ctx context.Context, due bool) adapters.Status {
	done := make(chan adapters.Status, 1)
	if !p.table.a.spawn(func(own context.Context) { done <- p.bring(own, due) }) {
		return adapters.Failed(adapters.ReasonOverloaded, "")
	}
	select {
	case s := <-done:
		return s
	case <-ctx.Done():
		return adapters.Accepted()
	}
}

// bring brings the publication to what it should be: an initial one, a modification, a refresh or a removal (RFC 3903 §4.1, Table 1).
// Without due it is not refreshed, if somebody else has published what was to be.
func (p *publishing) bring(ctx context.Context, due bool) adapters.Status {
	defer p.parted()
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
	case <-ctx.Done():
		return adapters.Failed(adapters.ReasonOverloaded, "")
	}
	for range 3 {
		p.mu.Lock()
		if p.etag != "" && !time.Now().Before(p.until) {
			p.etag, p.fresh = "", true // the server has forgotten it
		}
		b, fresh, etag, want := p.body, p.fresh, p.etag, p.want
		if p.over || b == nil && etag == "" || !fresh && !due {
			p.fresh = false
			p.mu.Unlock()
			return adapters.Succeeded()
		}
		p.mu.Unlock()
		sent := b
		if b == nil {
			want = 0
		}
		if etag != "" && (!fresh || b == nil) {
			b = nil // a refresh or a removal "MUST NOT have a body" (RFC 3903 §4.3, §4.5)
		}
		p.cseq++
		req, err := writePublish(p.watch.Presentity, etag, want, b)
		if err != nil {
			return adapters.Failed(adapters.ReasonAddressMalformed, "")
		}
		hops, err := p.server.hops(ctx)
		if err != nil && len(hops) == 0 {
			p.table.a.log.Warn().Str("peer", p.server.peer.Name).Str("fault", clip(err.Error())).Msg("the presence server was not found; it is looked for again")
		}
		r, st := p.table.a.try(ctx, hops, p.outside(req))
		p.cseq = max(p.cseq, req.CSeq) // a challenged request was sent again with the next
		if p.settle(r, st, etag, want, sent) {
			return p.failure(st)
		}
	}
	return adapters.Failed(adapters.ReasonServiceUnavailable, "")
}

// parted forgets a publishing that is leaving, once the server has nothing of it.
func (p *publishing) parted() {
	p.mu.Lock()
	gone := p.leaving && !p.over && p.etag == "" && len(p.busy) == 0
	p.mu.Unlock()
	if gone {
		p.table.leave(p)
	}
}

// outside completes a request outside of a dialog.
func (p *publishing) outside(req *wire.Request) *wire.Request {
	req.CallID, req.CSeq = p.callID, p.cseq
	if from, err := wire.FormatAddr(wire.AddrSpec{URI: req.URI, Tag: p.tag}); err == nil {
		req.From = from
	}
	return req
}

// failure is st as the core may know it: only this publication failed, never the watch.
func (p *publishing) failure(st adapters.Status) adapters.Status {
	if st.Outcome == adapters.Failure {
		st.Reason = adapters.ReasonServiceUnavailable
	}
	return st
}

// settle takes the answer to a PUBLISH that named etag; done is false if another is to be sent at once.
func (p *publishing) settle(r transaction.Result, st adapters.Status, etag string, want time.Duration, sent *body) (done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.save()
	stopTimers(p.again)
	if st.Outcome != adapters.Failure {
		p.etag, p.fails = "", 0
		p.fresh = p.body != sent // what came meanwhile has a caller of its own, who waits
		if want == 0 {
			return true
		}
		// "The EPA MUST store this entity-tag, replacing any existing entity-tag" (RFC 3903 §4.3).
		if v, ok := r.Response.Header("SIP-ETag"); ok && isToken(v) {
			p.etag = v
		}
		granted := want
		if v, ok := r.Response.Header("Expires"); ok {
			if d, ok := parseSeconds(v); ok && d > 0 {
				granted = min(d, want) // "but it will never extend it" (RFC 3903 §4.2)
			}
		}
		p.until = time.Now().Add(granted)
		p.after(p.table.a.refreshWait(granted))
		return true
	}
	switch {
	case st.Code == 415 && sent != nil && sent.fall != nil && p.body == sent:
		// "If the content type of the request does not match the event package, or is not understood by the ESC, the ESC MUST reject
		// the request with an appropriate response, such as 415" (RFC 3903 §6): it has what others can open, too.
		p.body, p.fresh = sent.fall, true
		return false
	case st.Code == 412 && etag != "":
		// "it MUST NOT reattempt the PUBLISH request. Instead, to publish event state, the EPA SHOULD perform an initial publication
		// ... The EPA MUST also discard the entity-tag that produced this error response" (RFC 3903 §5).
		p.etag, p.fresh = "", true
		return p.body == nil
	case st.Code == 423 && want > 0:
		v, _ := r.Response.Header("Min-Expires")
		if least, ok := parseSeconds(v); ok && least > want && least <= p.table.a.limits().MaxExpires {
			p.want = least
			return false
		}
	}
	wait := max(min(publishRetryFirst<<min(p.fails, 10), publishRetryMost), st.RetryAfter)
	p.fails++
	if want == 0 && !time.Now().Add(wait).Before(p.until) {
		wait = time.Until(p.until) // there is nothing to remove then
		if wait <= 0 {
			p.etag = ""
			return true
		}
	}
	p.after(wait)
	return true
}

// after publishes again in its time. p.mu is held.
func (p *publishing) after(wait time.Duration) {
	if p.over || p.table.a.closing.Load() {
		return
	}
	p.again = time.AfterFunc(wait, func() {
		p.table.a.spawn(func(ctx context.Context) { p.publish(ctx, true) })
	})
}

// writePublish makes a PUBLISH of the presence event (RFC 3903 §4): etag "" for an initial publication, expires 0 for a removal, b nil
// without a body. Its From has no tag yet, and Call-ID and CSeq are not set.
func writePublish(presentity cpim.Address, etag string, expires time.Duration, b *body) (*wire.Request, error) {
	uri, err := URIOf(adapters.Party{Address: presentity})
	if err != nil {
		return nil, err
	}
	to, err := wire.FormatAddr(wire.AddrSpec{URI: uri})
	if err != nil {
		return nil, err
	}
	req := &wire.Request{Method: "PUBLISH", URI: uri, From: to, To: to, Headers: []wire.Header{
		{Name: "Event", Value: eventPresence}, {Name: "Expires", Value: itoa(seconds(expires))},
	}}
	if etag != "" {
		req.Headers = append(req.Headers, wire.Header{Name: "SIP-If-Match", Value: etag})
	}
	if b != nil {
		if b.languages != "" {
			req.Headers = append(req.Headers, wire.Header{Name: "Content-Language", Value: b.languages})
		}
		req.ContentType, req.Body = b.media, b.octets
	}
	return req, nil
}
