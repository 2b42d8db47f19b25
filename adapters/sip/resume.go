package sip

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// resuming is what an earlier process left and this one goes on with: it does nothing of its own accord before its turn.
type resuming interface {
	// ends is when it is over unless something is done.
	ends() time.Time
	// resume lets it begin, at this time.
	resume(at time.Time)
}

// resumption gives those who resume their turns, Limits.Resumes a second, so that some hundred thousand watches are not refreshed in the moment of a
// restart. Who ends first goes first.
type resumption struct {
	mu      sync.Mutex
	first   time.Time // when the first may have its turn; zero: the adapter has not been started
	waiting []resuming
	next    time.Time
}

// resumeDelay is what a restarted gateway waits before it refreshes anything, for its links to come up. One that runs already, and takes over from
// another, waits for nothing: the far side has waited for the lease of that one.
const resumeDelay = time.Second

// add gives turns to list; if the adapter has not been started, only when it is.
func (t *resumption) add(list []resuming, rate int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, list...)
	if !t.first.IsZero() {
		t.give(rate)
	}
}

func (t *resumption) start(rate int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first = time.Now().Add(resumeDelay)
	t.give(rate)
}

// give gives those who wait their turns. t.mu is held.
func (t *resumption) give(rate int) {
	for _, least := range [...]time.Time{t.first, time.Now()} {
		if t.next.Before(least) {
			t.next = least
		}
	}
	slices.SortFunc(t.waiting, func(x, y resuming) int { return x.ends().Compare(y.ends()) })
	each := time.Second / time.Duration(rate)
	for _, r := range t.waiting {
		r.resume(t.next.Add(time.Duration(rand.Int64N(int64(each) + 1))))
		t.next = t.next.Add(each)
	}
	t.waiting = nil
}

var (
	errNoPeer = errors.New("sip: its peer is not configured any more")
	errFull   = errors.New("sip: " + adapters.ReasonOverloaded.String())
	errTwice  = errors.New("sip: there is one already")
)

// Resume implements adapters.Keeping. To a peer that is not configured any more nothing is sent: default closed. What cannot be read is left
// where it is, what cannot be gone on with is forgotten.
func (a *Adapter) Resume(records []adapters.Record) {
	list := make([]resuming, 0, len(records))
	for _, r := range records {
		x, err := a.resumed(r)
		switch {
		case err == nil:
			if x != nil {
				list = append(list, x)
			}
			continue
		case errors.Is(err, errTwice) && a.homes != nil: // it is what it was when this gateway had it before
			continue
		case errors.Is(err, errNoPeer), errors.Is(err, errFull), errors.Is(err, errTwice):
			a.forget(r.Of, r.Name)
		}
		a.log.Warn().Str("record", clip(r.Name)).Str("fault", clip(err.Error())).Msg("what an earlier process kept is not gone on with")
	}
	a.turns.add(list, a.limits().Resumes)
}

// resumed brings back what one record holds; nil if that has nothing to do by itself.
func (a *Adapter) resumed(r adapters.Record) (resuming, error) {
	switch {
	case strings.HasPrefix(r.Name, storedNotifier), strings.HasPrefix(r.Name, storedSubscriber):
		d, err := parseDialog(r.Octets)
		switch {
		case err != nil:
			return nil, err
		case d.Watcher != r.Of.Watcher || d.Presentity != r.Of.Presentity || (d.Role == Notifier) != strings.HasPrefix(r.Name, storedNotifier):
			return nil, errRecordName
		case !slices.Contains(r.Sessions, d.Session) && d.State != adapters.WatchTerminated:
			d.State, d.End = adapters.WatchTerminated, adapters.EndDeactivated // a watcher who was answered asks again (RFC 6665 §4.1.3)
		}
		if d.Role == Notifier {
			return a.resumeNotifier(d)
		}
		return a.resumeSubscriber(d, strings.Clone(r.Name))
	case strings.HasPrefix(r.Name, storedUploaded):
		u, err := parseUploaded(r.Octets)
		if err != nil {
			return nil, err
		}
		return nil, a.compositor.resume(u, strings.Clone(r.Name))
	case strings.HasPrefix(r.Name, storedPublishing):
		u, err := parseUpload(r.Octets)
		if err != nil {
			return nil, err
		}
		return a.publishers.resume(u)
	}
	return nil, errRecordName
}

