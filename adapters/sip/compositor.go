package sip

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Published is a domain whose users publish their own presence to this adapter (RFC 3903): it is then the event state compositor of the
// domain, and answers watches of its users from what they published, instead of sending a SUBSCRIBE to a next hop.
type Published struct {
	// Domain is the domain, in any form that resolver.ParseDomain takes. Unique.
	Domain string
	// Everyone says that whoever may cross to the domain may watch its users: there is no user to ask, because user agents that
	// only publish take no decisions. Otherwise nobody may, and a watch is refused for good.
	Everyone bool
}

// compositor keeps what the users of the published domains have published: the event state compositor of RFC 3903 §6. Its lock guards
// everything in it, and is not held while the core is told.
type compositor struct {
	a *Adapter

	alarms *alarms

	mu           sync.Mutex
	users        map[cpim.Address]*composed
	publications int
	watches      int
	perWatcher   map[cpim.Address]int // watches
	stopped      bool
	// notices wait for the core, in order; telling says that a goroutine is bringing them.
	notices []*adapters.NotifyOp
	telling bool
}

// composed is a presentity that has publications or watches.
type composed struct {
	table   *compositor
	address cpim.Address
	entity  pidf.URI
	list    []*publication // in the order in which they were made
	watches map[adapters.WatchID]struct{}
	told    *pidf.Presence // the last composition, nil if there was none
	// toldAt is when all watchers were told; stale that something has changed since, which they are told when alarm rings. changed is the
	// document that did, nil if one is gone.
	toldAt  time.Time
	stale   bool
	changed *pidf.Presence
	alarm   alarm
}

// publication is the event state that one entity-tag names.
type publication struct {
	etag        string
	doc         *pidf.Presence
	sealed      *adapters.Content // doc as its user agent signed or encrypted it; nil if it did neither
	until, made time.Time
	timer       *time.Timer
	record      string // its name in the store
}

func newCompositor(a *Adapter) *compositor {
	return &compositor{
		a: a, alarms: newAlarms(), users: make(map[cpim.Address]*composed), perWatcher: make(map[cpim.Address]int),
	}
}

// newPublished checks the published domains: by domain, whether everyone may watch.
func newPublished(domains []Published) (map[string]bool, error) {
	all := make(map[string]bool, len(domains))
	var errs []error
	for _, d := range domains {
		name, err := resolver.ParseDomain(d.Domain)
		if err != nil {
			errs = append(errs, fmt.Errorf("sip: published domain: %w", err))
			continue
		}
		if _, twice := all[name]; twice {
			errs = append(errs, fmt.Errorf("sip: published domain %q is there twice", name))
		}
		all[name] = d.Everyone
	}
	return all, errors.Join(errs...)
}

// any tells whether there is a published domain at all.
func (c *compositor) any() bool { return len(c.a.now.Load().published) > 0 }

// serves tells whether the users of this domain publish here.
func (c *compositor) serves(domain string) bool {
	_, ok := c.a.now.Load().published[domain]
	return ok
}

func (c *compositor) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.publications
}

// stop ends the timers. Publications are in the store; without one they end here, and after a restart their user agents get 412, and publish
// anew (RFC 3903 §5).
func (c *compositor) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.alarms.stop()
	for _, u := range c.users {
		for _, p := range u.list {
			stopTimers(p.timer)
		}
	}
}

// user returns the presentity, and makes it if that is wanted. c.mu is held.
func (c *compositor) user(address cpim.Address, create bool) *composed {
	u := c.users[address]
	if u != nil || !create {
		return u
	}
	entity, err := pidf.ParseURI(address.String())
	if err != nil {
		return nil
	}
	u = &composed{table: c, address: address, entity: entity, watches: make(map[adapters.WatchID]struct{})}
	c.users[address] = u
	return u
}

// release forgets a presentity that has nothing left. c.mu is held.
func (c *compositor) release(u *composed) {
	if len(u.list) == 0 && len(u.watches) == 0 {
		c.alarms.set(&u.alarm, u, time.Time{})
		delete(c.users, u.address)
	}
}

