package sip

import (
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// Dialogs returns the state of all dialogs, for keeping across a restart. A dialog that the far side has not answered yet is not among
// them. Call it after Shutdown for a state that nothing changes any more.
func (a *Adapter) Dialogs() []Dialog {
	var list []Dialog
	for _, n := range a.notifiers.all() {
		n.mu.Lock()
		if !n.ended && !n.last {
			list = append(list, n.d)
		}
		n.mu.Unlock()
	}
	for _, s := range a.subscribers.all() {
		s.mu.Lock()
		if !s.ended && !s.closing && !s.fetch && s.d.RemoteTag != "" {
			list = append(list, s.d)
		}
		s.mu.Unlock()
	}
	return list
}

var errNoPeer = errors.New("sip: restored dialog: its peer is not configured")

// Restore brings dialogs back that Dialogs gave, once Start has returned. Those that cannot be are left out, and are in the error. A
// watch that expired meanwhile is told to the core at once. To a peer that is not configured any more nothing is sent: default closed.
func (a *Adapter) Restore(dialogs []Dialog) error {
	var errs []error
	for _, d := range dialogs {
		if err := a.restore(d); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (a *Adapter) restore(d Dialog) error {
	if err := d.check(); err != nil {
		return err
	}
	peer := a.peers().named(d.Peer)
	left := max(0, time.Until(d.Expires))
	if d.Role == Notifier {
		if peer == nil {
			return errNoPeer
		}
		n := &notifying{table: a.notifiers, peer: peer, d: d, maker: pidf.ResumePartial(d.PartialVersion), bump: make(chan struct{}, 1)}
		if ref := a.notifiers.add(n); ref != nil {
			return ref
		}
		n.mu.Lock()
		n.expiry = n.after(left, n.expire)
		n.mu.Unlock()
		return nil
	}
	id := d.watchID()
	s := a.subscribers.of(id, func() *subscribing {
		return &subscribing{
			table: a.subscribers, watch: id, busy: make(chan struct{}, 1), d: d, peer: peer,
			want: max(a.limits().Expires, a.limits().MinExpires),
		}
	})
	if s == nil {
		return errFull
	}
	s.mu.Lock()
	s.refreshAt = time.Now().Add(refreshAfter(left) * 2 / 3)
	s.schedule()
	s.mu.Unlock()
	return nil
}

var errFull = errors.New("sip: restored dialog: " + adapters.ReasonOverloaded.String())
