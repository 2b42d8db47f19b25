package sip

import (
	"context"
	"errors"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/passport"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
)

// settings are what a reload may replace, but for the sockets and the bounds of transactions, which are the layer's. Immutable; who needs them
// loads them once for each request.
type settings struct {
	limits    Limits
	peers     *peers
	content   int // the largest message content
	signers   passport.KeySet
	published map[string]bool // by domain: everyone may watch
}

func (a *Adapter) limits() *Limits          { return &a.now.Load().limits }
func (a *Adapter) peers() *peers            { return a.now.Load().peers }
func (a *Adapter) signers() passport.KeySet { return a.now.Load().signers }

// settings checks a configuration. The error names every fault.
func (c *Config) settings(old *settings) (*settings, error) {
	s := &settings{limits: c.Limits, content: c.maxContent(), signers: c.Signers}
	var before *peers
	if old != nil {
		before = old.peers
	}
	var peersErr, publishedErr error
	s.peers, peersErr = newPeers(c.Peers, before)
	s.published, publishedErr = newPublished(c.Published)
	return s, errors.Join(s.limits.setDefaults(), peersErr, publishedErr, c.unsigned())
}

// renewed is what a peer, to which a dialog belongs, has become: as it is configured now, or as it was if it is no more.
func (a *Adapter) renewed(p *Peer) *Peer {
	if p == nil {
		return nil
	}
	if now := a.peers().named(p.Name); now != nil {
		return now
	}
	return p
}

// Prepare checks a configuration that is to replace that of New, and opens its listeners that are not open yet; see adapters.Change. SentBy,
// T1, PublishTo and everything that is a function or a logger stay as they were. From Commit on each request is judged by the new peers,
// signers and limits; connections stay. A dialog in which a peer is notified that is no more, or may not be its watcher's any more, ends; what was
// published for a domain that is not published any more expires. One change at a time, between Start and Shutdown.
func (a *Adapter) Prepare(ctx context.Context, cfg Config) (adapters.Change, error) {
	old := a.now.Load()
	next, err := cfg.settings(old)
	if err != nil {
		return adapters.Change{}, err
	}
	for _, s := range a.publishers.servers {
		if next.peers.named(s.peer.Name) == nil {
			return adapters.Change{}, errors.New("sip: presence is published to peer " + s.peer.Name + ", which is no more")
		}
	}
	sockets, closeSockets, err := a.layer.Prepare(ctx, transaction.Config{Listeners: cfg.Listeners, Limits: cfg.Wire, Bounds: cfg.Transactions})
	if err != nil {
		return adapters.Change{}, err
	}
	return adapters.NewChange(func() {
		a.now.Store(next)
		sockets()
		a.notifiers.review()
	}, closeSockets), nil
}

// review ends the dialogs of peers that may not be notified any more.
func (t *notifiers) review() {
	var over []*notifying
	t.mu.Lock()
	for _, n := range t.byTag {
		if p := t.a.peers().named(n.peer.Name); p == nil || !p.has(n.d.Watcher) {
			over = append(over, n)
		}
	}
	t.mu.Unlock()
	for _, n := range over {
		n.end()
		t.a.spawn(func(context.Context) { n.tellClosed() })
	}
}