// change is what a PUBLISH does, once it is understood.
type change struct {
	presentity cpim.Address
	etag       string // of SIP-If-Match; "" for an initial publication
	expires    time.Duration
	doc        *pidf.Presence // nil for a refresh and a removal
	sealed     *adapters.Content
}

// applied is what a change came to: the new entity-tag, and what has to be in the store before it is told, if there is one.
type applied struct {
	etag, record string
	octets       []byte
}

// apply does a change wholly or not at all ("PUBLISH requests MUST also be processed atomically", RFC 3903 §6). The requests of one
// Request-URI come here in the order in which they were received, from the goroutine that reads them.
func (c *compositor) apply(x change) (done applied, ref *Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.user(x.presentity, false)
	at := -1
	if u != nil && x.etag != "" {
		at = slices.IndexFunc(u.list, func(p *publication) bool { return p.etag == x.etag })
	}
	switch {
	case x.etag != "" && at < 0:
		// "If no match is found, the ESC MUST reject the publication with a response of 412 (Conditional Request Failed)" (RFC
		// 3903 §6 step 3).
		return done, refuse(WhyCondition, 412, phraseOf(412))
	case x.etag == "" && x.doc == nil:
		return done, refuse(WhySyntax, 400, "Bad Request: an initial publication has a body")
	case c.stopped:
		return done, refuse(WhyOverload, 503, phraseOf(503))
	case x.etag == "" && x.expires > 0 && c.publications >= c.a.limits().Publications:
		return done, refuse(WhyOverload, 503, phraseOf(503))
	case x.etag == "" && x.expires > 0 && u != nil && len(u.list) >= c.a.limits().PublicationsPerUser:
		return done, refuse(WhyOverload, 403, "Forbidden: too many publications")
	}
	// An entity-tag is random, so that it "MUST be different from any entity-tag assigned previously" (RFC 3903 §6 step 6).
	done.etag = wire.NewTag()
	if x.expires == 0 {
		// "the event state identified by the entity-tag MUST be immediately removed. The ESC MUST NOT store any event state as a
		// result of such a request" (RFC 3903 §6 step 5).
		if at >= 0 {
			c.drop(u, u.list[at])
		}
		return done, nil
	}
	var p *publication
	if at >= 0 {
		p = u.list[at]
		stopTimers(p.timer)
	} else {
		if u = c.user(x.presentity, true); u == nil {
			return done, refuse(WhyAddress, 404, phraseOf(404))
		}
		p = &publication{made: time.Now(), record: storedUploaded + wire.NewTag()}
		u.list = append(u.list, p)
		c.publications++
	}
	p.etag, p.until = done.etag, time.Now().Add(x.expires)
	p.timer = time.AfterFunc(x.expires, func() { c.expire(u, p) })
	if x.doc != nil {
		p.doc, p.sealed = x.doc, x.sealed
		c.news(u, x.doc)
	}
	if c.a.keeper != nil {
		var err error
		done.record = p.record
		if done.octets, err = appendUploaded(&uploaded{x.presentity, p.etag, p.until, p.made, p.doc, p.sealed}); err != nil {
			c.a.unwritten(err)
		}
	}
	return done, nil
}

// selfWatch is the pair under which the store has what a user published.
func selfWatch(user cpim.Address) adapters.WatchID {
	return adapters.WatchID{Watcher: user, Presentity: user}
}

// resume brings back a publication of an earlier process; its watchers are told by the core's asking. One that has expired meanwhile is
// forgotten.
func (c *compositor) resume(s uploaded, record string) error {
	left := time.Until(s.until)
	c.mu.Lock()
	defer c.tell()
	defer c.mu.Unlock()
	switch {
	case !c.serves(s.presentity.Domain()):
		return errNoPeer
	case left <= 0:
		c.a.forget(selfWatch(s.presentity), record)
		return nil
	case c.publications >= c.a.limits().Publications:
		return errFull
	}
	u := c.user(s.presentity, true)
	if u == nil || len(u.list) >= c.a.limits().PublicationsPerUser {
		return errFull
	}
	if slices.ContainsFunc(u.list, func(q *publication) bool { return q.record == record }) {
		return errTwice
	}
	p := &publication{etag: s.etag, doc: s.doc, sealed: s.sealed, until: s.until, made: s.made, record: record}
	p.timer = time.AfterFunc(left, func() { c.expire(u, p) })
	at, _ := slices.BinarySearchFunc(u.list, p, func(x, y *publication) int { return x.made.Compare(y.made) })
	u.list = slices.Insert(u.list, at, p)
	c.publications++
	c.news(u, p.doc)
	return nil
}

