package xmpp

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// Bounds of what is kept of what users say of themselves (XEP-0163).
const (
	maxPersonal        = 65536 // pairs of users of whom one watches the other; beyond it any is forgotten, until its next presence
	maxStrangers       = 8192  // pairs of other users, which anybody can make up; beyond it any of them is forgotten
	maxPersonalDevices = 16    // of one user towards one of ours; beyond it the one that was heard of longest ago is forgotten, until its next presence
	maxWaiting         = 4096  // devices whose capabilities are being asked for; beyond it all wait for their next presence instead
)

// The events that cross, as indices.
const (
	eventMood = iota
	eventActivity
	eventCount
)

var eventNodes = [eventCount]string{stanza.SpaceMood, stanza.SpaceActivity}

// wants tells which events a device wants: "an automatic subscriber can specify which event payloads it wants to receive by including appropriate
// feature bundles" in its capabilities (XEP-0163 §4.2).
type wants [eventCount]bool

func wantsOf(info *stanza.Info) (w wants) {
	for i, node := range eventNodes {
		w[i] = info.Wants(node)
	}
	return w
}

// personal is what users say of themselves, in both directions, as far as it decides what is to be told. It is for any goroutine.
//
// Our users' events go to those devices alone that have sent them presence, with capabilities that want them: "The entity shares presence with the
// account owner ... and advertises an interest in the payload type" (XEP-0163 §4). Nothing here is shared between pairs.
type personal struct {
	audience adapters.Audience // set before anything comes; nil: everybody is watched by everybody, and may be

	mu        sync.Mutex
	pairs     map[talkers]*selves
	strangers map[talkers]*selves // those of which no watch is known
	waiting   map[capsHash][]talkers
	waits     int
}

// selves are the two users of a pair.
type selves struct {
	told    [eventCount][]byte // the payloads that our user's last document came to; nil: none, or taken back
	unsure  bool               // what was told last may not have been heard
	ours    jid.JID
	theirs  jid.JID
	devices []interest // the one that was heard of last is the last

	mood       *pidf.Mood // what theirs has said
	activities *pidf.Activities
}

// interest is a device of theirs that has sent presence to our user.
type interest struct {
	resource string
	caps     capsHash
	wants    wants
	via      *path
}

func newPersonal() *personal {
	return &personal{pairs: map[talkers]*selves{}, strangers: map[talkers]*selves{}, waiting: map[capsHash][]talkers{}}
}

// watched tells whether a watch is known. It is not to be asked with the lock held.
func (c *personal) watched(id adapters.WatchID) bool {
	return c.audience == nil || c.audience.Watched(id)
}

// find finds a pair, or nil. The caller holds the lock.
func (c *personal) find(p talkers) *selves {
	if v := c.pairs[p]; v != nil {
		return v
	}
	return c.strangers[p]
}

// get finds a pair, or makes it; watched tells that one of the two watches the other. The caller holds the lock.
//
// Pairs without a watch are kept too, because a watch can be on another gateway, or presence come before the request; but whoever makes up users takes
// nothing from those who know each other.
func (c *personal) get(p talkers, watched bool) *selves {
	v := c.pairs[p]
	if v == nil && !watched {
		v = c.strangers[p]
	}
	if v != nil {
		return v
	}
	table, most := c.pairs, maxPersonal
	if watched {
		v = c.strangers[p]
		delete(c.strangers, p)
	} else {
		table, most = c.strangers, maxStrangers
	}
	for other := range table {
		if len(table) < most {
			break
		}
		delete(table, other)
	}
	if v == nil {
		v = &selves{}
	}
	table[talkers{p.ours.Clone(), p.theirs.Clone()}] = v
	return v
}

// settle forgets a pair of which nothing is known. The caller holds the lock.
func (c *personal) settle(p talkers, v *selves) {
	if v.told[eventMood] == nil && v.told[eventActivity] == nil && len(v.devices) == 0 && v.mood == nil && v.activities == nil {
		delete(c.pairs, p)
		delete(c.strangers, p)
	}
}

