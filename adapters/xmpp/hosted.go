package xmpp

import (
	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// hosting maps the addresses of our own users at the boundary, for servers that know them by one host (Component.Hosts, Servers.Gateway). Nothing
// inside of the gateway knows of it, and an operation is copied before it is changed. Without Hosts it changes nothing.
type hosting struct{ names *jid.Hosted }

// sent maps a message of one of our users.
func (h hosting) sent(op *adapters.MessageOp) (*adapters.MessageOp, error) {
	if h.names == nil {
		return op, nil
	}
	out := *op
	var err error
	out.From.Address, err = h.names.Out(op.From.Address)
	return &out, err
}

// asking maps what one of our users asks.
func (h hosting) asking(op *adapters.WatchOp) (*adapters.WatchOp, error) {
	if h.names == nil {
		return op, nil
	}
	out := *op
	var err error
	out.Watch.Watcher, err = h.names.Out(op.Watch.Watcher)
	return &out, err
}

// telling maps what is told of one of our users.
func (h hosting) telling(op *adapters.NotifyOp) (*adapters.NotifyOp, error) {
	if h.names == nil {
		return op, nil
	}
	out := *op
	var err error
	out.Watch.Presentity, err = h.names.Out(op.Watch.Presentity)
	return &out, err
}

// reporting maps what became of a message to one of our users.
func (h hosting) reporting(r *adapters.Report) (*adapters.Report, error) {
	if h.names == nil {
		return r, nil
	}
	out := *r
	var err error
	out.Recipient.Address, err = h.names.Out(r.Recipient.Address)
	return &out, err
}

// host takes note of the users of other domains that a link's server knows by one host. What comes from such a domain is as forged as
// what comes from our own.
func (a *world) host(domain string, self jid.JID, hosts []string) {
	names := jid.NewHosted(domain, hosts)
	if names == nil {
		return
	}
	a.hosts[self.Domain()] = names
	for _, d := range hosts {
		if j, err := jid.New(jid.Parts{Domain: d}); err == nil {
			a.own[j.Domain()] = true
		}
	}
}

// hosting finds how the user ours is written to the user theirs.
func (a *Adapter) hosting(ours, theirs cpim.Address) hosting {
	for _, l := range a.links() {
		if l.end().serves[theirs.Domain()] {
			if a.now.Load().hosts[l.end().self.Domain()] == nil && l.end().domain == ours.Domain() {
				return hosting{} // the link knows its own domain by name
			}
			// The host itself has no users: names refuses one.
			if names := a.now.Load().hosts[l.end().self.Domain()]; names.Hosts(ours.Domain()) || names != nil && l.end().domain == ours.Domain() {
				return hosting{names}
			}
		}
	}
	if a.servers != nil && a.servers.side().gateway != nil {
		g := a.servers.side().gateway
		if names := a.now.Load().hosts[g.self.Domain()]; names.Hosts(ours.Domain()) || g.domain == ours.Domain() {
			return hosting{names}
		}
	}
	return hosting{}
}

// reached maps the address of one of our users that s came for, in place. The error is for the sender.
func (a *Adapter) reached(s *stanza.Stanza, to *cpim.Address) *stanza.Error {
	names := a.now.Load().hosts[s.To.Domain()]
	if names == nil {
		return nil
	}
	in, err := names.In(*to)
	if err != nil {
		return &stanza.Error{Condition: stanza.ItemNotFound, Text: "There is no user at this address", Lang: "en"}
	}
	*to = in
	return nil
}

// reaches notes by which other address the sender of s may know our user: a signed object may be for that one.
func (a *Adapter) reaches(s *stanza.Stanza) {
	names := a.now.Load().hosts[s.To.Domain()]
	if names == nil || s.E2E == nil {
		return
	}
	if to, err := jid.ToAddress(s.To, cpim.IM); err == nil {
		s.Reaches, _ = names.In(to)
	}
}