// forget drops a record, if there is a store.
func (a *Adapter) forget(of adapters.WatchID, record string) {
	if a.keeper != nil {
		a.keeper.Forget(of, record, nil)
	}
}

// expire removes a publication that was not refreshed.
func (c *compositor) expire(u *composed, p *publication) {
	c.mu.Lock()
	if c.stopped || !slices.Contains(u.list, p) || time.Now().Before(p.until) {
		c.mu.Unlock()
		return
	}
	c.drop(u, p)
	c.mu.Unlock()
	c.tell()
}

// drop removes a publication. c.mu is held.
func (c *compositor) drop(u *composed, p *publication) {
	stopTimers(p.timer)
	u.list = slices.DeleteFunc(u.list, func(q *publication) bool { return q == p })
	c.publications--
	c.a.forget(selfWatch(u.address), p.record)
	c.news(u, nil)
	c.release(u)
}

// news notes that u has changed, by the document changed, or because one is gone. Its watchers are told at once, or when the last time is
// Limits.NotifyInterval ago: "A PA SHOULD NOT generate notifications for a single presentity at a rate of more than once every five
// seconds" (RFC 3856 §6.10). c.mu is held.
func (c *compositor) news(u *composed, changed *pidf.Presence) {
	if len(u.watches) == 0 {
		u.told, u.stale, u.changed = nil, false, nil
		return
	}
	next := u.toldAt.Add(c.a.limits().NotifyInterval)
	if !u.toldAt.IsZero() && time.Now().Before(next) {
		u.stale, u.changed = true, changed
		c.alarms.set(&u.alarm, u, next)
		return
	}
	c.publish(u, changed)
}

// publish puts what u is now before all of its watchers. c.mu is held.
func (c *compositor) publish(u *composed, changed *pidf.Presence) {
	c.compose(u, changed)
	u.stale, u.changed, u.toldAt = false, nil, time.Now()
	for id := range u.watches {
		c.notices = append(c.notices, &adapters.NotifyOp{
			Peer: adapters.Peer{Adapter: Name}, Watch: id, Whole: true, State: adapters.WatchActive, Presence: u.told, Sealed: u.sealed(),
		})
	}
}

// ring implements ringer: what was held back is told.
func (u *composed) ring() {
	c := u.table
	c.mu.Lock()
	if u.stale && !c.stopped && len(u.watches) > 0 {
		c.publish(u, u.changed)
	}
	c.mu.Unlock()
	c.tell()
}

// compose makes the presence of u from its publications. changed is the document that is new. c.mu is held.
//
// "The mechanism by which the ESC aggregates this information is a matter of local policy" (RFC 3903 §10.3): here it is the union of the
// documents, in the order in which the publications were made. A tuple that is gone is told as closed once, as pidf.Composer does. The
// newest timestamp never goes back, because watchers would take the document for outdated (RFC 3863 §6): where the clock of a user agent,
// or the end of the newest publication, would make it so, the tuple that changed gets the time of the change.
func (c *compositor) compose(u *composed, changed *pidf.Presence) {
	docs := make([]*pidf.Presence, len(u.list))
	for i, p := range u.list {
		docs[i] = p.doc
	}
	doc := pidf.Merge(u.entity, docs...)
	at := 0
	if changed != nil && len(changed.Tuples) > 0 {
		at = max(0, slices.IndexFunc(doc.Tuples, func(t pidf.Tuple) bool { return t.ID == changed.Tuples[0].ID }))
	}
	if u.told != nil {
		for _, t := range u.told.Tuples {
			if t.Status.Basic != pidf.BasicClosed && doc.Tuple(t.ID) == nil {
				gone := pidf.Tuple{ID: t.ID, Status: pidf.Status{Basic: pidf.BasicClosed}}
				if t.Contact != nil {
					gone.Contact = &pidf.Contact{URI: t.Contact.URI}
				}
				if changed == nil {
					at = len(doc.Tuples)
				}
				doc.Tuples = append(doc.Tuples, gone)
			}
		}
	}
	if len(doc.Tuples) == 0 {
		doc.Tuples = []pidf.Tuple{{ID: pidf.TupleID(""), Status: pidf.Status{Basic: pidf.BasicClosed}}}
	}
	if u.told != nil && doc.Outdated(u.told) {
		last := u.told.Newest().Time()
		stamp := time.Now().UTC().Truncate(time.Microsecond)
		if !stamp.After(last) {
			stamp = last.UTC().Truncate(time.Microsecond).Add(time.Microsecond)
		}
		doc.Tuples[at].Timestamp = datetime.FromTimeDigits(stamp, 6)
	}
	u.told = doc
}