// interest takes note of which events a device wants whose presence came, and returns the events that it is to be told now: "When a PEP service receives
// initial presence ... it MUST send the last published item" (XEP-0163 §4.3.3).
func (l *path) interest(s *stanza.Stanza, op *adapters.NotifyOp) {
	if !s.From.IsFull() && s.Type == "" {
		return
	}
	p := talkers{ours: op.Watch.Watcher, theirs: op.Watch.Presentity}
	h := capsHash{s.Caps.Hash, s.Caps.Ver}
	w, known := l.a.caps.wanted(h)
	l.enqueueEvents(l.a.personal.present(l, s, p, h, w, known))
}

func (l *path) enqueueEvents(octets []byte, n int) {
	if n > 0 {
		l.enqueueReply(&item{octets: octets, stanzas: n})
	}
}

func (c *personal) present(l *path, s *stanza.Stanza, p talkers, h capsHash, w wants, known bool) (octets []byte, n int) {
	watched := c.watched(adapters.WatchID{Watcher: p.theirs, Presentity: p.ours})
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.find(p)
	if s.Type == "subscribed" {
		return nil, 0 // an approval says nothing of devices
	}
	if s.Type != "" || known && w == (wants{}) {
		if v != nil {
			v.devices = slices.DeleteFunc(v.devices, func(d interest) bool { return s.From.Resource() == "" || d.resource == s.From.Resource() })
			c.settle(p, v)
		}
		return nil, 0
	}
	if !s.Caps.Checkable() {
		return nil, 0 // nothing new, or nothing that could be known
	}
	v = c.get(p, watched)
	v.ours, v.theirs = s.To.Bare(), s.From.Bare()
	d := v.device(s.From.Resource())
	waits := d.caps == h
	d.caps, d.via = h, l
	if !known {
		if !waits {
			c.wait(h, p)
		}
		return nil, 0
	}
	return c.catchUp(p, v, d, w)
}

// device finds a device, or makes it, as the last of all. One that has left without a word (its "unavailable" was lost) does not keep its place for ever.
func (v *selves) device(resource string) *interest {
	d := interest{resource: resource}
	if i := slices.IndexFunc(v.devices, func(d interest) bool { return d.resource == resource }); i >= 0 {
		d = v.devices[i]
		v.devices = slices.Delete(v.devices, i, i+1)
	} else {
		d.resource = strings.Clone(resource) // a part of the stanza
	}
	if len(v.devices) >= maxPersonalDevices {
		v.devices = slices.Delete(v.devices, 0, 1)
	}
	v.devices = append(v.devices, d)
	return &v.devices[len(v.devices)-1]
}

// wait has a pair told when it is known what h stands for. What is never answered is forgotten with everything else that waits when there is too much
// of it. The caller holds the lock.
func (c *personal) wait(h capsHash, p talkers) {
	if c.waits >= maxWaiting {
		clear(c.waiting)
		c.waits = 0
	}
	c.waiting[h] = append(c.waiting[h], talkers{p.ours.Clone(), p.theirs.Clone()})
	c.waits++
}

// catchUp makes the events that a device wants and did not want before, as far as they may be told still: who was told before may have been blocked
// since. The caller holds the lock.
func (c *personal) catchUp(p talkers, v *selves, d *interest, w wants) (octets []byte, n int) {
	had := d.wants
	d.wants = w
	to, err := v.theirs.WithResource(d.resource)
	if err != nil {
		return nil, 0
	}
	shared := c.audience == nil
	for i, node := range eventNodes {
		if w[i] && !had[i] && v.told[i] != nil {
			if !shared && !c.audience.Shared(adapters.WatchID{Watcher: p.theirs, Presentity: p.ours}) {
				v.unsure = true // should it be allowed again, whatever is told next goes to all
				break
			}
			shared = true
			octets = stanza.AppendEvent(octets, v.ours, to, node, v.told[i])
			n++
		}
	}
	return octets, n
}

// learnt tells the devices that wait for what h stands for.
func (c *personal) learnt(h capsHash, w wants) {
	type message struct {
		via    *path
		octets []byte
		n      int
	}
	var out []message
	c.mu.Lock()
	for _, p := range c.waiting[h] {
		v := c.find(p)
		if v == nil {
			continue
		}
		for i := range v.devices {
			if d := &v.devices[i]; d.caps == h {
				octets, n := c.catchUp(p, v, d, w)
				out = append(out, message{d.via, octets, n})
			}
		}
		v.devices = slices.DeleteFunc(v.devices, func(d interest) bool { return d.caps == h && w == (wants{}) })
		c.settle(p, v)
	}
	c.waits -= len(c.waiting[h])
	delete(c.waiting, h)
	c.mu.Unlock()
	for _, m := range out {
		m.via.enqueueEvents(m.octets, m.n)
	}
}