// resumeNotifier brings back a dialog in which a SIP watcher is notified. Whoever may tell it something by now can.
func (a *Adapter) resumeNotifier(d Dialog) (resuming, error) {
	peer := a.peers().named(d.Peer)
	if peer == nil || !peer.has(d.Watcher) {
		return nil, errNoPeer
	}
	if a.notifiers.find(d.LocalTag) != nil {
		return nil, errTwice
	}
	moved, said := a.moved(&d), d.Said
	d.Said = ""
	n := &notifying{
		table: a.notifiers, peer: peer, d: d, moved: moved, said: said, maker: pidf.ResumePartial(d.PartialVersion), bump: make(chan struct{}, 1),
		kept: true, bound: d.LocalCSeq, reserved: make(reservation),
	}
	if ref := a.notifiers.add(n); ref != nil {
		return nil, errFull
	}
	return n, nil
}

func (n *notifying) ends() time.Time { return n.d.Expires }

// resume implements resuming: a watch that has ended meanwhile is ended in its turn; the end that an earlier process had not told, too.
func (n *notifying) resume(at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resumeAt = at
	switch {
	case n.d.State == adapters.WatchTerminated:
		n.graceAt = at
	case n.moved && n.d.State == adapters.WatchPending:
		n.graceAt = at // the core has nothing to say before its presentity's user decides
	case n.moved:
		n.graceAt = at.Add(graceMoved)
	}
	mine := onceOrLate(func() { close(n.reserved) }, reservedWait)
	n.saveThen(func(error) { mine() })
	n.schedule()
}

// resumeSubscriber brings back a dialog in which a SIP presentity is watched.
func (a *Adapter) resumeSubscriber(d Dialog, record string) (resuming, error) {
	peer := a.peers().named(d.Peer)
	if peer == nil {
		return nil, errNoPeer
	}
	id := d.watchID()
	moved := a.moved(&d)
	mine := &subscribing{
		table: a.subscribers, watch: id, busy: make(chan struct{}, 1), d: d, peer: peer,
		want: max(a.limits().Expires, a.limits().MinExpires), record: record, kept: true, bound: d.LocalCSeq, reserved: make(reservation), moved: moved,
	}
	var s *subscribing
	if mine.closing = d.State == adapters.WatchTerminated; mine.closing {
		s = a.subscribers.poll(func() *subscribing { return mine }) // nobody's watch any more: it is only to end
	} else {
		s = a.subscribers.of(id, func() *subscribing { return mine })
	}
	switch s {
	case mine:
		return s, nil
	case nil:
		return nil, errFull
	}
	return nil, errTwice
}

func (s *subscribing) ends() time.Time { return s.d.Expires }

// resume implements resuming: the watch is refreshed in its time, and not before its turn; the end that was not said is said. The core asks for
// each watch that it knows of anew, and that is when the presentity's side says what it has said meanwhile.
func (s *subscribing) resume(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumeAt, s.claimBy = at, at.Add(claimTime)
	if s.refreshAt = at; !s.closing {
		switch left := time.Until(s.d.Expires); {
		case s.moved: // what the far side says goes to where the dialog was until then
			s.refreshAt = at.Add(graceMoved)
		case left > 0:
			s.refreshAt = time.Now().Add(refreshAfter(left))
		}
	}
	mine := onceOrLate(func() { close(s.reserved) }, reservedWait)
	s.saveThen(func(error) { mine() })
	s.schedule()
}

// claimTime is how long a dialog of an earlier process is kept up that the core does not ask for: with a crash at the wrong moment it has none
// of its own for it. It is longer than the core takes to ask for all.
const claimTime = 24 * time.Hour