// sealed is the S/MIME object that is told: that of the only publication there is, because no two can be made one without being opened. c.mu is
// held.
func (u *composed) sealed() *adapters.Content {
	if len(u.list) != 1 {
		return nil
	}
	return u.list[0].sealed
}

// unwatch forgets a watch of u. c.mu is held.
func (c *compositor) unwatch(u *composed, id adapters.WatchID) {
	if _, there := u.watches[id]; !there {
		return
	}
	delete(u.watches, id)
	c.watches--
	if c.perWatcher[id.Watcher]--; c.perWatcher[id.Watcher] <= 0 {
		delete(c.perWatcher, id.Watcher)
	}
	if len(u.watches) == 0 {
		u.told, u.stale, u.changed = nil, false, nil
	}
}

// tell brings the news to the core, in order, whichever goroutine made it.
func (c *compositor) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.telling {
		return
	}
	c.telling = true
	for len(c.notices) > 0 {
		batch := c.notices
		c.notices = nil
		c.mu.Unlock()
		for _, op := range batch {
			c.a.handler.Notify(c.a.base, op)
		}
		c.mu.Lock()
	}
	c.telling = false
}

// watch serves a watch of a user of a published domain. It lasts until it is closed: there is no dialog that could expire.
func (c *compositor) watch(op *adapters.WatchOp) adapters.WatchStatus {
	defer c.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	over := adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchTerminated}
	switch op.Verb {
	case adapters.WatchClose, adapters.WatchCancel:
		if u := c.user(op.Watch.Presentity, false); u != nil {
			c.unwatch(u, op.Watch)
			c.release(u)
		}
		return over
	case adapters.WatchAsk, adapters.WatchOpen, adapters.WatchFetch:
	default:
		return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonBadRequest, "")}
	}
	if !c.a.now.Load().published[op.Watch.Presentity.Domain()] {
		over.Status, over.End = adapters.Failed(adapters.ReasonForbidden, ""), adapters.EndRejected
		return over
	}
	u := c.user(op.Watch.Presentity, true)
	if u == nil {
		return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonAddressMalformed, "")}
	}
	_, again := u.watches[op.Watch]
	if !again {
		if c.stopped || c.watches >= c.a.limits().Watches || c.perWatcher[op.Watch.Watcher] >= c.a.limits().WatchesPerWatcher {
			c.release(u)
			return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonOverloaded, "")}
		}
		u.watches[op.Watch] = struct{}{}
		c.watches++
		c.perWatcher[op.Watch.Watcher]++
	}
	if u.told == nil || u.stale {
		c.compose(u, u.changed) // nobody but this watcher is told; the others are in their time
	}
	told := &adapters.NotifyOp{Peer: adapters.Peer{Adapter: Name}, Watch: op.Watch, Whole: true, Presence: u.told, Sealed: u.sealed()}
	c.notices = append(c.notices, told)
	if op.Verb == adapters.WatchFetch {
		if !again {
			c.unwatch(u, op.Watch)
			c.release(u)
		}
		return adapters.WatchStatus{Status: adapters.Succeeded()}
	}
	told.State, told.Change = adapters.WatchActive, adapters.AuthorizationGranted
	return adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchActive, Duration: op.Duration}
}