// tell appends the events that op's document brings to the devices that want them, where they are not what was told before, and returns how many
// there are. What a document no longer has, and everything when the watch ends, is taken back with an empty payload.
func (c *personal) tell(dst []byte, op *adapters.NotifyOp, now time.Time) (octets []byte, n int) {
	if op.State == adapters.WatchPending {
		return dst, 0
	}
	p := talkers{ours: op.Watch.Presentity, theirs: op.Watch.Watcher}
	var doc *pidf.Presence
	if op.State != adapters.WatchTerminated && op.Change != adapters.AuthorizationRefused && op.Failure.Outcome == 0 {
		if doc = op.Presence; doc == nil && op.Change == adapters.AuthorizationGranted {
			return dst, 0 // the approval alone
		}
	}
	var events [eventCount]stanza.PersonalEvent
	events[eventMood], events[eventActivity] = stanza.PersonalEvents(doc, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.find(p)
	for i := range events {
		if !events[i].IsEmpty() {
			v = c.get(p, true) // it would not be told else
		}
	}
	if v == nil {
		return dst, 0
	}
	for i := range events {
		payload := events[i].AppendPayload(nil)
		if !v.unsure && (bytes.Equal(payload, v.told[i]) || events[i].IsEmpty() && v.told[i] == nil) {
			continue
		}
		if v.told[i] = payload; events[i].IsEmpty() {
			v.told[i] = nil
		}
		for _, d := range v.devices {
			if to, err := v.theirs.WithResource(d.resource); d.wants[i] && err == nil {
				dst = stanza.AppendEvent(dst, v.ours, to, eventNodes[i], payload)
				n++
			}
		}
	}
	v.unsure = false
	c.settle(p, v)
	return dst, n
}

// unheard takes in that what was told last could not be sent: the core tells the presence again, and the events are to go along.
func (c *personal) unheard(w adapters.WatchID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.find(talkers{ours: w.Presentity, theirs: w.Watcher}); v != nil {
		v.unsure = true
	}
}

// unwatched forgets what theirs has said: our user does not watch any more.
func (c *personal) unwatched(p talkers) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.find(p); v != nil {
		v.mood, v.activities = nil, nil
		c.settle(p, v)
	}
}

// said takes note of an event of theirs and returns all that she has said now.
func (c *personal) said(p talkers, e *stanza.PersonalEvent) *pidf.Rich {
	watched := c.watched(adapters.WatchID{Watcher: p.ours, Presentity: p.theirs})
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.get(p, watched)
	if e.Node == stanza.SpaceMood {
		v.mood = e.Mood
	} else {
		v.activities = e.Activities
	}
	var rich *pidf.Rich
	if v.mood != nil || v.activities != nil {
		rich = &pidf.Rich{}
		if v.mood != nil {
			rich.Moods = []pidf.Mood{*v.mood}
		}
		if v.activities != nil {
			rich.Activities = []pidf.Activities{*v.activities}
		}
	}
	c.settle(p, v)
	return rich
}

// event hands on what a user says of herself. "The server MUST set the 'from' address on the notification to the bare JID ... of the account owner"
// (XEP-0163 §4.3.1): what comes from anywhere else is somebody's message with such an element in it.
func (l *path) event(s *stanza.Stanza) {
	if s.Type == "error" {
		return // of an event of ours: whoever it was for is not there any more
	}
	if s.From.IsFull() || s.From.Local() == "" || s.Fault != nil {
		l.refused("event")
		return
	}
	op, e := stanza.ToPersonalNotify(s)
	if e == nil {
		e = l.a.reached(s, &op.Watch.Watcher)
	}
	if e != nil {
		l.refused("event")
		return
	}
	op.Peer = l.peer()
	op.Presence.Persons[0].Rich = l.a.personal.said(talkers{ours: op.Watch.Watcher, theirs: op.Watch.Presentity}, &s.Event)
	l.a.h.Notify(l.a.base, op)
}
